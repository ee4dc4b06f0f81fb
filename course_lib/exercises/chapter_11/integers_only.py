"""What the rules of this chapter's exercises share: codes of 8 bits, and no float on the way to them."""

from __future__ import annotations

import numpy as np


class FloatUsed(Exception):
    """An array of floats was made of the accumulators."""


class Watched(np.ndarray):
    """An array that refuses to become floats, of any width."""

    def __array_finalize__(self, source: object) -> None:
        if self.dtype.kind in "fc":
            raise FloatUsed(str(self.dtype))


def not_uint8(found: object) -> str | None:
    """What to say of a result of another type; None for codes of 8 bits.

    >>> not_uint8(np.zeros(2, np.uint8)), not_uint8([1])
    (None, 'the result is list, and must be uint8: end with .astype(np.uint8), after the clamp')
    """
    kind = str(getattr(found, "dtype", type(found).__name__))
    wrong = f"the result is {kind}, and must be uint8: end with .astype(np.uint8), after the clamp"
    return None if kind == "uint8" else wrong
