"""10.1: scale and zero point of unsigned codes, from a range."""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor

from course_lib.exercises.engine.exercise import Exercise

Question = tuple[float, float, int]

ex = Exercise(
    "10.1",
    "Scale and zero point from a range",
    points=3,
    hints=[
        "0 must be a code. If the range lies on one side of 0, first move its nearer end to 0: min(low, 0), max(high, "
        "0).",
        "2^b codes have 2^b − 1 steps between them. The width of the range divided by that is S.",
        "Code 0 stands for low, so 0 is −low / S steps further up; round it. If the range is 0 … 0, S = 1 and Z = 0.",
    ],
    explanation="""
        Two conditions fix two numbers: the ends of the range get the ends of the codes, and 0 gets an integer. Rounding
        Z moves the range by up to half a step, which is why the largest value may be clipped a little. The library's
        `from_range` does this for any codes, signed or unsigned, and for many ranges at once.
    """,
)


@ex.reference
def scale_and_zero_point(low: float, high: float, bits: int) -> tuple[float, int]:
    """(S, Z) of the unsigned codes 0 … 2^bits − 1 for values in low … high.

    The range is first extended to hold 0; S > 0; Z is one of the codes; a range of 0 … 0 has S = 1 and Z = 0.
    """
    low, high = min(low, 0.0), max(high, 0.0)
    if low == high:
        return 1.0, 0
    scale = (high - low) / (2**bits - 1)
    return scale, round(-low / scale)


@ex.case("two bits by hand: −1 … 2 are three steps of 1, and 0 is one step above the lowest code")
def by_hand() -> Question:
    return -1.0, 2.0, 2


@ex.case("four bits: more on the positive side")
def four_bits() -> Question:
    return -1.0, 4.0, 4


@ex.case("eight bits: more on the negative side")
def eight_bits() -> Question:
    return -6.3, 2.1, 8


@ex.case("all values above 0: the range begins at 0, not at 2")
def positive() -> Question:
    return 2.0, 5.0, 4


@ex.case("all values below 0: the range ends at 0")
def negative() -> Question:
    return -2.1, -1.4, 3


@ex.case("one value alone: 3 … 3 becomes 0 … 3")
def constant() -> Question:
    return 3.0, 3.0, 4


@ex.case("nothing but zeros: no range, and no division by 0")
def zeros() -> Question:
    return 0.0, 0.0, 8


@ex.case("a tiny range is no zero range")
def tiny() -> Question:
    return -1.3e-6, 2e-7, 6


@ex.inputs
def random_range(rng: np.random.Generator) -> Question:
    bits = int(rng.integers(2, 9))
    while True:
        ends = np.sort(rng.normal(0, 2, 2).round(2) * float(rng.choice([0.1, 1, 10])))
        low, high = min(ends[0], 0.0), max(ends[1], 0.0)
        if high > low and abs(abs((-low / (high - low) * (2**bits - 1)) % 1) - 0.5) > 0.05:
            return float(ends[0]), float(ends[1]), bits


def _to_codes(low: float, high: float, steps: float, first: int = 0) -> tuple[float, int]:
    """The right way, with another number of steps or another first code."""
    low, high = min(low, 0.0), max(high, 0.0)
    if low == high:
        return 1.0, first
    scale = (high - low) / steps
    return scale, first + round(-low / scale)


@ex.mistake(
    "The range was not extended to hold 0. For 2 … 5 your Z lies outside the codes: 0 has no code, and nothing that is "
    "0 (padding, ReLU) stays 0."
)
def not_extended(low: float, high: float, bits: int) -> tuple[float, int]:
    if low == high:
        return 1.0, 0
    scale = (high - low) / (2**bits - 1)
    return scale, round(-low / scale)


@ex.mistake(
    "You clipped Z into the codes instead of extending the range to 0. Then Z is a code, but all values are shifted: "
    "for 2 … 5 the largest representable value is 3."
)
def clipped_instead(low: float, high: float, bits: int) -> tuple[float, int]:
    if low == high:
        return 1.0, 0
    scale = (high - low) / (2**bits - 1)
    return scale, min(max(round(-low / scale), 0), 2**bits - 1)


