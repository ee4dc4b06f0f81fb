"""A network under its masks: keep them while it trains, load them, rewind the weights, make the zeros permanent.

The masks stand in the network (``course_lib.pruning.masks``, which says why zeroing comes after the step). Whoever
trains it says who keeps them:

* ``fit(model, …, constraint=MasksHeld())``, the course's loop: also the averaged weights are zeroed before validation
  sees them;
* ``hold_(model, optimizer)``, a loop of one's own: a hook after each ``optimizer.step()``.

**Rewinding.** A pruned network recovers by further training. From which weights, and at which learning rates?
*Fine-tuning* goes on from the pruned weights at a low rate. *Weight rewinding* (Frankle et al. 2020, arXiv:1912.05671)
returns the surviving weights to what they were early in the training, and repeats the rest of it. *Learning-rate
rewinding* (Renda et al. 2020, arXiv:2003.02389) repeats the rates but keeps the weights: the control that says whether
the early weights or the high rates were what helped.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from course_lib.errors import CourseError
from course_lib.models.saving import save_state
from course_lib.pruning.masks import SUFFIX, Masks, enforce_, mask_slots, prunable
from course_lib.training import Constraint


class MasksHeld(Constraint):
    """Keep the masks that the network has: ``fit(model, …, constraint=MasksHeld())``."""

    _digest = ""

    def start(self, model: nn.Module, epochs: int, steps_per_epoch: int) -> None:
        """Refuses, by a ValueError, a network without masks."""
        masks = Masks.of(model)
        if not masks:
            raise ValueError("model has no masks to hold: Masks.from_fraction(model, …).apply_(model) puts them in")
        self._digest = masks.digest()

    def enforce(self, model: nn.Module) -> None:
        """Zero what the masks remove."""
        enforce_(model)

    def identity(self) -> str:
        """The masks themselves: a state that was written under others is refused."""
        return f"masks {self._digest}"


def hold_(model: nn.Module, optimizer: torch.optim.Optimizer) -> RemovableHandle:
    """Zero the removed weights after each ``optimizer.step()``, for a loop of one's own.

    Returns: a handle; ``handle.remove()`` ends it.
    """
    return optimizer.register_step_post_hook(lambda *_: enforce_(model))


def make_permanent_(model: nn.Module) -> None:
    """Take the masks out and leave the zeros: the keys of ``state_dict`` are the plain network's again."""
    enforce_(model)
    Masks({}).apply_(model)


def load_masked_state_(model: nn.Module, state: Mapping[str, Tensor]) -> None:
    """Load weights and masks, as ``state_dict`` of a masked network gave them, into a network with or without masks.

    Raises: ValueError naming the first tensor that is missing, too many, or of another shape (a mask: or not boolean);
        the model is unchanged then.
    """
    own = model.state_dict()
    keys = {slot.name + SUFFIX: slot.name for slot in mask_slots(model)}
    for name, value in own.items():
        if name not in keys and name not in state:
            raise ValueError(f"the state lacks {name}, which the model has")
        if name not in keys and state[name].shape != value.shape:
            shapes = f"{list(state[name].shape)} in the state, {list(value.shape)} in the model"
            raise ValueError(f"{name} has shape {shapes}")
    for name, value in state.items():
        if name not in own and name not in keys:
            raise ValueError(f"the state has {name}, which the model lacks")
        if name in keys and value.dtype != torch.bool:
            raise ValueError(f"{name} must be boolean, got {value.dtype}")
    masks = Masks({keys[name]: value for name, value in state.items() if name in keys})
    masks.apply_(model)
    model.load_state_dict(state)
    enforce_(model)


def rewind_(model: nn.Module, early: Mapping[str, Tensor]) -> None:
    """Give ``model`` the weights of an early epoch, BatchNorm's statistics included, under the masks that it has now.

    Args: early: what ``EarlyWeights`` kept; masks in it are not looked at.
    Raises: ValueError naming the first tensor that does not fit; the model is unchanged then.
    Source: Frankle et al. 2020, arXiv:1912.05671, and 1903.01611: after pruning, go back to epoch k, not to the start.
    """
    masks = Masks.of(model).state_dict()
    ours = {slot.name + SUFFIX for slot in mask_slots(model)}
    load_masked_state_(model, {name: value for name, value in early.items() if name not in ours} | masks)


class EarlyWeights:
    """Keep the weights that a training has after its first ``epochs`` epochs: ``fit(model, …, on_epoch=early)``.

    To go back to them is *weight rewinding*: ``rewind_(model, early.state())``, then
    ``fit(model, …, recipe, constraint=MasksHeld(), first_epoch=epochs)`` repeats the rest of the training under the
    masks. Its control is *learning-rate rewinding* (Renda et al. 2020, arXiv:2003.02389): the same call of ``fit``
    from the weights as pruned. Both spend the same steps at the same rates; the optimiser's own state starts anew.

    Kept are the weights of the last step, not the average of ``Recipe.average``.

    Args:
        model: the network that is trained.
        epochs: how many epochs have been trained by then, ≥ 1.
        path: of the file that keeps them, so that a training that was killed later can go on.
    """

    def __init__(self, model: nn.Module, epochs: int, path: str | Path):
        if epochs < 1:
            raise ValueError(f"epochs must be at least 1, got {epochs}: a copy made before training keeps epoch 0")
        self.model, self.epochs, self.path = model, epochs, Path(path)

    def __call__(self, row: dict[str, float]) -> None:
        """Write the file if the epoch of this row of the history is the one."""
        if row["epoch"] + 1 == self.epochs:
            save_state(self.path, self.model.state_dict())

    def state(self) -> dict[str, Tensor]:
        """The weights that were kept.

        Raises: CourseError: the file is missing or broken.
        """
        mend = f"train again from the start, for more than {self.epochs} epochs"
        if not self.path.is_file():
            raise CourseError(f"the weights after {self.epochs} epochs were not kept", path=self.path, mend=mend)
        try:
            return torch.load(self.path, weights_only=True)
        except Exception as error:  # torch.load raises many types for a broken file
            raise CourseError("not a readable file of weights", path=self.path, mend=mend) from error


@dataclass(frozen=True)
class TensorSparsity:
    """The zeros of one tensor.

    Args:
        name: of the parameter.
        zeros: how many of its weights are 0, whether a mask says so or not.
        size: how many weights it has.
    """

    name: str
    zeros: int
    size: int

    @property
    def fraction(self) -> float:
        """Zeros / size, in [0, 1]; 0 for an empty tensor."""
        return self.zeros / self.size if self.size else 0.0


def sparsity(model: nn.Module, names: Sequence[str] | None = None) -> list[TensorSparsity]:
    """The zeros that are there, tensor by tensor, and in all: the last row, named "all".

    Args: names: of the parameters; by default all with more than one dimension.
    Raises: ValueError: a name is no parameter of the model.

    >>> model = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 1))
    >>> Masks.from_fraction(model, 0.5, scope="layer").apply_(model)
    >>> [(row.name, row.zeros, row.size, row.fraction) for row in sparsity(model)]
    [('0.weight', 2, 4, 0.5), ('1.weight', 1, 2, 0.5), ('all', 3, 6, 0.5)]
    """
    rows = [TensorSparsity(n, int((p == 0).sum()), p.numel()) for n, p in prunable(model, names).items()]
    return [*rows, TensorSparsity("all", sum(row.zeros for row in rows), sum(row.size for row in rows))]
