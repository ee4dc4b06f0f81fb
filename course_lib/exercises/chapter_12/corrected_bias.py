"""12.4: a bias that takes back what rounding the weights does to the mean."""

from __future__ import annotations

import numpy as np

from course_lib.exercises.engine.exercise import Exercise

Question = tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]

ex = Exercise(
    "12.4",
    "A corrected bias",
    points=2,
    hints=[
        "E[x] has one number a channel: x.mean((0, 2, 3)), shape (C,).",
        "The sums have moved by (restored − weight) @ E[x]: one number an output, (D,).",
        "Take that away from the bias: bias − (restored − weight) @ mean.",
    ],
    explanation="""
        A convolution with a larger kernel sums its weights over the kernel first, up to what padding does at the rim.
        `correct_biases` measures the difference of the sums themselves instead of E[x]: then the error of the codes of
        x is taken back, too.
    """,
)


@ex.reference
def corrected_bias(bias: np.ndarray, weight: np.ndarray, restored: np.ndarray, x: np.ndarray) -> np.ndarray:
    """The bias (D,) of equation (2), for a convolution with a kernel of 1×1; all float64.

    bias: (D,); weight and restored: (D, C), as trained and as its codes say; x: (N, C, H, W), what the layer reads.
    E[x] is the mean of each channel over images and positions.
    """
    return bias - (restored - weight) @ _mean(x)


def _mean(x: np.ndarray) -> np.ndarray:
    return x.mean((0, 2, 3))


def _of(bias: list, weight: list, restored: list, pixels: list) -> Question:
    """pixels: images → channels → rows."""
    return np.array(bias, float), np.array(weight, float), np.array(restored, float), np.array(pixels, float)


@ex.case("by hand: weights 0.4 and 1.3, rounded to 0 and 1; x = (2, 1) and (4, 3)")
def by_hand() -> Question:
    return _of([0.5], [[0.4, 1.3]], [[0, 1]], [[[[2]], [[1]]], [[[4]], [[3]]]])


@ex.case("two outputs, rounded to both sides")
def two_outputs() -> Question:
    return _of([1, -2], [[0.4, 1.3], [0.7, -0.2]], [[0, 1], [1, 0]], [[[[2]], [[1]]], [[[4]], [[3]]]])


@ex.case("three outputs, positions that differ, and an odd pixel")
def positions() -> Question:
    x = [[[[1, 3], [0, 8]], [[2, 2], [4, 0]]], [[[5, 0], [1, 2]], [[0, 6], [1, 1]]]]
    return _of([0.25, 1, -1], [[0.6, 0.2], [0.3, -0.8], [1.4, 0.1]], [[0.5, 0.5], [0.5, -1], [1.5, 0]], x)


@ex.case("values below 0")
def both_signs() -> Question:
    x = [[[[-3, 1, 2]], [[-1, -1, 5]], [[0, 2, -8]]]]
    return _of([2, 3], [[0.9, -0.4, 0.2], [0.1, 0.2, 0.6]], [[1, 0, 0], [0, 0, 1]], x)


@ex.case("weights that codes hold exactly: nothing to correct")
def exact() -> Question:
    return _of([2.5, -1], [[1, 2], [-3, 0]], [[1, 2], [-3, 0]], [[[[2, 5]], [[1, 7]]]])


@ex.case("as many outputs as inputs")
def square() -> Question:
    return _of([0, 0], [[0.4, 0.3], [0.2, 1.4]], [[0, 0], [0, 1]], [[[[1, 2]], [[6, 8]]]])


@ex.inputs
def random_layer(rng: np.random.Generator) -> Question:
    outputs, inputs = (int(n) for n in rng.permutation([2, 3, 4])[:2])
    weight = rng.normal(size=(outputs, inputs)).round(2)
    x = np.maximum(rng.normal(0.5, 1, (int(rng.integers(1, 4)), inputs, 2, 3)), 0).round(2)
    return rng.normal(size=outputs).round(2), weight, np.rint(2 * weight) / 2, x


@ex.mistake("The sign: the sums have moved by (restored − weight)·E[x], and the bias takes that back.")
def wrong_sign(bias: np.ndarray, weight: np.ndarray, restored: np.ndarray, x: np.ndarray) -> np.ndarray:
    return bias + (restored - weight) @ _mean(x)


@ex.mistake("You returned the correction alone. Asked is the bias with it.")
def correction_alone(bias: np.ndarray, weight: np.ndarray, restored: np.ndarray, x: np.ndarray) -> np.ndarray:
    return (weight - restored) @ _mean(x)


@ex.mistake("You took one mean for all channels. Each has its own E[x].")
def one_mean(bias: np.ndarray, weight: np.ndarray, restored: np.ndarray, x: np.ndarray) -> np.ndarray:
    return bias - (restored - weight).sum(1) * x.mean()


@ex.mistake("You summed x instead of taking its mean: the correction grows with the number of images and positions.")
def sums(bias: np.ndarray, weight: np.ndarray, restored: np.ndarray, x: np.ndarray) -> np.ndarray:
    return bias - (restored - weight) @ x.sum((0, 2, 3))


@ex.mistake("Positions are summed, and only images averaged. E[x] is the mean over both.")
def positions_summed(bias: np.ndarray, weight: np.ndarray, restored: np.ndarray, x: np.ndarray) -> np.ndarray:
    return bias - (restored - weight) @ x.sum((2, 3)).mean(0)