@ex.mistake("You extended the range downwards only. If all values are negative, its upper end must come up to 0.")
def lower_end_only(low: float, high: float, bits: int) -> tuple[float, int]:
    low = min(low, 0.0)
    if low == high:
        return 1.0, 0
    scale = (high - low) / (2**bits - 1)
    return scale, round(-low / scale)


@ex.mistake("You divided by 2^b. That is the number of codes; between them lie 2^b − 1 steps.")
def number_of_codes(low: float, high: float, bits: int) -> tuple[float, int]:
    return _to_codes(low, high, 2**bits)


@ex.mistake("You subtracted 1 from the quotient: range / 2^b − 1. The steps are (2^b − 1), with parentheses.")
def precedence(low: float, high: float, bits: int) -> tuple[float, int]:
    low, high = min(low, 0.0), max(high, 0.0)
    scale = (high - low) / 2**bits - 1
    return scale, round(-low / scale)


@ex.mistake("You always used 255 steps. That is right for 8 bits; for b bits it is 2^b − 1.")
def always_255(low: float, high: float, bits: int) -> tuple[float, int]:
    return _to_codes(low, high, 255)


@ex.mistake("You divided by 2^(b−1) − 1, the reach of signed codes on one side. All of the range has 2^b − 1 steps.")
def one_side(low: float, high: float, bits: int) -> tuple[float, int]:
    return _to_codes(low, high, 2 ** (bits - 1) - 1)


@ex.mistake("Your Z belongs to signed codes, which begin at −2^(b−1). Asked are unsigned ones: low has the code 0.")
def signed(low: float, high: float, bits: int) -> tuple[float, int]:
    return _to_codes(low, high, 2**bits - 1, -(2 ** (bits - 1)))


@ex.mistake("Your Z is a signed code: low has the code −2^(b−1) there. Asked are unsigned ones, where low has 0.")
def signed_but_for_zeros(low: float, high: float, bits: int) -> tuple[float, int]:
    return signed(low, high, bits) if low or high else (1.0, 0)


@ex.mistake(
    "That is the symmetric scale, with Z in the middle. Asked: the ends of the range get the ends of the codes."
)
def symmetric(low: float, high: float, bits: int) -> tuple[float, int]:
    reach = max(abs(low), abs(high))
    return (reach / (2 ** (bits - 1) - 1) if reach else 1.0), 2 ** (bits - 1)


@ex.mistake("Your Z has the wrong sign: code 0 stands for low, so 0 lies −low / S steps above it.")
def wrong_sign(low: float, high: float, bits: int) -> tuple[float, int]:
    scale, zero_point = scale_and_zero_point(low, high, bits)
    return scale, -zero_point


@ex.mistake("Your Z is not rounded. It is a code, an integer; else 0 would not be represented exactly.")
def not_rounded(low: float, high: float, bits: int) -> tuple[float, float]:
    scale, _ = scale_and_zero_point(low, high, bits)
    return scale, -min(low, 0.0) / scale


@ex.mistake("You cut Z off instead of rounding it: int(2.7) is 2, the nearest code is 3.")
def cut_off(low: float, high: float, bits: int) -> tuple[float, int]:
    scale, _ = scale_and_zero_point(low, high, bits)
    return scale, math.floor(-min(low, 0.0) / scale + 1e-9)


@ex.mistake("You rounded Z up. The nearest code is asked for.")
def rounded_up(low: float, high: float, bits: int) -> tuple[float, int]:
    scale, _ = scale_and_zero_point(low, high, bits)
    return scale, math.ceil(-min(low, 0.0) / scale)


@ex.mistake("You rounded Z up and kept it among the codes. The nearest code is asked for.")
def rounded_up_and_clamped(low: float, high: float, bits: int) -> tuple[float, int]:
    scale, zero_point = rounded_up(low, high, bits)
    return scale, min(zero_point, 2**bits - 1)


