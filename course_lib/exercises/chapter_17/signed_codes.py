"""17.3: from unsigned codes with a zero point to signed ones around 0."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import torch

from course_lib.exercises.engine.compare import relatively
from course_lib.exercises.engine.exercise import Exercise
from course_lib.quantization import Codes, from_range

Question = tuple[float, int]

ex = Exercise(
    "17.3",
    "Signed codes around 0 for a tensor that had unsigned ones",
    points=2,
    compare=relatively,
    tolerance=1e-6,
    hints=[
        "First go back to real numbers: the ends of the range are S·(0 − Z) and S·(255 − Z).",
        "Signed codes around 0 reach equally far to both sides, and code ±127 belongs to the end that lies farther "
        "out.",
        "In use are the codes from round(lower end / new scale) to round(upper end / new scale), both counted.",
    ],
    explanation="""
        Behind a ReLU the lower end is 0: of 255 codes 128 are in use, and a bit is lost. A tensor with both signs loses
        next to nothing. So signed codes around 0 are cheap for weights and images centred on 0, and dear for what a
        ReLU gives; the integer kernels of TensorRT want them because a zero point costs extra sums (chapter 11).
    """,
)


@ex.reference
def signed_codes(scale: float, zero_point: int) -> tuple[float, int]:
    """(scale, number of codes in use) of signed 8-bit codes with the zero point 0, for the range of unsigned ones.

    The tensor's codes were 0 … 255, code q standing for scale · (q − zero_point); its range ends where codes 0 and 255
    stood. The new codes are −127 … 127: ±127 reaches the end that lies farther from 0. In use are the codes to which
    values of the range are rounded (nearest code; no end of the range lies halfway). zero_point is in 0 … 255,
    scale > 0.
    """
    low, high = scale * (0 - zero_point), scale * (255 - zero_point)
    new = max(-low, high) / 127
    return new, round(high / new) - round(low / new) + 1


@ex.case("by hand, behind a ReLU: codes 0 … 255 stand for 0 … 5.1; of the new ones 0 … 127 are in use")
def relu() -> Question:
    return 0.02, 0


@ex.case("both signs, as a sum of branches has them: −1.28 … 1.27")
def both_signs() -> Question:
    return 0.01, 128


@ex.case("a range from −3 to 5.5: the lower end is 69.27 steps away")
def longer_above() -> Question:
    return 8.5 / 255, 90


@ex.case("a range from −5.5 to 3: mostly negative")
def mostly_negative() -> Question:
    return 8.5 / 255, 165


@ex.case("all values are negative or 0")
def negative() -> Question:
    return 0.5, 255


@ex.case("a short lower end, as a Hardswish has it: −0.375, 6.27 steps")
def hardswish() -> Question:
    return 0.03125, 12


@ex.case("tiny numbers")
def tiny() -> Question:
    return 3e-6, 40


@ex.inputs
def random_codes(rng: np.random.Generator) -> Question:
    zero_points = [z for z in range(1, 255) if not _halfway(z)]
    return round(float(rng.uniform(0.001, 0.2)), 4), int(rng.choice(zero_points))


def _halfway(zero_point: int) -> bool:
    """Whether the nearer end lies halfway between two of the new codes."""
    near, far = sorted((zero_point, 255 - zero_point))
    return (254 * near) % far == 0 and (254 * near) // far % 2 == 1


def _with(scale: float, zero_point: int, steps: int = 127, codes: int | None = None) -> tuple[float, int]:
    """The answer with another number of steps on each side."""
    farthest = max(zero_point, 255 - zero_point)
    lowest, highest = (round(Fraction(steps * end, farthest)) for end in (-zero_point, 255 - zero_point))
    return scale * farthest / steps, highest - lowest + 1 if codes is None else codes


@ex.mistake("You divided by 128. Restricted codes end at ±127: 127 steps on each side.")
def by_128(scale, zero_point):
    return _with(scale, zero_point, steps=128)


@ex.mistake("You divided by 127.5, half of 255. There are 127 steps from 0 to the last code on each side.")
def by_half_of_255(scale, zero_point):
    return scale * max(zero_point, 255 - zero_point) / 127.5, signed_codes(scale, zero_point)[1]


@ex.mistake(
    "You divided the width of the range by 255. Around 0 there are 127 steps on each side, from the farther end."
)
def by_255(scale, zero_point):
    return scale, signed_codes(scale, zero_point)[1]


@ex.mistake("You divided the width by 254. Both sides reach equally far, whatever the range: the farther end over 127.")
def by_254(scale, zero_point):
    return scale * 255 / 254, signed_codes(scale, zero_point)[1]


@ex.mistake("You took the upper end. The one that lies farther from 0 decides, and that may be the lower one.")
def upper_end(scale, zero_point):
    reach = max(255 - zero_point, 1)
    return scale * reach / 127, signed_codes(scale, zero_point)[1]


@ex.mistake("You took the nearer end: everything beyond it would be clipped.")
def nearer_end(scale, zero_point):
    near = min(zero_point, 255 - zero_point)
    return scale * near / 127, signed_codes(scale, zero_point)[1]


@ex.mistake("You took the codes 0 … 255 for values: the ends are scale · (0 − Z) and scale · (255 − Z).")
def zero_point_forgotten(scale, zero_point):
    return signed_codes(scale, 0)


@ex.mistake("You counted all codes that there are. In use are those that the range reaches.")
def all_codes(scale, zero_point):
    return _with(scale, zero_point, codes=255)


@ex.mistake("You counted 256 codes. Signed codes around 0 leave out −128; and in use are those that the range reaches.")
def codes_256(scale, zero_point):
    return _with(scale, zero_point, codes=256)


@ex.mistake("You counted steps. From the lowest to the highest code there is one code more than steps.")
def one_too_few(scale, zero_point):
    new, used = signed_codes(scale, zero_point)
    return new, used - 1


@ex.mistake("You counted the codes on one side of 0 twice. The range may reach farther on one side.")
def one_side_twice(scale, zero_point):
    return _with(scale, zero_point, codes=2 * (signed_codes(scale, zero_point)[1] - 127) - 1)


@ex.mistake("You cut off the fraction of a code. Values are rounded to the nearest one.")
def cut_off(scale, zero_point):
    farthest = max(zero_point, 255 - zero_point)
    codes = 127 * zero_point // farthest + 127 * (255 - zero_point) // farthest + 1
    return _with(scale, zero_point, codes=codes)


@ex.mistake("You rounded both ends down. Values are rounded to the nearest code.")
def rounded_down(scale, zero_point):
    farthest = max(zero_point, 255 - zero_point)
    codes = 127 * (255 - zero_point) // farthest - (-127 * zero_point // farthest) + 1
    return _with(scale, zero_point, codes=codes)


@ex.mistake("You counted the codes from 0 to the upper end. The range begins at its lower end.")
def from_zero_up(scale, zero_point):
    return _with(
        scale, zero_point, codes=round(Fraction(127 * (255 - zero_point), max(zero_point, 255 - zero_point))) + 1
    )


@ex.mistake("You exchanged the answers: first the scale, then the number of codes.")
def exchanged(scale, zero_point):
    return signed_codes(scale, zero_point)[::-1]


@ex.mistake("You returned the codes themselves. Asked for is how many there are.")
def codes_listed(scale, zero_point):
    new, used = signed_codes(scale, zero_point)
    lowest = round(-zero_point * scale / new)
    return new, list(range(lowest, lowest + used))


@ex.mistake("You rounded away from 0, up to the next code. Values are rounded to the nearest one.")
def rounded_out(scale, zero_point):
    farthest = max(zero_point, 255 - zero_point)
    codes = -(-127 * zero_point // farthest) - (-127 * (255 - zero_point) // farthest) + 1
    return _with(scale, zero_point, codes=codes)


@ex.mistake("You always found 128 codes. That is so behind a ReLU; a range with both signs uses more.")
def always_128(scale, zero_point):
    return _with(scale, zero_point, codes=128)


@ex.mistake("You returned the zero point. It is 0 for signed codes around 0; asked for are scale and codes in use.")
def scale_and_zero(scale, zero_point):
    return signed_codes(scale, zero_point)[0], 0


@ex.alternative
def with_the_library(scale, zero_point):
    low, high = scale * -zero_point, scale * (255 - zero_point)
    new = from_range(
        torch.tensor(low, dtype=torch.float64), torch.tensor(high, dtype=torch.float64), Codes(8, restricted=True),
        symmetric=True,
    ).scale.item()  # fmt: skip
    ends = np.rint(np.array([low, high]) / new)
    return new, int(ends[1] - ends[0]) + 1


@ex.alternative
def in_steps_of_the_old_scale(scale, zero_point):
    low, high = -zero_point, 255 - zero_point
    farthest = max(-low, high)
    return scale * farthest / 127, 1 + round(127 * high / farthest) - round(127 * low / farthest)


@ex.alternative
def by_trying_codes(scale, zero_point):
    old = np.arange(256) - zero_point
    new = np.abs(old).max() / 127
    found = {int(code) for code in np.rint(np.linspace(old[0], old[-1], 12_751) / new).clip(-127, 127)}
    return scale * new, max(found) - min(found) + 1


@ex.alternative
def in_fractions(scale, zero_point):
    ends = [Fraction(-zero_point), Fraction(255 - zero_point)]
    step = max(abs(end) for end in ends) / 127
    lowest, highest = (round(end / step) for end in ends)
    return float(Fraction(scale) * step), len(range(lowest, highest + 1))
