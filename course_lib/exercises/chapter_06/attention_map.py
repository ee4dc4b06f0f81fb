"""06.3: an attention map: where a layer is active, whatever its channels are called."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from course_lib.exercises.engine.exercise import Exercise

ex = Exercise(
    "06.3",
    "An attention map",
    points=2,
    trials=8,
    gradient_of=("features",),
    hints=[
        "Three steps: strength of each number, |A|^p; sum over the channels, axis 1; length 1 for each image.",
        "flatten(1) makes (B, H·W); its norm per image is q.norm(dim=1, keepdim=True).",
    ],
    explanation="""
        $Q = \\sum_c |A_c|^p$, then $Q / \\lVert Q \\rVert_2$ per image. A mean over the channels instead of the sum
        gives the same map, since the norm takes any factor away. The library returns zeros for a map without any
        activation, and rescales first, so that powers neither overflow nor vanish.
    """,
)


@ex.reference
def attention(features: Tensor, power: float) -> Tensor:
    """Σ_c |A_c|^p, (B, C, H, W) → (B, H·W), each image's map of Euclidean length 1."""
    q = features.abs().pow(power).sum(1).flatten(1)  # (B, H·W)
    return q / q.norm(dim=1, keepdim=True)


@ex.case("the page's four pixels, which give (5, 0, 1, 4) / √42")
def by_hand() -> tuple[Tensor, float]:
    return torch.tensor([[[[1.0, 0], [0, 2]], [[-2, 0], [1, 0]]]]), 2


@ex.case("p = 1 and channels of opposite sign")
def opposite_signs() -> tuple[Tensor, float]:
    return torch.tensor([[[[1.0, 0, 3]], [[-2, 0, 1]]]]), 1


@ex.case("p = 3 and two images, one much stronger than the other")
def odd_power() -> tuple[Tensor, float]:
    weak, strong = [[[1.0], [-0.5]], [[0.3], [-1.2]], [[-0.4], [0.7]]], [[[30.0], [5]], [[-20], [8]], [[6], [-25]]]
    return torch.tensor([weak, strong]), 3


@ex.case("a power that is no whole number")
def broken_power() -> tuple[Tensor, float]:
    return torch.tensor([[[[1.0, -2]], [[-0.5, 3]]], [[[2, 0.5]], [[-1, -1.5]]]]), 1.5


@ex.inputs
def random_features(rng: np.random.Generator) -> tuple[Tensor, float]:
    """Higher than wide or wider than high, channels of opposite sign, and p odd, so that a sign survives the power."""
    shape = [(2, 3, 2, 3), (2, 3, 3, 2), (3, 2, 2, 3)][rng.integers(3)]
    features = rng.choice(np.arange(3, 51), shape, replace=False) / 10
    signs = np.where((np.arange(shape[1])[:, None, None] + np.arange(shape[3])) % 2, 1, -1)  # alternate
    return torch.from_numpy(features * signs).float(), int(rng.choice([3, 5]))


def _unit(q: Tensor) -> Tensor:
    return q / q.norm(dim=1, keepdim=True)


@ex.mistake(
    "The maps are not normalised. A layer whose features are all twice as large would then seem to look elsewhere: "
    "divide each image's map by its norm."
)
def not_normalised(features: Tensor, power: float) -> Tensor:
    return features.abs().pow(power).sum(1).flatten(1)


@ex.mistake(
    "You divided by the norm over the whole batch: each image's map then depends on the other images. One norm for "
    "each image."
)
def one_norm_for_the_batch(features: Tensor, power: float) -> Tensor:
    q = features.abs().pow(power).sum(1).flatten(1)
    return q / q.norm()


@ex.mistake(
    "The absolute value is missing: with an odd power, channels of opposite sign cancel, though both are active."
)
def no_absolute_value(features: Tensor, power: float) -> Tensor:
    return _unit(features.pow(power).sum(1).flatten(1))


@ex.mistake("You dropped the negative numbers. A channel that is strongly negative is active, too: |A|.")
def negative_dropped(features: Tensor, power: float) -> Tensor:
    return _unit(features.relu().pow(power).sum(1).flatten(1))


@ex.mistake("You divided each place by its norm over the images (axis 0). One norm for each image: axis 1.")
def norm_over_images(features: Tensor, power: float) -> Tensor:
    return F.normalize(features.abs().pow(power).sum(1).flatten(1), dim=0)


