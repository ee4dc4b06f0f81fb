"""Numbers and words as arguments. Only the standard library: recipes and commands are checked before anything loads."""

from __future__ import annotations

import math
import operator
from collections.abc import Iterable
from numbers import Real


def whole(name: str, value: object, *, least: int | None = None, most: int | None = None) -> int:
    """A whole number in ``least``..``most``.

    Raises: TypeError: no whole number; True and 2.0 are none. ValueError: out of range.

    >>> whole("epochs", 3, least=1)
    3
    >>> whole("epochs", 1.5, least=1)
    Traceback (most recent call last):
    TypeError: epochs must be a whole number, got 1.5
    """
    if isinstance(value, bool) or not hasattr(value, "__index__"):
        raise TypeError(f"{name} must be a whole number, got {value!r}")
    found = operator.index(value)  # pyright: ignore[reportArgumentType]  # it has __index__
    if least is not None and found < least:
        raise ValueError(f"{name} must be at least {least}, got {found}")
    if most is not None and found > most:
        raise ValueError(f"{name} must be at most {most}, got {found}")
    return found


def number(
    name: str,
    value: object,
    *,
    least: float | None = None,
    above: float | None = None,
    most: float | None = None,
    below: float | None = None,
) -> float:
    """A finite number in the range that the bounds leave.

    Args: least, most: belong to the range. above, below: do not.
    Raises: TypeError: no number; True is none. ValueError: out of range, infinite or NaN.

    >>> number("temperature", 4, above=0)
    4.0
    >>> number("alpha", float("nan"), least=0, most=1)
    Traceback (most recent call last):
    ValueError: alpha must be a number in [0, 1], got nan
    """
    if isinstance(value, bool) or not (isinstance(value, Real) or _is_scalar(value)):
        raise TypeError(f"{name} must be a number, got {value!r}")
    found = float(value)  # pyright: ignore[reportArgumentType]  # it is a number
    low, high = -math.inf if least is None else least, math.inf if most is None else most
    inside = math.isfinite(found) and low <= found <= high
    if not inside or (above is not None and found <= above) or (below is not None and found >= below):
        raise ValueError(f"{name} must be a number{_range(least, above, most, below)}, got {value}")
    return found


def one_of(name: str, value: object, known: Iterable[object]) -> None:
    """Raises: ValueError: the value is none of those that are known."""
    known = tuple(known)
    if value not in known:
        raise ValueError(f"{name} must be one of {', '.join(map(repr, known))}, got {value!r}")


def _is_scalar(value: object) -> bool:
    """A NumPy or PyTorch scalar: one number without an axis."""
    return getattr(value, "shape", None) == () and hasattr(value, "__float__")


def _range(least: float | None, above: float | None, most: float | None, below: float | None) -> str:
    if least is None and above is None and most is None and below is None:
        return " and finite"
    low = "(-∞" if least is None and above is None else f"[{least:g}" if least is not None else f"({above:g}"
    high = "∞)" if most is None and below is None else f"{most:g}]" if most is not None else f"{below:g})"
    return f" in {low}, {high}"
