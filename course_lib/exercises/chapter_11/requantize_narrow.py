"""11.4, its mistakes of one family: the product is made, or shifted, in the 32 bits of the accumulator."""

from __future__ import annotations

import numpy as np

from course_lib.exercises.chapter_11.requantize import coded, ex
from course_lib.quantization.integer import shift_half_even


@ex.mistake("Your product overflows 32 bits: an int32 array times a Python integer stays int32. Widen acc to int64.")
def narrow_product(acc: np.ndarray, multiplier: int, shift: int, zero_point: int, low: int) -> np.ndarray:
    product = (acc.astype(np.int64) * multiplier).astype(np.int32).astype(np.int64)
    return coded(shift_half_even(product, 31 + shift), zero_point, low)


@ex.mistake(
    "acc is not widened: acc * multiplier stays int32 and wraps, and a shift of an int32 by 31 bits and more leaves 0 "
    "or −1. Widen first: acc.astype(np.int64) * multiplier."
)
def not_widened(acc: np.ndarray, multiplier: int, shift: int, zero_point: int, low: int) -> np.ndarray:
    product, bits = acc * multiplier, 31 + shift
    whole = product >> bits
    rest, half = product - (whole << bits), 1 << (bits - 1)
    return coded(whole + ((rest > half) | ((rest == half) & (whole % 2 == 1))), zero_point, low)


@ex.mistake(
    "acc is not widened: acc * multiplier stays int32, which wraps and cannot hold the half that you add. "
    "Widen first: acc.astype(np.int64) * multiplier."
)
def half_added_narrow(acc: np.ndarray, multiplier: int, shift: int, zero_point: int, low: int) -> np.ndarray:
    return coded((acc * multiplier + (1 << (30 + shift))) >> (31 + shift), zero_point, low)


@ex.mistake("acc is not widened: acc * multiplier stays int32 and wraps. First of all: acc.astype(np.int64).")
def shifted_narrow(acc: np.ndarray, multiplier: int, shift: int, zero_point: int, low: int) -> np.ndarray:
    return coded((acc * multiplier) >> (31 + shift), zero_point, low)
