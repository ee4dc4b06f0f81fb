"""07.2: a step of SGD after which removed weights are 0, whatever momentum and weight decay do."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from course_lib.exercises.engine.exercise import Exercise

Question = tuple[Tensor, Tensor, Tensor, Tensor, float, float, float]
Answer = tuple[Tensor, Tensor]

ex = Exercise(
    "07.2",
    "A step of SGD under a mask",
    points=2,
    hints=[
        "First the step as if there were no mask: torch.optim.SGD adds weight_decay · weights to the gradient, then "
        "velocity = momentum · velocity + that, then weights − lr · velocity.",
        "The mask comes last, on the new weights. On the gradient it is too early: the velocity still moves them.",
        "weights.masked_fill(~mask, 0.0) writes 0 where the mask is False. Return the velocity as the step left it.",
    ],
    explanation="""
        What an optimiser does is more than the gradient. So the weights are put back *after* the step: that holds for
        momentum, for Adam's two running means and for any optimiser to come. In the library it is
        `hold_(model, optimizer)`, or `constraint=MasksHeld()` in `fit`. The velocity is left as it is: it moves a
        removed weight, and the next line takes the move back. `masked_fill` is safer than `weights * mask`: where a
        gradient has overflowed, 0 · ∞ is no number.
    """,
)


@ex.reference
def masked_sgd_step(
    weights: Tensor, gradient: Tensor, velocity: Tensor, mask: Tensor, lr: float, momentum: float, weight_decay: float
) -> Answer:
    """(weights, velocity) after torch.optim.SGD's step, velocity ← momentum·velocity + gradient + weight_decay·weights.

    The weights are 0 where the mask is False; the velocity is not masked.
    """
    velocity = momentum * velocity + gradient + weight_decay * weights
    weights = weights - lr * velocity
    return weights.masked_fill(~mask, 0.0), velocity


@ex.case("four weights by hand; the second is removed and has a velocity")
def by_hand() -> Question:
    weights, gradient = torch.tensor([1.0, 0.0, -2.0, 0.5]), torch.tensor([0.5, 0.3, -0.1, 0.2])
    return weights, gradient, torch.tensor([0.2, 0.4, 0.0, -0.6]), _mask(True, False, True, True), 0.1, 0.9, 0.0


@ex.case("weight decay, and a removed weight that is not 0 yet: the mask is new")
def decay() -> Question:
    weights, gradient = torch.tensor([1.0, 0.4, -2.0]), torch.tensor([0.5, 0.0, -0.1])
    return weights, gradient, torch.tensor([0.3, 0.0, -0.2]), _mask(True, False, True), 0.5, 0.5, 0.1


@ex.case("a matrix; the velocity of removed weights goes on, unmasked")
def matrix() -> Question:
    weights, gradient = torch.tensor([[0.5, 0.0], [2.0, -1.0]]), torch.tensor([[1.0, 2.0], [-1.0, 0.5]])
    return weights, gradient, torch.full((2, 2), 0.25), _mask(True, False, True, False).view(2, 2), 0.2, 0.5, 0.3


@ex.inputs
def random_step(rng: np.random.Generator) -> Question:
    shape = (int(rng.integers(2, 4)), int(rng.integers(2, 5)))
    tensors = [torch.tensor(rng.normal(size=shape).round(2), dtype=torch.float32) for _ in range(3)]
    mask = torch.tensor(rng.permutation(np.arange(shape[0] * shape[1]) % 2 == 0).reshape(shape))
    return tensors[0], tensors[1], tensors[2], mask, 0.25, 0.5, 0.125


def _mask(*kept: bool) -> Tensor:
    return torch.tensor(kept)


def _plain(
    weights: Tensor, gradient: Tensor, velocity: Tensor, lr: float, momentum: float, weight_decay: float
) -> Answer:
    velocity = momentum * velocity + gradient + weight_decay * weights
    return weights - lr * velocity, velocity


@ex.mistake("Nothing keeps the removed weights at 0: the step wakes them. Zero them after it.")
def no_mask(
    weights: Tensor, gradient: Tensor, velocity: Tensor, mask: Tensor, lr: float, momentum: float, weight_decay: float
) -> Answer:
    return _plain(weights, gradient, velocity, lr, momentum, weight_decay)


@ex.mistake(
    "You zeroed the weights before the step. The step then moves them: the first one undoes the mask. Zero them after "
    "it."
)
def masked_before(
    weights: Tensor, gradient: Tensor, velocity: Tensor, mask: Tensor, lr: float, momentum: float, weight_decay: float
) -> Answer:
    return _plain(weights.masked_fill(~mask, 0.0), gradient, velocity, lr, momentum, weight_decay)


@ex.mistake(
    "You masked the gradient. Momentum goes on in the direction it had, and weight decay moves what is not 0: removed "
    "weights wake. Zero the weights after the step."
)
def masked_gradient(
    weights: Tensor, gradient: Tensor, velocity: Tensor, mask: Tensor, lr: float, momentum: float, weight_decay: float
) -> Answer:
    return _plain(weights, gradient.masked_fill(~mask, 0.0), velocity, lr, momentum, weight_decay)


@ex.mistake(
    "Your step freezes removed weights instead of zeroing them: one that was not 0 when the mask came stays as it was. "
    "Write 0."
)
def frozen(
    weights: Tensor, gradient: Tensor, velocity: Tensor, mask: Tensor, lr: float, momentum: float, weight_decay: float
) -> Answer:
    moved, velocity = _plain(weights, gradient, velocity, lr, momentum, weight_decay)
    return torch.where(mask, moved, weights), velocity


@ex.mistake("You zeroed what the mask keeps. True means kept: fill where ~mask.")
def inverted(
    weights: Tensor, gradient: Tensor, velocity: Tensor, mask: Tensor, lr: float, momentum: float, weight_decay: float
) -> Answer:
    moved, velocity = _plain(weights, gradient, velocity, lr, momentum, weight_decay)
    return moved.masked_fill(mask, 0.0), velocity


@ex.mistake(
    "The weights are right, but you zeroed the velocity of removed weights, too. It does no harm here; asked is the "
    "optimiser's own velocity: nobody should have to reach into its state."
)
def velocity_masked(
    weights: Tensor, gradient: Tensor, velocity: Tensor, mask: Tensor, lr: float, momentum: float, weight_decay: float
) -> Answer:
    moved, velocity = _plain(weights, gradient, velocity, lr, momentum, weight_decay)
    return moved.masked_fill(~mask, 0.0), velocity.masked_fill(~mask, 0.0)


@ex.mistake("You left out weight decay: SGD adds weight_decay · weights to the gradient.")
def no_decay(
    weights: Tensor, gradient: Tensor, velocity: Tensor, mask: Tensor, lr: float, momentum: float, weight_decay: float
) -> Answer:
    return masked_sgd_step(weights, gradient, velocity, mask, lr, momentum, 0.0)


@ex.mistake(
    "You subtract the decay from the weights beside the step, as AdamW does. In SGD it belongs to the gradient, and so "
    "to the velocity."
)
def decoupled_decay(
    weights: Tensor, gradient: Tensor, velocity: Tensor, mask: Tensor, lr: float, momentum: float, weight_decay: float
) -> Answer:
    moved, velocity = _plain(weights, gradient, velocity, lr, momentum, 0.0)
    return (moved - lr * weight_decay * weights).masked_fill(~mask, 0.0), velocity


@ex.mistake(
    "You weigh the new gradient by 1 − momentum, as a running mean does. PyTorch's SGD adds it whole: velocity = "
    "momentum · velocity + gradient."
)
def running_mean(
    weights: Tensor, gradient: Tensor, velocity: Tensor, mask: Tensor, lr: float, momentum: float, weight_decay: float
) -> Answer:
    pulled = gradient + weight_decay * weights
    velocity = momentum * velocity + (1 - momentum) * pulled
    return (weights - lr * velocity).masked_fill(~mask, 0.0), velocity


@ex.mistake("You moved by the old velocity. Bring it up to date first, then move by it.")
def old_velocity(
    weights: Tensor, gradient: Tensor, velocity: Tensor, mask: Tensor, lr: float, momentum: float, weight_decay: float
) -> Answer:
    _, new = _plain(weights, gradient, velocity, lr, momentum, weight_decay)
    return (weights - lr * velocity).masked_fill(~mask, 0.0), new


@ex.mistake(
    "You moved on by one more gradient: that is Nesterov's step. Asked is the plain one, weights − lr · velocity."
)
def nesterov(
    weights: Tensor, gradient: Tensor, velocity: Tensor, mask: Tensor, lr: float, momentum: float, weight_decay: float
) -> Answer:
    _, new = _plain(weights, gradient, velocity, lr, momentum, weight_decay)
    ahead = gradient + weight_decay * weights + momentum * new
    return (weights - lr * ahead).masked_fill(~mask, 0.0), new


@ex.mistake("The two are swapped: return (weights, velocity).")
def swapped(
    weights: Tensor, gradient: Tensor, velocity: Tensor, mask: Tensor, lr: float, momentum: float, weight_decay: float
) -> Answer:
    return masked_sgd_step(weights, gradient, velocity, mask, lr, momentum, weight_decay)[::-1]


@ex.mistake(
    "Momentum multiplies the old velocity only: momentum · velocity + gradient, not momentum · (velocity + gradient)."
)
def momentum_on_both(
    weights: Tensor, gradient: Tensor, velocity: Tensor, mask: Tensor, lr: float, momentum: float, weight_decay: float
) -> Answer:
    new = momentum * (velocity + gradient + weight_decay * weights)
    return (weights - lr * new).masked_fill(~mask, 0.0), new


@ex.mistake("You went up the gradient: weights − lr · velocity goes down.")
def upwards(
    weights: Tensor, gradient: Tensor, velocity: Tensor, mask: Tensor, lr: float, momentum: float, weight_decay: float
) -> Answer:
    _, new = _plain(weights, gradient, velocity, lr, momentum, weight_decay)
    return (weights + lr * new).masked_fill(~mask, 0.0), new


@ex.mistake("You returned the weights alone. The next step needs the velocity, too: return (weights, velocity).")
def weights_alone(
    weights: Tensor, gradient: Tensor, velocity: Tensor, mask: Tensor, lr: float, momentum: float, weight_decay: float
) -> Tensor:
    return masked_sgd_step(weights, gradient, velocity, mask, lr, momentum, weight_decay)[0]


@ex.alternative
def with_torch_optim(
    weights: Tensor, gradient: Tensor, velocity: Tensor, mask: Tensor, lr: float, momentum: float, weight_decay: float
) -> Answer:
    parameter = torch.nn.Parameter(weights.clone())
    parameter.grad = gradient.clone()
    optimizer = torch.optim.SGD([parameter], lr=lr, momentum=momentum, weight_decay=weight_decay)
    optimizer.state[parameter]["momentum_buffer"] = velocity.clone()
    optimizer.step()
    return torch.where(mask, parameter.detach(), torch.zeros(())), optimizer.state[parameter]["momentum_buffer"]


@ex.alternative
def with_numpy(
    weights: Tensor, gradient: Tensor, velocity: Tensor, mask: Tensor, lr: float, momentum: float, weight_decay: float
) -> tuple[np.ndarray, np.ndarray]:
    w, g, v = weights.numpy(), gradient.numpy(), velocity.numpy()
    v = momentum * v + (g + weight_decay * w)
    return np.where(mask.numpy(), w - lr * v, 0.0), v


@ex.alternative
def by_index(
    weights: Tensor, gradient: Tensor, velocity: Tensor, mask: Tensor, lr: float, momentum: float, weight_decay: float
) -> list[Tensor]:
    new = velocity.clone().mul_(momentum).add_(gradient).add_(weights, alpha=weight_decay)
    moved = weights.clone()
    moved[mask] -= lr * new[mask]
    moved[~mask] = 0
    return [moved, new]


@ex.alternative
def times_the_mask(
    weights: Tensor, gradient: Tensor, velocity: Tensor, mask: Tensor, lr: float, momentum: float, weight_decay: float
) -> Answer:
    velocity = momentum * velocity + gradient + weight_decay * weights
    return (weights - lr * velocity) * mask, velocity
