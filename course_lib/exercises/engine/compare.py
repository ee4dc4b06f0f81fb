"""Are two results the same, and if not, where do they differ, in words a learner can use?

Results come in all shapes: a float, a 0-d tensor, a NumPy array, a tuple of both, a dict, a model. Learners should not
fail over a container: numbers, arrays, tensors and lists of numbers are compared by shape and value, tuples and lists
element by element, dicts key by key, modules by structure and state. Integers must agree exactly; floats may differ by

    |got − expected| ≤ tolerance · (|expected| + mean|expected|) + 1e-7

where the second term forgives cancellation in an element that is small beside its neighbours, and the third rounding
errors around 0. NaN equals NaN, and an infinity equals itself. ``relatively`` drops both, for values that span many
powers of ten. Where bits matter (integer codes), ``exactly`` demands
the same dtype and every bit. Only numbers equal numbers: an object that claims to equal everything equals nothing.
"""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Callable, Mapping, Set
from decimal import Decimal
from fractions import Fraction
from typing import Any

import numpy as np
import torch

from course_lib.exercises.engine.describe import SHOWN, as_array, describe, describe_two

ROUNDING = 1e-7
"""What ``difference`` forgives around 0."""
_NUMBERS = "biufc"
Tolerances = Callable[[np.ndarray], float]


def difference(expected: Any, got: Any, tolerance: float = 1e-4) -> str | None:
    """The first difference in words, or None if ``got`` is as good as ``expected``.

    Args:
        expected: the reference's result.
        got: the learner's result.
        tolerance: relative error allowed to floats; integers and strings must agree exactly.

    >>> difference(1.0, torch.tensor(1.00001)), difference((1, 2), [1, 3])
    (None, 'value 2 of 2: expected 2, got 3')
    """
    return _difference(expected, got, tolerance, lambda array: tolerance * _scale(array) + ROUNDING)


def relatively(expected: Any, got: Any, tolerance: float = 1e-4) -> str | None:
    """Like ``difference``, with each number's own size as the only scale: for values over many powers of ten.

    >>> relatively([1.0, 1e-9], [1.0, 2e-9])
    'value 2 of 2: expected 1e-09, got 2e-09'
    """
    return _difference(expected, got, tolerance, lambda array: 0.0)


def exactly(expected: Any, got: Any, tolerance: float = 0.0) -> str | None:
    """Like ``difference`` with no tolerance; arrays and tensors must also have the same dtype.

    >>> exactly(torch.tensor([1]), torch.tensor([1.0]))
    'expected dtype torch.int64, got torch.float32'
    """
    for one, other in zip(_leaves(expected), _leaves(got), strict=False):
        wanted, found = getattr(one, "dtype", None), getattr(other, "dtype", None)
        if wanted is not None and str(wanted) != str(found):
            return f"expected dtype {wanted}, got {found or type(other).__name__}"
    return _difference(expected, got, 0.0, lambda array: 0.0)


def as_mask(expected: Any, got: Any, tolerance: float = 0.0) -> str | None:
    """Like ``difference``, for masks: right places that are not Boolean are no mask, for ``~mask`` gives numbers.

    >>> as_mask(torch.tensor([True, False]), torch.tensor([1.0, 0.0]))
    'right places, expected as bool, got as float32: of numbers ~mask is no mask'
    """
    found = difference(expected, got, tolerance)
    if found:
        return found
    kinds = (getattr(one, "dtype", None) or np.asarray(one).dtype for one in (expected, got))
    wanted, seen = (str(kind).removeprefix("torch.") for kind in kinds)
    same = (wanted == "bool") == (seen == "bool")
    return None if same else f"right places, expected as {wanted}, got as {seen}: of numbers ~mask is no mask"


def as_indices(expected: Any, got: Any, tolerance: float = 0.0) -> str | None:
    """Like ``difference``, for positions: numbers with a point index nothing.

    >>> as_indices([4, 5], [4.0, 5.0])
    'right positions, but with a decimal point: an index is an integer'
    """
    found = difference(expected, got, tolerance)
    if found:
        return found
    items = got.flatten().tolist() if hasattr(got, "flatten") else got
    return (
        "right positions, but with a decimal point: an index is an integer"
        if any(isinstance(item, float) for item in items)
        else None
    )


def same_bits(before: Any, after: Any) -> bool:
    """True if nothing in ``after`` was changed since ``before`` was copied from it."""
    return exactly(before, after) is None


def clone(value: Any) -> Any:
    """A deep copy; values that cannot be copied (a generator, an open session) are passed on as they are."""
    try:
        return copy.deepcopy(value)
    except (TypeError, RuntimeError, AttributeError):
        return value


def _difference(expected: Any, got: Any, tolerance: float, allowed: Tolerances) -> str | None:
    expected, got = _plain(expected), _plain(got)
    if isinstance(expected, np.ndarray):
        return _array_difference(expected, got, tolerance, allowed)
    if isinstance(expected, Mapping):
        return _mapping_difference(expected, got, tolerance, allowed)
    if isinstance(expected, list):
        return _list_difference(expected, got, tolerance, allowed)
    if isinstance(expected, str) and isinstance(got, str):
        same = expected.strip().casefold() == got.strip().casefold()
    else:
        # Objects that can only be compared by identity, and show no attributes, count as equal.
        opaque = type(expected).__eq__ is object.__eq__ and not callable(expected)
        same = type(expected) is type(got) and (opaque or bool(expected == got))
    return None if same else _shown(expected, got)