@ex.mistake("You returned 1/S, codes for each unit. S is units for each code: x ≈ S·(q − Z).")
def inverted(low: float, high: float, bits: int) -> tuple[float, int]:
    scale, zero_point = scale_and_zero_point(low, high, bits)
    return 1 / scale, zero_point


@ex.mistake("Right numbers, wrong order: first the scale, then the zero point.")
def swapped(low: float, high: float, bits: int) -> tuple[int, float]:
    scale, zero_point = scale_and_zero_point(low, high, bits)
    return zero_point, scale


@ex.mistake("Right numbers, and for 0 … 0 the right order; for all other ranges, too, the scale comes first.")
def swapped_but_for_zeros(low: float, high: float, bits: int) -> tuple[float, float]:
    return swapped(low, high, bits) if low or high else (1.0, 0)


@ex.mistake("You returned the real number that 0 … has as its zero point. Z is the *code* of 0: −low / S, rounded.")
def zero_is_low(low: float, high: float, bits: int) -> tuple[float, float]:
    return scale_and_zero_point(low, high, bits)[0], min(low, 0.0)


@ex.mistake("For 0 … 0 your scale is 0, and quantizing would divide by it. Take S = 1: every value there is 0.")
def zero_scale(low: float, high: float, bits: int) -> tuple[float, int]:
    scale, zero_point = scale_and_zero_point(low, high, bits)
    return (0.0 if low == high == 0 else scale), zero_point


@ex.mistake("A constant that is not 0 has a range: 3 … 3 becomes 0 … 3. Only 0 … 0 has none, and gets S = 1.")
def constants_have_no_range(low: float, high: float, bits: int) -> tuple[float, int]:
    return (1.0, 0) if low == high else scale_and_zero_point(low, high, bits)


@ex.mistake("You stretch every range by a small constant, against division by 0. It swamps small ranges: test for 0.")
def epsilon_added(low: float, high: float, bits: int) -> tuple[float, int]:
    low, high = min(low, 0.0), max(high, 0.0)
    scale = (high - low + 1e-5) / (2**bits - 1)
    return scale if high > low else 1.0, round(-low / scale)


@ex.mistake("Your Z is always the middle code. It is where 0 falls in this range: −low / S, rounded.")
def zero_in_the_middle(low: float, high: float, bits: int) -> tuple[float, int]:
    scale, _ = scale_and_zero_point(low, high, bits)
    return scale, 0 if low == high == 0 else 2 ** (bits - 1)


@ex.mistake("Your Z is always 0, and S spans the largest |x|: then no code stands for a negative number.")
def zero_at_the_bottom(low: float, high: float, bits: int) -> tuple[float, int]:
    return max(abs(low), abs(high)) / (2**bits - 1) or 1.0, 0


@ex.mistake("Right scale, but your Z is always 0: then no code stands for a negative number. Z = −low / S, rounded.")
def no_zero_point(low: float, high: float, bits: int) -> tuple[float, int]:
    return scale_and_zero_point(low, high, bits)[0], 0


@ex.alternative
def with_torch(low: float, high: float, bits: int) -> tuple[Tensor, Tensor]:
    ends = torch.tensor([low, 0.0, high], dtype=torch.float64)
    width = ends.max() - ends.min()
    scale = torch.where(width > 0, width / (2**bits - 1), torch.ones_like(width))
    return scale, torch.round(-ends.min() / scale).clamp(0, 2**bits - 1).to(torch.int32)


@ex.alternative
def from_the_upper_end(low: float, high: float, bits: int) -> list[float]:
    low, high, top = min(low, 0.0), max(high, 0.0), 2**bits - 1
    scale = (high - low) / top or 1.0
    return [scale, top - round(high / scale) if high > low else 0]


@ex.alternative
def with_numpy(low: float, high: float, bits: int) -> tuple[np.floating, np.int64]:
    ends = np.array([low, high, 0.0])
    scale = np.ptp(ends) / (2.0**bits - 1)
    if scale == 0:
        scale = np.float64(1)
    return scale, np.rint(-ends.min() / scale).astype(np.int64)