@ex.mistake("Images are summed, and only positions averaged. E[x] is the mean over both.")
def images_summed(bias: np.ndarray, weight: np.ndarray, restored: np.ndarray, x: np.ndarray) -> np.ndarray:
    return bias - (restored - weight) @ x.mean((2, 3)).sum(0)


@ex.mistake("You averaged over the first image alone. All images count.")
def first_image(bias: np.ndarray, weight: np.ndarray, restored: np.ndarray, x: np.ndarray) -> np.ndarray:
    return bias - (restored - weight) @ x[0].mean((1, 2))


@ex.mistake("You averaged over images at the first position alone. All positions count.")
def first_position(bias: np.ndarray, weight: np.ndarray, restored: np.ndarray, x: np.ndarray) -> np.ndarray:
    return bias - (restored - weight) @ x[:, :, 0, 0].mean(0)


@ex.mistake("You averaged |x|. The sums have moved by the mean of x with its sign.")
def absolute_inputs(bias: np.ndarray, weight: np.ndarray, restored: np.ndarray, x: np.ndarray) -> np.ndarray:
    return bias - (restored - weight) @ np.abs(x).mean((0, 2, 3))


@ex.mistake("You averaged only what is above 0. The zeros that a ReLU makes count, too, and so does what is below.")
def positive_inputs(bias: np.ndarray, weight: np.ndarray, restored: np.ndarray, x: np.ndarray) -> np.ndarray:
    above = x > 0
    return bias - (restored - weight) @ ((x * above).sum((0, 2, 3)) / np.maximum(above.sum((0, 2, 3)), 1))


@ex.mistake("You took |restored − weight|. Weights rounded up and weights rounded down work against each other.")
def absolute_errors(bias: np.ndarray, weight: np.ndarray, restored: np.ndarray, x: np.ndarray) -> np.ndarray:
    return bias - np.abs(restored - weight) @ _mean(x)


@ex.mistake(
    "You took away the whole output of the rounded weights. Only their difference to the trained ones is wrong."
)
def whole_output(bias: np.ndarray, weight: np.ndarray, restored: np.ndarray, x: np.ndarray) -> np.ndarray:
    return bias - restored @ _mean(x)


@ex.mistake("You averaged the product over the input channels. A sum runs over them.")
def mean_over_inputs(bias: np.ndarray, weight: np.ndarray, restored: np.ndarray, x: np.ndarray) -> np.ndarray:
    return bias - ((restored - weight) * _mean(x)).mean(1)


@ex.mistake(
    "x.reshape(-1, C) does not put a channel into a column: the channels are axis 1. Take the mean over the axes "
    "(0, 2, 3), or move axis 1 to the end first."
)
def reshaped(bias: np.ndarray, weight: np.ndarray, restored: np.ndarray, x: np.ndarray) -> np.ndarray:
    return bias - (restored - weight) @ x.reshape(-1, x.shape[1]).mean(0)


@ex.mistake("You averaged over the axes (1, 2, 3): one mean an image. Asked is one a channel: the axes (0, 2, 3).")
def mean_of_images(bias: np.ndarray, weight: np.ndarray, restored: np.ndarray, x: np.ndarray) -> np.ndarray:
    return bias - (restored - weight) @ x.mean((1, 2, 3))


@ex.mistake("You compared what comes out of the ReLU. Equation (2) is about the sums before it.")
def behind_the_relu(bias: np.ndarray, weight: np.ndarray, restored: np.ndarray, x: np.ndarray) -> np.ndarray:
    after = [np.maximum(np.einsum("dc,nchw->ndhw", w, x) + bias[:, None, None], 0) for w in (weight, restored)]
    return bias - (after[1] - after[0]).mean((0, 2, 3))


@ex.mistake("You took the medians of the channels. What the sums move by is the mean.")
def medians(bias: np.ndarray, weight: np.ndarray, restored: np.ndarray, x: np.ndarray) -> np.ndarray:
    return bias - (restored - weight) @ np.median(x, (0, 2, 3))


@ex.alternative
def from_the_sums(bias: np.ndarray, weight: np.ndarray, restored: np.ndarray, x: np.ndarray) -> np.ndarray:
    before = np.einsum("dc,nchw->ndhw", weight, x)
    after = np.einsum("dc,nchw->ndhw", restored, x)
    return bias + (before - after).mean((0, 2, 3))


@ex.alternative
def with_loops(bias: np.ndarray, weight: np.ndarray, restored: np.ndarray, x: np.ndarray) -> list[float]:
    means = [float(np.mean(x[:, c])) for c in range(x.shape[1])]
    return [
        float(b) - sum((r - w) * m for r, w, m in zip(row_r, row_w, means, strict=True))
        for b, row_w, row_r in zip(bias, weight, restored, strict=True)
    ]


@ex.alternative
def with_torch(bias: np.ndarray, weight: np.ndarray, restored: np.ndarray, x: np.ndarray):
    import torch

    b, w, r, seen = (torch.tensor(array) for array in (bias, weight, restored, x))
    return b.sub(torch.mv(r - w, seen.transpose(0, 1).flatten(1).mean(1)))
