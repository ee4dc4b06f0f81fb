"""11.4: from an accumulator to a code, with integers only."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from course_lib.exercises.chapter_11.integers_only import FloatUsed, Watched, not_uint8
from course_lib.exercises.engine.exercise import Exercise
from course_lib.quantization.integer import HardwareFactor, shift_half_even

Question = tuple[np.ndarray, int, int, int, int]

ex = Exercise(
    "11.4",
    "From accumulator to code",
    points=4,
    hints=[
        "The product has up to 62 bits: acc.astype(np.int64) * multiplier. Divide by 2^(31 + shift) at the very end.",
        "whole = product >> n rounds down, also below 0. What it left is rest = product - (whole << n), and half is "
        "1 << (n − 1): one more where rest > half.",
        "Where rest == half, one more only where whole is odd. Then + zero_point, then np.clip(…, low, 255), and last "
        ".astype(np.uint8).",
    ],
    explanation="""
        The order matters: multiply in 64 bits, round once, add the zero point, clamp, and cast last. With
        `low = zero_point` the clamp *is* the ReLU: codes below the zero point stand for negative numbers. The library's
        `RuntimeFactor` and `HardwareFactor` are two such steps with the roundings of two kinds of machine.
    """,
)


@ex.reference
def requantize(acc: np.ndarray, multiplier: int, shift: int, zero_point: int, low: int) -> np.ndarray:
    """Codes (N,), uint8: acc · multiplier · 2^(−31 − shift) rounded, + zero_point, clamped to low … 255.

    acc (N,), int32; 2^30 ≤ multiplier < 2^31; 0 ≤ shift ≤ 31. Rounded once, exactly: to the nearest integer, a half to
    the even neighbour. Integers only: no float, however wide. The dtype is uint8, cast last.
    """
    rounded = shift_half_even(acc.astype(np.int64) * multiplier, 31 + shift)
    return np.clip(rounded + zero_point, low, 255).astype(np.uint8)


@ex.solution
def in_full(acc: np.ndarray, multiplier: int, shift: int, zero_point: int, low: int) -> np.ndarray:
    """Codes (N,), uint8: acc · multiplier · 2^(−31 − shift) rounded, + zero_point, clamped to low … 255."""
    product, bits = acc.astype(np.int64) * multiplier, 31 + shift
    whole = product >> bits  # rounded down
    rest, half = product - (whole << bits), 1 << (bits - 1)
    up = (rest > half) | ((rest == half) & (whole % 2 == 1))
    return np.clip(whole + up + zero_point, low, 255).astype(np.uint8)


def _sums(acc: list[int], multiplier: int, shift: int, zero_point: int, low: int = 0) -> Question:
    return np.array(acc, np.int32), multiplier, shift, zero_point, low


HALF = 2**30  # with shift 0 the factor ½


@ex.case("by hand, factor ½: 10 → 5, and the zero point 3")
def by_hand() -> Question:
    return _sums([10, -4], HALF, 0, 3)


@ex.case("factor ½: 5.5 and 6.5 both become 6")
def halves() -> Question:
    return _sums([11, 13], HALF, 0, 7)


@ex.case("factor ½: −0.5 becomes 0, −1.5 and −2.5 become −2")
def halves_below_zero() -> Question:
    return _sums([-1, -3, -5], HALF, 0, 20)


@ex.case("factor 0.0072, both signs")
def typical() -> Question:
    return _sums([1000, -1000, 70, -70, 69], 1979120896, 7, 128)


@ex.case("factor 1/16: 7 becomes 0.4375, so 0; rounded twice it would be 1")
def rounded_once() -> Question:
    return _sums([7, 9, -7], HALF, 3, 50)


@ex.case("above 255 and below 0: clamped")
def clamped() -> Question:
    return _sums([620, -100, 500], HALF, 0, 10)


@ex.case("the zero point carries a code over 255, and another one back above 0")
def clamped_after_adding() -> Question:
    return _sums([500, -60, -200], HALF, 0, 40)


@ex.case("so far above 255 and below 0 that 16 bits do not hold it: clamp before you narrow")
def clamped_from_afar() -> Question:
    return _sums([80000, -80000], HALF, 0, 10)


@ex.case("low = zero_point: a ReLU")
def relu() -> Question:
    return _sums([-60, -2, 4, 90], HALF, 0, 40, low=40)


@ex.case("low below the zero point: negative numbers down to −5 stay")
def low_elsewhere() -> Question:
    return _sums([-60, -8, 4, 90], HALF, 0, 40, low=35)


@ex.case("a product that needs more than 32 bits")
def wide() -> Question:
    return _sums([300000, -250000, 7], 1717986918, 10, 100)


@ex.case("just above a half: a float32 has not bits enough for this accumulator")
def beyond_float32() -> Question:
    return _sums([201 * 2**17 + 1, -201 * 2**17 - 1], HALF, 17, 120)


@ex.case("just above a half: a float64 has not bits enough for this product")
def beyond_float64() -> Question:
    return _sums([1543365347, 12345], 2013446621, 23, 0)


@ex.inputs
def random_sums(rng: np.random.Generator) -> Question:
    shift, zero_point = int(rng.integers(5, 12)), int(rng.integers(30, 160))
    reach = 200 * 2**shift
    acc = rng.integers(-reach, reach, int(rng.integers(2, 5))).astype(np.int32)
    return acc, int(rng.integers(2**30, 2**31)), shift, zero_point, int(rng.choice([0, zero_point]))


Answer = Callable[[np.ndarray, int, int, int, int], np.ndarray]


@ex.rule
def codes_of_eight_bits(
    fn: Answer, acc: np.ndarray, multiplier: int, shift: int, zero_point: int, low: int
) -> str | None:
    """The cast is part of the step: the next layer reads bytes."""
    return not_uint8(fn(acc, multiplier, shift, zero_point, low))


@ex.rule
def no_floats(fn: Answer, acc: np.ndarray, multiplier: int, shift: int, zero_point: int, low: int) -> str | None:
    """The 64 bits of x86's longdouble hold every product: only the type tells that it is none of integers."""
    try:
        fn(acc.view(Watched), multiplier, shift, zero_point, low)
    except FloatUsed as kind:
        return f"the codes are right, but you computed them in {kind}: integers only, one multiplication and one shift"
    return None


