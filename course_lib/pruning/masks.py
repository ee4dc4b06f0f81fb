"""Masks that survive the optimiser: which weights of one network are removed, kept beside the weights.

A mask is boolean, has its weight's shape, and is True where the weight is kept. It lives in the network as a buffer
next to the parameter, ``<parameter>_mask``, and the parameter itself holds zeros where the mask is False. So the
forward pass, ONNX, ``nonzeros`` and the file formats see a plain network with zeros; ``state_dict`` carries the masks
under the keys of the plain network plus ``…_mask``; ``deepcopy``, moving to another device and an exponential average
(which copies what is not a floating-point number) need no special case; and nothing has to be pickled.

``torch.nn.utils.prune`` and ``torch.nn.utils.parametrize`` multiply weight and mask in each forward pass instead. That
needs no care after a step, but it renames the parameters, keeps dense weights in the file, hides the convolution from
the exporter, which then leaves BatchNorm unfolded, and a parametrized network cannot be pickled.

**What keeps the zeros.** A step does not: masking once is undone by the first step, since the gradient of a removed
weight is not 0. Masking the *gradient* as well still fails, because a step is more than the gradient: momentum goes on
in the direction it had before the mask, Adam divides two running means that both remember earlier gradients, and a
weight that was not exactly 0 decays. So the weights are zeroed *after each step*, whatever the optimiser did
(``enforce_``; Han et al. 2015, arXiv:1506.02626, retrain in this way). ``course_lib.pruning.masked_networks`` calls
it: in ``fit`` by ``constraint=MasksHeld()``, in a loop of one's own by ``hold_(model, optimizer)``. Gradients of
removed weights still count where a loop clips by the norm of all gradients.

Zeroing writes +0.0. Multiplying by the mask would write −0.0 for negative weights, whose sign bit costs bytes in a
compressed file, and NaN where a weight has overflowed.

By default the weights are those with more than one dimension: kernels and matrices. Biases and BatchNorm are one
number a channel: they cost next to nothing and carry much.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Literal, NamedTuple, get_args

import torch
from torch import Tensor, nn

from course_lib.pruning.patterns import (
    filter_scores,
    fraction_mask,
    global_fraction_masks,
    n_m_mask,
    threshold_mask,
    whole_filters,
)

SUFFIX = "_mask"
"""What the key of a mask has after its parameter's."""
Scope = Literal["layer", "global"]
"""Whether each tensor gives the fraction, or all of them together."""
Unit = Literal["weight", "filter"]
"""What is kept or removed as a whole: one weight, or a filter (ranked by its L2 norm)."""


