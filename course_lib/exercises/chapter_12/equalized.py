"""12.3: channels with equal ranges in two layers."""

from __future__ import annotations

import numpy as np

from course_lib.exercises.engine.exercise import Exercise

Layers = tuple[np.ndarray, np.ndarray, np.ndarray]

ex = Exercise(
    "12.3",
    "Channels with equal ranges",
    points=3,
    hints=[
        "r1 = np.abs(first).max((1, 2, 3)), one number an output channel; r2 = np.abs(second).max((0, 2, 3)), one "
        "number an *input* channel.",
        "s = np.sqrt(r1 * r2) / r2, and 1 where r1 or r2 is 0: np.where computes both sides, so divide by something "
        "that is not 0.",
        "first / s[:, None, None, None], bias / s, second * s[None, :, None, None].",
    ],
    explanation="""
        The bias goes with the channel: relu((w·x + b) / s) = relu(w·x + b) / s. A channel without weights on one side
        has no range to make equal. Behind a depthwise convolution channel i of the second layer is its own output
        channel i, and second is scaled along axis 0. Library: `equalize`, over all pairs, until nothing moves.
    """,
)


@ex.reference
def equalized(first: np.ndarray, bias: np.ndarray, second: np.ndarray) -> Layers:
    """(first, bias, second), new arrays: the ranges of each channel are equal in both.

    first: (C, A, k, k), float64, weights that give C channels, and bias: (C,); second: (D, C, k, k) reads them. A
    channel whose weights are all 0 on one of the sides keeps its weights and its bias: s = 1.
    """
    return _scaled(first, bias, second, _factors(first, second))


