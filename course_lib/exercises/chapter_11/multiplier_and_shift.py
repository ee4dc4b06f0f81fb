"""11.3: a real factor as an integer multiplier and a shift."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from course_lib.exercises.engine.exercise import Exercise
from course_lib.quantization.integer import HardwareFactor

Pair = tuple[int, int]

ex = Exercise(
    "11.3",
    "A factor as multiplier and shift",
    points=2,
    hints=[
        "Double or halve the factor until it lies in ½ ≤ f < 1, and count: factor = f · 2^e. math.frexp(factor) gives "
        "f and e.",
        "f · 2^31 lies in 2^30 … 2^31; rounded, it is the multiplier. factor = f · 2^31 · 2^(−31 + e), so the shift is "
        "−e.",
        "Rounding may reach 2^31, one too many for an int32: then the multiplier is 2^30, and the shift one less.",
    ],
    explanation="""
        The first bit of the multiplier is always 1, so it has 31 significant bits and a relative error of at most
        2^−31, whatever the size of the factor. A fixed shift would spend bits on leading zeros. The library has this
        as `HardwareFactor.of`.
    """,
)


@ex.reference
def multiplier_and_shift(factor: float) -> Pair:
    """Integers m, s (not floats) with factor ≈ m · 2^(−31 − s) and 2^30 ≤ m < 2^31, m as near as it can be.

    factor: 2^−30 … 2^30. A factor of 1 or more has a shift below 0: to the left.
    """
    found = HardwareFactor.of(np.array(factor))
    return found.multiplier.item(), found.shift.item()


@ex.solution
def in_full(factor: float) -> Pair:
    """Integers m, s with factor ≈ m · 2^(−31 − s) and 2^30 ≤ m < 2^31, m as near as it can be."""
    fraction, exponent = math.frexp(factor)  # factor = fraction · 2^exponent, ½ ≤ fraction < 1
    multiplier = round(fraction * 2**31)
    if multiplier == 2**31:
        multiplier, exponent = 2**30, exponent + 1
    return multiplier, -exponent


@ex.case("by hand: 0.75 = 0.75 · 2^31 · 2^−31")
def by_hand() -> tuple[float]:
    return (0.75,)


@ex.case("0.3 = 0.6 · 2^−1")
def below_a_half() -> tuple[float]:
    return (0.3,)


@ex.case("a typical factor between two layers")
def typical() -> tuple[float]:
    return (0.0072,)


@ex.case("a power of two: the smallest multiplier")
def power_of_two() -> tuple[float]:
    return (0.25,)


@ex.case("exactly 1")
def one() -> tuple[float]:
    return (1.0,)


@ex.case("so little below 1 that m rounds up to 2^31")
def rounds_up() -> tuple[float]:
    return (1 - 2.0**-40,)


@ex.case("so little below ⅛ that m rounds up to 2^31")
def rounds_up_lower() -> tuple[float]:
    return (0.125 - 2.0**-45,)


@ex.case("above 1: a shift to the left")
def above_one() -> tuple[float]:
    return (5.3,)


@ex.case("far above 1")
def far_above_one() -> tuple[float]:
    return (1000.7,)


@ex.rule
def integers(fn: Callable[[float], Pair], factor: float) -> str | None:
    """1288490189.0 is a float: a chip without floats cannot hold it."""
    kinds = {name: np.asarray(value).dtype for name, value in zip("ms", fn(factor), strict=True)}
    wrong = [f"{name} is a {kind}" for name, kind in kinds.items() if kind.kind not in "iu"]
    return f"{' and '.join(wrong)}: both must be integers, as int(…) gives them" if wrong else None


@ex.inputs
def random_factor(rng: np.random.Generator) -> tuple[float]:
    return (float(2 ** rng.uniform(-14, 4)),)


def _pair(factor: float, bits: int) -> Pair:
    """A multiplier of so many bits, in the same form m · 2^(−bits − s)."""
    fraction, exponent = math.frexp(factor)
    multiplier = round(fraction * 2**bits)
    return (2 ** (bits - 1), -exponent - 1) if multiplier == 2**bits else (multiplier, -exponent)


@ex.mistake("Rounding up to 2^31 is not caught: it needs 32 bits and a sign. Take 2^30, and one less for the shift.")
def too_large(factor: float) -> Pair:
    fraction, exponent = math.frexp(factor)
    return round(fraction * 2**31), -exponent


@ex.mistake("You cut what rounds up to 2^31 down to 2^31 − 1. Nearer: 2^30, and one less for the shift.")
def cut(factor: float) -> Pair:
    fraction, exponent = math.frexp(factor)
    return min(round(fraction * 2**31), 2**31 - 1), -exponent


@ex.mistake("You cut the fraction of the multiplier off. Round it to the nearest integer: that halves the worst error.")
def truncated(factor: float) -> Pair:
    fraction, exponent = math.frexp(factor)
    return int(fraction * 2**31), -exponent


@ex.mistake("Your multiplier is factor · 2^31 with shift 0: a small factor loses bits. Normalize to ½ ≤ f < 1 first.")
def not_normalized(factor: float) -> Pair:
    return round(factor * 2**31), 0


@ex.mistake("The sign of the shift is turned round: a small factor shifts to the right, which counts above 0.")
def shift_negative(factor: float) -> Pair:
    multiplier, shift = _pair(factor, 31)
    return multiplier, -shift


@ex.mistake("Your shift counts the 31 in. The task has it apart: factor = m · 2^(−31 − s).")
def with_31(factor: float) -> Pair:
    multiplier, shift = _pair(factor, 31)
    return multiplier, shift + 31


@ex.mistake("Your multiplier is in 2^31 … 2^32: it does not fit into an int32. Normalize the factor to ½ ≤ f < 1.")
def thirty_two_bits(factor: float) -> Pair:
    multiplier, shift = _pair(factor, 32)
    return multiplier, shift + 1


@ex.mistake("Your multiplier is in 2^29 … 2^30: a bit is wasted. Its smallest value is 2^30.")
def thirty_bits(factor: float) -> Pair:
    multiplier, shift = _pair(factor, 30)
    return multiplier, shift - 1


@ex.mistake("Powers of two go wrong: ½ ≤ f < 1 holds ½ and not 1. With a logarithm that is floor(log2(factor)) + 1.")
def ceiling(factor: float) -> Pair:
    exponent = math.ceil(math.log2(factor))
    multiplier = round(math.ldexp(factor, 31 - exponent))
    return multiplier, -exponent


@ex.mistake("Your multiplier has the 24 bits of a float32, and zeros behind them. Use the float64 that you are given.")
def from_float32(factor: float) -> Pair:
    return _pair(float(np.float32(factor)), 31)


@ex.mistake("Your multiplier has 15 bits, as for an int16. Asked are 31.")
def sixteen_bits(factor: float) -> Pair:
    return _pair(factor, 15)


@ex.mistake("Your shift is never below 0. A factor of 1 or more needs one to the left.")
def never_left(factor: float) -> Pair:
    multiplier, shift = _pair(factor, 31)
    return (multiplier, shift) if shift >= 0 else (round(factor * 2**31), 0)


@ex.mistake("Multiplier and shift have changed places.")
def swapped(factor: float) -> Pair:
    multiplier, shift = _pair(factor, 31)
    return shift, multiplier


@ex.mistake("You returned the fraction and the exponent. Asked are two integers: the fraction is multiplied by 2^31.")
def fraction_alone(factor: float) -> tuple[float, int]:
    fraction, exponent = math.frexp(factor)
    return fraction, -exponent


@ex.alternative
def by_doubling(factor: float) -> Pair:
    shift = 0
    while factor < 0.5:
        factor, shift = 2 * factor, shift + 1
    while factor >= 1:
        factor, shift = factor / 2, shift - 1
    multiplier = int(factor * 2**31 + 0.5)
    return (multiplier // 2, shift - 1) if multiplier == 2**31 else (multiplier, shift)


@ex.alternative
def with_numpy(factor: float) -> list:
    fraction, exponent = np.frexp(np.float64(factor))
    multiplier = np.rint(np.ldexp(fraction, 31)).astype(np.int64)
    carried = multiplier >> 31
    return [multiplier >> carried, -(exponent + carried)]


@ex.alternative
def with_logarithm(factor: float) -> Pair:
    exponent = math.floor(math.log2(factor)) + 1
    multiplier = round(factor * 2.0 ** (31 - exponent))
    if multiplier >= 2**31:
        exponent += 1
        multiplier = round(factor * 2.0 ** (31 - exponent))
    if multiplier < 2**30:  # log2 of a number just below a power of two rounds up
        exponent -= 1
        multiplier = round(factor * 2.0 ** (31 - exponent))
    return multiplier, -exponent
