"""08.1: the multiply-accumulates of a chain of convolutions whose inner channels were cut."""

from __future__ import annotations

import numpy as np

from course_lib.exercises.engine.exercise import Exercise

Question = tuple[tuple[int, ...], tuple[int, ...], int, float]

ex = Exercise(
    "08.1",
    "The MACs of a chain after a cut",
    points=2,
    hints=[
        "Layer k multiplies positions[k] · channels[k + 1] · channels[k] · kernel_size² times. First find the channels "
        "after the cut, then put them into this formula.",
        "The first entry of channels is the image's, the last one the answers': both stay. Each one between loses "
        "round(pruning_ratio * c), and keeps at least one.",
        "widths = [channels[0], *(max(1, c - round(pruning_ratio * c)) for c in channels[1:-1]), channels[-1]], then "
        "a sum over zip(widths, widths[1:], positions).",
    ],
    explanation="""
        A removed channel is an output of one layer and an input of the next. So an inner layer loses on both sides, and
        its MACs fall with the square of the width; the first and the last layer lose on one side only. The library
        computes the same for any network, from its dependency graph: `predicted_macs`.
    """,
)


@ex.reference
def chain_macs(channels: tuple[int, ...], positions: tuple[int, ...], kernel_size: int, pruning_ratio: float) -> int:
    """MACs when each inner entry of ``channels`` loses round(pruning_ratio · c), and keeps at least one."""
    inner = [max(1, c - round(pruning_ratio * c)) for c in channels[1:-1]]
    return _macs([channels[0], *inner, channels[-1]], positions, kernel_size)


def _macs(widths: list[int], positions: tuple[int, ...], kernel_size: int) -> int:
    pairs = zip(widths, widths[1:], positions, strict=False)
    return sum(pixels * inputs * outputs * kernel_size**2 for inputs, outputs, pixels in pairs)


def _inner(channels: tuple[int, ...], pruning_ratio: float) -> list[int]:
    return [max(1, c - round(pruning_ratio * c)) for c in channels[1:-1]]


@ex.solution
def written_out(channels: tuple[int, ...], positions: tuple[int, ...], kernel_size: int, pruning_ratio: float) -> int:
    """MACs when each inner entry of ``channels`` loses round(pruning_ratio · c), and keeps at least one."""
    inner = [max(1, c - round(pruning_ratio * c)) for c in channels[1:-1]]
    widths = [channels[0], *inner, channels[-1]]
    macs = 0
    for layer, pixels in enumerate(positions):
        macs += pixels * widths[layer + 1] * widths[layer] * kernel_size**2
    return macs


@ex.case("two layers by hand: 3 → 4 → 2 channels on 10 and 5 pixels, a quarter of the 4 goes")
def by_hand() -> Question:
    return (3, 4, 2), (10, 5), 3, 0.25


@ex.case("three layers: the middle one loses inputs and outputs")
def inner_layer() -> Question:
    return (3, 10, 20, 6), (64, 16, 16), 3, 0.3


@ex.case("nothing is removed")
def whole() -> Question:
    return (3, 8, 8, 5), (16, 16, 4), 1, 0.0


@ex.case("5 channels, of which round(0.5 · 5) = round(2.5) = 2 go: round the number that goes")
def rounded() -> Question:
    return (3, 5, 7), (4, 4), 3, 0.5


@ex.case("2 channels and a ratio of 0.9: one channel stays, an empty layer computes nothing")
def one_stays() -> Question:
    return (3, 2, 30, 4), (9, 9, 4), 3, 0.9


@ex.case("a kernel of 5 × 5")
def large_kernel() -> Question:
    return (1, 20, 40, 10), (100, 25, 9), 5, 0.2


@ex.case("a half: of 5 channels round(2.5) = 2 go, of 7 round(3.5) = 4")
def halves() -> Question:
    return (3, 5, 7, 2), (16, 16, 4), 3, 0.5


@ex.inputs
def random_chain(rng: np.random.Generator) -> Question:
    layers = int(rng.integers(2, 5))
    channels = (3, *(int(c) for c in rng.integers(4, 40, layers - 1)), int(rng.integers(2, 9)))
    positions = tuple(int(n) for n in rng.integers(2, 90, layers))
    return channels, positions, int(rng.choice([1, 3, 5])), float(rng.choice([0.2, 0.3, 0.45, 0.6]))


@ex.mistake("Only the filters were cut. The next layer also loses the inputs that it read the removed channels with.")
def outputs_only(channels: tuple[int, ...], positions: tuple[int, ...], kernel_size: int, pruning_ratio: float) -> int:
    outputs = [*_inner(channels, pruning_ratio), channels[-1]]
    triples = zip(channels, outputs, positions, strict=False)
    return sum(n * i * o * kernel_size**2 for i, o, n in triples)


@ex.mistake("Only the inputs were cut. The layer in front also loses the filters that made the removed channels.")
def inputs_only(channels: tuple[int, ...], positions: tuple[int, ...], kernel_size: int, pruning_ratio: float) -> int:
    inputs = [channels[0], *_inner(channels, pruning_ratio)]
    triples = zip(inputs, channels[1:], positions, strict=True)
    return sum(n * i * o * kernel_size**2 for i, o, n in triples)


@ex.mistake("You cut the image's channels, too. A camera still gives all of them: the first entry stays.")
def image_cut(channels: tuple[int, ...], positions: tuple[int, ...], kernel_size: int, pruning_ratio: float) -> int:
    first = max(1, channels[0] - round(pruning_ratio * channels[0]))
    return _macs([first, *_inner(channels, pruning_ratio), channels[-1]], positions, kernel_size)


