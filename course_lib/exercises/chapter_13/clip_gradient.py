"""13.6: PACT's gradient of the clip."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from course_lib.exercises.engine.exercise import Exercise

Question = tuple[Tensor, float, Tensor, float]

ex = Exercise(
    "13.6",
    "The gradient of the clip",
    points=2,
    hints=[
        "With rounding taken for the identity, and the step not differentiated, what is left is y = clip(x, 0, α).",
        "∂y/∂α is 1 where x ≥ α, and 0 elsewhere.",
        "The loss itself reads α, too: λ·α² adds 2·λ·α.",
    ],
    explanation="""
        Values inside say nothing about α: only those that are clipped do, up or down as the loss wants their y larger
        or smaller. λ·α² pulls down with 2·λ·α; λ decides how much is clipped. LSQ needs no such term. The library:
        `LearnedClip`.
    """,
)


@ex.reference
def clip_gradient(x: Tensor, alpha: float, gradient: Tensor, decay: float) -> Tensor:
    """The derivative by α, a number, of L + decay·α², where L reads PACT's y = round(clip(x, 0, α) / S)·S.

    S = α / Q_P. gradient, of the shape of x, is ∂L/∂y. Rounding to steps of S is taken for the identity, so that y
    counts as clip(x, 0, α); a value x ≥ α counts as clipped.
    """
    return (gradient * (x >= alpha)).sum() + 2 * decay * alpha


@ex.case("by hand, α = 2: of four values two are clipped, 2 itself among them")
def by_hand() -> Question:
    return torch.tensor([-1.0, 1.5, 2.0, 3.0]), 2.0, torch.tensor([8.0, 4.0, 2.0, 1.0]), 0.0


@ex.case("nothing is clipped: λ alone pulls, downwards")
def pulled() -> Question:
    return torch.tensor([0.1, 0.5, -0.3]), 3.0, torch.tensor([1.0, -2.0, 5.0]), 0.5


@ex.case("both: the loss wants α up, λ wants it down")
def both() -> Question:
    return torch.tensor([[0.2, 4.0], [5.0, 0.9]]), 1.5, torch.tensor([[1.0, -2.0], [-0.5, 3.0]]), 0.1


@ex.case("a small α: values inside, and below 0, say nothing")
def small() -> Question:
    return torch.tensor([0.2, -0.7, 0.6, 0.3]), 0.5, torch.tensor([3.0, -4.0, 2.0, 1.0]), 0.01


@ex.case("values just below α are not clipped")
def just_below() -> Question:
    return torch.tensor([1.99998, 1.99, 2.5]), 2.0, torch.tensor([4.0, 2.0, 1.0]), 0.1


@ex.case("gradients that cancel")
def cancel() -> Question:
    return torch.tensor([2.0, 3.0, 0.4, 0.6]), 1.0, torch.tensor([1.0, -1.0, 2.0, 2.0]), 0.25


@ex.case("a result of more than two digits")
def digits() -> Question:
    return torch.tensor([0.7, 1.3, -0.2]), 1.25, torch.tensor([0.5, 0.1234, 1.0]), 0.0123


@ex.inputs
def random_values(rng: np.random.Generator) -> Question:
    alpha = float(rng.choice([0.5, 1.2, 2.0, 3.0]))
    x = torch.tensor([alpha, *rng.normal(alpha, 1, 5).round(2)], dtype=torch.float32)
    return x, alpha, torch.tensor(rng.normal(0, 1, 6).round(1), dtype=torch.float32), float(rng.choice([0.0, 0.1, 0.3]))


@ex.mistake("The term of λ·α² is missing.")
def no_decay(x: Tensor, alpha: float, gradient: Tensor, decay: float) -> Tensor:
    return (gradient * (x >= alpha)).sum()


@ex.mistake("The derivative of λ·α² is 2·λ·α, yours is λ·α.")
def no_two(x: Tensor, alpha: float, gradient: Tensor, decay: float) -> Tensor:
    return (gradient * (x >= alpha)).sum() + decay * alpha


@ex.mistake("You added λ·α² itself. Asked is its derivative, 2·λ·α.")
def not_differentiated(x: Tensor, alpha: float, gradient: Tensor, decay: float) -> Tensor:
    return (gradient * (x >= alpha)).sum() + decay * alpha**2


@ex.mistake("You added 2·λ: the derivative of λ·α² is 2·λ·α.")
def no_alpha(x: Tensor, alpha: float, gradient: Tensor, decay: float) -> Tensor:
    return (gradient * (x >= alpha)).sum() + 2 * decay


@ex.mistake("You subtracted 2·λ·α. You are asked for a gradient; the step against it comes later.")
def decay_subtracted(x: Tensor, alpha: float, gradient: Tensor, decay: float) -> Tensor:
    return (gradient * (x >= alpha)).sum() - 2 * decay * alpha


@ex.mistake("Everything has the wrong sign. You are asked for the gradient; the step against it comes later.")
def all_turned(x: Tensor, alpha: float, gradient: Tensor, decay: float) -> Tensor:
    return -clip_gradient(x, alpha, gradient, decay)


@ex.mistake("You added 2·λ·α for each value. λ·α² stands in the loss once.")
def decay_for_each(x: Tensor, alpha: float, gradient: Tensor, decay: float) -> Tensor:
    return (gradient * (x >= alpha) + 2 * decay * alpha).sum()


@ex.mistake("A value that is α itself counts as clipped here: x ≥ α.")
def strictly_above(x: Tensor, alpha: float, gradient: Tensor, decay: float) -> Tensor:
    return (gradient * (x > alpha)).sum() + 2 * decay * alpha


@ex.mistake(
    "A value that is α itself counts half in yours (autograd splits a tie). Here it is clipped, and counts in full."
)
def tie_halved(x: Tensor, alpha: float, gradient: Tensor, decay: float) -> Tensor:
    return (gradient * ((x > alpha).float() + 0.5 * (x == alpha))).sum() + 2 * decay * alpha


@ex.mistake("That is the mask of x, the values inside. α's is the other one: only what is clipped depends on α.")
def mask_of_x(x: Tensor, alpha: float, gradient: Tensor, decay: float) -> Tensor:
    return (gradient * ((x >= 0) & (x < alpha))).sum() + 2 * decay * alpha


@ex.mistake("Your gradient comes from all values. Those below α do not depend on it.")
def all_values(x: Tensor, alpha: float, gradient: Tensor, decay: float) -> Tensor:
    return gradient.sum() + 2 * decay * alpha


@ex.mistake("Values below −α count in yours, too. What lies below 0 is clipped to 0, and does not depend on α.")
def both_sides(x: Tensor, alpha: float, gradient: Tensor, decay: float) -> Tensor:
    return (gradient * (x.abs() >= alpha)).sum() + 2 * decay * alpha


@ex.mistake("You multiplied by x: the clipped y is α, and its derivative is 1.")
def times_x(x: Tensor, alpha: float, gradient: Tensor, decay: float) -> Tensor:
    return (gradient * x * (x >= alpha)).sum() + 2 * decay * alpha


@ex.mistake("You multiplied by α: the clipped y is α, and its derivative is 1.")
def times_alpha(x: Tensor, alpha: float, gradient: Tensor, decay: float) -> Tensor:
    return alpha * (gradient * (x >= alpha)).sum() + 2 * decay * alpha


@ex.mistake("You took the mean. α is shared by all values, and gets the sum of their gradients.")
def mean(x: Tensor, alpha: float, gradient: Tensor, decay: float) -> Tensor:
    return (gradient * (x >= alpha)).mean() + 2 * decay * alpha


@ex.mistake("You counted clipped values. Each counts with its gradient, ∂L/∂y.")
def counted(x: Tensor, alpha: float, gradient: Tensor, decay: float) -> Tensor:
    return (x >= alpha).float().sum() + 2 * decay * alpha


@ex.mistake("Not summed: there is one α, and its gradient is one number.")
def not_summed(x: Tensor, alpha: float, gradient: Tensor, decay: float) -> Tensor:
    return gradient * (x >= alpha) + 2 * decay * alpha


@ex.alternative
def with_autograd(x: Tensor, alpha: float, gradient: Tensor, decay: float) -> Tensor:
    clip = torch.tensor(alpha, requires_grad=True)
    y = torch.where(x >= clip, clip, x.clamp(min=0))
    (found,) = torch.autograd.grad((y * gradient).sum() + decay * clip**2, clip)
    return found


@ex.alternative
def with_a_loop(x: Tensor, alpha: float, gradient: Tensor, decay: float) -> float:
    total = 2 * decay * alpha
    for value, weight in zip(x.flatten(), gradient.flatten(), strict=True):
        if value >= alpha:
            total += weight.item()
    return total


@ex.alternative
def with_numpy(x: Tensor, alpha: float, gradient: Tensor, decay: float) -> np.floating:
    clipped = np.greater_equal(x.numpy(), np.float32(alpha))
    return gradient.numpy()[clipped].sum() + 2 * decay * alpha
