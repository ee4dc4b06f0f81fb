"""What the losses on features ask of their arguments and promise of their value.

Half precision is computed in float32, also under autocast, which would hand matrix products to half precision; float64
stays. The teacher's side never gets a gradient. A loss that is not finite is refused with its cause: the search for it
costs time, so it begins only once the value is known to be broken.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps

import torch
from torch import Tensor


def full_precision(loss: Callable[..., Tensor]) -> Callable[..., Tensor]:
    """Decorates a loss of (student, teacher, …): it runs outside autocast, and refuses what is no tensor.

    >>> full_precision(lambda student, teacher: (student @ teacher).sum())(torch.ones(1, 2), torch.ones(2, 1)).item()
    2.0
    """

    @wraps(loss)
    def run(student: Tensor, teacher: Tensor, **options: object) -> Tensor:
        if not isinstance(student, Tensor) or not isinstance(teacher, Tensor):
            raise TypeError(f"student and teacher must be tensors, got {type(student)} and {type(teacher)}")
        with torch.autocast(student.device.type, enabled=False):
            return loss(student, teacher, **options)

    return run


def wide(name: str, features: Tensor, ndim: int | None) -> Tensor:
    """The features, checked, and at least float32.

    Args:
        name: what an error calls them.
        features: (B, …), not empty.
        ndim: 4 for (B, C, H, W), 2 for (B, D), None for two or more.
    Raises: ValueError for integers, other dimensions or an empty tensor.

    >>> wide("student", torch.ones(1, 2, dtype=torch.float16), 2).dtype
    torch.float32
    """
    if not features.is_floating_point():
        raise ValueError(f"{name} must be floating point, got {features.dtype}")
    wanted = {4: "(B, C, H, W)", 2: "(B, D)", None: "(B, …)"}[ndim]
    if (features.ndim != ndim if ndim else features.ndim < 2) or features.numel() == 0:
        raise ValueError(f"{name} must be {wanted} and not empty, got {tuple(features.shape)}")
    return features.float() if features.dtype in (torch.float16, torch.bfloat16) else features


def pair(student: Tensor, teacher: Tensor, *, ndim: int | None, least: int = 1) -> tuple[Tensor, Tensor]:
    """Both, checked; the teacher's without a gradient and in the student's precision.

    Args:
        student, teacher: features of the same images.
        ndim: as in ``wide``.
        least: the smallest batch in which there is something to compare.
    Raises: ValueError as ``wide``, or for unequal or too small batches.

    >>> student, teacher = pair(torch.ones(2, 3), torch.ones(2, 5, dtype=torch.float64), ndim=2)
    >>> tuple(student.shape), tuple(teacher.shape), teacher.dtype
    ((2, 3), (2, 5), torch.float32)
    """
    student, teacher = wide("student", student, ndim), wide("teacher", teacher, ndim).detach()
    if len(student) != len(teacher):
        raise ValueError(f"student and teacher must see the same batch, got {len(student)} and {len(teacher)} images")
    if len(student) < least:
        raise ValueError(f"at least {least} images are needed to compare their relations, got {len(student)}")
    return student, teacher.to(student.dtype)


def finite(value: Tensor, **inputs: Tensor) -> Tensor:
    """The loss as it is; if it is NaN or infinite, the reason why.

    Args:
        value: scalar.
        inputs: name → (B, …), what the loss was computed from.
    Raises: ValueError: the value is not finite; it names the input that is to blame, or how large the inputs are.

    >>> finite(torch.tensor(0.5), student=torch.ones(1, 2)).item()
    0.5
    """
    if not value.isfinite():
        for name, x in inputs.items():
            if broken := int((~x.isfinite()).flatten(1).any(1).sum()):
                raise ValueError(f"{name} must be finite, got NaN or ±inf in {broken} of {len(x)} rows")
        sizes = ", ".join(f"{name} up to {x.detach().abs().max():.3g}" for name, x in inputs.items())
        raise ValueError(f"the loss overflowed: {sizes}")
    return value
