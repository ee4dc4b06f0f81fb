"""Tensors and arrays as arguments: their kind, their shape, and whether there is a number in each place."""

from __future__ import annotations

from typing import Any, TypeVar

Array = TypeVar("Array")


def tensor(name: str, value: Array, *, floating: bool = False) -> Array:
    """A PyTorch tensor, of floats where that is asked.

    Raises: TypeError: it is none.
    """
    import torch

    if not isinstance(value, torch.Tensor):
        raise TypeError(f"{name} must be a tensor, got {type(value).__name__}")
    if floating and not value.is_floating_point():
        raise TypeError(f"{name} must hold floats, got {value.dtype}")
    return value


def shaped(name: str, value: Array, *axes: str | int) -> Array:
    """An array with these axes: a number for an axis of that size, a letter for one of any size, "…" for any number.

    Raises: ValueError: another number of axes, or another size.

    >>> import numpy as np
    >>> _ = shaped("logits", np.zeros((2, 3)), "B", "C")
    >>> _ = shaped("images", np.zeros((2, 3, 8, 8)), "N", 3, "…")
    >>> shaped("logits", np.zeros(3), "B", "C")
    Traceback (most recent call last):
    ValueError: logits must be (B, C), got (3,)
    """
    shape = tuple(_of(value).shape)
    fixed = [axis for axis in axes if axis != "…"]
    fits = len(shape) == len(axes) if "…" not in axes else len(shape) >= len(fixed)
    if not fits or any(isinstance(axis, int) and size != axis for axis, size in zip(axes, shape, strict=False)):
        raise ValueError(f"{name} must be ({', '.join(map(str, axes))}{',' * (len(axes) == 1)}), got {shape}")
    return value


def non_empty(name: str, value: Array) -> Array:
    """An array of at least one number. Raises: ValueError: it is empty."""
    shape = tuple(_of(value).shape)
    if 0 in shape:
        raise ValueError(f"{name} must not be empty, got shape {shape}")
    return value


def finite(name: str, value: Array) -> Array:
    """An array without infinities and NaN; whole numbers always are.

    Raises: ValueError: says how many are not.

    >>> import torch
    >>> finite("x", torch.tensor([1.0, float("nan")]))
    Traceback (most recent call last):
    ValueError: x must be finite: 1 of its 2 values are not
    """
    wrong = _not_finite(_of(value))
    if wrong:
        raise ValueError(f"{name} must be finite: {wrong} of its {_size(_of(value))} values are not")
    return value


def matching(first: str, a: Any, second: str, b: Any) -> None:
    """Raises: ValueError: two arrays that belong together are not of one shape."""
    if tuple(a.shape) != tuple(b.shape):
        raise ValueError(f"{first} and {second} must have one shape, got {tuple(a.shape)} and {tuple(b.shape)}")


def _of(value: Any) -> Any:
    return value


def _size(value: Any) -> int:
    return value.numel() if hasattr(value, "numel") else value.size


def _not_finite(value: Any) -> int:
    import numpy as np

    if isinstance(value, np.ndarray):
        return 0 if value.dtype.kind not in "fc" else int((~np.isfinite(value)).sum())
    import torch

    return 0 if not (value.is_floating_point() or value.is_complex()) else int((~torch.isfinite(value)).sum())


def tensors(**values: object) -> None:
    """Raises: TypeError: naming the first of these arguments that is no PyTorch tensor.

    >>> tensors(logits=[0.5, 0.5])
    Traceback (most recent call last):
    TypeError: logits must be a tensor, got list
    """
    for name, value in values.items():
        tensor(name, value)


def numeric(name: str, value: Any) -> Any:
    """The value as a NumPy array of numbers.

    Raises: TypeError: it is none, such as text or None.

    >>> numeric("scores", [1, 2.5]).tolist()
    [1.0, 2.5]
    """
    import numpy as np

    found = np.asarray(value)
    if found.dtype.kind not in "biuf":
        raise TypeError(f"{name} must hold numbers, got {found.dtype if found.ndim else repr(value)}")
    return found
