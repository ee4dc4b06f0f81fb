"""11.5: a residual addition in integers: codes of two scales to codes of a third."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from course_lib.exercises.chapter_11.integers_only import not_uint8
from course_lib.exercises.engine.exercise import Exercise
from course_lib.quantization.integer import shift_half_even

Pair = tuple[float, int]
Question = tuple[np.ndarray, np.ndarray, Pair, Pair, Pair]

ex = Exercise(
    "11.5",
    "A residual addition in integers",
    points=3,
    hints=[
        "Codes of two scales cannot be added. Bring both to steps of S_y first: m_a = round(2^20 · S_a / S_y), and m_b "
        "likewise. These are made once, before the network is shipped.",
        "total = (q_a − Z_a) · m_a + (q_b − Z_b) · m_b, in wide integers: .astype(np.int64) first. It is the sum in "
        "units of S_y / 2^20.",
        "Round once, at the end: a half to even of total / 2^20 (as in 11.4). Then + Z_y, clamp to 0 … 255, cast.",
    ],
    explanation="""
        With 20 bits behind the point a summand fits into 32 bits wherever its factor is below 8; ask for 64 bits, or
        prove that the factors are small. The multipliers'
        rounding moves a code only next to a half. Rounding each summand by itself instead would cost up to half a step
        more. A concatenation is the same with one summand.
    """,
)


@ex.reference
def add_codes(q_a: np.ndarray, q_b: np.ndarray, a: Pair, b: Pair, y: Pair) -> np.ndarray:
    """Codes (N,), uint8, of the sum of what the codes q_a and q_b (N,), uint8, stand for. No ReLU.

    a, b, y: (scale, zero point) of both summands and of the sum. With m = round(2^20 · scale / scale of y), a Python
    integer, for each summand: (q_a − z_a)·m_a + (q_b − z_b)·m_b, divided by 2^20 and rounded once, a half to even;
    + z_y; clamped to 0 … 255. Sums are below 2^44; the dtype is uint8, cast last.
    """
    total = np.zeros(q_a.shape, np.int64)
    for codes, (scale, zero_point) in ((q_a, a), (q_b, b)):
        total += (codes.astype(np.int64) - zero_point) * round(2**20 * scale / y[0])
    return np.clip(shift_half_even(total, 20) + y[1], 0, 255).astype(np.uint8)


@ex.solution
def in_full(q_a: np.ndarray, q_b: np.ndarray, a: Pair, b: Pair, y: Pair) -> np.ndarray:
    """Codes (N,), uint8, of the sum of what the codes q_a and q_b (N,), uint8, stand for."""
    m_a, m_b = round(2**20 * a[0] / y[0]), round(2**20 * b[0] / y[0])
    total = (q_a.astype(np.int64) - a[1]) * m_a + (q_b.astype(np.int64) - b[1]) * m_b
    whole, rest = total >> 20, total & (2**20 - 1)
    up = (rest > 2**19) | ((rest == 2**19) & (whole % 2 == 1))
    return np.clip(whole + up + y[1], 0, 255).astype(np.uint8)


def _sum(q_a: list[int], q_b: list[int], a: Pair, b: Pair, y: Pair) -> Question:
    return np.array(q_a, np.uint8), np.array(q_b, np.uint8), a, b, y


@ex.case("by hand: 2·(7 − 5) + 1·(4 − 1) = 7; in steps of 1 around 10")
def by_hand() -> Question:
    return _sum([7], [4], (2.0, 5), (1.0, 1), (1.0, 10))


@ex.case("three scales, both signs")
def three_scales() -> Question:
    return _sum([30, 0, 17], [2, 40, 90], (0.02, 12), (0.05, 31), (0.06, 100))


@ex.case("below both zero points: 3 − 200 is no uint8")
def below() -> Question:
    return _sum([3, 190], [20, 60], (0.25, 200), (0.5, 55), (1.0, 90))


@ex.case("0.4 + 0.4 is rounded once, to 1")
def rounded_once() -> Question:
    return _sum([14, 6], [2, 98], (0.1, 10), (0.05, 0), (1.0, 3))


@ex.case("halves: 2.5 to 2, 3.5 to 4, −0.5 to 0")
def halves() -> Question:
    return _sum([12, 13, 11], [21, 21, 17], (1.0, 10), (0.5, 20), (1.0, 50))


@ex.case("above 255 and below 0: clamped")
def clamped() -> Question:
    return _sum([255, 0], [250, 3], (1.0, 60), (1.5, 90), (1.0, 40))


@ex.case("each of them far outside, their sum inside")
def opposite() -> Question:
    return _sum([255, 0], [0, 255], (3.0, 100), (3.0, 120), (1.0, 90))


@ex.case("⅓·3 + ½ is a half only for real numbers: the multiplier of ⅓ is a little smaller")
def rounded_multiplier() -> Question:
    return _sum([13], [6], (1.0, 10), (1.5, 5), (3.0, 20))


@ex.case("a factor of 10: 255 · 10 · 2^20 is beyond 32 bits")
def beyond_32_bits() -> Question:
    return _sum([255, 250], [9, 1], (10.0, 0), (1.0, 4), (1.0, 7))


@ex.case("8.5001 is above a half: multipliers of 16 bits behind the point do not see it")
def fine_grid() -> Question:
    return _sum([11, 9], [38, 2], (0.06986, 10), (0.01693, 20), (0.04407, 30))


@ex.rule
def codes_of_eight_bits(
    fn: Callable[..., np.ndarray], q_a: np.ndarray, q_b: np.ndarray, a: Pair, b: Pair, y: Pair
) -> str | None:
    """The cast is part of the step: the next layer reads bytes."""
    return not_uint8(fn(q_a, q_b, a, b, y))


@ex.inputs
def random_sum(rng: np.random.Generator) -> Question:
    count = int(rng.integers(2, 5))
    q_a, q_b = (rng.integers(0, 256, count).astype(np.uint8) for _ in range(2))
    scales = rng.uniform(0.01, 0.09, 2).round(3).tolist()
    zeros = [int(zero) for zero in rng.integers(20, 200, 3)]
    return q_a, q_b, (scales[0], zeros[0]), (scales[1], zeros[1]), (round(sum(scales), 3), zeros[2])


def _totals(q_a: np.ndarray, q_b: np.ndarray, a: Pair, b: Pair, y: Pair) -> list[np.ndarray]:
    """Both summands, in units of S_y / 2^20."""
    pairs = ((q_a, a), (q_b, b))
    return [(codes.astype(np.int64) - zero) * round(2**20 * scale / y[0]) for codes, (scale, zero) in pairs]


def _code(rounded: np.ndarray, zero_point: int) -> np.ndarray:
    return np.clip(rounded + zero_point, 0, 255).astype(np.uint8)


@ex.mistake("You round each summand by itself: both lose up to half a step. Add first, and round once.")
def rounded_each(q_a: np.ndarray, q_b: np.ndarray, a: Pair, b: Pair, y: Pair) -> np.ndarray:
    one, other = _totals(q_a, q_b, a, b, y)
    return _code(shift_half_even(one, 20) + shift_half_even(other, 20), y[1])


@ex.mistake("Each summand becomes a code of y, clamped, before you add. Their sum may lie inside where they do not.")
def clamped_each(q_a: np.ndarray, q_b: np.ndarray, a: Pair, b: Pair, y: Pair) -> np.ndarray:
    one, other = (_code(shift_half_even(t, 20), y[1]).astype(np.int64) for t in _totals(q_a, q_b, a, b, y))
    return _code(one + other - 2 * y[1], y[1])


@ex.mistake("You added the codes. 2 in steps of 0.02 and 2 in steps of 0.05 are different numbers: rescale both first.")
def codes_added(q_a: np.ndarray, q_b: np.ndarray, a: Pair, b: Pair, y: Pair) -> np.ndarray:
    return _code(q_a.astype(np.int64) - a[1] + q_b.astype(np.int64) - b[1], y[1])


@ex.mistake("You rescale by the first summand's factor alone. The second has a scale of its own.")
def one_factor(q_a: np.ndarray, q_b: np.ndarray, a: Pair, b: Pair, y: Pair) -> np.ndarray:
    return add_codes(q_a, q_b, a, (a[0], b[1]), y)


@ex.mistake("The zero points of the summands are not subtracted.")
def no_zero_points(q_a: np.ndarray, q_b: np.ndarray, a: Pair, b: Pair, y: Pair) -> np.ndarray:
    return add_codes(q_a, q_b, (a[0], 0), (b[0], 0), y)


@ex.mistake("You subtract in uint8, where 3 − 200 is 59. Widen the codes first.")
def subtracted_in_8_bits(q_a: np.ndarray, q_b: np.ndarray, a: Pair, b: Pair, y: Pair) -> np.ndarray:
    return add_codes(q_a - np.uint8(a[1]), q_b - np.uint8(b[1]), (a[0], 0), (b[0], 0), y)


@ex.mistake(
    "The codes are not widened: a uint8 array times a multiplier of 2^20 and more has no room. Widen them before all "
    "else: q_a.astype(np.int64), q_b.astype(np.int64)."
)
def not_widened(q_a: np.ndarray, q_b: np.ndarray, a: Pair, b: Pair, y: Pair) -> np.ndarray:
    m_a, m_b = (round(2**20 * scale / y[0]) for scale, _ in (a, b))
    return _code(shift_half_even((q_a - a[1]) * m_a + (q_b - b[1]) * m_b, 20), y[1])


@ex.mistake(
    "16 bits hold the codes' differences, not their products with multipliers of 2^20 and more. Widen to 64: "
    ".astype(np.int64)."
)
def widened_to_16(q_a: np.ndarray, q_b: np.ndarray, a: Pair, b: Pair, y: Pair) -> np.ndarray:
    m_a, m_b = (round(2**20 * scale / y[0]) for scale, _ in (a, b))
    total = (q_a.astype(np.int16) - a[1]) * m_a + (q_b.astype(np.int16) - b[1]) * m_b
    return _code(shift_half_even(total, 20), y[1])


@ex.mistake(
    "Your sums are in 32 bits. With a factor of 8 or more (q − Z)·m goes beyond 2^31 and wraps: widen to np.int64."
)
def sums_in_32_bits(q_a: np.ndarray, q_b: np.ndarray, a: Pair, b: Pair, y: Pair) -> np.ndarray:
    return _code(shift_half_even(np.add(*_totals(q_a, q_b, a, b, y)).astype(np.int32), 20), y[1])


@ex.mistake("Your multipliers have 16 bits behind the point. Asked are 20: next to a half that gives another code.")
def coarse_grid(q_a: np.ndarray, q_b: np.ndarray, a: Pair, b: Pair, y: Pair) -> np.ndarray:
    m_a, m_b = (round(2**16 * scale / y[0]) for scale, _ in (a, b))
    total = (q_a.astype(np.int64) - a[1]) * m_a + (q_b.astype(np.int64) - b[1]) * m_b
    return _code(shift_half_even(total, 16), y[1])


@ex.mistake("The zero point of the sum is missing: the code of 0 is Z_y.")
def no_z_y(q_a: np.ndarray, q_b: np.ndarray, a: Pair, b: Pair, y: Pair) -> np.ndarray:
    return add_codes(q_a, q_b, a, b, (y[0], 0))


@ex.mistake("Your sum is rounded down: a shift alone floors.")
def floored(q_a: np.ndarray, q_b: np.ndarray, a: Pair, b: Pair, y: Pair) -> np.ndarray:
    return _code(np.add(*_totals(q_a, q_b, a, b, y)) >> 20, y[1])


@ex.mistake("Your halves go up: 2.5 becomes 3. Asked is the even neighbour.")
def half_up(q_a: np.ndarray, q_b: np.ndarray, a: Pair, b: Pair, y: Pair) -> np.ndarray:
    return _code(np.add(*_totals(q_a, q_b, a, b, y)) + 2**19 >> 20, y[1])


@ex.mistake("Your halves go away from 0: 2.5 becomes 3. Asked is the even neighbour.")
def half_away(q_a: np.ndarray, q_b: np.ndarray, a: Pair, b: Pair, y: Pair) -> np.ndarray:
    total = np.add(*_totals(q_a, q_b, a, b, y))
    return _code(np.sign(total) * (np.abs(total) + 2**19 >> 20), y[1])


@ex.mistake("Your sum is not clamped: 300 wraps to 44 in uint8.")
def not_clamped(q_a: np.ndarray, q_b: np.ndarray, a: Pair, b: Pair, y: Pair) -> np.ndarray:
    return (shift_half_even(np.add(*_totals(q_a, q_b, a, b, y)), 20) + y[1]).astype(np.uint8)


@ex.mistake("You clamp at Z_y. That is a ReLU, which is not asked for here.")
def with_relu(q_a: np.ndarray, q_b: np.ndarray, a: Pair, b: Pair, y: Pair) -> np.ndarray:
    return np.maximum(add_codes(q_a, q_b, a, b, y), y[1])


@ex.mistake("Your factor is turned round: a code of a is worth S_a / S_y codes of y.")
def turned_factor(q_a: np.ndarray, q_b: np.ndarray, a: Pair, b: Pair, y: Pair) -> np.ndarray:
    return add_codes(q_a, q_b, (y[0] ** 2 / a[0], a[1]), (y[0] ** 2 / b[0], b[1]), y)


@ex.mistake(
    "You add real numbers. The task rounds the multipliers to integers, so that no float is left when the network "
    "runs; next to a half that gives another code."
)
def in_floats(q_a: np.ndarray, q_b: np.ndarray, a: Pair, b: Pair, y: Pair) -> np.ndarray:
    real = a[0] * (q_a.astype(float) - a[1]) + b[0] * (q_b.astype(float) - b[1])
    return _code(np.rint(real / y[0]).astype(np.int64), y[1])


@ex.alternative
def with_loops(q_a: np.ndarray, q_b: np.ndarray, a: Pair, b: Pair, y: Pair) -> np.ndarray:
    factors = [round(scale / y[0] * 2**20) for scale, _ in (a, b)]
    codes = []
    for one, other in zip(q_a.tolist(), q_b.tolist(), strict=True):
        whole, rest = divmod((one - a[1]) * factors[0] + (other - b[1]) * factors[1], 2**20)
        whole += rest > 2**19 or (rest == 2**19 and whole % 2 == 1)
        codes.append(min(255, max(0, whole + y[1])))
    return np.array(codes, np.uint8)


@ex.alternative
def as_a_product(q_a: np.ndarray, q_b: np.ndarray, a: Pair, b: Pair, y: Pair) -> np.ndarray:
    codes = np.stack([q_a, q_b], axis=1).astype(np.int32) - np.array([a[1], b[1]])  # (N, 2)
    factors = np.rint(np.ldexp(np.array([a[0], b[0]]) / y[0], 20)).astype(np.int64)
    steps = np.rint(codes @ factors / 2**20)  # a float64 holds this sum exactly
    return np.clip(steps + y[1], 0, 255).astype(np.uint8)


@ex.alternative
def constant_apart(q_a: np.ndarray, q_b: np.ndarray, a: Pair, b: Pair, y: Pair) -> np.ndarray:
    m_a, m_b = (int(np.rint(2**20 * scale / y[0])) for scale, _ in (a, b))
    total = m_a * q_a.astype(np.int64) + m_b * q_b.astype(np.int64) + (2 * y[1] << 19) - m_a * a[1] - m_b * b[1]
    odd = (total >> 20) - y[1] & 1
    rounded = total + (1 << 19) - 1 + odd >> 20
    return np.clip(rounded, 0, 255).astype(np.uint8)
