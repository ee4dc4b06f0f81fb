"""13.3: the weights and the bias that get codes, BatchNorm folded in."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor
from torch.nn.utils.fusion import fuse_conv_bn_weights

from course_lib.exercises.engine.exercise import Exercise

Question = tuple[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, float]
Answer = tuple[Tensor, Tensor]

ex = Exercise(
    "13.3",
    "What gets codes",
    points=2,
    hints=[
        "BatchNorm of a number z is γ·(z − μ)/√(σ² + ε) + β: one factor f and one shift for each output channel.",
        "z = w·x + b: the factor goes to w and to b, the shift to b alone.",
        "f.view(-1, *[1] * (w.ndim − 1)) stands beside the output channels of w.",
    ],
    explanation="""
        Neither w nor b is what the deployed layer rounds: it rounds w·f and (b − μ)·f + β. Training must round the same
        numbers, or else it trains another network. The library: `QuantizedLayer.folded`.
    """,
)


@ex.reference
def fold(w: Tensor, b: Tensor, gamma: Tensor, beta: Tensor, mean: Tensor, variance: Tensor, epsilon: float) -> Answer:
    """(weights of the shape of w, bias (C_out,)) of the layer that does what layer and BatchNorm did.

    w has two axes or more, the output channel first; b, gamma, beta, mean and variance are (C_out,), mean and variance
    BatchNorm's running statistics. Nothing is rounded yet.
    """
    return _with(gamma / (variance + epsilon).sqrt(), w, b, beta, mean)


def _with(factor: Tensor, w: Tensor, b: Tensor, beta: Tensor, mean: Tensor) -> Answer:
    return w * factor.view(-1, *[1] * (w.ndim - 1)), (b - mean) * factor + beta


def _factor(gamma: Tensor, variance: Tensor, epsilon: float) -> Tensor:
    return gamma / (variance + epsilon).sqrt()


@ex.case("by hand: γ = 2 and σ = 0.5 give f = 4; the bias (1 − 0.5) · 4 + 3 = 5")
def by_hand() -> Question:
    w, b = torch.tensor([[0.5, -1.0]]), torch.tensor([1.0])
    return w, b, torch.tensor([2.0]), torch.tensor([3.0]), torch.tensor([0.5]), torch.tensor([0.25]), 0.0


@ex.case("two channels that differ, and two inputs: the factor belongs to the output")
def square() -> Question:
    w = torch.tensor([[1.0, -2.0], [0.5, 4.0]])
    b, gamma, beta = torch.tensor([0.0, 1.0]), torch.tensor([1.0, 3.0]), torch.tensor([0.5, -1.0])
    return w, b, gamma, beta, torch.tensor([2.0, -1.0]), torch.tensor([4.0, 0.25]), 0.0


@ex.case("ε is large beside the variance")
def large_epsilon() -> Question:
    w, b = torch.tensor([[1.0, 2.0, 3.0], [0.5, -1.0, 2.0]]), torch.tensor([0.2, 0.4])
    gamma, beta = torch.tensor([1.0, 2.0]), torch.tensor([0.0, 0.1])
    return w, b, gamma, beta, torch.tensor([0.1, -0.3]), torch.tensor([0.03, 0.0]), 0.01


@ex.case("a convolution (2, 1, 1, 2), a negative γ, and one of 0")
def convolution() -> Question:
    w = torch.tensor([[1.0, -0.5], [2.0, 0.3]]).view(2, 1, 1, 2)
    b, gamma, beta = torch.tensor([0.3, -0.2]), torch.tensor([-1.5, 0.0]), torch.tensor([0.7, 0.4])
    return w, b, gamma, beta, torch.tensor([1.0, 2.0]), torch.tensor([0.99, 3.99]), 0.01


@ex.case("a Conv1d, (2, 3, 2): three axes")
def one_dimension() -> Question:
    w = torch.tensor([[[1.0, -2.0], [0.5, 3.0], [-1.0, 0.25]], [[2.0, 0.3], [-0.7, 1.0], [4.0, -3.0]]])
    b, gamma, beta = torch.tensor([0.4, -1.0]), torch.tensor([0.5, 2.0]), torch.tensor([-0.2, 0.6])
    return w, b, gamma, beta, torch.tensor([0.3, -0.8]), torch.tensor([0.24, 1.43]), 0.01


@ex.inputs
def random_layer(rng: np.random.Generator) -> Question:
    shape = [(3, 2), (2, 3), (2, 2, 3), (2, 2, 1, 2)][int(rng.integers(4))]
    parts = [rng.normal(0, 1, shape)] + [rng.normal(0, 1, shape[0]) for _ in range(4)]
    parts.append(rng.uniform(0.05, 4, shape[0]))
    w, b, gamma, beta, mean, variance = (torch.tensor(part.round(2), dtype=torch.float32) for part in parts)
    return w, b, gamma, beta, mean, variance, 0.01


Parts = Tensor


@ex.mistake("You divided by the variance. BatchNorm divides by its root, √(σ² + ε).")
def no_root(w: Parts, b: Parts, gamma: Parts, beta: Parts, mean: Parts, variance: Parts, epsilon: float) -> Answer:
    return _with(gamma / (variance + epsilon), w, b, beta, mean)


@ex.mistake("You squared the variance: it is σ² already.")
def squared(w: Parts, b: Parts, gamma: Parts, beta: Parts, mean: Parts, variance: Parts, epsilon: float) -> Answer:
    return _with(gamma / (variance**2 + epsilon).sqrt(), w, b, beta, mean)


@ex.mistake("Your bias has (μ − b)·f: BatchNorm subtracts the mean from what the layer gives, b among it.")
def difference_turned(
    w: Parts, b: Parts, gamma: Parts, beta: Parts, mean: Parts, variance: Parts, epsilon: float
) -> Answer:
    factor = _factor(gamma, variance, epsilon)
    return fold(w, b, gamma, beta, mean, variance, epsilon)[0], (mean - b) * factor + beta


@ex.mistake("ε is missing under the root: with a small variance the factor is too large.")
def no_epsilon(w: Parts, b: Parts, gamma: Parts, beta: Parts, mean: Parts, variance: Parts, epsilon: float) -> Answer:
    return _with(gamma / variance.sqrt(), w, b, beta, mean)


@ex.mistake("Your ε is 1e-5 whatever is asked for. It is an argument: BatchNorms differ in it.")
def epsilon_fixed(
    w: Parts, b: Parts, gamma: Parts, beta: Parts, mean: Parts, variance: Parts, epsilon: float
) -> Answer:
    return fold(w, b, gamma, beta, mean, variance, 1e-5)


@ex.mistake("ε stands behind the root. It is added to the variance, under it.")
def epsilon_outside(
    w: Parts, b: Parts, gamma: Parts, beta: Parts, mean: Parts, variance: Parts, epsilon: float
) -> Answer:
    return _with(gamma / (variance.sqrt() + epsilon), w, b, beta, mean)


@ex.mistake("γ is missing: BatchNorm scales what it has normalized.")
def no_gamma(w: Parts, b: Parts, gamma: Parts, beta: Parts, mean: Parts, variance: Parts, epsilon: float) -> Answer:
    return _with((variance + epsilon).rsqrt(), w, b, beta, mean)


@ex.mistake("The layer's own bias got no factor: it is part of what BatchNorm normalizes.")
def bias_without_factor(
    w: Parts, b: Parts, gamma: Parts, beta: Parts, mean: Parts, variance: Parts, epsilon: float
) -> Answer:
    folded, _ = fold(w, b, gamma, beta, mean, variance, epsilon)
    return folded, b - mean * _factor(gamma, variance, epsilon) + beta


@ex.mistake("The mean got no factor: BatchNorm subtracts it before it scales.")
def mean_without_factor(
    w: Parts, b: Parts, gamma: Parts, beta: Parts, mean: Parts, variance: Parts, epsilon: float
) -> Answer:
    folded, _ = fold(w, b, gamma, beta, mean, variance, epsilon)
    return folded, b * _factor(gamma, variance, epsilon) - mean + beta


@ex.mistake("β got the factor. It is added last, as it is.")
def beta_with_factor(
    w: Parts, b: Parts, gamma: Parts, beta: Parts, mean: Parts, variance: Parts, epsilon: float
) -> Answer:
    folded, _ = fold(w, b, gamma, beta, mean, variance, epsilon)
    return folded, (b - mean + beta) * _factor(gamma, variance, epsilon)


@ex.mistake("The layer's own bias is lost: it need not be 0.")
def no_bias(w: Parts, b: Parts, gamma: Parts, beta: Parts, mean: Parts, variance: Parts, epsilon: float) -> Answer:
    return fold(w, torch.zeros_like(b), gamma, beta, mean, variance, epsilon)


@ex.mistake("The running mean is missing from the bias.")
def no_mean(w: Parts, b: Parts, gamma: Parts, beta: Parts, mean: Parts, variance: Parts, epsilon: float) -> Answer:
    return fold(w, b, gamma, beta, torch.zeros_like(mean), variance, epsilon)


@ex.mistake("β is missing from the bias.")
def no_beta(w: Parts, b: Parts, gamma: Parts, beta: Parts, mean: Parts, variance: Parts, epsilon: float) -> Answer:
    return fold(w, b, gamma, torch.zeros_like(beta), mean, variance, epsilon)


@ex.mistake("You added the mean. BatchNorm subtracts it.")
def mean_added(w: Parts, b: Parts, gamma: Parts, beta: Parts, mean: Parts, variance: Parts, epsilon: float) -> Answer:
    return fold(w, b, gamma, beta, -mean, variance, epsilon)


@ex.mistake("The weights are as they were. It is w·f that gets codes.")
def weights_as_they_were(
    w: Parts, b: Parts, gamma: Parts, beta: Parts, mean: Parts, variance: Parts, epsilon: float
) -> Answer:
    return w.clone(), fold(w, b, gamma, beta, mean, variance, epsilon)[1]


@ex.mistake("Your factors lie along the last axis of w. They belong to the output channels, axis 0.")
def last_axis(w: Parts, b: Parts, gamma: Parts, beta: Parts, mean: Parts, variance: Parts, epsilon: float) -> Answer:
    folded, bias = fold(w, b, gamma, beta, mean, variance, epsilon)
    factor = _factor(gamma, variance, epsilon)
    return (w * factor if w.shape[-1] == len(factor) else folded), bias


@ex.mistake("These are the weights alone. Asked are two: (weights, bias).")
def weights_alone(
    w: Parts, b: Parts, gamma: Parts, beta: Parts, mean: Parts, variance: Parts, epsilon: float
) -> Tensor:
    return fold(w, b, gamma, beta, mean, variance, epsilon)[0]


@ex.mistake("Right numbers, wrong order: first the weights, then the bias.")
def swapped(w: Parts, b: Parts, gamma: Parts, beta: Parts, mean: Parts, variance: Parts, epsilon: float) -> Answer:
    folded, bias = fold(w, b, gamma, beta, mean, variance, epsilon)
    return bias, folded


@ex.alternative
def with_torch(
    w: Parts, b: Parts, gamma: Parts, beta: Parts, mean: Parts, variance: Parts, epsilon: float
) -> tuple[Tensor, Tensor]:
    folded, bias = fuse_conv_bn_weights(w, b, mean, variance, epsilon, gamma, beta)
    return folded, bias


@ex.alternative
def with_numpy(
    w: Parts, b: Parts, gamma: Parts, beta: Parts, mean: Parts, variance: Parts, epsilon: float
) -> tuple[np.ndarray, np.ndarray]:
    factor = gamma.numpy() / np.sqrt(variance.numpy() + epsilon)
    folded = (w.numpy().reshape(len(w), -1) * factor[:, None]).reshape(w.shape)
    return folded, beta.numpy() + factor * (b.numpy() - mean.numpy())


@ex.alternative
def channel_by_channel(
    w: Parts, b: Parts, gamma: Parts, beta: Parts, mean: Parts, variance: Parts, epsilon: float
) -> tuple[Tensor, list[float]]:
    rows, bias = [], []
    for c in range(len(w)):
        factor = float(gamma[c]) * (float(variance[c]) + epsilon) ** -0.5
        rows.append(w[c] * factor)
        bias.append(float(b[c]) * factor - float(mean[c]) * factor + float(beta[c]))
    return torch.stack(rows), bias