@ex.mistake("You cut the last layer's outputs, too. They are the answers: the last entry stays.")
def answers_cut(channels: tuple[int, ...], positions: tuple[int, ...], kernel_size: int, pruning_ratio: float) -> int:
    last = max(1, channels[-1] - round(pruning_ratio * channels[-1]))
    return _macs([channels[0], *_inner(channels, pruning_ratio), last], positions, kernel_size)


@ex.mistake(
    "You multiplied all MACs by (1 − ratio)². That holds for inner layers, where outputs and inputs shrink; the first "
    "and the last layer lose on one side only, and channels come in whole numbers."
)
def square_of_all(
    channels: tuple[int, ...], positions: tuple[int, ...], kernel_size: int, pruning_ratio: float
) -> float:
    return _macs(list(channels), positions, kernel_size) * (1 - pruning_ratio) ** 2


@ex.mistake("You multiplied all MACs by 1 − ratio. An inner layer loses outputs and inputs: twice.")
def share_of_all(
    channels: tuple[int, ...], positions: tuple[int, ...], kernel_size: int, pruning_ratio: float
) -> float:
    return _macs(list(channels), positions, kernel_size) * (1 - pruning_ratio)


@ex.mistake("Nothing was cut: these are the MACs of the whole chain.")
def uncut(channels: tuple[int, ...], positions: tuple[int, ...], kernel_size: int, pruning_ratio: float) -> int:
    return _macs(list(channels), positions, kernel_size)


@ex.mistake("A kernel has kernel_size · kernel_size weights for each pair of channels: the square is missing.")
def flat_kernel(channels: tuple[int, ...], positions: tuple[int, ...], kernel_size: int, pruning_ratio: float) -> int:
    return chain_macs(channels, positions, 1, pruning_ratio) * kernel_size


@ex.mistake("The positions are missing: these are the weights. Each weight is multiplied once a pixel of the output.")
def weights_alone(channels: tuple[int, ...], positions: tuple[int, ...], kernel_size: int, pruning_ratio: float) -> int:
    return chain_macs(channels, (1,) * len(positions), kernel_size, pruning_ratio)


@ex.mistake("You rounded the number that stays. Asked is to remove round(ratio · c) channels: round what goes.")
def stay_rounded(channels: tuple[int, ...], positions: tuple[int, ...], kernel_size: int, pruning_ratio: float) -> int:
    inner = [max(1, round((1 - pruning_ratio) * c)) for c in channels[1:-1]]
    return _macs([channels[0], *inner, channels[-1]], positions, kernel_size)


@ex.mistake(
    "You round a half upwards. round(2.5) is 2: Python rounds a half to the even number, and so does the library."
)
def half_upwards(channels: tuple[int, ...], positions: tuple[int, ...], kernel_size: int, pruning_ratio: float) -> int:
    inner = [max(1, c - int(pruning_ratio * c + 0.5)) for c in channels[1:-1]]
    return _macs([channels[0], *inner, channels[-1]], positions, kernel_size)


@ex.mistake("A layer of yours keeps no channel: behind it nothing is computed. Keep at least one.")
def emptied(channels: tuple[int, ...], positions: tuple[int, ...], kernel_size: int, pruning_ratio: float) -> int:
    inner = [c - round(pruning_ratio * c) for c in channels[1:-1]]
    return _macs([channels[0], *inner, channels[-1]], positions, kernel_size)


@ex.mistake("You kept what should go: ratio is the fraction removed.")
def turned_round(channels: tuple[int, ...], positions: tuple[int, ...], kernel_size: int, pruning_ratio: float) -> int:
    inner = [max(1, round(pruning_ratio * c)) for c in channels[1:-1]]
    return _macs([channels[0], *inner, channels[-1]], positions, kernel_size)


@ex.mistake("You returned a fraction of the whole chain's MACs. Asked is their number.")
def fraction(channels: tuple[int, ...], positions: tuple[int, ...], kernel_size: int, pruning_ratio: float) -> float:
    whole = _macs(list(channels), positions, kernel_size)
    return chain_macs(channels, positions, kernel_size, pruning_ratio) / whole


@ex.mistake("You counted multiplications and additions apart: that is FLOP. One MAC is both.")
def flop(channels: tuple[int, ...], positions: tuple[int, ...], kernel_size: int, pruning_ratio: float) -> int:
    return 2 * chain_macs(channels, positions, kernel_size, pruning_ratio)


@ex.alternative
def with_numpy(
    channels: tuple[int, ...], positions: tuple[int, ...], kernel_size: int, pruning_ratio: float
) -> np.int64:
    widths = np.array(channels)
    widths[1:-1] = np.maximum(1, widths[1:-1] - np.round(pruning_ratio * widths[1:-1]).astype(int))
    return np.int64((np.array(positions) * widths[1:] * widths[:-1]).sum() * kernel_size * kernel_size)


@ex.alternative
def with_a_loop(channels: tuple[int, ...], positions: tuple[int, ...], kernel_size: int, pruning_ratio: float) -> int:
    macs, inputs = 0, channels[0]
    for number, (outputs, pixels) in enumerate(zip(channels[1:], positions, strict=True)):
        if number < len(positions) - 1:
            outputs = max(outputs - round(pruning_ratio * outputs), 1)
        macs += pixels * (inputs * kernel_size * kernel_size) * outputs
        inputs = outputs
    return macs


@ex.alternative
def from_tensors(
    channels: tuple[int, ...], positions: tuple[int, ...], kernel_size: int, pruning_ratio: float
) -> float:
    widths = [channels[0], *_inner(channels, pruning_ratio), channels[-1]]
    kernels = [np.empty((widths[k + 1], widths[k], kernel_size, kernel_size)) for k in range(len(positions))]
    return float(sum(kernel.size * pixels for kernel, pixels in zip(kernels, positions, strict=True)))