def coded(rounded: np.ndarray, zero_point: int, low: int) -> np.ndarray:
    """The end of the step: add, clamp, cast."""
    return np.clip(rounded.astype(np.int64) + zero_point, low, 255).astype(np.uint8)


@ex.mistake("Your result is rounded down: a shift to the right alone floors. Add one where more than a half was left.")
def floored(acc: np.ndarray, multiplier: int, shift: int, zero_point: int, low: int) -> np.ndarray:
    return coded(acc.astype(np.int64) * multiplier >> (31 + shift), zero_point, low)


@ex.mistake("Your result is cut towards 0, as int() and C's division do. Round to the nearest.")
def towards_zero(acc: np.ndarray, multiplier: int, shift: int, zero_point: int, low: int) -> np.ndarray:
    product = acc.astype(np.int64) * multiplier
    return coded(np.sign(product) * (np.abs(product) >> (31 + shift)), zero_point, low)


@ex.mistake("Your halves go up: adding a half before the shift sends 6.5 to 7. Asked is the even neighbour.")
def half_up(acc: np.ndarray, multiplier: int, shift: int, zero_point: int, low: int) -> np.ndarray:
    return coded(acc.astype(np.int64) * multiplier + (1 << (30 + shift)) >> (31 + shift), zero_point, low)


@ex.mistake("Your halves go away from 0: 6.5 to 7 and −2.5 to −3. Asked is the even neighbour.")
def half_away(acc: np.ndarray, multiplier: int, shift: int, zero_point: int, low: int) -> np.ndarray:
    product = acc.astype(np.int64) * multiplier
    rounded = np.abs(product) + (1 << (30 + shift)) >> (31 + shift)
    return coded(np.sign(product) * rounded, zero_point, low)


@ex.mistake(
    "You round twice: first the product by 2^31, then by 2^shift. Gemmlowp does so to stay in 32 bits; asked is one "
    "rounding, by 2^(31 + shift)."
)
def twice(acc: np.ndarray, multiplier: int, shift: int, zero_point: int, low: int) -> np.ndarray:
    return coded(HardwareFactor(np.array(multiplier), np.array(shift))(acc), zero_point, low)


@ex.mistake("You round twice, by 2^31 and by 2^shift, each time a half to even. Divide by 2^(31 + shift) in one step.")
def twice_even(acc: np.ndarray, multiplier: int, shift: int, zero_point: int, low: int) -> np.ndarray:
    return coded(shift_half_even(shift_half_even(acc.astype(np.int64) * multiplier, 31), shift), zero_point, low)


@ex.mistake("You clamp before the zero point is added. The codes are what must lie in low … 255: add first.")
def clamped_first(acc: np.ndarray, multiplier: int, shift: int, zero_point: int, low: int) -> np.ndarray:
    rounded = shift_half_even(acc.astype(np.int64) * multiplier, 31 + shift)
    return (np.clip(rounded, low, 255) + zero_point).astype(np.uint8)


@ex.mistake("You cast before you clamp: in uint8 320 becomes 64, and −45 becomes 211. Clamp first.")
def cast_first(acc: np.ndarray, multiplier: int, shift: int, zero_point: int, low: int) -> np.ndarray:
    rounded = shift_half_even(acc.astype(np.int64) * multiplier, 31 + shift)
    return np.clip((rounded + zero_point).astype(np.uint8), low, 255)


