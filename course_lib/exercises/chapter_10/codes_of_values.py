"""10.2: the signed codes of a tensor."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from course_lib.exercises.engine.compare import difference
from course_lib.exercises.engine.exercise import Exercise

Question = tuple[Tensor, float, int, int]


def in_one_byte(expected: Tensor, got: Any, tolerance: float = 0.0) -> str | None:
    """Like ``difference``, and the container must be the one that was asked for.

    >>> in_one_byte(torch.tensor([1], dtype=torch.int8), torch.tensor([1.0]))
    'the right codes, but as float32: expected int8'
    """
    found = difference(expected, got, tolerance)
    wanted, kind = (str(getattr(v, "dtype", type(v).__name__)).removeprefix("torch.") for v in (expected, got))
    return found or (None if kind == wanted else f"the right codes, but as {kind}: expected {wanted}")


ex = Exercise(
    "10.2",
    "Codes of a tensor",
    points=3,
    compare=in_one_byte,
    hints=[
        "Divide by S, round, add Z: in this order. torch.round takes a half to the even neighbour, which is asked for.",
        "b signed bits hold −2^(b−1) … 2^(b−1) − 1. What lies outside gets the outermost code: clamp.",
        "Cast last: .to(torch.int8) of a number that is not in −128 … 127 wraps around to the other end.",
    ],
    explanation="""
        Four steps whose order matters: divide, round, add Z, clamp, and then cast. Adding Z before rounding changes
        which neighbour is even; casting before clamping turns the largest values into the smallest. The library's
        `quantize` keeps int32, so that 16-bit codes fit as well.
    """,
)


@ex.reference
def quantize(x: Tensor, scale: float, zero_point: int, bits: int) -> Tensor:
    """Signed codes of x, torch.int8: round(x / scale) + zero_point, clamped to b bits; halves go to the even one."""
    codes = torch.round(x / scale) + zero_point
    return codes.clamp(-(2 ** (bits - 1)), 2 ** (bits - 1) - 1).to(torch.int8)


@ex.case("four numbers by hand, S = ½: 1.1 is 2.2 steps")
def by_hand() -> Question:
    return torch.tensor([1.1, -0.7, 0.0, 3.4]), 0.5, 0, 8


@ex.case("halves go to the even neighbour: 0.5 → 0, 1.5 → 2, 2.5 → 2, −0.5 → 0, −1.5 → −2")
def halves() -> Question:
    return torch.tensor([0.5, 1.5, 2.5, 3.5, -0.5, -1.5, -2.5]), 1.0, 0, 8


@ex.case("the same with an odd zero point: round first, then add Z")
def odd_zero_point() -> Question:
    return torch.tensor([0.25, 0.75, 1.25, -0.25, -0.75]), 0.5, 3, 8


@ex.case("far values: the outermost codes")
def far() -> Question:
    return torch.tensor([1000.0, -1000.0, 128.0, -129.0, 300.0]), 1.0, 0, 8


@ex.case("four bits: −8 … 7")
def four_bits() -> Question:
    return torch.tensor([[9.3, -9.4, 7.6], [-7.9, 2.2, -8.0]]), 1.0, 0, 4


@ex.case("Z moves a value out of the codes: 120 + 20 is too much, −120 + 20 is not")
def shifted() -> Question:
    return torch.tensor([12.0, -12.0, 10.9, -15.0]), 0.1, 20, 8


@ex.case("two bits, and a zero point at the lowest code")
def two_bits() -> Question:
    return torch.tensor([0.0, 0.3, 0.6, 0.9, 1.6, -0.4]), 0.3, -2, 2


@ex.case("a scale above 1")
def coarse() -> Question:
    return torch.tensor([100.0, -260.0, 37.0, 0.0]), 8.0, -5, 6


@ex.inputs
def random_values(rng: np.random.Generator) -> Question:
    bits = int(rng.integers(2, 9))
    scale = float(2.0 ** rng.integers(-6, 3))
    zero_point = int(rng.integers(-(2 ** (bits - 1)), 2 ** (bits - 1)))
    steps = rng.normal(0, 2 ** (bits - 1), (2, 5)).round(2)
    steps = np.where(np.abs(steps % 1 - 0.5) < 0.02, steps + 0.1, steps)
    return torch.tensor(steps * scale, dtype=torch.float32), scale, zero_point, bits


def _wrapped(codes: Tensor) -> Tensor:
    return codes.to(torch.int32).to(torch.int8)


def _ends(bits: int) -> tuple[int, int]:
    return -(2 ** (bits - 1)), 2 ** (bits - 1) - 1


@ex.mistake("You round halves up, floor(x/S + ½). Asked is to the even neighbour: 2.5 → 2. Up moves the mean.")
def half_up(x: Tensor, scale: float, zero_point: int, bits: int) -> Tensor:
    return _wrapped((torch.floor(x / scale + 0.5) + zero_point).clamp(*_ends(bits)))


@ex.mistake("You round halves away from 0. Asked is to the even neighbour: 2.5 → 2 and −2.5 → −2.")
def half_away(x: Tensor, scale: float, zero_point: int, bits: int) -> Tensor:
    steps = x / scale
    return _wrapped((steps.sign() * torch.floor(steps.abs() + 0.5) + zero_point).clamp(*_ends(bits)))


@ex.mistake("You added Z before rounding. With an odd Z the other neighbour is even: round(x/S) first, then + Z.")
def added_first(x: Tensor, scale: float, zero_point: int, bits: int) -> Tensor:
    return _wrapped(torch.round(x / scale + zero_point).clamp(*_ends(bits)))


@ex.mistake("You cast before you clamped: 300 as int8 is 44. By then it is too late to clamp. Clamp, then cast.")
def cast_first(x: Tensor, scale: float, zero_point: int, bits: int) -> Tensor:
    return _wrapped(torch.round(x / scale) + zero_point).clamp(*_ends(bits))


@ex.mistake(
    "You did not clamp: far values wrap around, or leave the b bits. The outermost codes are −2^(b−1), 2^(b−1) − 1."
)
def not_clamped(x: Tensor, scale: float, zero_point: int, bits: int) -> Tensor:
    return _wrapped(torch.round(x / scale) + zero_point)


@ex.mistake("You clamped before you added Z, which moves codes out again. Clamp what is to be stored: after + Z.")
def clamped_early(x: Tensor, scale: float, zero_point: int, bits: int) -> Tensor:
    return _wrapped(torch.round(x / scale).clamp(*_ends(bits)) + zero_point)


@ex.mistake("You cut off instead of rounding: .to(torch.int8) alone turns 2.8 into 2.")
def cut_off(x: Tensor, scale: float, zero_point: int, bits: int) -> Tensor:
    return _wrapped((torch.trunc(x / scale) + zero_point).clamp(*_ends(bits)))


@ex.mistake("You rounded down. The nearest code is asked for: −0.2 steps is code 0, not −1.")
def floored(x: Tensor, scale: float, zero_point: int, bits: int) -> Tensor:
    return _wrapped((torch.floor(x / scale) + zero_point).clamp(*_ends(bits)))


@ex.mistake("You multiplied by S. A step is S wide, so x has x / S of them.")
def multiplied(x: Tensor, scale: float, zero_point: int, bits: int) -> Tensor:
    return _wrapped((torch.round(x * scale) + zero_point).clamp(*_ends(bits)))


@ex.mistake("You rounded x before dividing. Rounding is what makes the quotient a code: round(x / S).")
def rounded_early(x: Tensor, scale: float, zero_point: int, bits: int) -> Tensor:
    return _wrapped((torch.round(x) / scale + zero_point).clamp(*_ends(bits)))


@ex.mistake("You subtracted Z. That is the way back, S·(q − Z); to get a code Z is added.")
def subtracted(x: Tensor, scale: float, zero_point: int, bits: int) -> Tensor:
    return _wrapped((torch.round(x / scale) - zero_point).clamp(*_ends(bits)))


@ex.mistake("You forgot Z: the value 0 must get the code Z.")
def no_zero_point(x: Tensor, scale: float, zero_point: int, bits: int) -> Tensor:
    return _wrapped(torch.round(x / scale).clamp(*_ends(bits)))


@ex.mistake("You clamped to 0 … 2^b − 1, the unsigned codes. Signed ones are −2^(b−1) … 2^(b−1) − 1.")
def unsigned(x: Tensor, scale: float, zero_point: int, bits: int) -> Tensor:
    return _wrapped((torch.round(x / scale) + zero_point).clamp(0, 2**bits - 1))


@ex.mistake("You always clamped to −128 … 127. With b bits the codes end at −2^(b−1) and 2^(b−1) − 1.")
def always_eight(x: Tensor, scale: float, zero_point: int, bits: int) -> Tensor:
    return _wrapped((torch.round(x / scale) + zero_point).clamp(-128, 127))


@ex.mistake("You left out the lowest code. That is the restricted range, used for weights; here it is −2^(b−1).")
def restricted(x: Tensor, scale: float, zero_point: int, bits: int) -> Tensor:
    return _wrapped((torch.round(x / scale) + zero_point).clamp(1 - 2 ** (bits - 1), 2 ** (bits - 1) - 1))


@ex.mistake(
    "Your largest code is 2^(b−1), one too many: 128 is no int8, it wraps to −128. The last one is 2^(b−1) − 1."
)
def one_too_many(x: Tensor, scale: float, zero_point: int, bits: int) -> Tensor:
    return _wrapped((torch.round(x / scale) + zero_point).clamp(-(2 ** (bits - 1)), 2 ** (bits - 1)))


@ex.mistake("You returned the restored values, S·(q − Z). Asked are the codes q.")
def restored(x: Tensor, scale: float, zero_point: int, bits: int) -> Tensor:
    return (quantize(x, scale, zero_point, bits).float() - zero_point) * scale


@ex.mistake("The codes are right, but they are still floats of four bytes: cast them to torch.int8 at the end.")
def floats(x: Tensor, scale: float, zero_point: int, bits: int) -> Tensor:
    return quantize(x, scale, zero_point, bits).float()


@ex.mistake("You let the cast do the rounding, before adding Z: it cuts off, and wraps what is too large. Round first.")
def cast_instead_of_round(x: Tensor, scale: float, zero_point: int, bits: int) -> Tensor:
    return (_wrapped(torch.trunc(x / scale)) + zero_point).clamp(*_ends(bits))


@ex.mistake("You clamped to −2^b … 2^b − 1, which needs b + 1 bits. One of the b bits is the sign: 2^(b−1).")
def one_bit_more(x: Tensor, scale: float, zero_point: int, bits: int) -> Tensor:
    return _wrapped((torch.round(x / scale) + zero_point).clamp(-(2**bits), 2**bits - 1))


@ex.mistake("You clamped to 0 … 2^b − 1 and cast to uint8, the unsigned codes. Asked are signed ones, in int8.")
def unsigned_bytes(x: Tensor, scale: float, zero_point: int, bits: int) -> Tensor:
    return (torch.round(x / scale) + zero_point).clamp(0, 2**bits - 1).to(torch.uint8)


@ex.alternative
def with_numpy(x: Tensor, scale: float, zero_point: int, bits: int) -> np.ndarray:
    codes = np.rint(x.numpy() / np.float32(scale)) + zero_point
    return np.clip(codes, -(2 ** (bits - 1)), 2 ** (bits - 1) - 1).astype(np.int8)


@ex.alternative
def by_value(x: Tensor, scale: float, zero_point: int, bits: int) -> Tensor:
    low, high = -(1 << bits - 1), (1 << bits - 1) - 1
    codes = [min(max(round(value) + zero_point, low), high) for value in (x / scale).flatten().tolist()]
    return torch.tensor(codes, dtype=torch.int8).view(x.shape)


@ex.alternative
def clamped_before_rounding(x: Tensor, scale: float, zero_point: int, bits: int) -> Tensor:
    low, high = -(2 ** (bits - 1)) - zero_point, 2 ** (bits - 1) - 1 - zero_point
    return ((x / scale).clamp(low, high).round().to(torch.int16) + zero_point).to(torch.int8)
