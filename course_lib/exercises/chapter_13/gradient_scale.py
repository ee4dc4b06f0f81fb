"""13.5: what LSQ multiplies the step's gradient by."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import torch

from course_lib.exercises.engine.exercise import Exercise

Question = tuple[list[int], str, int]

ex = Exercise(
    "13.5",
    "The gradient's scale",
    points=2,
    hints=[
        "Count n first. Weights with a step for each channel: a channel's own. Activations: one image's values.",
        "Q_P is the largest code: 2^b − 1 without a sign, 2^(b−1) − 1 with one.",
        "1 / math.sqrt(n · Q_P).",
    ],
    explanation="""
        The sum over n values of about equal size grows as √n, and clipped values count Q_P times: g takes both out, so
        that a step moves as many per cent as a weight does. The batch is no part of n: the loss is a mean over images.
        The library: `LearnedStep.gradient_scale`.
    """,
)


@ex.reference
def gradient_scale(shape: Sequence[int], kind: str, bits: int) -> float:
    """g = 1/√(n·Q_P), with n the number of values of one image, or of weights, that share a step.

    kind "activations": shape (B, C, …), one step for all, codes 0 … 2^bits − 1. kind "layer": weights (C_out, …), one
    step for all; kind "channel": one for each output channel; codes of weights −2^(bits−1) … 2^(bits−1) − 1.
    """
    return 1 / math.sqrt(_count(shape, kind) * _reach(kind, bits))


def _count(shape: Sequence[int], kind: str) -> int:
    return math.prod(shape) if kind == "layer" else math.prod(shape[1:])


def _reach(kind: str, bits: int) -> int:
    return 2**bits - 1 if kind == "activations" else 2 ** (bits - 1) - 1


@ex.case("by hand: 12 weights and Q_P = 3: g = 1/6")
def by_hand() -> Question:
    return [3, 4], "layer", 3


@ex.case("a step for each channel: n = 4 · 3 · 3 = 36, Q_P = 1")
def by_channel() -> Question:
    return [5, 4, 3, 3], "channel", 2


@ex.case("activations of 7 images: n = 2 · 2 · 3 = 12, Q_P = 3")
def activations() -> Question:
    return [7, 2, 2, 3], "activations", 2


@ex.case("eight bits, activations of a linear layer")
def linear() -> Question:
    return [32, 10], "activations", 8


@ex.case("as many outputs as inputs")
def square() -> Question:
    return [6, 6], "channel", 4


@ex.case("a Conv1d, a step for each channel: n = 3 · 5")
def one_dimension() -> Question:
    return [4, 3, 5], "channel", 3


@ex.case("sequences of 4 numbers, 3 channels: n = 12")
def sequences() -> Question:
    return [2, 3, 4], "activations", 4


@ex.case("all weights of a Conv1d together")
def all_of_one_dimension() -> Question:
    return [2, 3, 5], "layer", 4


@ex.case("all weights of a convolution together, two bits")
def layer() -> Question:
    return [2, 3, 1, 1], "layer", 2


@ex.inputs
def random_shape(rng: np.random.Generator) -> Question:
    shape = [int(n) for n in rng.integers(2, 9, int(rng.choice([2, 3, 4])))]
    return shape, str(rng.choice(["activations", "layer", "channel"])), int(rng.integers(2, 9))


@ex.mistake("The root is missing: g = 1/√(n·Q_P).")
def no_root(shape: Sequence[int], kind: str, bits: int) -> float:
    return 1 / (_count(shape, kind) * _reach(kind, bits))


@ex.mistake("You returned √(n·Q_P). g is its inverse: large sums are made smaller.")
def inverse(shape: Sequence[int], kind: str, bits: int) -> float:
    return math.sqrt(_count(shape, kind) * _reach(kind, bits))


@ex.mistake("Q_P is missing: clipped values count Q_P times.")
def no_reach(shape: Sequence[int], kind: str, bits: int) -> float:
    return 1 / math.sqrt(_count(shape, kind))


@ex.mistake("n is missing: the more values share a step, the larger its gradient.")
def no_count(shape: Sequence[int], kind: str, bits: int) -> float:
    return 1 / math.sqrt(_reach(kind, bits))


@ex.mistake("You took the number of bits for Q_P, the largest code.")
def bits_for_reach(shape: Sequence[int], kind: str, bits: int) -> float:
    return 1 / math.sqrt(_count(shape, kind) * bits)


@ex.mistake("Q_P stands outside the root: g = 1/√(n·Q_P).")
def reach_outside(shape: Sequence[int], kind: str, bits: int) -> float:
    return 1 / (math.sqrt(_count(shape, kind)) * _reach(kind, bits))


@ex.mistake("n stands outside the root: g = 1/√(n·Q_P).")
def count_outside(shape: Sequence[int], kind: str, bits: int) -> float:
    return 1 / (_count(shape, kind) * math.sqrt(_reach(kind, bits)))


@ex.mistake("You counted the images: n is of one image, whatever the batch.")
def images_counted(shape: Sequence[int], kind: str, bits: int) -> float:
    n = _count(shape, kind) * (shape[0] if kind == "activations" else 1)
    return 1 / math.sqrt(n * _reach(kind, bits))


@ex.mistake("With a step for each channel, n counts one channel's weights, not all of the layer's.")
def all_channels(shape: Sequence[int], kind: str, bits: int) -> float:
    n = math.prod(shape) if kind == "channel" else _count(shape, kind)
    return 1 / math.sqrt(n * _reach(kind, bits))


@ex.mistake("You counted all values of shape whatever the kind. An image, or a channel, has a part of them.")
def all_values(shape: Sequence[int], kind: str, bits: int) -> float:
    return 1 / math.sqrt(math.prod(shape) * _reach(kind, bits))


@ex.mistake(
    "With a step for each channel you took n = C_out, the number of steps. n counts the weights that share one."
)
def channels_for_count(shape: Sequence[int], kind: str, bits: int) -> float:
    n = shape[0] if kind == "channel" else _count(shape, kind)
    return 1 / math.sqrt(n * _reach(kind, bits))


@ex.mistake("With one step for the layer, n counts all its weights, not one channel's.")
def one_channel(shape: Sequence[int], kind: str, bits: int) -> float:
    n = math.prod(shape[1:]) if kind == "layer" else _count(shape, kind)
    return 1 / math.sqrt(n * _reach(kind, bits))


@ex.mistake("You took 2^b − 1 for weights, too. Their codes have a sign: Q_P = 2^(b−1) − 1.")
def unsigned_weights(shape: Sequence[int], kind: str, bits: int) -> float:
    return 1 / math.sqrt(_count(shape, kind) * _reach("activations", bits))


@ex.mistake("You took 2^(b−1) − 1 for activations, too. Their codes have no sign: Q_P = 2^b − 1.")
def signed_activations(shape: Sequence[int], kind: str, bits: int) -> float:
    return 1 / math.sqrt(_count(shape, kind) * _reach("layer", bits))


@ex.mistake("You took 2^(b−1) for the weights' Q_P. That code does not exist: it is 2^(b−1) − 1.")
def one_too_many(shape: Sequence[int], kind: str, bits: int) -> float:
    more = 0 if kind == "activations" else 1
    return 1 / math.sqrt(_count(shape, kind) * (_reach(kind, bits) + more))


@ex.mistake("You took 2^b for the activations' Q_P. That code does not exist: it is 2^b − 1.")
def one_too_many_for_activations(shape: Sequence[int], kind: str, bits: int) -> float:
    more = 1 if kind == "activations" else 0
    return 1 / math.sqrt(_count(shape, kind) * (_reach(kind, bits) + more))


@ex.mistake("You took the number of codes, 2^b. Q_P is the largest code.")
def number_of_codes(shape: Sequence[int], kind: str, bits: int) -> float:
    return 1 / math.sqrt(_count(shape, kind) * 2**bits)


@ex.mistake("You counted channels alone: height and width share the step as well.")
def channels_alone(shape: Sequence[int], kind: str, bits: int) -> float:
    n = shape[1] if kind == "activations" else _count(shape, kind)
    return 1 / math.sqrt(n * _reach(kind, bits))


@ex.alternative
def with_torch(shape: Sequence[int], kind: str, bits: int) -> torch.Tensor:
    x = torch.zeros(*shape)
    n = x.numel() if kind == "layer" else x[0].numel()
    return torch.tensor(float(n * (2 ** (bits - (kind != "activations")) - 1))).rsqrt()


@ex.alternative
def with_powers(shape: Sequence[int], kind: str, bits: int) -> float:
    n = 1
    for axis, length in enumerate(shape):
        if axis > 0 or kind == "layer":
            n *= length
    largest = {"activations": 2**bits, "layer": 2 ** (bits - 1), "channel": 2 ** (bits - 1)}[kind] - 1
    return (n * largest) ** -0.5


@ex.alternative
def with_numpy(shape: Sequence[int], kind: str, bits: int) -> np.floating:
    own = shape if kind == "layer" else shape[1:]
    largest = (1 << bits if kind == "activations" else 1 << bits >> 1) - 1
    return 1 / np.sqrt(np.prod(own)) / np.sqrt(largest)
