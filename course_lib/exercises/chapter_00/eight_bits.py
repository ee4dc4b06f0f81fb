"""00.2: a range with 0 in it, 255 steps, a code for 0, and numbers that do not fit."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from course_lib.exercises.engine.compare import difference
from course_lib.exercises.engine.exercise import Exercise

RoundTrip = tuple[float, float, Any, Any]


def same_round_trip(expected: Any, got: Any, tolerance: float) -> str | None:
    """Equal values, and codes that are uint8 on both sides, or on neither."""
    found = difference(expected, got, tolerance)
    if found:
        return found
    wanted, seen = (str(getattr(result[2], "dtype", "a list")).removeprefix("torch.") for result in (expected, got))
    same = (wanted == "uint8") == (seen == "uint8")
    return None if same else f"value 3 of 4: right codes, expected as {wanted}, got as {seen}"


ex = Exercise(
    "00.2",
    "Eight bits and back",
    points=3,
    trials=6,  # the fixed cases alone show each mistake
    compare=same_round_trip,
    hints=[
        "First stretch the range until it holds 0: padding and ReLU produce zeros, and a zero must survive exactly.",
        "From 0 to 255 there are 255 steps: S = (high − low) / 255. Z is the code of 0: round(−low / S).",
        "q = clip(round(x / S) + Z, 0, 255), and only then .astype(np.uint8). Back: S · (q − Z).",
        "uint8 cannot be negative: turn the codes into floats before you subtract Z.",
    ],
    explanation="""
        $q = \\mathrm{clip}(\\mathrm{round}(x/S) + Z,\\ 0,\\ 255)$, and back $\\hat x = S\\,(q - Z)$. Inside the range
        the error is at most $S/2$; outside it is whatever was clipped. Chapter 10 asks which range is best.
    """,
)


@ex.reference
def round_trip(x: np.ndarray, low: float, high: float) -> tuple[float, int, np.ndarray, np.ndarray]:
    """(S, Z, q, x̂): scale, zero point, codes in 0..255 (uint8) and S·(q − Z), for the range [low, high].

    Args:
        x: (N,), numbers to store; some may lie outside the range.
        low, high: the range seen in calibration, low < high; it may lie wholly above or below 0.
    """
    low, high = min(low, 0.0), max(high, 0.0)
    scale = (high - low) / 255
    zero_point = round(-low / scale)
    codes = np.clip(np.round(x / scale) + zero_point, 0, 255).astype(np.uint8)
    restored = scale * (codes.astype(float) - zero_point)
    return scale, zero_point, codes, restored


@ex.case("the page's four weights")
def four_weights() -> tuple[np.ndarray, float, float]:
    return np.array([-0.42, 0.0, 0.13, 0.85]), -0.42, 0.85


@ex.case("numbers beyond both ends of the range")
def beyond_both_ends() -> tuple[np.ndarray, float, float]:
    return np.array([-1.6, 0.0, 0.31, 2.0, 3.2]), -1.0, 2.0


@ex.case("a range above 0")
def range_above_zero() -> tuple[np.ndarray, float, float]:
    return np.array([0.0, 2.5, 4.0, 5.9]), 4.0, 6.0


@ex.case("a range below 0")
def range_below_zero() -> tuple[np.ndarray, float, float]:
    return np.array([-5.9, -2.5, 0.0]), -6.0, -4.0


@ex.case("a zero between two steps above the low end: −low/S = 86.7")
def zero_between_steps() -> tuple[np.ndarray, float, float]:
    return np.array([-0.05, 0.0, 0.042, 0.66]), -0.34, 0.66


@ex.case("a range as wide below 0 as above: round(high/S) + Z is 256")
def as_wide_on_both_sides() -> tuple[np.ndarray, float, float]:
    # S = 1/4 exactly, so −low/S = 127.5 exactly: every usual rounding makes it 128.
    return np.array([-31.0, 0.0, 1.0, 31.875]), -31.875, 31.875


@ex.inputs
def random_range(rng: np.random.Generator) -> tuple[np.ndarray, float, float]:
    """Six numbers inside the range and one beyond each end, none so near a tie that a rounding rule decides."""
    side = rng.integers(3)
    while True:
        low, high = -round(float(rng.uniform(0.3, 2)), 2), round(float(rng.uniform(0.3, 3)), 2)
        low, high = [(low, high), (high, round(high + 1.5, 2)), (round(low - 1.5, 2), low)][side]
        wide_low, wide_high = min(low, 0.0), max(high, 0.0)
        scale = (wide_high - wide_low) / 255
        # A zero point that is no whole number before it is rounded, where the range has 0 inside.
        if side or 0.1 < abs(-low / scale % 1 - 0.5) < 0.4:
            break
    x = rng.uniform(wide_low, wide_high, 99).round(3)
    inside = x[abs(x / scale % 1 - 0.5) > 0.1][:6]
    outside = np.round([1.4 * wide_high - 0.4 * wide_low, 1.6 * wide_low - 0.6 * wide_high], 3)
    return np.append(inside, outside), low, high


def _stored(x: np.ndarray, scale: float, zero_point: float) -> RoundTrip:
    """The reference's last three lines, for a scale and a zero point that were found otherwise."""
    codes = np.clip(np.round(x / scale) + zero_point, 0, 255).astype(np.uint8)
    return scale, zero_point, codes, scale * (codes.astype(float) - zero_point)


