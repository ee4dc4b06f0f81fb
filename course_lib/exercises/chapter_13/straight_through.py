"""13.1: values on codes, with the straight-through gradient."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from course_lib.exercises.engine.exercise import Exercise

Question = tuple[Tensor, float, int, int]

ex = Exercise(
    "13.1",
    "Rounding with a gradient",
    points=3,
    gradient_of=("x",),
    hints=[
        "First the value alone: scale · clip(round(x / scale), low, high).",
        "y + (value − y).detach() has the value of `value` and the gradient of y. Which y has the gradient asked for?",
        "inside = (codes >= low) & (codes <= high), with the codes before they are clipped; y = x · inside.",
    ],
    explanation="""
        Two decisions are in these lines: rounding passes the gradient as if it were not there, and clipping stops it.
        The mask is taken of the *rounded* code, so that a value less than half a step outside still learns; LSQ's
        paper takes it of x / scale. The library: `fake_quantize`.
    """,
)


@ex.reference
def round_straight_through(x: Tensor, scale: float, low: int, high: int) -> Tensor:
    """scale · clip(round(x / scale), low, high), of the shape of x; halves to even.

    low … high need not hold 0; the dtype of the result is free. Its gradient by x is 1 where round(x / scale) is one of
    low … high, both ends included, and 0 elsewhere.
    """
    codes = (x / scale).round()
    inside = (codes >= low) & (codes <= high)
    return _carried(x * inside, codes.clamp(low, high) * scale)


def _carried(y: Tensor, value: Tensor) -> Tensor:
    """The value, with the gradient of y."""
    return y + (value - y).detach()


def _value(x: Tensor, scale: float, low: int, high: int) -> Tensor:
    return ((x / scale).round().clamp(low, high) * scale).detach()


@ex.case("by hand, three codes: −1, 0, 1; the last value lies outside")
def by_hand() -> Question:
    return torch.tensor([-0.7, 0.2, 0.6, 2.2]), 1.0, -1, 1


@ex.case("the ends themselves are codes: their gradient passes")
def ends() -> Question:
    return torch.tensor([-1.0, 0.5, -1.5, 1.0]), 0.5, -2, 1


@ex.case("less than half a step outside rounds to the end, and passes; more does not")
def near_the_ends() -> Question:
    return torch.tensor([0.82, 0.7, -1.1, -1.4, 0.74]), 0.5, -2, 1


@ex.case("halves go to the even code, and at the ends they decide")
def halves() -> Question:
    return torch.tensor([1.0, 3.0, 5.0, 7.0, -3.0, -5.0]), 2.0, -2, 3


@ex.case("unsigned codes: what is negative is clipped")
def unsigned() -> Question:
    return torch.tensor([[-0.4, -0.1, 0.0], [0.3, 0.9, 1.7]]), 0.25, 0, 3


@ex.case("all codes lie above 0: a value below them has no gradient")
def above() -> Question:
    return torch.tensor([0.0, 1.2, 2.1, 3.4, 8.0]), 1.0, 1, 3


@ex.inputs
def random_values(rng: np.random.Generator) -> Question:
    """No value near a half step, so that a float's last digit decides nothing."""
    scale, bits = float(rng.choice([0.25, 0.5, 0.2, 1.5])), int(rng.integers(2, 4))
    low, high = (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1) if rng.random() < 0.5 else (0, 2**bits - 1)
    codes = rng.integers(low - 3, high + 4, 6) + rng.uniform(-0.4, 0.4, 6)
    return torch.tensor(codes * scale, dtype=torch.float32), scale, low, high


@ex.mistake(
    "Right values, but no gradient: round's own is 0 everywhere, .detach() or no_grad cut it off, and nothing learns."
)
def no_gradient(x: Tensor, scale: float, low: int, high: int) -> Tensor:
    return _value(x, scale, low, high)


@ex.mistake("The gradient passes everywhere. What clipping cuts off does not change with x: it is 0 there.")
def no_mask(x: Tensor, scale: float, low: int, high: int) -> Tensor:
    return _carried(x, _value(x, scale, low, high))


@ex.mistake("Your mask leaves the ends out. A code that is low or high itself was not clipped: its gradient is 1.")
def ends_left_out(x: Tensor, scale: float, low: int, high: int) -> Tensor:
    codes = (x / scale).round()
    return _carried(x * ((codes > low) & (codes < high)), _value(x, scale, low, high))


@ex.mistake(
    "Your mask is that of x / scale. Asked is that of the rounded code: less than half a step outside it passes still."
)
def mask_before_rounding(x: Tensor, scale: float, low: int, high: int) -> Tensor:
    v = x / scale
    return _carried(x * ((v >= low) & (v <= high)), _value(x, scale, low, high))


@ex.mistake("Your mask is that of x. The ends low and high are codes: compare round(x / scale) with them.")
def mask_of_values(x: Tensor, scale: float, low: int, high: int) -> Tensor:
    return _carried(x * ((x >= low) & (x <= high)), _value(x, scale, low, high))


