"""Values in words: short, exact enough to tell two apart, and never an error.

A learner recomputes a failure from its text, so arguments are written out in full where they fit. Two values that
differ never look the same: digits are added until the texts differ.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from decimal import Decimal
from fractions import Fraction
from itertools import islice
from typing import Any

import numpy as np
import torch

SHOWN = 8
"""Elements of an array that are written out inside a sentence."""
FULL = 36
"""Elements of an array that are written out among the arguments."""
LONGEST = 160
DIGITS = 6
_MORE_DIGITS = (DIGITS, 8, 10, 13, 17)
_DEEPEST = 4
_ADDRESS = re.compile(r" at 0x[0-9a-fA-F]+")
"""Where an object lies differs from run to run, and a verdict must not."""


def describe(value: Any, digits: int | None = DIGITS, elements: int = SHOWN) -> str:
    """A short text: small arrays in full, large ones as shape, dtype and range; never raises.

    Args:
        value: anything, also an object whose own ``__repr__`` fails.
        digits: significant digits of numbers; None: so many that numbers outside of arrays are told exactly.
        elements: arrays and lists up to this size are written out.

    >>> describe(1 / 3), describe(np.array([1.0, 2.0])), describe((0.1, 1 - 2.0**-40), digits=None)
    ('0.333333', 'array([1., 2.])', '(0.1, 0.9999999999990905)')
    """
    try:
        return _text(value, digits, elements, 0)
    except Exception:  # a learner's own __repr__, __len__, a tensor without values
        return f"an object of class {type(value).__name__}"


def describe_two(expected: Any, got: Any, elements: int = SHOWN) -> tuple[str, str]:
    """Both texts, with as many digits as it takes to tell them apart.

    >>> describe_two(0.1, 0.1 + 1e-9)
    ('0.1', '0.100000001')
    """
    one = other = ""
    for digits in _MORE_DIGITS:
        one, other = describe(expected, digits, elements), describe(got, digits, elements)
        if one != other:
            return one, other
    if _kind(expected) != _kind(got):
        return f"{one} ({_kind(expected)})", f"{other} ({_kind(got)})"
    return _around_the_difference(str(expected), str(got))


def written_out(value: Any) -> bool:
    """True if the arguments' text holds the whole value, so that a reader could type it in."""
    if isinstance(value, torch.nn.Module):
        return False
    if isinstance(value, torch.Tensor | np.ndarray):
        return int(np.prod(value.shape)) <= FULL
    if isinstance(value, Mapping):
        return len(value) <= SHOWN and all(written_out(item) for item in value.values())
    if isinstance(value, list | tuple):
        return len(value) <= FULL and all(written_out(item) for item in value)
    return isinstance(value, bool | int | float | complex | str | bytes | np.generic | slice | torch.dtype | None)


def size(value: Any) -> int:
    """How much there is to read: numbers in arrays, parameters of a module, items of lists and dicts.

    >>> size((np.zeros((2, 3)), [1, 2], 0.5))
    9
    """
    if isinstance(value, torch.nn.Module):
        return sum(parameter.numel() for parameter in value.parameters()) + 1
    if isinstance(value, torch.Tensor | np.ndarray):
        return int(np.prod(value.shape))
    if isinstance(value, Mapping):
        return sum(size(item) for item in value.values())
    if isinstance(value, list | tuple):
        return sum(size(item) for item in value)
    return 1


def as_array(value: Any) -> np.ndarray:
    """A tensor's or an array's values; sparse, quantized, conjugate and negative views are written out.

    Raises: TypeError: the tensor holds no values (device "meta").
    """
    if not isinstance(value, torch.Tensor):
        return np.asarray(value)
    value = value.detach()
    if value.is_meta:
        raise TypeError("a tensor on the device 'meta' holds no values")
    if value.layout is not torch.strided:
        value = value.to_dense()
    if value.is_quantized:
        value = value.dequantize()
    value = value.cpu().resolve_conj().resolve_neg()
    try:
        return value.numpy()
    except TypeError:  # bfloat16, float8, half complex
        return value.to(torch.complex64 if value.is_complex() else torch.float32).numpy()