@ex.mistake(
    "You narrow to 16 bits before you clamp: there 40,000 becomes −25,536, and the clamp makes it 0. Clamp first."
)
def narrowed_first(acc: np.ndarray, multiplier: int, shift: int, zero_point: int, low: int) -> np.ndarray:
    rounded = shift_half_even(acc.astype(np.int64) * multiplier, 31 + shift)
    return np.clip(rounded.astype(np.int16) + np.int16(zero_point), low, 255).astype(np.uint8)


@ex.mistake("You do not clamp at all: what lies outside 0 … 255 wraps round in uint8.")
def not_clamped(acc: np.ndarray, multiplier: int, shift: int, zero_point: int, low: int) -> np.ndarray:
    return (shift_half_even(acc.astype(np.int64) * multiplier, 31 + shift) + zero_point).astype(np.uint8)


@ex.mistake("You clamp to 0 … 255. The lowest code is `low`: with low = zero_point the clamp is the ReLU.")
def low_forgotten(acc: np.ndarray, multiplier: int, shift: int, zero_point: int, low: int) -> np.ndarray:
    return requantize(acc, multiplier, shift, zero_point, 0)


@ex.mistake("You clamp numbers below 0, codes below the zero point, whatever `low` is. Not every layer has a ReLU.")
def always_relu(acc: np.ndarray, multiplier: int, shift: int, zero_point: int, low: int) -> np.ndarray:
    return requantize(acc, multiplier, shift, zero_point, zero_point)


@ex.mistake("You shift before you multiply: the bits that fall off are those that decide. Multiply first.")
def shifted_first(acc: np.ndarray, multiplier: int, shift: int, zero_point: int, low: int) -> np.ndarray:
    return coded(shift_half_even((acc.astype(np.int64) >> shift) * multiplier, 31), zero_point, low)


@ex.mistake(
    "Your arithmetic is in float32, whose 24 bits cannot hold this accumulator. Integers only: one multiplication, one "
    "shift."
)
def in_float32(acc: np.ndarray, multiplier: int, shift: int, zero_point: int, low: int) -> np.ndarray:
    factor = np.float32(multiplier / 2 ** (31 + shift))
    return coded(np.rint(acc.astype(np.float32) * factor), zero_point, low)


@ex.mistake("Your arithmetic is in floats. Even the 53 bits of a float64 cannot hold every product; int64 can.")
def in_float64(acc: np.ndarray, multiplier: int, shift: int, zero_point: int, low: int) -> np.ndarray:
    return coded(np.rint(acc * (multiplier / 2 ** (31 + shift))), zero_point, low)


@ex.mistake("The zero point is missing: the code of 0 is zero_point.")
def no_zero_point(acc: np.ndarray, multiplier: int, shift: int, zero_point: int, low: int) -> np.ndarray:
    return requantize(acc, multiplier, shift, 0, low)


@ex.mistake("You subtract the zero point. From number to code it is added.")
def zero_point_subtracted(acc: np.ndarray, multiplier: int, shift: int, zero_point: int, low: int) -> np.ndarray:
    return requantize(acc, multiplier, shift, -zero_point, low)


@ex.mistake("Your codes end at 127, as signed ones do. These are uint8, up to 255.")
def signed_codes(acc: np.ndarray, multiplier: int, shift: int, zero_point: int, low: int) -> np.ndarray:
    return np.minimum(requantize(acc, multiplier, shift, zero_point, low), 127)


@ex.mistake("You shift by `shift` alone. The multiplier has 31 bits behind its point: shift by 31 + shift.")
def without_31(acc: np.ndarray, multiplier: int, shift: int, zero_point: int, low: int) -> np.ndarray:
    return coded(shift_half_even(acc.astype(np.int64) * multiplier, shift), zero_point, low)


@ex.alternative
def with_loops(acc: np.ndarray, multiplier: int, shift: int, zero_point: int, low: int) -> np.ndarray:
    codes = []
    for value in acc.tolist():
        whole, rest = divmod(value * multiplier, 2 ** (31 + shift))
        if 2 * rest > 2 ** (31 + shift) or (2 * rest == 2 ** (31 + shift) and whole % 2):
            whole += 1
        codes.append(min(max(whole + zero_point, low), 255))
    return np.array(codes, np.uint8)


@ex.alternative
def with_a_nudge(acc: np.ndarray, multiplier: int, shift: int, zero_point: int, low: int) -> np.ndarray:
    bits = np.int64(31 + shift)
    product = np.multiply(acc, multiplier, dtype=np.int64)
    odd = (product >> bits) & 1
    rounded = (product + (np.int64(1) << (bits - 1)) - 1 + odd) >> bits
    return np.minimum(np.maximum(rounded + zero_point, low), 255).astype(np.uint8)


@ex.alternative
def with_fractions(acc: np.ndarray, multiplier: int, shift: int, zero_point: int, low: int) -> np.ndarray:
    from fractions import Fraction

    steps = [round(Fraction(int(a) * multiplier, 1 << (31 + shift))) for a in acc]
    return np.array([max(low, min(255, step + zero_point)) for step in steps], dtype="uint8")
