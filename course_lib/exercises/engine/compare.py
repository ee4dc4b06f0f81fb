"""Are two results the same, and if not, where do they differ, in words a learner can use?

Results come in all shapes: a float, a 0-d tensor, a NumPy array, a tuple of both, a dict, a model. Learners should not
fail over a container: numbers, arrays, tensors and lists of numbers are compared by shape and value, tuples and lists
element by element, dicts key by key, modules by structure and state. Integers must agree exactly; floats may differ by

    |got − expected| ≤ tolerance · (|expected| + mean|expected|) + 1e-7

where the second term forgives cancellation in an element that is small beside its neighbours. NaN equals NaN, and an
infinity equals itself. Where bits matter (integer codes), ``exactly`` demands the same dtype and every bit.
"""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch

LONGEST = 160


def difference(expected: Any, got: Any, tolerance: float = 1e-4) -> str | None:
    """The first difference in words, or None if ``got`` is as good as ``expected``.

    Args:
        expected: the reference's result.
        got: the learner's result.
        tolerance: relative error allowed to floats; integers and strings must agree exactly.
    """
    expected, got = _plain(expected), _plain(got)
    if isinstance(expected, np.ndarray):
        return _array_difference(expected, got, tolerance)
    if isinstance(expected, Mapping):
        return _mapping_difference(expected, got, tolerance)
    if isinstance(expected, list):
        return _list_difference(expected, got, tolerance)
    if isinstance(expected, str) and isinstance(got, str):
        same = expected.strip().casefold() == got.strip().casefold()
    else:
        # Objects that can only be compared by identity, and show no attributes, count as equal.
        opaque = type(expected).__eq__ is object.__eq__ and not callable(expected)
        same = type(expected) is type(got) and (opaque or bool(expected == got))
    return None if same else f"expected {describe(expected)}, got {describe(got)}"


def exactly(expected: Any, got: Any, tolerance: float = 0.0) -> str | None:
    """Like ``difference`` with no tolerance; arrays and tensors must also have the same dtype."""
    for one, other in zip(_leaves(expected), _leaves(got), strict=False):
        wanted, found = getattr(one, "dtype", None), getattr(other, "dtype", None)
        if wanted is not None and str(wanted) != str(found):
            return f"expected dtype {wanted}, got {found or type(other).__name__}"
    return difference(expected, got, 0.0)


def same_bits(before: Any, after: Any) -> bool:
    """True if nothing in ``after`` was changed since ``before`` was copied from it."""
    return exactly(before, after) is None


def clone(value: Any) -> Any:
    """A deep copy; values that cannot be copied (a generator, an open session) are passed on as they are."""
    try:
        return copy.deepcopy(value)
    except (TypeError, RuntimeError, AttributeError):
        return value


def describe(value: Any) -> str:
    """A short text: small arrays in full, large ones as shape, dtype and range."""
    if isinstance(value, torch.Tensor | np.ndarray):
        kind = "tensor" if isinstance(value, torch.Tensor) else "array"
        array = _plain(value)
        if array.ndim == 0:
            return f"{array.item():.6g}" if array.dtype.kind == "f" else repr(array.item())
        if array.size <= 8:
            return f"{kind}({np.array2string(array, precision=5, separator=', ')})".replace("\n", "")
        extent = f", values from {array.min():.4g} to {array.max():.4g}" if array.dtype.kind in "iuf" else ""
        return f"{kind} of shape {tuple(array.shape)}, {str(value.dtype).removeprefix('torch.')}{extent}"
    if isinstance(value, float):
        return f"{value:.6g}"
    if isinstance(value, np.generic):
        return describe(value.item())
    if isinstance(value, Mapping):
        return _shorten("{" + ", ".join(f"{key!r}: {describe(item)}" for key, item in value.items()) + "}")
    if isinstance(value, tuple | list):
        inside = ", ".join(describe(item) for item in value[:9]) + (", …" if len(value) > 9 else "")
        return _shorten(f"[{inside}]" if isinstance(value, list) else f"({inside})")
    try:
        return _shorten(" ".join(repr(value).split()))
    except Exception:  # a learner's own __repr__
        return f"an object of class {type(value).__name__}"


def _plain(value: Any) -> Any:
    """Tensors and numbers as arrays, sequences as lists, modules and dataclasses as dicts; the rest unchanged."""
    if isinstance(value, torch.Tensor):
        value = value.detach().cpu()
        return (value.float() if value.dtype == torch.bfloat16 else value).resolve_conj().numpy()
    if isinstance(value, bool | int | float | complex | np.ndarray | np.generic):
        return np.asarray(value)
    if isinstance(value, torch.nn.Module):
        return {"layers": str(value), **value.state_dict()}
    if isinstance(value, list | tuple):
        return list(value)
    if hasattr(value, "__dict__") and type(value).__eq__ is object.__eq__ and not callable(value):
        return {"class": type(value).__name__, **vars(value)}
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {field.name: getattr(value, field.name) for field in dataclasses.fields(value)}
    return value


def _array_difference(expected: np.ndarray, got: Any, tolerance: float) -> str | None:
    shown = f"expected {describe(expected)}, got {describe(got)}"
    try:
        got = np.asarray([_plain(item) for item in got]) if isinstance(got, list) else np.asarray(got)
    except ValueError:
        return shown
    if got.dtype.kind not in "biufc" or expected.dtype.kind not in "biufc":
        return None if got.shape == expected.shape and (got == expected).all() else shown
    if got.shape != expected.shape:
        return f"expected shape {expected.shape}, got shape {got.shape}"
    if expected.dtype.kind in "biu":
        wrong = got != expected
    else:
        finite = np.abs(expected[np.isfinite(expected)])
        allowed = tolerance * float(finite.mean() if finite.size else 0.0) + (1e-7 if tolerance else 0.0)
        wrong = ~np.isclose(got, expected, rtol=tolerance, atol=allowed, equal_nan=True)
    if not wrong.any():
        return None
    if expected.size <= 8:
        return shown
    at = tuple(int(i) for i in np.argwhere(wrong)[0])
    return (
        f"{int(wrong.sum())} of {wrong.size} elements differ; at {list(at)} expected "
        f"{describe(expected[at])}, got {describe(got[at])}"
    )


def _mapping_difference(expected: Mapping, got: Any, tolerance: float) -> str | None:
    if not isinstance(got, Mapping) or set(got) != set(expected):
        keys = list(got) if isinstance(got, Mapping) else type(got).__name__
        return f"expected a dict with keys {list(expected)}, got {keys}"
    for key, value in expected.items():
        found = difference(value, got[key], tolerance)
        if found:
            return f"{key!r}: {found}"
    return None


def _list_difference(expected: list, got: Any, tolerance: float) -> str | None:
    got = list(got) if isinstance(got, np.ndarray) and got.ndim else got
    if not isinstance(got, list) or len(got) != len(expected):
        count = f"{len(got)} values" if isinstance(got, list) else describe(got)
        return f"expected {len(expected)} values, got {count}"
    for index, (one, other) in enumerate(zip(expected, got, strict=True)):
        found = difference(one, other, tolerance)
        if found:
            return f"value {index + 1} of {len(expected)}: {found}"
    return None


def _leaves(value: Any) -> list[Any]:
    if isinstance(value, torch.nn.Module):
        value = value.state_dict()
    if isinstance(value, Mapping):
        value = [value[key] for key in sorted(value, key=repr)]
    if isinstance(value, list | tuple):
        return [leaf for item in value for leaf in _leaves(item)]
    return [value]


def _shorten(text: str) -> str:
    return text if len(text) <= LONGEST else text[: LONGEST - 1] + "…"