def bulky(value: Any) -> bool:
    """True for what takes much memory: a million items or more, 64 MB of numbers or more.

    >>> bulky([0] * 10**6), bulky(np.zeros(1000))
    (True, False)
    """
    if isinstance(value, torch.Tensor | np.ndarray):
        return int(np.prod(value.shape)) * value.itemsize >= 2**26
    return isinstance(value, list | tuple | Mapping | str | bytes | set) and len(value) >= 10**6


def _text(value: Any, digits: int | None, elements: int, depth: int) -> str:
    if isinstance(value, torch.Tensor | np.ndarray):
        return _array_text(value, digits or DIGITS, elements)
    if isinstance(value, np.floating) and not isinstance(value, float) and digits is None:
        return str(value)  # a float32's own digits; as a Python float it would have 17
    if isinstance(value, np.generic):
        return _text(value.item(), digits, elements, depth)
    if isinstance(value, float):
        text = f"{value:.{digits or DIGITS}g}"
        return text if digits is not None or float(text) == value else repr(value)
    if isinstance(value, Fraction | Decimal):
        return str(value)
    if depth >= _DEEPEST and isinstance(value, Mapping | list | tuple):
        return "…"
    if isinstance(value, Mapping):
        items = [f"{key!r}: {_text(item, digits, elements, depth + 1)}" for key, item in islice(value.items(), 9)]
        return _shorten("{" + ", ".join([*items, *(["…"] if len(value) > 9 else [])]) + "}", elements)
    if isinstance(value, tuple | list):
        most = max(elements, 9)
        items = [_text(item, digits, elements, depth + 1) for item in value[:most]]
        inside = ", ".join([*items, *(["…"] if len(value) > most else [])])
        comma = "," if isinstance(value, tuple) and len(value) == 1 else ""  # ("a") is no tuple
        return _shorten(f"[{inside}]" if isinstance(value, list) else f"({inside}{comma})", elements)
    return _shorten(_ADDRESS.sub("", " ".join(repr(value).split())), elements)


def _array_text(value: torch.Tensor | np.ndarray, digits: int, elements: int) -> str:
    kind = "tensor" if isinstance(value, torch.Tensor) else "array"
    array = as_array(value)
    if array.dtype == np.float16:
        array = array.astype(np.float32)  # its own shortest text is 2.3 for 2.30078
    if array.ndim == 0:
        return f"{array.item():.{digits}g}" if array.dtype.kind == "f" else repr(array.item())
    if array.size <= elements:
        text = np.array2string(
            array, precision=digits - 1, separator=", ", threshold=10**6, max_line_width=10**6, floatmode="maxprec"
        )
        return f"{kind}({' '.join(text.split())})"
    extent = f", values from {array.min():.4g} to {array.max():.4g}" if array.dtype.kind in "iuf" else ""
    return f"{kind} of shape {tuple(array.shape)}, {str(value.dtype).removeprefix('torch.')}{extent}"


def _around_the_difference(one: str, other: str) -> tuple[str, str]:
    """Two long texts, cut to where they begin to differ."""
    one, other = (_ADDRESS.sub("", " ".join(text.split())) for text in (one, other))
    same = next((i for i, (a, b) in enumerate(zip(one, other, strict=False)) if a != b), min(len(one), len(other)))
    start = max(0, same - 30)
    cut = [
        f"{'…' if start else ''}{text[start : start + 100]}{'…' if len(text) > start + 100 else ''}"
        for text in (one, other)
    ]
    return cut[0], cut[1]


def _kind(value: Any) -> str:
    dtype = getattr(value, "dtype", None)
    return type(value).__name__ + (f" of {str(dtype).removeprefix('torch.')}" if dtype is not None else "")


def _shorten(text: str, elements: int) -> str:
    longest = LONGEST if elements <= SHOWN else 3 * LONGEST
    return text if len(text) <= longest else text[: longest - 1] + "…"
