"""08.3: the inputs of a linear layer that belong to channels in front of flatten."""

from __future__ import annotations

import numpy as np
import torch

from course_lib.exercises.engine.compare import as_indices
from course_lib.exercises.engine.exercise import Exercise

Question = tuple[list[int], int, int, int]

ex = Exercise(
    "08.3",
    "The inputs behind flatten",
    points=2,
    compare=as_indices,
    hints=[
        "flatten(1) of (B, C, H, W) writes all H·W values of channel 0, then all of channel 1, …",
        "Channel c begins at c · height · width, and has height · width values.",
        "[c * height * width + i for c in keep for i in range(height * width)]",
    ],
    explanation="""
        A linear layer behind a flattened map has H·W inputs for each channel. `weight[:, keep]` runs without an error
        as long as the numbers exist, and takes the wrong columns. Behind a mean over the whole map H·W is 1, and the
        channel's number is the column's. In a `Group` these are the member's `indices`.
    """,
)


@ex.reference
def inputs_of_channels(keep: list[int], channels: int, height: int, width: int) -> list[int]:
    """The columns of the linear layer that stay, in the order in which the cut map is flattened."""
    size = height * width
    return [c * size + i for c in keep for i in range(size)]


@ex.case("three channels of 2 × 2 by hand, channel 1 stays: 4, 5, 6, 7")
def by_hand() -> Question:
    return [1], 3, 2, 2


@ex.case("two channels stay, first and last")
def two_stay() -> Question:
    return [0, 3], 4, 2, 2


@ex.case("a map that is not square")
def oblong() -> Question:
    return [1, 2], 4, 2, 3


@ex.case("a map of one pixel: the columns are the channels")
def one_pixel() -> Question:
    return [0, 2, 3], 5, 1, 1


@ex.case("one row of pixels")
def one_row() -> Question:
    return [2], 4, 1, 4


@ex.inputs
def random_map(rng: np.random.Generator) -> Question:
    channels, height, width = (int(n) for n in rng.integers([3, 2, 2], [7, 4, 5]))
    keep = sorted(rng.choice(channels, int(rng.integers(1, channels)), replace=False).tolist())
    return keep, channels, height, width


@ex.mistake(
    "You took one column a channel: weight[:, keep]. That holds only behind a mean over the map; here a channel has "
    "height · width columns."
)
def one_column_each(keep: list[int], channels: int, height: int, width: int) -> list[int]:
    return list(keep)


@ex.mistake("Those are where the channels begin. Each has height · width columns from there on.")
def first_column_each(keep: list[int], channels: int, height: int, width: int) -> list[int]:
    return [c * height * width for c in keep]


@ex.mistake(
    "Your columns lie a channel apart, as if the map were stored pixel by pixel (channels last). flatten(1) writes one "
    "channel after the other, whatever order the memory has."
)
def channels_last(keep: list[int], channels: int, height: int, width: int) -> list[int]:
    return [i * channels + c for i in range(height * width) for c in keep]


@ex.mistake(
    "A channel's columns lie side by side: channel c begins at c · height · width. Yours lie ``channels`` apart, as if "
    "the map were stored pixel by pixel."
)
def channels_apart(keep: list[int], channels: int, height: int, width: int) -> list[int]:
    return [i * channels + c for c in keep for i in range(height * width)]


@ex.mistake(
    "These are the right columns in another order, pixel by pixel. The cut map is flattened channel by channel, and "
    "column k must meet value k."
)
def pixel_by_pixel(keep: list[int], channels: int, height: int, width: int) -> list[int]:
    return [c * height * width + i for i in range(height * width) for c in keep]


@ex.mistake("You returned the columns that go. Asked are those that stay.")
def those_that_go(keep: list[int], channels: int, height: int, width: int) -> list[int]:
    return inputs_of_channels([c for c in range(channels) if c not in keep], channels, height, width)


@ex.mistake("You counted the kept channels anew, from 0: in the whole layer a channel stands at its old number.")
def counted_anew(keep: list[int], channels: int, height: int, width: int) -> list[int]:
    return list(range(len(keep) * height * width))


@ex.mistake("You took height · height values a channel. The map is height × width.")
def square_map(keep: list[int], channels: int, height: int, width: int) -> list[int]:
    return inputs_of_channels(keep, channels, height, height)


@ex.mistake("You took width · width values a channel. The map is height × width.")
def wide_map(keep: list[int], channels: int, height: int, width: int) -> list[int]:
    return inputs_of_channels(keep, channels, width, width)


@ex.mistake("You took one row a channel, width values. A channel has height rows.")
def one_row_each(keep: list[int], channels: int, height: int, width: int) -> list[int]:
    return inputs_of_channels(keep, channels, 1, width)


@ex.mistake("Channel 0 begins at column 0: columns count from 0.")
def from_one(keep: list[int], channels: int, height: int, width: int) -> list[int]:
    return [column + 1 for column in inputs_of_channels(keep, channels, height, width)]


@ex.mistake("You returned a list for each channel. Asked is one list of columns: weight[:, columns].")
def nested(keep: list[int], channels: int, height: int, width: int) -> list[list[int]]:
    return [inputs_of_channels([c], channels, height, width) for c in keep]


@ex.alternative
def with_torch(keep: list[int], channels: int, height: int, width: int) -> torch.Tensor:
    numbers = torch.arange(channels * height * width).view(channels, height, width)
    return numbers[keep].flatten()


@ex.alternative
def with_numpy(keep: list[int], channels: int, height: int, width: int) -> np.ndarray:
    return (np.array(keep)[:, None] * (height * width) + np.arange(height * width)).ravel()


@ex.alternative
def by_asking_each_column(keep: list[int], channels: int, height: int, width: int) -> tuple[int, ...]:
    return tuple(column for column in range(channels * height * width) if column // (height * width) in keep)
