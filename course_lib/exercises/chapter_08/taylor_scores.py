"""08.5: first-order Taylor importance of channels, from activations and their gradients."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from course_lib.exercises.engine.exercise import Exercise

Question = tuple[Tensor, Tensor]

ex = Exercise(
    "08.5",
    "Taylor importance from activations and gradients",
    points=2,
    hints=[
        "Setting one activation a to 0 changes the loss by about −a · ∂L/∂a. All positions of a channel go together.",
        "First add up activations · gradients over height and width: (B, C), the change that each image sees.",
        "Then the absolute value, then the mean over the images: (C,).",
    ],
    explanation="""
        A channel goes as a whole, so the changes at its positions add up, with their signs; only then the size counts.
        The absolute value comes before the mean over images, since a channel that helps one image and harms another is
        not useless. Molchanov et al. (2017, eq. 8); the library squares instead, and puts the gate on BatchNorm's
        output or on the weights: `taylor`.
    """,
)


@ex.reference
def taylor_scores(activations: Tensor, gradients: Tensor) -> Tensor:
    """(C,): mean over images of |Σ over positions of a · ∂L/∂a|; both arguments are (B, C, H, W)."""
    changes = (activations * gradients).sum(dim=(2, 3))  # (B, C)
    return changes.abs().mean(dim=0)


@ex.case("one channel of 2 × 2 by hand: 0.5 − 0.5 + 0.5 − 0.25 = 0.25")
def by_hand() -> Question:
    activations = torch.tensor([1.0, 2.0, 1.0, 0.5]).view(1, 1, 2, 2)
    return activations, torch.tensor([0.5, -0.25, 0.5, -0.5]).view(1, 1, 2, 2)


@ex.case("two positions whose changes cancel: 0, and the other channel's do not")
def cancelling() -> Question:
    activations = torch.tensor([2.0, 4.0, 2.0, 4.0]).view(1, 2, 1, 2)
    return activations, torch.tensor([0.5, -0.25, 0.5, 0.25]).view(1, 2, 1, 2)


@ex.case("two images that disagree: the mean of the sizes, not the size of the mean")
def two_images() -> Question:
    activations = torch.tensor([1.0, 3.0, 2.0, 1.0]).view(2, 2, 1, 1)
    return activations, torch.tensor([0.5, 0.25, -0.25, 0.5]).view(2, 2, 1, 1)


@ex.case("as many images as channels, 3 × 2 positions: a wrong axis raises no error")
def square() -> Question:
    numbers = torch.arange(1.0, 25.0).view(2, 2, 3, 2)
    return numbers / 4, (numbers.flip(0) - 9) / 8


@ex.case("a negative activation (no ReLU in front)")
def negative() -> Question:
    return torch.tensor([[[[-2.0]], [[0.5]]]]), torch.tensor([[[[1.5]], [[-2.0]]]])


@ex.inputs
def random_maps(rng: np.random.Generator) -> Question:
    shape = tuple(int(n) for n in rng.integers([2, 2, 2, 2], [4, 5, 4, 4]))
    activations, gradients = (torch.tensor(rng.normal(size=shape).round(2), dtype=torch.float32) for _ in range(2))
    return activations, gradients


@ex.mistake(
    "You took the absolute value at each position. A channel goes as a whole: add its changes up, then take their size."
)
def size_first(activations: Tensor, gradients: Tensor) -> Tensor:
    return (activations * gradients).abs().sum(dim=(2, 3)).mean(dim=0)


@ex.mistake(
    "You averaged over the images before the absolute value: a channel that helps one image and harms another gets 0."
)
def images_first(activations: Tensor, gradients: Tensor) -> Tensor:
    return (activations * gradients).sum(dim=(2, 3)).mean(dim=0).abs()


@ex.mistake("The absolute value is missing. A large change in either direction makes a channel important.")
def signed(activations: Tensor, gradients: Tensor) -> Tensor:
    return (activations * gradients).sum(dim=(2, 3)).mean(dim=0)


@ex.mistake("You left out the activations: a channel that is 0 anyway changes nothing, however steep the loss.")
def gradients_alone(activations: Tensor, gradients: Tensor) -> Tensor:
    return gradients.sum(dim=(2, 3)).abs().mean(dim=0)


@ex.mistake("You left out the gradients: a large activation that the loss does not feel may go.")
def activations_alone(activations: Tensor, gradients: Tensor) -> Tensor:
    return activations.sum(dim=(2, 3)).abs().mean(dim=0)


@ex.mistake("You multiplied the sums. Each activation meets its own gradient: multiply first, then add.")
def product_of_sums(activations: Tensor, gradients: Tensor) -> Tensor:
    return (activations.sum(dim=(2, 3)) * gradients.sum(dim=(2, 3))).abs().mean(dim=0)


@ex.mistake(
    "You averaged over the positions. The change of the loss is their sum: a mean makes a channel of a large map look "
    "as cheap as one of a small map."
)
def mean_of_positions(activations: Tensor, gradients: Tensor) -> Tensor:
    return (activations * gradients).mean(dim=(2, 3)).abs().mean(dim=0)


@ex.mistake("You added up over the images. Asked is the mean: a score must not grow with the batch.")
def sum_of_images(activations: Tensor, gradients: Tensor) -> Tensor:
    return (activations * gradients).sum(dim=(2, 3)).abs().sum(dim=0)


@ex.mistake("You squared the changes. Asked is their absolute value.")
def squared(activations: Tensor, gradients: Tensor) -> Tensor:
    return (activations * gradients).sum(dim=(2, 3)).square().mean(dim=0)


@ex.mistake("You returned a score for each image. Asked is one for each channel: the mean over images.")
def each_image(activations: Tensor, gradients: Tensor) -> Tensor:
    return (activations * gradients).sum(dim=(2, 3)).abs()


@ex.mistake("You averaged over the channels. Asked is a score for each of them: the mean runs over images, axis 0.")
def channels_gone(activations: Tensor, gradients: Tensor) -> Tensor:
    return (activations * gradients).sum(dim=(2, 3)).abs().mean(dim=1)


@ex.alternative
def with_einsum(activations: Tensor, gradients: Tensor) -> Tensor:
    return torch.einsum("bchw,bchw->bc", activations, gradients).abs().mean(0)


@ex.alternative
def with_numpy(activations: Tensor, gradients: Tensor) -> np.ndarray:
    return np.abs((activations.numpy() * gradients.numpy()).sum(axis=(2, 3))).mean(axis=0)


@ex.alternative
def with_loops(activations: Tensor, gradients: Tensor) -> list[float]:
    images, channels = activations.shape[:2]
    scores = [0.0] * channels
    for i in range(images):
        for c in range(channels):
            scores[c] += abs(float((activations[i, c] * gradients[i, c]).sum())) / images
    return scores