@ex.mistake("Your gradient stops at 0: it passes for positive codes alone. Codes have both signs.")
def positive_alone(x: Tensor, scale: float, low: int, high: int) -> Tensor:
    codes = (x / scale).round()
    return _carried(x * ((codes > 0) & (codes <= high)), _value(x, scale, low, high))


@ex.mistake("Your gradient stops at the upper end alone. Below low a value is clipped as well.")
def upper_end_alone(x: Tensor, scale: float, low: int, high: int) -> Tensor:
    return _carried(x * ((x / scale).round() <= high), _value(x, scale, low, high))


@ex.mistake("Your gradient is scale, not 1: x was divided by it before rounding, which the chain rule counts too.")
def scale_left(x: Tensor, scale: float, low: int, high: int) -> Tensor:
    codes = (x / scale).round()
    return _carried(scale * x * ((codes >= low) & (codes <= high)), _value(x, scale, low, high))


@ex.mistake("Your gradient is 1 / scale, not 1: the codes are multiplied by scale again, which the chain rule counts.")
def scale_twice(x: Tensor, scale: float, low: int, high: int) -> Tensor:
    codes = (x / scale).round()
    return _carried(x / scale * ((codes >= low) & (codes <= high)), _value(x, scale, low, high))


@ex.mistake("Values that are clipped become 0. They become the end: scale · low or scale · high.")
def clipped_to_zero(x: Tensor, scale: float, low: int, high: int) -> Tensor:
    codes = (x / scale).round()
    inside = (codes >= low) & (codes <= high)
    return _carried(x * inside, codes * scale * inside)


@ex.mistake("You returned codes. Asked is what they stand for, scale · code.")
def codes_alone(x: Tensor, scale: float, low: int, high: int) -> Tensor:
    codes = (x / scale).round()
    return _carried(x * ((codes >= low) & (codes <= high)), codes.clamp(low, high))


@ex.mistake("You returned codes, and the gradient is 1 / scale. Asked is scale · code: multiply by scale again.")
def never_scaled_back(x: Tensor, scale: float, low: int, high: int) -> Tensor:
    v = x / scale
    return (v + (v.round() - v).detach()).clamp(low, high)


@ex.mistake("Your codes are −1, 0 and 1 whatever is asked for: clip to low … high.")
def three_codes(x: Tensor, scale: float, low: int, high: int) -> Tensor:
    codes = (x / scale).round()
    return _carried(x * (codes.abs() <= 1), codes.clamp(-1, 1) * scale)


@ex.mistake("You rounded halves away from zero. Asked is to the even code, as torch.round does.")
def halves_away(x: Tensor, scale: float, low: int, high: int) -> Tensor:
    v = x / scale
    codes = v.sign() * (v.abs() + 0.5).floor()
    return _carried(x * ((codes >= low) & (codes <= high)), codes.clamp(low, high) * scale)


@ex.mistake("You did not clip: there are no codes beyond low and high.")
def not_clipped(x: Tensor, scale: float, low: int, high: int) -> Tensor:
    codes = (x / scale).round()
    return _carried(x * ((codes >= low) & (codes <= high)), codes * scale)


@ex.mistake("You did not round: clipping alone leaves all values between the codes.")
def not_rounded(x: Tensor, scale: float, low: int, high: int) -> Tensor:
    return (x / scale).clamp(low, high) * scale


@ex.mistake("You rounded halves up. Asked is to the even code, as torch.round does.")
def halves_up(x: Tensor, scale: float, low: int, high: int) -> Tensor:
    codes = torch.floor(x / scale + 0.5)
    return _carried(x * ((codes >= low) & (codes <= high)), codes.clamp(low, high) * scale)


@ex.mistake("You rounded down. Asked is to the nearest code.")
def rounded_down(x: Tensor, scale: float, low: int, high: int) -> Tensor:
    codes = torch.floor(x / scale)
    return _carried(x * ((codes >= low) & (codes <= high)), codes.clamp(low, high) * scale)


class _Function(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x, scale, low, high):
        codes = torch.round(x / scale)
        ctx.save_for_backward((low <= codes) & (codes <= high))
        return torch.clamp(codes, low, high) * scale

    @staticmethod
    def backward(ctx, *gradients):
        (inside,) = ctx.saved_tensors
        return gradients[0] * inside, None, None, None


@ex.alternative
def with_autograd_function(x: Tensor, scale: float, low: int, high: int) -> Tensor:
    found = _Function.apply(x, scale, low, high)
    assert isinstance(found, Tensor)
    return found


@ex.alternative
def rounded_then_clipped(x: Tensor, scale: float, low: int, high: int) -> Tensor:
    """Clamp's own gradient passes at its ends."""
    v = x / scale
    return scale * (v + (v.round() - v).detach()).clamp(low, high)


@ex.alternative
def with_torchs_own(x: Tensor, scale: float, low: int, high: int) -> Tensor:
    codes = [torch.round(value / scale) for value in x.flatten().unbind()]
    parts = []
    for value, code in zip(x.flatten().unbind(), codes, strict=True):
        if low <= code <= high:
            parts.append(value + (code * scale - value).detach())
        else:
            parts.append(value * 0 + scale * (low if code < low else high))
    return torch.stack(parts).view(x.shape)