@ex.mistake(
    "You summed over the pixels, which leaves (B, C): how strong each channel is. Attention asks where: sum over the "
    "channels, axis 1."
)
def summed_over_pixels(features: Tensor, power: float) -> Tensor:
    return _unit(features.abs().pow(power).sum((2, 3)))


@ex.mistake(
    "You took the power of the sum. Channels of opposite sign cancel before they are counted: first |A|^p, then the "
    "sum."
)
def power_of_the_sum(features: Tensor, power: float) -> Tensor:
    return _unit(features.sum(1).abs().pow(power).flatten(1))


@ex.mistake(
    "First the power, then the sum: you raised the sum of the absolute values to p. That favours no single peak."
)
def power_after_the_sum(features: Tensor, power: float) -> Tensor:
    return _unit(features.abs().sum(1).pow(power).flatten(1))


@ex.mistake("Your p does nothing: |A| itself is summed.")
def no_power(features: Tensor, power: float) -> Tensor:
    return _unit(features.abs().sum(1).flatten(1))


@ex.mistake("You squared, whatever p is.")
def always_squared(features: Tensor, power: float) -> Tensor:
    return _unit(features.square().sum(1).flatten(1))


@ex.mistake("Your maps sum to 1. The paper divides by the Euclidean norm: the squares sum to 1.")
def sum_of_one(features: Tensor, power: float) -> Tensor:
    q = features.abs().pow(power).sum(1).flatten(1)
    return q / q.sum(1, keepdim=True)


@ex.mistake("The brightest place of your maps is 1. Divide by the Euclidean norm, so that the squares sum to 1.")
def peak_of_one(features: Tensor, power: float) -> Tensor:
    q = features.abs().pow(power).sum(1).flatten(1)
    return q / q.amax(1, keepdim=True)


@ex.mistake("That is the other form on the page, the largest channel at each place. Asked for is the sum.")
def largest_channel(features: Tensor, power: float) -> Tensor:
    return _unit(features.abs().pow(power).amax(1).flatten(1))


@ex.mistake("You took the p-th root: that is a p-norm over the channels. Asked for is the sum of the powers.")
def norm_over_channels(features: Tensor, power: float) -> Tensor:
    return _unit(features.abs().pow(power).sum(1).pow(1 / power).flatten(1))


@ex.mistake("The map must be flat, (B, H·W): flatten(1) after the sum over the channels.")
def not_flat(features: Tensor, power: float) -> Tensor:
    q = features.abs().pow(power).sum(1)
    return q / q.flatten(1).norm(dim=1)[:, None, None]


@ex.mistake("Rows and columns are exchanged: place y·W + x belongs to row y and column x.")
def columns_first(features: Tensor, power: float) -> Tensor:
    return _unit(features.abs().pow(power).sum(1).transpose(1, 2).flatten(1))


@ex.mistake(
    "The map is right, but its norm is a constant to the gradient (detach): a loss would then make the features larger "
    "or smaller, which changes no map."
)
def norm_detached(features: Tensor, power: float) -> Tensor:
    q = features.abs().pow(power).sum(1).flatten(1)
    return q / q.norm(dim=1, keepdim=True).detach()


@ex.mistake(
    "The map is right, but it carries no gradient: with detach(), NumPy or no_grad it cannot stand in a loss that "
    "trains a student."
)
def no_gradient(features: Tensor, power: float) -> Tensor:
    return attention(features.detach(), power)


@ex.alternative
def mean_over_channels(features: Tensor, power: float) -> Tensor:
    return F.normalize(features.abs().pow(power).mean(1).flatten(1))


@ex.alternative
def image_by_image(features: Tensor, power: float) -> Tensor:
    maps = []
    for image in features:
        q = sum(channel.abs() ** power for channel in image)
        assert isinstance(q, Tensor)
        maps.append(q.flatten() / (q * q).sum().sqrt())
    return torch.stack(maps)


@ex.alternative
def rescaled_in_double(features: Tensor, power: float) -> Tensor:
    strength = features.double().abs()
    q = (strength / strength.amax((1, 2, 3), keepdim=True).detach()) ** power
    q = torch.einsum("bchw->bhw", q).reshape(len(features), -1)
    return q / torch.linalg.vector_norm(q, dim=-1)[:, None]