class Masks(Mapping[str, Tensor]):
    """The masks of one network: parameter name → boolean tensor of the parameter's shape, True = kept.

    The constructors ``from_…`` look at a network and leave it as it is; ``apply_`` puts the masks into it. Where the
    network has masks already, what they removed stays removed: it ranks below everything else.

    Args: masks: by parameter name, in the order of ``model.named_parameters()``.
    Raises: TypeError: a mask is not boolean.

    >>> model = nn.Sequential(nn.Linear(4, 1, bias=False))
    >>> _ = model[0].weight.data.copy_(torch.tensor([[0.1, -0.4, 0.2, -0.3]]))
    >>> masks = Masks.from_fraction(model, 0.5, scope="layer")
    >>> masks["0.weight"].tolist(), masks.pruning_ratio
    ([[False, True, False, True]], 0.5)
    >>> masks.apply_(model)
    >>> [round(w, 1) for w in model[0].weight[0].tolist()], list(model.state_dict())
    ([0.0, -0.4, 0.0, -0.3], ['0.weight', '0.weight_mask'])
    """

    def __init__(self, masks: Mapping[str, Tensor]):
        for name, mask in masks.items():
            if mask.dtype != torch.bool:
                raise TypeError(f"the mask of {name} must be boolean, got {mask.dtype}")
        self._masks = dict(masks)

    @classmethod
    def from_fraction(
        cls,
        model: nn.Module,
        pruning_ratio: float,
        *,
        scope: Scope,
        unit: Unit = "weight",
        names: Sequence[str] | None = None,
        scores: Mapping[str, Tensor] | None = None,
    ) -> Masks:
        """Remove the fraction ``pruning_ratio`` of the weights, or of the filters, of lowest score: exact to one.

        Args:
            pruning_ratio: in [0, 1).
            scope: "layer": each tensor gives the fraction; "global": all together, and one may lose everything.
            unit: "weight" or "filter"; filters of different sizes compete by their norms as they are.
            names: of the parameters; by default all with more than one dimension.
            scores: by name, each of its weight's shape; by default |w|.
        Raises: ValueError: an argument is out of range, a name is unknown, a score is NaN or of another shape.
        """
        _require_choice("scope", scope, get_args(Scope))
        ranked = _ranked(model, names, scores, unit)
        if scope == "global":
            kept = global_fraction_masks(ranked, pruning_ratio)
        else:
            kept = {name: fraction_mask(values, pruning_ratio) for name, values in ranked.items()}
        return cls._within(model, kept)

    @classmethod
    def from_threshold(
        cls,
        model: nn.Module,
        threshold: float,
        *,
        unit: Unit = "weight",
        names: Sequence[str] | None = None,
        scores: Mapping[str, Tensor] | None = None,
    ) -> Masks:
        """Remove what scores below ``threshold``; arguments and errors as in ``from_fraction``."""
        ranked = _ranked(model, names, scores, unit)
        return cls._within(model, {name: threshold_mask(values, threshold) for name, values in ranked.items()})

    @classmethod
    def from_n_m(
        cls,
        model: nn.Module,
        n: int,
        m: int,
        *,
        names: Sequence[str] | None = None,
        scores: Mapping[str, Tensor] | None = None,
    ) -> Masks:
        """Keep n of every m neighbouring input channels (``n_m_mask``); arguments and errors as in ``from_fraction``.

        Hardware with 2:4 needs whole groups: leave out layers whose input channels m does not divide.
        """
        ranked = _ranked(model, names, scores, "weight")
        return cls._within(model, {name: n_m_mask(values, n, m) for name, values in ranked.items()})

    @classmethod
    def of(cls, model: nn.Module) -> Masks:
        """The masks that are in ``model``: its own tensors, not copies; none for a plain network."""
        return cls({slot.name: slot.mask for slot in mask_slots(model) if slot.mask is not None})

    @classmethod
    def _within(cls, model: nn.Module, kept: Mapping[str, Tensor]) -> Masks:
        """Masks from verdicts on weights or filters, never keeping what the model's own masks have removed."""
        found, before = dict(model.named_parameters()), cls.of(model)
        whole = {
            name: mask if mask.shape == found[name].shape else whole_filters(mask, found[name].shape)
            for name, mask in kept.items()
        }
        return cls({name: mask & before[name] if name in before else mask for name, mask in whole.items()})

    def apply_(self, model: nn.Module) -> None:
        """Put the masks into ``model`` in place of those that it has, and zero what they remove.

        Raises: ValueError naming the first mask that does not fit; the model is unchanged then.
        """
        self.require_fitting(model)
        slots = {slot.name: slot for slot in mask_slots(model)}
        for name, slot in slots.items():
            if name not in self and slot.mask is not None:
                delattr(slot.owner, slot.key)
        with torch.no_grad():
            for name, mask in self.items():
                slot = slots[name]
                if slot.mask is None:
                    slot.owner.register_buffer(slot.key, mask.clone().to(slot.parameter.device))
                else:
                    slot.mask.copy_(mask)
        enforce_(model)

    def require_fitting(self, model: nn.Module) -> None:
        """Raise ValueError naming the first mask that does not fit ``model``."""
        slots = {slot.name: slot for slot in mask_slots(model)}
        for name, mask in self.items():
            slot = slots.get(name)
            if slot is None:
                raise ValueError(f"the masks have {name}, which is no parameter of the model")
            if mask.shape != slot.parameter.shape:
                shapes = f"{list(mask.shape)} in the masks, {list(slot.parameter.shape)} in the model"
                raise ValueError(f"{name} has shape {shapes}")
            if slot.mask is None and hasattr(slot.owner, slot.key):
                raise ValueError(f"the model has a {name}{SUFFIX} of its own, which is no mask of this library")

    @property
    def pruning_ratio(self) -> float:
        """The fraction of the masked tensors' weights that is removed, in [0, 1]; 0 where there are none."""
        size = sum(mask.numel() for mask in self.values())
        return sum(int((~mask).sum()) for mask in self.values()) / size if size else 0.0

    def state_dict(self) -> dict[str, Tensor]:
        """The masks under the keys that they have in a network's ``state_dict``."""
        return {name + SUFFIX: mask for name, mask in self.items()}

    def digest(self) -> str:
        """SHA-256 over names, shapes and bits: equal masks, equal digests."""
        found = hashlib.sha256()
        for name, mask in sorted(self.items()):
            found.update(f"{name} {list(mask.shape)}\n".encode() + mask.cpu().contiguous().numpy().tobytes())
        return found.hexdigest()

    def __getitem__(self, name: str) -> Tensor:
        return self._masks[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._masks)

    def __len__(self) -> int:
        return len(self._masks)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Masks) and self.digest() == other.digest()

    __hash__ = None  # pyright: ignore[reportAssignmentType]  (its tensors may change)

    def __repr__(self) -> str:
        return f"Masks({len(self)} tensors, {self.pruning_ratio:.2%} removed)"


