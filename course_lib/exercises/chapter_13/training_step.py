"""13.2: one step of gradient descent for weights that are used rounded and kept in full."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from course_lib.exercises.engine.exercise import Exercise

Question = tuple[Tensor, Tensor, Tensor, float, float]

ex = Exercise(
    "13.2",
    "One step on rounded weights",
    points=3,
    hints=[
        "Round the weights first: used = scale · round(w / scale). The outputs x @ used are what the loss sees.",
        "The gradient of the loss by the *used* weights is 2 / B · xᵀ(x @ used − y). Straight through, it is w's.",
        "Return w − rate · gradient: w itself, not the rounded one, moves.",
    ],
    explanation="""
        Two sets of weights, one gradient: taken where the deployed network stands, at the rounded weights, and given
        to the weights in full. Those remember steps that are too small to reach the next code; moved and rounded at
        once they would be forgotten, and nothing would ever change.
    """,
)


@ex.reference
def training_step(w: Tensor, x: Tensor, y: Tensor, scale: float, rate: float) -> Tensor:
    """The weights (K,) after one step of gradient descent with the learning rate ``rate``; w stays as it is.

    x (B, K) are the inputs, y (B,) the targets. The outputs are x @ scale·round(w / scale), halves to even, without
    clipping; the loss is the mean over B of the squared differences to y; rounding passes the gradient straight
    through.
    """
    return w - rate * _gradient(_rounded(w, scale), x, y)


def _rounded(w: Tensor, scale: float) -> Tensor:
    return scale * torch.round(w / scale)


def _gradient(used: Tensor, x: Tensor, y: Tensor) -> Tensor:
    return 2 / len(y) * x.T @ (x @ used - y)


@ex.case("by hand: 0.7 and −0.2 are used as 1 and 0; the output is 2, and 1 is asked for")
def by_hand() -> Question:
    return torch.tensor([0.7, -0.2]), torch.tensor([[2.0, 1.0]]), torch.tensor([1.0]), 1.0, 0.1


@ex.case("the step is too small to reach another code: w remembers it")
def small() -> Question:
    x = torch.tensor([[1.0, 0.0], [0.5, 1.0], [0.0, -1.0]])
    return torch.tensor([0.3, 0.9]), x, torch.tensor([0.2, 0.4, -1.0]), 0.5, 0.01


@ex.case("in full the weights are right already; rounded they are not")
def right_in_full() -> Question:
    x = torch.tensor([[1.0, 2.0], [-1.0, 1.0]])
    w = torch.tensor([0.4, 0.7])
    return w, x, x @ w, 1.0, 0.2


@ex.case("rounded the weights are right already: nothing moves, however far they are in full")
def right_when_rounded() -> Question:
    x = torch.tensor([[1.0, 3.0], [2.0, -1.0]])
    return torch.tensor([0.9, -0.1]), x, torch.tensor([1.0, 2.0]), 0.5, 0.1


@ex.case("codes that 8 bits do not hold: nothing is clipped")
def far() -> Question:
    return torch.tensor([31.3, -20.2]), torch.tensor([[0.1, 0.3]]), torch.tensor([-2.0]), 0.1, 1.0


@ex.case("halves go to the even code, of both signs")
def halves() -> Question:
    x = torch.tensor([[1.0, 0.5, -1.0, 2.0], [0.5, -1.0, 1.5, 1.0]])
    return torch.tensor([0.25, 0.75, -0.25, -1.25]), x, torch.tensor([0.5, -1.0]), 0.5, 0.1


@ex.case("four rows, three weights")
def four_images() -> Question:
    x = torch.tensor([[1.0, 0.5, -1.0], [0.0, 2.0, 1.0], [1.5, -0.5, 0.0], [-1.0, 1.0, 2.0]])
    return torch.tensor([0.6, -1.3, 0.2]), x, torch.tensor([1.0, -2.0, 0.0, 0.5]), 0.5, 0.25


@ex.inputs
def random_step(rng: np.random.Generator) -> Question:
    count, scale = int(rng.integers(2, 4)), float(rng.choice([0.25, 0.5, 1.0]))
    w = (rng.integers(-2, 3, count) + rng.choice([-1, 1], count) * rng.uniform(0.1, 0.4, count)) * scale
    x = rng.normal(0, 1, (3, count)).round(1)
    y = rng.normal(0, 1, 3).round(1)
    weights, inputs, targets = (torch.tensor(part, dtype=torch.float32) for part in (w, x, y))
    return weights, inputs, targets, scale, 0.1


@ex.mistake("You moved the rounded weights. Steps smaller than half a code are then lost: w itself moves.")
def rounded_weights_moved(w: Tensor, x: Tensor, y: Tensor, scale: float, rate: float) -> Tensor:
    used = _rounded(w, scale)
    return used - rate * _gradient(used, x, y)


@ex.mistake("You rounded after the step. What is kept stays in full; rounding belongs to the forward pass.")
def rounded_afterwards(w: Tensor, x: Tensor, y: Tensor, scale: float, rate: float) -> Tensor:
    return _rounded(training_step(w, x, y, scale, rate), scale)


@ex.mistake("You trained without rounding: the outputs must come from scale·round(w / scale), as when deployed.")
def never_rounded(w: Tensor, x: Tensor, y: Tensor, scale: float, rate: float) -> Tensor:
    return w - rate * _gradient(w, x, y)


@ex.mistake("You trained in full and rounded the result: that is rounding after training.")
def rounded_at_the_end(w: Tensor, x: Tensor, y: Tensor, scale: float, rate: float) -> Tensor:
    return _rounded(w - rate * _gradient(w, x, y), scale)


@ex.mistake("w did not move: round's own derivative is 0. Straight through means to take it for 1.")
def does_not_move(w: Tensor, x: Tensor, y: Tensor, scale: float, rate: float) -> Tensor:
    return w.clone()


@ex.mistake("You went uphill: the step is against the gradient.")
def uphill(w: Tensor, x: Tensor, y: Tensor, scale: float, rate: float) -> Tensor:
    return w + rate * _gradient(_rounded(w, scale), x, y)


@ex.mistake("The loss is a mean over B, yours is a sum: divide by B.")
def a_sum(w: Tensor, x: Tensor, y: Tensor, scale: float, rate: float) -> Tensor:
    return w - rate * len(y) * _gradient(_rounded(w, scale), x, y)


@ex.mistake("The factor 2 of the square's derivative is missing.")
def no_two(w: Tensor, x: Tensor, y: Tensor, scale: float, rate: float) -> Tensor:
    return w - rate / 2 * _gradient(_rounded(w, scale), x, y)


@ex.mistake("Your gradient is multiplied by scale: w / scale and scale · round cancel in the chain rule.")
def times_scale(w: Tensor, x: Tensor, y: Tensor, scale: float, rate: float) -> Tensor:
    return w - rate * scale * _gradient(_rounded(w, scale), x, y)


@ex.mistake("Your gradient is divided by scale: w / scale and scale · round cancel in the chain rule.")
def over_scale(w: Tensor, x: Tensor, y: Tensor, scale: float, rate: float) -> Tensor:
    return w - rate / scale * _gradient(_rounded(w, scale), x, y)


@ex.mistake("You used the codes. The outputs come from what they stand for, scale · round(w / scale).")
def codes_used(w: Tensor, x: Tensor, y: Tensor, scale: float, rate: float) -> Tensor:
    return w - rate * _gradient(torch.round(w / scale), x, y)


@ex.mistake("You clipped to the codes of 8 bits. Here nothing is clipped.")
def clipped(w: Tensor, x: Tensor, y: Tensor, scale: float, rate: float) -> Tensor:
    return w - rate * _gradient(scale * torch.round(w / scale).clamp(-128, 127), x, y)


@ex.mistake("You rounded down. Asked is to the nearest code.")
def rounded_down(w: Tensor, x: Tensor, y: Tensor, scale: float, rate: float) -> Tensor:
    return w - rate * _gradient(scale * torch.floor(w / scale), x, y)


@ex.mistake("You rounded halves up. Asked is to the even code, as torch.round does.")
def halves_up(w: Tensor, x: Tensor, y: Tensor, scale: float, rate: float) -> Tensor:
    return w - rate * _gradient(scale * torch.floor(w / scale + 0.5), x, y)


@ex.mistake("You rounded halves away from zero. Asked is to the even code, as torch.round does.")
def halves_away(w: Tensor, x: Tensor, y: Tensor, scale: float, rate: float) -> Tensor:
    return w - rate * _gradient(scale * w.sign() * torch.floor(w.abs() / scale + 0.5), x, y)


@ex.mistake("You divided by K, the number of weights. The loss is a mean over the B rows.")
def over_weights(w: Tensor, x: Tensor, y: Tensor, scale: float, rate: float) -> Tensor:
    return w - rate * len(y) / len(w) * _gradient(_rounded(w, scale), x, y)


@ex.mistake("You returned the gradient. Asked are the weights after the step.")
def gradient_itself(w: Tensor, x: Tensor, y: Tensor, scale: float, rate: float) -> Tensor:
    return _gradient(_rounded(w, scale), x, y)


@ex.alternative
def with_autograd(w: Tensor, x: Tensor, y: Tensor, scale: float, rate: float) -> Tensor:
    leaf = w.clone().requires_grad_()
    used = leaf + (scale * torch.round(leaf / scale) - leaf).detach()
    (x @ used - y).square().mean().backward()
    assert leaf.grad is not None
    return w - rate * leaf.grad


@ex.alternative
def with_numpy(w: Tensor, x: Tensor, y: Tensor, scale: float, rate: float) -> np.ndarray:
    weights, inputs, targets = (part.numpy().astype(float) for part in (w, x, y))
    off = inputs @ (np.rint(weights / scale) * scale) - targets
    return weights - rate * 2 * (off[:, None] * inputs).mean(0)


@ex.alternative
def image_by_image(w: Tensor, x: Tensor, y: Tensor, scale: float, rate: float) -> list[float]:
    used = [scale * round(float(value) / scale) for value in w]
    found = [float(value) for value in w]
    for row, target in zip(x.tolist(), y.tolist(), strict=True):
        off = sum(a * b for a, b in zip(row, used, strict=True)) - target
        for k, value in enumerate(row):
            found[k] -= rate * 2 * off * value / len(y)
    return found