@ex.mistake("2⁸ is the number of codes and no step: all small weights round to 0. The step is S = (high − low) / 255.")
def multiples_of_256(x: np.ndarray, low: float, high: float) -> RoundTrip:
    return _stored(x, 2.0**8, 0)


@ex.mistake("The range must hold 0: with both ends on one side no code stands for 0. First min(low, 0), max(high, 0).")
def range_as_given(x: np.ndarray, low: float, high: float) -> RoundTrip:
    scale = (high - low) / 255
    return _stored(x, scale, round(-low / scale))


@ex.mistake("Only low is moved to 0. A range may lie below 0, too: high = max(high, 0).")
def only_low_moved(x: np.ndarray, low: float, high: float) -> RoundTrip:
    return range_as_given(x, min(low, 0.0), high)


@ex.mistake("Only high is moved to 0. A range may lie above 0, too: low = min(low, 0).")
def only_high_moved(x: np.ndarray, low: float, high: float) -> RoundTrip:
    return range_as_given(x, low, max(high, 0.0))


@ex.mistake("You took the range from x itself. The range is given: it was seen in calibration, and x may exceed it.")
def range_of_x(x: np.ndarray, low: float, high: float) -> RoundTrip:
    return round_trip(x, float(x.min()), float(x.max()))


@ex.mistake("256 codes have 255 steps between them: S = (high − low) / 255.")
def one_step_too_many(x: np.ndarray, low: float, high: float) -> RoundTrip:
    low, high = min(low, 0.0), max(high, 0.0)
    scale = (high - low) / 256
    return _stored(x, scale, round(-low / scale))


@ex.mistake(
    "A symmetric range, ±max|x| in 127 steps a side, is another scheme: it wastes the codes of a side that is "
    "shorter. Here S = (high − low) / 255, and Z says where 0 lies."
)
def symmetric(x: np.ndarray, low: float, high: float) -> RoundTrip:
    scale = max(-low, high) / 127
    codes = np.clip(np.round(x / scale), -128, 127).astype(np.int8)
    return scale, 0, codes, scale * codes.astype(float)


@ex.mistake("A zero point is a code, so a whole number: Z = round(−low / S). Unrounded, 0 does not come back as 0.")
def zero_point_not_rounded(x: np.ndarray, low: float, high: float) -> RoundTrip:
    low, high = min(low, 0.0), max(high, 0.0)
    scale = (high - low) / 255
    return _stored(x, scale, -low / scale)


@ex.mistake("int() and floor cut the zero point's fraction off: 86.7 is nearer to 87. Round it.")
def zero_point_cut(x: np.ndarray, low: float, high: float) -> RoundTrip:
    scale, _, _, _ = round_trip(x, low, high)
    return _stored(x, scale, int(-min(low, 0.0) / scale))


@ex.mistake("The zero point's sign: Z is the code of 0, −low / S steps above the low end.")
def zero_point_negative(x: np.ndarray, low: float, high: float) -> RoundTrip:
    scale, zero_point, _, _ = round_trip(x, low, high)
    return _stored(x, scale, -zero_point)


@ex.mistake("Your codes run from −128 to 127 (int8). The page's run from 0 to 255: do not subtract 128.")
def signed_codes(x: np.ndarray, low: float, high: float) -> RoundTrip:
    scale, zero_point, codes, restored = round_trip(x, low, high)
    return scale, zero_point - 128, (codes.astype(int) - 128).astype(np.int8), restored


@ex.mistake(
    "Numbers beyond the range wrap around: a cast to uint8 makes 256 a 0. Clip the codes to 0..255 first, then cast."
)
def not_clipped(x: np.ndarray, low: float, high: float) -> RoundTrip:
    scale, zero_point, _, _ = round_trip(x, low, high)
    with np.errstate(invalid="ignore"):
        codes = (np.round(x / scale) + zero_point).astype(np.uint8)
    return scale, zero_point, codes, scale * (codes.astype(float) - zero_point)


@ex.mistake(
    "You clipped x, not the codes. In a range as wide below 0 as above, the largest x gets code 256, which a cast to "
    "uint8 makes a 0. Clip the codes."
)
def clipped_x(x: np.ndarray, low: float, high: float) -> RoundTrip:
    return not_clipped(np.clip(x, min(low, 0.0), max(high, 0.0)), low, high)


@ex.mistake("You clipped x to [low, high] before that range was stretched: now 0 itself is moved to its end.")
def clipped_x_to_given_range(x: np.ndarray, low: float, high: float) -> RoundTrip:
    return round_trip(np.clip(x, low, high), low, high)


