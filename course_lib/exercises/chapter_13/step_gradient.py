"""13.4: LSQ's gradient of the step."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from course_lib.exercises.engine.exercise import Exercise

Question = tuple[Tensor, float, int, int, Tensor]

ex = Exercise(
    "13.4",
    "The gradient of the step",
    points=3,
    hints=[
        "v = x / step. There are three kinds of values: v ≤ low, v ≥ high, and those between.",
        "Between, x̂ = step · round(v): the product rule gives round(v) + step · ∂round(v)/∂step, and with rounding "
        "taken for the identity the last is that of x / step: −v.",
        "by_step = torch.where(v <= low, low, torch.where(v >= high, high, v.round() − v)); then (gradient · by_step)"
        ".sum().",
    ],
    explanation="""
        A step is shared by all values of x, so their gradients are summed. round(v) − v lies in −½ … ½, and the ends
        count for −Q_N and Q_P: a single clipped value can outvote many that are rounded. The library multiplies by g:
        see `LearnedStep`.
    """,
)


@ex.reference
def step_gradient(x: Tensor, step: float, low: int, high: int, gradient: Tensor) -> Tensor:
    """∂L/∂step, a number, where L reads x̂ = step · clip(round(x / step), low, high); halves to even.

    gradient, of the shape of x, is ∂L/∂x̂. Rounding is taken for the identity when differentiating, nothing else is: a
    value with x / step ≤ low or ≥ high counts as clipped. No factor g.
    """
    v = x / step
    return (gradient * _by_step(v, low, high)).sum()


def _by_step(v: Tensor, low: float, high: float) -> Tensor:
    inside = v.round() - v
    inside = torch.where(v <= low, torch.full_like(v, low), inside)
    return torch.where(v >= high, torch.full_like(v, high), inside)


@ex.case("by hand, codes −1, 0, 1: v = 0.4, −0.7, 2 and −3 give −0.4, −0.3, 1 and −1")
def by_hand() -> Question:
    return torch.tensor([0.4, -0.7, 2.0, -3.0]), 1.0, -1, 1, torch.tensor([1.0, 2.0, 4.0, 8.0])


@ex.case("values inside alone: codes and halves give 0 and ±½")
def inside() -> Question:
    x = torch.tensor([0.25, 0.5, -0.25, 0.75, -1.0])
    return x, 0.5, -8, 7, torch.tensor([1.0, 3.0, 2.0, 5.0, 7.0])


@ex.case("x / step is an end itself: it counts as clipped")
def at_the_ends() -> Question:
    return torch.tensor([-1.0, 1.5, 0.5]), 0.5, -2, 3, torch.tensor([1.0, 10.0, 100.0])


@ex.case("x rounds to an end, but is not clipped: it lies inside")
def nearly_an_end() -> Question:
    return torch.tensor([1.4, -0.9, 1.7]), 0.5, -2, 3, torch.tensor([1.0, 1.0, 10.0])


@ex.case("a little beyond an end: round(x / step) is the end still, but x / step is clipped")
def just_beyond() -> Question:
    return torch.tensor([1.6, -1.2, 1.9]), 0.5, -2, 3, torch.tensor([1.0, 3.0, 10.0])


@ex.case("unsigned codes: below 0 the step has no say")
def unsigned() -> Question:
    return torch.tensor([[-1.0, 0.1], [0.9, 4.0]]), 0.25, 0, 3, torch.tensor([[5.0, 1.0], [2.0, -1.0]])


@ex.case("a small step: v, not x, is compared with the codes")
def small_step() -> Question:
    return torch.tensor([0.12, -0.26, 0.33, 0.9]), 0.1, -4, 3, torch.tensor([1.0, -2.0, 3.0, 0.5])


@ex.case("gradients of both signs cancel: they are summed as they are, not as magnitudes")
def cancel() -> Question:
    return torch.tensor([5.0, 6.0, 0.3]), 1.0, -2, 1, torch.tensor([1.0, -1.0, 1.0])


@ex.inputs
def random_values(rng: np.random.Generator) -> Question:
    step, low, high = [(0.5, -2, 1), (0.25, 0, 3), (1.5, -4, 3), (0.2, -8, 7)][int(rng.integers(4))]
    codes = rng.integers(low - 2, high + 3, 6) + rng.choice([-1, 1], 6) * rng.uniform(0.1, 0.4, 6)
    x = torch.tensor((codes * step).round(3), dtype=torch.float32)
    return x, step, low, high, torch.tensor(rng.normal(0, 1, 6).round(1), dtype=torch.float32)


def _sum(gradient: Tensor, by_step: Tensor) -> Tensor:
    return (gradient * by_step).sum()


@ex.mistake(
    "Inside you have 0: that differentiates the clip alone, as PACT does. The product rule leaves round(v) − v."
)
def nothing_inside(x: Tensor, step: float, low: int, high: int, gradient: Tensor) -> Tensor:
    v = x / step
    return _sum(gradient, torch.where((v > low) & (v < high), torch.zeros_like(v), _by_step(v, low, high)))


@ex.mistake("Inside you have round(v) alone: the step stands inside the rounding as well, and −v comes from there.")
def codes_alone(x: Tensor, step: float, low: int, high: int, gradient: Tensor) -> Tensor:
    return _sum(gradient, (x / step).round().clamp(low, high))


@ex.mistake("You have v − round(v): the sign inside is turned round.")
def sign_turned(x: Tensor, step: float, low: int, high: int, gradient: Tensor) -> Tensor:
    v = x / step
    inside = (v > low) & (v < high)
    return _sum(gradient, torch.where(inside, v - v.round(), _by_step(v, low, high)))


@ex.mistake("You left clipped values out. They have the largest say: −Q_N and Q_P, that is low and high.")
def clipped_left_out(x: Tensor, step: float, low: int, high: int, gradient: Tensor) -> Tensor:
    v = x / step
    return _sum(gradient, (v.round() - v) * ((v > low) & (v < high)))


@ex.mistake("Beyond the ends you go on with round(v) − v. There x̂ is step · low or step · high: low or high.")
def never_clipped(x: Tensor, step: float, low: int, high: int, gradient: Tensor) -> Tensor:
    v = x / step
    return _sum(gradient, v.round() - v)


@ex.mistake("Beyond the ends you have clip(round(v)) − v. There x / step is no part of x̂ any more: low or high alone.")
def clipped_minus_v(x: Tensor, step: float, low: int, high: int, gradient: Tensor) -> Tensor:
    v = x / step
    return _sum(gradient, v.round().clamp(low, high) - v)


@ex.mistake("Beyond the ends you have ±1. The derivative of step · high is high, that of step · low is low.")
def ones_beyond(x: Tensor, step: float, low: int, high: int, gradient: Tensor) -> Tensor:
    v = x / step
    inside = torch.where(v <= low, -torch.ones_like(v), v.round() - v)
    return _sum(gradient, torch.where(v >= high, torch.ones_like(v), inside))


@ex.mistake("Below low you have −low: the derivative of step · low is low, with its sign.")
def low_without_sign(x: Tensor, step: float, low: int, high: int, gradient: Tensor) -> Tensor:
    v = x / step
    return _sum(gradient, torch.where(v <= low, torch.full_like(v, -low), _by_step(v, low, high)))


@ex.mistake("At an end itself you have round(v) − v = 0. Asked: x / step ≤ low or ≥ high counts as clipped.")
def ends_inside(x: Tensor, step: float, low: int, high: int, gradient: Tensor) -> Tensor:
    v = x / step
    by_step = torch.where(v < low, torch.full_like(v, low), v.round() - v)
    return _sum(gradient, torch.where(v > high, torch.full_like(v, high), by_step))


@ex.mistake("You ask whether the *rounded* value reaches an end. Asked is x / step: what rounds to an end lies inside.")
def rounded_reaches(x: Tensor, step: float, low: int, high: int, gradient: Tensor) -> Tensor:
    v = x / step
    codes = v.round()
    by_step = torch.where(codes <= low, torch.full_like(v, low), codes - v)
    return _sum(gradient, torch.where(codes >= high, torch.full_like(v, high), by_step))


@ex.mistake(
    "Your mask is that of (2), on round(v): half a step beyond an end still counts as inside. Asked is v = x / step "
    "itself: v ≤ low or ≥ high counts as clipped."
)
def mask_after_rounding(x: Tensor, step: float, low: int, high: int, gradient: Tensor) -> Tensor:
    v = x / step
    codes = v.round()
    by_step = torch.where(codes < low, torch.full_like(v, low), codes - v)
    return _sum(gradient, torch.where(codes > high, torch.full_like(v, high), by_step))


@ex.mistake("You did not divide by the step: v is x / step, in codes.")
def not_divided(x: Tensor, step: float, low: int, high: int, gradient: Tensor) -> Tensor:
    return _sum(gradient, _by_step(x, low, high))


@ex.mistake("Everything has the wrong sign. You are asked for the gradient; the step against it comes later.")
def all_turned(x: Tensor, step: float, low: int, high: int, gradient: Tensor) -> Tensor:
    return -step_gradient(x, step, low, high, gradient)


@ex.mistake("You rounded halves up. Asked is to the even code, as torch.round does.")
def halves_up(x: Tensor, step: float, low: int, high: int, gradient: Tensor) -> Tensor:
    v = x / step
    inside = (v > low) & (v < high)
    return _sum(gradient, torch.where(inside, torch.floor(v + 0.5) - v, _by_step(v, low, high)))


@ex.mistake("You rounded halves away from zero. Asked is to the even code, as torch.round does.")
def halves_away(x: Tensor, step: float, low: int, high: int, gradient: Tensor) -> Tensor:
    v = x / step
    inside = (v > low) & (v < high)
    return _sum(gradient, torch.where(inside, v.sign() * torch.floor(v.abs() + 0.5) - v, _by_step(v, low, high)))


@ex.mistake("You compared x with the codes. Divide by the step first.")
def x_compared(x: Tensor, step: float, low: int, high: int, gradient: Tensor) -> Tensor:
    v = x / step
    by_step = torch.where(x <= low, torch.full_like(v, low), v.round() - v)
    return _sum(gradient, torch.where(x >= high, torch.full_like(v, high), by_step))


@ex.mistake("Your result is in units of x: round(v) − v has no step in it any more.")
def times_step(x: Tensor, step: float, low: int, high: int, gradient: Tensor) -> Tensor:
    return step * step_gradient(x, step, low, high, gradient)


@ex.mistake("You took the mean. A step that many values share gets the sum of their gradients.")
def mean(x: Tensor, step: float, low: int, high: int, gradient: Tensor) -> Tensor:
    return step_gradient(x, step, low, high, gradient) / x.numel()


@ex.mistake("You forgot ∂L/∂x̂: the chain rule multiplies each value's share by its gradient.")
def no_chain_rule(x: Tensor, step: float, low: int, high: int, gradient: Tensor) -> Tensor:
    return _by_step(x / step, low, high).sum()


@ex.mistake("Right shares, but not summed. There is one step, and its gradient is one number.")
def not_summed(x: Tensor, step: float, low: int, high: int, gradient: Tensor) -> Tensor:
    return gradient * _by_step(x / step, low, high)


@ex.mistake("You multiplied by g = 1/√(n·Q_P). Asked is the gradient without it.")
def with_g(x: Tensor, step: float, low: int, high: int, gradient: Tensor) -> Tensor:
    return step_gradient(x, step, low, high, gradient) / (x.numel() * high) ** 0.5


@ex.alternative
def with_autograd(x: Tensor, step: float, low: int, high: int, gradient: Tensor) -> Tensor:
    """Clamp passes the gradient at its ends, which is not asked for: so the ends are put in by hand."""
    s = torch.tensor(step, dtype=torch.float64, requires_grad=True)
    v = x.double() / s
    rounded = v + (v.round() - v).detach()
    ends = torch.where(v >= high, float(high), float(low)).double()
    restored = s * torch.where((v > low) & (v < high), rounded, ends)
    (found,) = torch.autograd.grad((restored * gradient).sum(), s)
    return found


@ex.alternative
def with_a_loop(x: Tensor, step: float, low: int, high: int, gradient: Tensor) -> float:
    total = 0.0
    for value, weight in zip(x.flatten().tolist(), gradient.flatten().tolist(), strict=True):
        v = value / step
        if v <= low:
            total += weight * low
        elif v >= high:
            total += weight * high
        else:
            total += weight * (round(v) - v)
    return total


@ex.alternative
def with_numpy(x: Tensor, step: float, low: int, high: int, gradient: Tensor) -> np.floating:
    v = x.numpy() / np.float32(step)
    by_step = np.select([v <= low, v >= high], [low, high], np.rint(v) - v)
    return np.vdot(gradient.numpy(), by_step.astype(np.float32))