class MaskSlot(NamedTuple):
    """A parameter and where its mask belongs."""

    name: str  # of the parameter, as in ``model.named_parameters()``
    owner: nn.Module  # the module that has the parameter
    key: str  # of the mask among the owner's buffers
    parameter: nn.Parameter  # the weights
    mask: Tensor | None  # None where the parameter has none


def mask_slots(model: nn.Module) -> list[MaskSlot]:
    """Every parameter's slot, in the model's order; a shared parameter has one, under its first name."""
    slots: list[MaskSlot] = []
    seen: set[int] = set()
    for path, owner in model.named_modules():
        buffers = dict(owner.named_buffers(recurse=False))
        for name, parameter in owner.named_parameters(recurse=False):
            if id(parameter) not in seen:
                seen.add(id(parameter))
                mask = buffers.get(name + SUFFIX)
                mask = mask if mask is not None and mask.dtype == torch.bool else None
                slots.append(MaskSlot(f"{path}.{name}".lstrip("."), owner, name + SUFFIX, parameter, mask))
    return slots


@torch.no_grad()
def enforce_(model: nn.Module) -> None:
    """Set every removed weight of ``model`` to +0.0, whatever it was; nothing for a network without masks."""
    for slot in mask_slots(model):
        if slot.mask is not None:
            slot.parameter.masked_fill_(~slot.mask, 0.0)


def prunable(model: nn.Module, names: Sequence[str] | None = None) -> dict[str, nn.Parameter]:
    """The parameters that are pruned, in the model's order: those named, or all with more than one dimension.

    Raises: ValueError: a name is no parameter of the model, or nothing is left to prune.

    >>> list(prunable(nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Flatten(), nn.Linear(4, 2))))
    ['0.weight', '3.weight']
    """
    found = dict(model.named_parameters())
    if unknown := [name for name in names or () if name not in found]:
        raise ValueError(f"names must be parameters of the model, got {unknown[0]!r}; there are {', '.join(found)}")
    chosen = {name: p for name, p in found.items() if (p.ndim > 1 if names is None else name in names)}
    if not chosen:
        raise ValueError("there is nothing to prune: no name is given, or no parameter has more than one dimension")
    return chosen


def _ranked(
    model: nn.Module, names: Sequence[str] | None, scores: Mapping[str, Tensor] | None, unit: Unit
) -> dict[str, Tensor]:
    """Scores of weights or filters by name; −∞ for what the model's own masks have removed."""
    _require_choice("unit", unit, get_args(Unit))
    before, ranked = Masks.of(model), {}
    for name, parameter in prunable(model, names).items():
        values = parameter.detach().abs() if scores is None else _scores_of(name, scores, parameter)
        if torch.isnan(values).any():
            raise ValueError(f"the scores of {name} must hold no NaN: a weight without a score has no rank")
        kept = before[name] if name in before else torch.ones_like(values, dtype=torch.bool)
        if unit == "filter":
            values, kept = filter_scores(values.masked_fill(~kept, 0), norm=2), kept.flatten(1).any(dim=1)
        ranked[name] = values.masked_fill(~kept, -torch.inf)
    return ranked


def _scores_of(name: str, scores: Mapping[str, Tensor], parameter: nn.Parameter) -> Tensor:
    if name not in scores:
        raise ValueError(f"scores must have a tensor for each pruned parameter; {name} is missing")
    values = scores[name].detach()
    if values.shape != parameter.shape:
        raise ValueError(f"the scores of {name} must have shape {list(parameter.shape)}, got {list(values.shape)}")
    return values if values.is_floating_point() else values.double()


def _require_choice(argument: str, value: str, choices: tuple[str, ...]) -> None:
    if value not in choices:
        raise ValueError(f"{argument} must be one of {choices}, got {value!r}")