@ex.mistake("Add Z first, then clip: you clipped round(x / S), and every number below 0 became 0.")
def clipped_before_zero_point(x: np.ndarray, low: float, high: float) -> RoundTrip:
    scale, zero_point, _, _ = round_trip(x, low, high)
    codes = (np.clip(np.round(x / scale), 0, 255) + zero_point).astype(int).astype(np.uint8)
    return scale, zero_point, codes, scale * (codes.astype(float) - zero_point)


@ex.mistake("You cut the fraction of x / S off instead of rounding: the error then reaches a whole step, not half one.")
def truncated(x: np.ndarray, low: float, high: float) -> RoundTrip:
    scale, zero_point, _, _ = round_trip(x, low, high)
    codes = np.clip(np.trunc(x / scale) + zero_point, 0, 255).astype(np.uint8)
    return scale, zero_point, codes, scale * (codes.astype(float) - zero_point)


@ex.mistake("Nothing is rounded: the cast to uint8 alone cuts fractions off, so every number is stored too low.")
def rounded_down(x: np.ndarray, low: float, high: float) -> RoundTrip:
    scale, zero_point, _, _ = round_trip(x, low, high)
    codes = np.clip(x / scale + zero_point, 0, 255).astype(np.uint8)
    return scale, zero_point, codes, scale * (codes.astype(float) - zero_point)


@ex.mistake(
    "(x − low) / S counts steps from the low end. 0 may lie between two of them, and then does not come back as 0: "
    "round x / S and add the zero point."
)
def steps_from_low(x: np.ndarray, low: float, high: float) -> RoundTrip:
    scale, zero_point, _, _ = round_trip(x, low, high)
    codes = np.clip(np.round((x - min(low, 0.0)) / scale), 0, 255).astype(np.uint8)
    return scale, zero_point, codes, scale * codes.astype(float) + min(low, 0.0)


@ex.mistake("The way back forgets the zero point: x̂ = S · (q − Z), or everything is shifted by S · Z.")
def zero_point_forgotten(x: np.ndarray, low: float, high: float) -> RoundTrip:
    scale, zero_point, codes, _ = round_trip(x, low, high)
    return scale, zero_point, codes, scale * codes.astype(float)


@ex.mistake("The way back adds low: 0 becomes S·Z + low, which is not quite 0. x̂ = S · (q − Z).")
def back_by_adding_low(x: np.ndarray, low: float, high: float) -> RoundTrip:
    scale, zero_point, codes, _ = round_trip(x, low, high)
    return scale, zero_point, codes, scale * codes.astype(float) + min(low, 0.0)


@ex.mistake("uint8 has no negative numbers: codes − Z wraps around to 250 or so. Turn the codes into floats first.")
def wrapped_difference(x: np.ndarray, low: float, high: float) -> RoundTrip:
    scale, zero_point, codes, _ = round_trip(x, low, high)
    return scale, zero_point, codes, scale * (codes - np.uint8(zero_point))


@ex.mistake("The restored numbers know more than the codes: outside of the range only its end is left. S · (q − Z).")
def restored_without_clip(x: np.ndarray, low: float, high: float) -> RoundTrip:
    scale, zero_point, codes, _ = round_trip(x, low, high)
    return scale, zero_point, codes, scale * np.round(x / scale)


@ex.mistake("The codes are right and of another type: a code is one byte, so .astype(np.uint8) once it is clipped.")
def codes_as_floats(x: np.ndarray, low: float, high: float) -> RoundTrip:
    scale, zero_point, codes, restored = round_trip(x, low, high)
    return scale, zero_point, codes.astype(float), restored


@ex.alternative
def zero_point_inside_the_rounding(x: np.ndarray, low: float, high: float) -> RoundTrip:
    scale = (max(high, 0) - min(low, 0)) / 255
    zero_point = int(np.rint(-min(low, 0) / scale))
    codes = np.uint8(np.rint(x / scale + zero_point).clip(0, 255))
    return scale, zero_point, codes, codes * scale - zero_point * scale


@ex.alternative
def half_added_and_cut(x: np.ndarray, low: float, high: float) -> RoundTrip:
    scale = np.ptp([low, high, 0.0]) / 255
    zero_point = np.floor(-min(low, 0.0) / scale + 0.5)
    codes = np.clip(x / scale + zero_point + 0.5, 0, 255).astype("uint8")
    return scale, zero_point, codes, (codes - zero_point) * scale


@ex.alternative
def one_by_one(x: np.ndarray, low: float, high: float) -> RoundTrip:
    low, _, high = sorted([low, high, 0.0])
    scale = (high - low) / 255
    zero_point = round(-low / scale)
    codes = [min(max(round(float(number) / scale) + zero_point, 0), 255) for number in x]
    return scale, zero_point, np.array(codes, np.uint8), [(code - zero_point) * scale for code in codes]


@ex.alternative
def with_pytorch_s_own_operation(x: np.ndarray, low: float, high: float) -> RoundTrip:
    low, high = min(low, 0.0), max(high, 0.0)
    scale = (high - low) / 255
    zero_point = round(-low / scale)
    restored = torch.fake_quantize_per_tensor_affine(torch.tensor(x), scale, zero_point, 0, 255)
    return scale, zero_point, (restored / scale).round().add(zero_point).to(torch.uint8), restored
