"""Prune and regrow: the number of weights stays, their places change while training goes on.

A mask chosen once fits the data of that day. When the data change, weights that were worth little may be worth much,
and a removed weight cannot tell: it is 0. Its *gradient* can. So from time to time, in each tensor,

* of the weights that are there, the share ``fraction`` of smallest magnitude goes;
* as many of the removed ones come back: those whose gradient is largest in magnitude. They start at 0, where they were.

Each tensor keeps as many weights as it had, so sparsity is exactly the same at all times.

Source: Evci et al. 2020 (RigL, arXiv:1911.11134), section 3. Three things are simpler here: a weight that goes does not
come back in the same move (there it may); ``fraction`` does not decay along a cosine, since a stream has no end; and
the caller says when to move.

Mocanu et al. 2018 (arXiv:1707.04780) regrow at random places, which needs no dense gradient.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from course_lib.pruning.masks import Masks


def regrown(model: nn.Module, gradients: Mapping[str, Tensor], fraction: float) -> Masks:
    """Masks with as many weights in each tensor as the model's own, a share of them in new places.

    Args:
        model: with masks; it stays as it is (``apply_`` puts the result in).
        gradients: of the loss by the weights, removed ones too, by parameter name.
        fraction: of a tensor's weights that move, in [0, 1): rounded, and at most as many as are removed.
    Returns: the masks. Of equal magnitudes the later weight goes and the earlier one comes.
    Raises: ValueError: the model has no masks, fraction is out of range, or a gradient is missing, of another shape or
        not finite.

    >>> model = nn.Linear(4, 1, bias=False)
    >>> _ = model.weight.data.copy_(torch.tensor([[0.5, 0.1, 9.0, 9.0]]))
    >>> Masks({"weight": torch.tensor([[True, True, False, False]])}).apply_(model)
    >>> masks = regrown(model, {"weight": torch.tensor([[0.0, 8.0, 1.0, -2.0]])}, 0.5)
    >>> masks["weight"].tolist()
    [[True, False, False, True]]
    """
    before = Masks.of(model)
    if not before:
        raise ValueError("model has no masks: Masks.from_fraction(model, …).apply_(model) puts them in")
    if not 0 <= fraction < 1:
        raise ValueError(f"fraction must be in [0, 1), got {fraction}")
    parameters = dict(model.named_parameters())
    return Masks(
        {
            name: _moved(mask, parameters[name].detach(), _of(gradients, name, mask), fraction)
            for name, mask in before.items()
        }
    )


def moved_share(before: Masks, after: Masks) -> float:
    """The fraction of ``after``'s weights that ``before`` had removed, in [0, 1]; 0 where nothing is kept.

    Raises: ValueError: they are not masks of the same tensors.

    >>> before, after = (Masks({"w": torch.tensor(kept)}) for kept in ([True, True, False], [True, False, True]))
    >>> moved_share(before, after)
    0.5
    """
    if {name: mask.shape for name, mask in before.items()} != {name: mask.shape for name, mask in after.items()}:
        raise ValueError("before and after must be masks of the same tensors")
    kept = sum(int(mask.sum()) for mask in after.values())
    new = sum(int((mask & ~before[name]).sum()) for name, mask in after.items())
    return new / kept if kept else 0.0


def _moved(mask: Tensor, weights: Tensor, gradient: Tensor, fraction: float) -> Tensor:
    there = mask.flatten()
    count = min(round(fraction * int(there.sum())), int((~there).sum()))
    strength = weights.abs().flatten().masked_fill(~there, torch.inf)
    pull = gradient.abs().flatten().masked_fill(there, -torch.inf)
    found = there.clone()
    # Flipped: of equal magnitudes the last one goes.
    found[len(there) - 1 - strength.flip(0).argsort(stable=True)[:count]] = False
    found[pull.argsort(descending=True, stable=True)[:count]] = True
    return found.view_as(mask)


def _of(gradients: Mapping[str, Tensor], name: str, mask: Tensor) -> Tensor:
    if name not in gradients:
        raise ValueError(f"gradients must have a tensor for each masked parameter; {name} is missing")
    found = gradients[name]
    if found.shape != mask.shape or not torch.isfinite(found).all():
        raise ValueError(
            f"the gradient of {name} must be finite and of shape {list(mask.shape)}, got {list(found.shape)}"
        )
    return found