def _ranges(first: np.ndarray, second: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    return np.abs(first).max((1, 2, 3)), np.abs(second).max((0, 2, 3))


def _factors(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    r1, r2 = _ranges(first, second)
    return _ratio(r1, r2) ** 0.5


def _ratio(r1: np.ndarray, r2: np.ndarray) -> np.ndarray:
    """r1 / r2, and 1 where one of them is 0."""
    alive = (r1 > 0) & (r2 > 0)
    return np.where(alive, r1, 1.0) / np.where(alive, r2, 1.0)


def _scaled(first: np.ndarray, bias: np.ndarray, second: np.ndarray, s: np.ndarray) -> Layers:
    return first / s[:, None, None, None], bias / s, second * s[None, :, None, None]


def _kernels(values: list, k: int = 1) -> np.ndarray:
    """(N, C, k, k): each number in one corner, halves of it elsewhere."""
    found = np.array(values, float)[:, :, None, None] * np.full((k, k), 0.5)
    found[:, :, -1, 0] *= 2
    return found


@ex.case("by hand: ranges 8 and ½, and ½ and 8: all become 2")
def by_hand() -> Layers:
    return _kernels([[8.0], [0.5]]), np.array([4.0, 1.0]), _kernels([[0.5, 8.0]])


@ex.case("three channels, the largest weights are negative")
def negative() -> Layers:
    first = _kernels([[-9.0, 1.0], [0.5, 2.0], [0.25, -4.0]])
    return first, np.array([1.0, -2.0, 0.5]), _kernels([[1.0, -2.0, 0.5], [-4.0, 0.5, 1.0]])


@ex.case("kernels of 3×3: the largest weight of the whole channel counts")
def kernels() -> Layers:
    second = _kernels([[1.5, 2.0], [0.5, -4.0], [0.1, 1.0]], 3)
    second[:, 1, 1, 1] = 0.125  # the middle of a kernel does not tell its range
    return _kernels([[6.0], [0.25]], 3), np.array([3.0, 5.0]), second


@ex.case("as many outputs as channels: the ranges of the second layer are those of its inputs")
def square() -> Layers:
    return _kernels([[1.0, 2.0], [8.0, 3.0]]), np.array([0.5, -1.0]), _kernels([[0.5, 3.0], [0.25, 32.0]])


@ex.case("a channel without weights in the first layer: its bias stays")
def dead_in_the_first() -> Layers:
    return _kernels([[4.0], [0.0]]), np.array([2.0, 3.0]), _kernels([[1.0, 5.0]])


@ex.case("a channel that the second layer does not read")
def dead_in_the_second() -> Layers:
    return _kernels([[4.0], [6.0]]), np.array([2.0, 3.0]), _kernels([[1.0, 0.0], [0.25, 0.0]])


@ex.inputs
def random_layers(rng: np.random.Generator) -> Layers:
    channels, inputs, outputs = (int(n) for n in rng.permutation([2, 3, 4])[:3])
    spread = 10 ** rng.uniform(-1, 1, channels)
    first = rng.normal(size=(channels, inputs, 1, 1)) * spread[:, None, None, None]
    return (
        first.round(2) + 0.01,
        rng.normal(size=channels).round(2),
        rng.normal(size=(outputs, channels, 1, 1)).round(2),
    )


@ex.mistake("The bias is not divided by s: the channel then is not what it was divided by s, and the network changes.")
def bias_forgotten(first: np.ndarray, bias: np.ndarray, second: np.ndarray) -> Layers:
    new = equalized(first, bias, second)
    return new[0], bias.copy(), new[2]


@ex.mistake(
    "You multiply the first layer by s and divide the second. The ranges move apart: it is the other way round."
)
def the_wrong_way(first: np.ndarray, bias: np.ndarray, second: np.ndarray) -> Layers:
    return _scaled(first, bias, second, 1 / _factors(first, second))


@ex.mistake("The root is missing: with s = r1 / r2 the two layers exchange their ranges.")
def no_root(first: np.ndarray, bias: np.ndarray, second: np.ndarray) -> Layers:
    return _scaled(first, bias, second, _ratio(*_ranges(first, second)))


@ex.mistake("Your s is sqrt(r1·r2): divide it by r2.")
def not_divided(first: np.ndarray, bias: np.ndarray, second: np.ndarray) -> Layers:
    r1, r2 = _ranges(first, second)
    return _scaled(first, bias, second, np.where(r1 * r2 > 0, np.sqrt(r1 * r2), 1.0))


@ex.mistake("A channel without weights gets NaN or infinity: r1 or r2 is 0 there, and s is to be 1.")
def dead_divided(first: np.ndarray, bias: np.ndarray, second: np.ndarray) -> Layers:
    r1, r2 = _ranges(first, second)
    with np.errstate(all="ignore"):
        return _scaled(first, bias, second, np.sqrt(r1 * r2) / r2)


@ex.mistake(
    "A channel without weights in the first layer gets NaN: r1 = 0 gives s = 0, and you divide by it. It keeps s = 1."
)
def divided_by_0(first: np.ndarray, bias: np.ndarray, second: np.ndarray) -> Layers:
    r1, r2 = _ranges(first, second)
    with np.errstate(all="ignore"):
        return _scaled(first, bias, second, np.where(r2 > 0, np.sqrt(r1 * r2) / np.where(r2 > 0, r2, 1.0), 1.0))


@ex.mistake("You change a channel that has no weights in the first or in the second layer. It keeps s = 1.")
def dead_moved(first: np.ndarray, bias: np.ndarray, second: np.ndarray) -> Layers:
    r1, r2 = (np.where(r > 0, r, 1.0) for r in _ranges(first, second))
    return _scaled(first, bias, second, np.sqrt(r1 / r2))


@ex.mistake("You took the largest weight with its sign. The range is the largest |w|.")
def with_sign(first: np.ndarray, bias: np.ndarray, second: np.ndarray) -> Layers:
    r1, r2 = first.max((1, 2, 3)).clip(0), second.max((0, 2, 3)).clip(0)
    return _scaled(first, bias, second, _ratio(r1, r2) ** 0.5)


@ex.mistake("You took the mean of |w|. The range is its largest.")
def means(first: np.ndarray, bias: np.ndarray, second: np.ndarray) -> Layers:
    return _scaled(first, bias, second, _ratio(np.abs(first).mean((1, 2, 3)), np.abs(second).mean((0, 2, 3))) ** 0.5)


@ex.mistake("You used one s for all channels, from the ranges of the whole layers. Each channel has its own.")
def one_factor(first: np.ndarray, bias: np.ndarray, second: np.ndarray) -> Layers:
    s = (np.abs(first).max() / np.abs(second).max()) ** 0.5
    return first / s, bias / s, second * s


@ex.mistake("The second layer is not multiplied by s: what it reads has been divided, and the network changes.")
def second_forgotten(first: np.ndarray, bias: np.ndarray, second: np.ndarray) -> Layers:
    new = equalized(first, bias, second)
    return new[0], new[1], second.copy()


@ex.mistake("You gave every channel of the first layer the range 1. Equal in *both* layers is asked.")
def range_1(first: np.ndarray, bias: np.ndarray, second: np.ndarray) -> Layers:
    r1, r2 = _ranges(first, second)
    return _scaled(first, bias, second, np.where((r1 > 0) & (r2 > 0), r1, 1.0))


@ex.mistake("Your bias is multiplied by s. It is divided, as the weights that give the channel.")
def bias_multiplied(first: np.ndarray, bias: np.ndarray, second: np.ndarray) -> Layers:
    new = equalized(first, bias, second)
    return new[0], bias * _factors(first, second), new[2]


@ex.alternative
def with_loops(first: np.ndarray, bias: np.ndarray, second: np.ndarray) -> list[np.ndarray]:
    one, shift, other = first.copy(), bias.copy(), second.copy()
    for i in range(len(bias)):
        r1, r2 = abs(one[i]).max(), abs(other[:, i]).max()
        if r1 == 0 or r2 == 0:
            continue
        s = (r1 * r2) ** 0.5 / r2
        one[i], shift[i], other[:, i] = one[i] / s, shift[i] / s, other[:, i] * s
    return [one, shift, other]


@ex.alternative
def by_common_range(first: np.ndarray, bias: np.ndarray, second: np.ndarray) -> Layers:
    r1 = np.linalg.norm(first.reshape(len(first), -1), np.inf, axis=1)
    r2 = np.linalg.norm(np.moveaxis(second, 1, 0).reshape(len(first), -1), np.inf, axis=1)
    common = np.sqrt(r1 * r2)
    down = np.divide(common, r1, out=np.ones_like(r1), where=common > 0)
    up = np.divide(common, r2, out=np.ones_like(r1), where=common > 0)
    return np.einsum("cakl,c->cakl", first, down), bias * down, np.einsum("dckl,c->dckl", second, up)


@ex.alternative
def with_torch(first: np.ndarray, bias: np.ndarray, second: np.ndarray) -> tuple:
    import torch

    one, shift, other = (torch.from_numpy(array.copy()) for array in (first, bias, second))
    r1, r2 = one.flatten(1).abs().amax(1), other.transpose(0, 1).flatten(1).abs().amax(1)
    s = torch.ones_like(r1)
    alive = (r1 > 0) & (r2 > 0)
    s[alive] = (r1[alive] / r2[alive]).sqrt()
    return one / s.view(-1, 1, 1, 1), shift / s, other * s.view(1, -1, 1, 1)
