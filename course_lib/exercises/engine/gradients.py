"""A loss is judged by its value and by its gradient: one that cannot train is wrong.

The arguments that an exercise names in ``gradient_of`` and ``no_gradient_of`` are handed over as tensors that require
a gradient (as the outputs of a network would), and the result is differentiated with respect to them. A result that is
no scalar is summed first with weights from 1 to 2, so that no gradient cancels.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor

from course_lib.exercises.engine.compare import difference, same_bits
from course_lib.exercises.engine.exercise import Arguments, Exercise, apply

LOOSER = 10
"""A gradient may be off by this many times the tolerance of the value: its formula has more steps."""


@dataclass(frozen=True)
class Graded:
    """A result with what comes back through it.

    Args:
        value: the result itself.
        gradients: by the argument's name; None where the result carries no gradient to it.
    """

    value: Any
    gradients: dict[str, Tensor | None]


def graded(exercise: Exercise, function: Callable, arguments: Arguments) -> Graded:
    """Call ``function`` and differentiate its result; what it changes in place is written into ``arguments``."""
    names = (*exercise.gradient_of, *exercise.no_gradient_of)
    named = exercise.named(arguments)
    leaves = {name: _leaf(exercise, name, named.get(name)) for name in names}
    # Copies with a gradient, so that an in-place change is no error of PyTorch's, and can be told as what it is.
    with torch.enable_grad():
        given = {name: leaf.clone() for name, leaf in leaves.items()}
        value = apply(partial(exercise.outcome_fn, function), _replaced(exercise, arguments, given))
        changed = [name for name, tensor in given.items() if not same_bits(leaves[name], tensor)]
        for name in changed:
            named[name].set_(given[name].detach().clone().to(named[name].dtype))
        if changed:  # that is the complaint; what was saved for a gradient is no longer what it was
            return Graded(value, dict.fromkeys(names))
        parts = [part for part in _tensors(value) if part.requires_grad]
        if not parts:
            return Graded(value, dict.fromkeys(names))
        total = torch.stack([(part * _weights(part)).sum().double() for part in parts]).sum()
        found = torch.autograd.grad(total, list(leaves.values()), allow_unused=True)
    return Graded(value, dict(zip(names, found, strict=True)))


def gradient_complaint(exercise: Exercise, expected: Graded, got: Graded) -> str:
    """What is wrong with the gradients of a right value, "" if nothing is."""
    for name in exercise.gradient_of:
        wanted, found = expected.gradients[name], got.gradients[name]
        if wanted is None or (found is None and not wanted.any()):
            continue
        if found is None:
            return (
                f"your result carries no gradient to {name}: .item(), float(), torch.no_grad() or .detach() cut it "
                f"off, so nothing could be trained with it"
            )
        if complaint := difference(wanted, found, LOOSER * exercise.tolerance):
            return f"the value is right, and its gradient with respect to {name}{_of(got.value)} is not: {complaint}"
    for name in exercise.no_gradient_of:
        found = got.gradients[name]
        if found is not None and found.any():
            return f"the value is right, but a gradient flows into {name}, which must stay as it is: {name}.detach()"
    return ""


def _of(value: Any) -> str:
    """What was differentiated, where the result is no scalar."""
    if isinstance(value, Tensor) and value.numel() == 1:
        return ""
    return ", of the sum of what you returned with weights that rise from 1 to 2,"


def alike(one: Graded, other: Graded, tolerance: float) -> bool:
    """True if both carry the same gradients, and none to the same arguments."""
    for name, wanted in one.gradients.items():
        found = other.gradients[name]
        if wanted is None or found is None:
            rest = found if wanted is None else wanted
            if rest is not None and rest.any():
                return False
        elif difference(wanted, found, LOOSER * tolerance):
            return False
    return True


def _leaf(exercise: Exercise, name: str, value: Any) -> Tensor:
    if not isinstance(value, Tensor) or not value.is_floating_point():
        raise TypeError(f"exercise {exercise.id}: gradient_of names {name}, which is no tensor of floats")
    return value.detach().clone().requires_grad_()


def _replaced(exercise: Exercise, arguments: Arguments, new: dict[str, Tensor]) -> Arguments:
    if isinstance(arguments, dict):
        return {**arguments, **new}
    names = exercise.named(arguments)
    return tuple(new.get(name, value) for name, value in zip(names, arguments, strict=True))


def _tensors(value: Any) -> list[Tensor]:
    if isinstance(value, Tensor):
        return [value] if value.is_floating_point() else []
    if isinstance(value, dict):
        value = list(value.values())
    return [tensor for item in value for tensor in _tensors(item)] if isinstance(value, list | tuple) else []


def _weights(part: Tensor) -> Tensor:
    if part.numel() <= 1:
        return torch.ones_like(part)
    return torch.linspace(1, 2, part.numel(), dtype=part.dtype).view(part.shape)
