"""09.5: a decision of 0 or 1 that lets a gradient through."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from course_lib.exercises.engine.exercise import Exercise

ex = Exercise(
    "09.5",
    "A gate with a straight-through gradient",
    points=2,
    gradient_of=("scores",),
    hints=[
        "The decision is (scores > 0), as floats. It is constant almost everywhere: its gradient is 0, and nothing "
        "would ever learn when to switch off.",
        "The soft version is torch.sigmoid(scores). You want the decision's value, and the sigmoid's gradient.",
        "soft − soft.detach() has the value 0 and the gradient of soft. Add it to the decision.",
    ],
    explanation="""
        Forwards a step, backwards σ(z)·(1 − σ(z)): near the threshold the decision learns quickly, far from it hardly
        at all. The gradient is not that of the function that is computed; it is a direction that works (Bengio et al.
        2013). Quantization-aware training does the same with rounding. In the library: `hard_gate`.
    """,
)


@ex.reference
def gate(scores: Tensor) -> Tensor:
    """1.0 where a score is above 0, else 0.0; the gradient is that of the sigmoid of the scores."""
    soft = torch.sigmoid(scores)
    return (scores > 0).to(scores.dtype) + (soft - soft.detach())


@ex.case("four scores: σ(z)·(1 − σ(z)) is 0.197 at ±1 and 0.105 at ±2, each times its weight in the sum")
def four() -> tuple[Tensor]:
    return (torch.tensor([[1.0, -1.0], [2.0, -2.0]]),)


@ex.case("a score of exactly 0 is off; scores around ½: the threshold is at 0")
def edges() -> tuple[Tensor]:
    return (torch.tensor([[0.0, 0.4, 0.6, -0.4]]),)


@ex.case("large scores: the value is exactly 0 or 1, the gradient nearly 0")
def far() -> tuple[Tensor]:
    return (torch.tensor([[9.0, -9.0, 4.0, -4.0, 0.1]]),)


@ex.case("all of one sign")
def all_on() -> tuple[Tensor]:
    return (torch.tensor([0.5, 1.5, 2.5]),)


@ex.inputs
def random_scores(rng: np.random.Generator) -> tuple[Tensor]:
    shape = (int(rng.integers(2, 4)), int(rng.integers(3, 6)))
    return (torch.tensor(rng.normal(0, 2, shape).round(3), dtype=torch.float32),)


@ex.mistake("Your decision has no gradient: the gate will never learn. Let the sigmoid's through.")
def no_gradient(scores: Tensor) -> Tensor:
    return (scores > 0).to(scores.dtype) + 0 * scores.sum()


@ex.mistake("You returned the sigmoid itself. A channel that is on by 0.3 must still be computed: decide 0 or 1.")
def soft(scores: Tensor) -> Tensor:
    return torch.sigmoid(scores)


@ex.mistake("The values are right, but the gradient is 1 everywhere. Asked is the sigmoid's, which fades far from 0.")
def identity_gradient(scores: Tensor) -> Tensor:
    return (scores > 0).to(scores.dtype) + (scores - scores.detach())


@ex.mistake("Your threshold is at ½. It is the sigmoid that is ½ there, where the score is 0.")
def at_one_half(scores: Tensor) -> Tensor:
    s = torch.sigmoid(scores)
    return (scores > 0.5).to(scores.dtype) + (s - s.detach())


@ex.mistake("A score of exactly 0 is on in your gate. On is what lies above 0.")
def zero_on(scores: Tensor) -> Tensor:
    s = torch.sigmoid(scores)
    return (scores >= 0).to(scores.dtype) + (s - s.detach())


@ex.mistake("Your gate is turned round: a positive score switches on.")
def inverted(scores: Tensor) -> Tensor:
    s = torch.sigmoid(scores)
    return (scores <= 0).to(scores.dtype) - (s - s.detach())


@ex.mistake("Your gradient has the wrong sign: with a larger score the gate opens. It is soft − soft.detach().")
def wrong_sign(scores: Tensor) -> Tensor:
    s = torch.sigmoid(scores)
    return (scores > 0).to(scores.dtype) + (s.detach() - s)


@ex.mistake(
    "Your gradient is tanh's slope, 1 − tanh²(z): four times as steep at 0. Asked is the sigmoid's, σ(z)·(1 − σ(z))."
)
def slope_of_tanh(scores: Tensor) -> Tensor:
    t = torch.tanh(scores)
    return (scores > 0).to(scores.dtype) + (t - t.detach())


@ex.mistake("You multiplied decision and sigmoid: the value is no longer 0 or 1, and what is off gets no gradient.")
def product(scores: Tensor) -> Tensor:
    return (scores > 0).to(scores.dtype) * torch.sigmoid(scores)


@ex.mistake("The sigmoid comes on top of the decision: subtract its value again, soft − soft.detach().")
def not_subtracted(scores: Tensor) -> Tensor:
    return (scores > 0).to(scores.dtype) + torch.sigmoid(scores)


@ex.mistake("The gradient passes only where the gate is open. A closed one must be able to open again.")
def open_ones_alone(scores: Tensor) -> Tensor:
    on = (scores > 0).to(scores.dtype)
    s = torch.sigmoid(scores)
    return on + on * (s - s.detach())


@ex.mistake("Your decisions are −1 and 1. A gate multiplies: off is 0.")
def signs(scores: Tensor) -> Tensor:
    s = torch.sigmoid(scores)
    return 2 * (scores > 0).to(scores.dtype) - 1 + (s - s.detach())


@ex.alternative
def the_other_way_round(scores: Tensor) -> Tensor:
    s = torch.sigmoid(scores)
    return s + ((scores > 0).to(s) - s).detach()


class _Straight(torch.autograd.Function):
    """The step forwards, the sigmoid backwards."""

    @staticmethod
    def forward(ctx, scores):
        ctx.save_for_backward(scores)
        return (scores > 0).float()

    @staticmethod
    def backward(ctx, grad):
        (scores,) = ctx.saved_tensors
        s = torch.sigmoid(scores)
        return grad * s * (1 - s)


@ex.alternative
def as_a_function_of_its_own(scores: Tensor) -> Tensor:
    return _Straight.apply(scores)


@ex.alternative
def with_tanh(scores: Tensor) -> Tensor:
    half = torch.tanh(scores / 2) / 2
    return torch.heaviside(scores.detach(), torch.zeros(())) + half - half.detach() + 0.0


@ex.alternative
def entry_by_entry(scores: Tensor) -> Tensor:
    entries = []
    for score in scores.flatten():
        s = 1 / (1 + torch.exp(-score))
        entries.append((1.0 if score.item() > 0 else 0.0) + (s - s.detach()))
    return torch.stack(entries).view(scores.shape)