def _plain(value: Any) -> Any:
    """Tensors and numbers as arrays, sequences as lists, modules and dataclasses as dicts; the rest unchanged."""
    if isinstance(value, np.str_):
        return str(value)
    if isinstance(value, torch.Tensor | np.ndarray | np.generic | bool | int | float | complex):
        return list(value.unbind()) if isinstance(value, torch.Tensor) and value.is_nested else as_array(value)
    if isinstance(value, Fraction | Decimal):
        return np.asarray(float(value))
    if isinstance(value, torch.nn.Module):
        return {"layers": str(value), **value.state_dict()}
    if isinstance(value, list | tuple):
        return list(value)
    if hasattr(value, "__dict__") and type(value).__eq__ is object.__eq__ and not callable(value):
        return {"class": type(value).__name__, **vars(value)}
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {field.name: getattr(value, field.name) for field in dataclasses.fields(value)}
    return value


def _scale(array: np.ndarray) -> float:
    finite = np.abs(array[np.isfinite(array)])
    return float(finite.mean()) if finite.size else 0.0


def _shown(expected: Any, got: Any) -> str:
    one, other = describe_two(expected, got)
    return f"expected {one}, got {other}"


def _array_difference(expected: np.ndarray, got: Any, tolerance: float, allowed: Tolerances) -> str | None:
    if expected.dtype.kind not in _NUMBERS:
        return _objects_difference(expected, got)
    array = _numbers(got, expected.shape)
    if array is None:
        return _shown(expected, got)
    if array.shape != expected.shape:
        return f"expected shape {expected.shape}, got shape {array.shape}"
    if expected.dtype.kind in "biu":
        wrong = array != expected
    else:
        wrong = ~np.isclose(array, expected, rtol=tolerance, atol=allowed(expected), equal_nan=True)
    if not wrong.any():
        return None
    if expected.size <= SHOWN:
        return _shown(expected, array)
    at = tuple(int(i) for i in np.argwhere(wrong)[0])
    one, other = describe_two(expected[at], array[at])
    return f"{int(wrong.sum())} of {wrong.size} elements differ; at {list(at)} expected {one}, got {other}"


def _numbers(got: Any, shape: tuple[int, ...]) -> np.ndarray | None:
    """``got`` as an array of numbers, or None if it is none; of a list no more is looked at than ``shape`` has."""
    if isinstance(got, np.ndarray) and got.dtype.kind == "O":
        got = got.tolist() if got.ndim else _plain(got.item())
    if isinstance(got, list):
        if not shape or len(got) != shape[0]:
            flat = len(got) <= SHOWN and all(isinstance(item, bool | int | float) for item in got)
            return np.asarray(got) if flat and got else None
        rows = [_numbers(_plain(item), shape[1:]) for item in got]
        if any(row is None for row in rows) or len({row.shape for row in rows if row is not None}) > 1:
            return None
        got = np.asarray(rows)
    return np.asarray(got) if isinstance(got, np.ndarray) and got.dtype.kind in _NUMBERS else None


def _objects_difference(expected: np.ndarray, got: Any) -> str | None:
    """Texts, dates and other objects in arrays: every element of the same class and equal."""
    items = got.tolist() if isinstance(got, np.ndarray) else got
    return None if _same_objects(expected.tolist(), items) else _shown(expected, got)


def _same_objects(expected: Any, got: Any) -> bool:
    if isinstance(expected, list):
        alike = isinstance(got, list) and len(got) == len(expected)
        return alike and all(_same_objects(one, other) for one, other in zip(expected, got, strict=True))
    return type(expected) is type(got) and bool(expected == got)


def _mapping_difference(expected: Mapping, got: Any, tolerance: float, allowed: Tolerances) -> str | None:
    if not isinstance(got, Mapping) or set(got) != set(expected):
        keys = f"a dict with keys {list(got)}" if isinstance(got, Mapping) else describe(got)
        return f"expected a dict with keys {list(expected)}, got {keys}"
    for key, value in expected.items():
        found = _difference(value, got[key], tolerance, allowed)
        if found:
            return f"{key!r}: {found}"
    return None


def _list_difference(expected: list, got: Any, tolerance: float, allowed: Tolerances) -> str | None:
    if isinstance(got, Set | Mapping):
        return f"expected {_values(expected)} in order, got a {type(got).__name__}: {describe(got)}"
    if not isinstance(got, list) and not (isinstance(got, np.ndarray) and got.ndim):
        return f"expected {_values(expected)}, got one: {describe(got)}"
    if len(got) != len(expected):
        return f"expected {_values(expected)}, got {_values(got)}"
    for index, (one, other) in enumerate(zip(expected, got, strict=True)):
        found = _difference(one, other, tolerance, allowed)
        if found:
            return f"value {index + 1} of {len(expected)}: {found}"
    return None


def _values(items: Any) -> str:
    return f"{len(items)} value{'' if len(items) == 1 else 's'}"


def _leaves(value: Any) -> list[Any]:
    if isinstance(value, torch.nn.Module):
        value = value.state_dict()
    if isinstance(value, Mapping):
        value = [value[key] for key in sorted(value, key=repr)]
    if isinstance(value, list | tuple):
        return [leaf for item in value for leaf in _leaves(item)]
    return [value]
