"""09.3: a layer's milliseconds between the widths that were measured."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from course_lib.exercises.engine.exercise import Exercise

Question = tuple[int, int, list[int], list[int], Tensor]

ex = Exercise(
    "09.3",
    "A layer's time between measured widths",
    points=2,
    hints=[
        "Find the two measured widths around ``outputs``, and how far between them it lies: a share from 0 to 1.",
        "Between two times a straight line: (1 − share) · lower + share · upper. Do it along the outputs for every "
        "column of the table; a row of times is left, one for each measured number of inputs.",
        "Then the same along the inputs. np.interp(x, points, values) does one of these steps.",
    ],
    explanation="""
        Two straight lines after another, *bilinear* interpolation, meet the table at every point that was measured.
        The network's predicted time is the sum over its layers. The library's `latency_table` measures the points and
        does the same for all axes of each layer's weight.
    """,
)


@ex.reference
def table_ms(outputs: int, inputs: int, output_grid: Sequence[int], input_grid: Sequence[int], ms: Tensor) -> float:
    """Milliseconds of a layer, by straight lines between the measured ms (len(output_grid), len(input_grid)).

    Both grids rise, with at least two widths; outputs and inputs lie within them.
    """
    row, share = _between(outputs, output_grid)
    times = (1 - share) * ms[row] + share * ms[row + 1]  # (len(input_grid),)
    column, share = _between(inputs, input_grid)
    return float((1 - share) * times[column] + share * times[column + 1])


def _between(width: int, grid: Sequence[int]) -> tuple[int, float]:
    """The measured width below, by position, and the share of the way to the next one."""
    below = max(i for i in range(len(grid) - 1) if grid[i] <= width)
    return below, (width - grid[below]) / (grid[below + 1] - grid[below])


@ex.solution
def two_lines(outputs: int, inputs: int, output_grid: Sequence[int], input_grid: Sequence[int], ms: Tensor) -> float:
    """Milliseconds of a layer, by straight lines between the measured ms (len(output_grid), len(input_grid))."""
    times = [float(np.interp(outputs, output_grid, column)) for column in ms.numpy().T]  # one an input width
    return float(np.interp(inputs, input_grid, times))


@ex.case("by hand: halfway in both, the mean of four times")
def middle() -> Question:
    return 6, 12, [4, 8], [8, 16], torch.tensor([[0.1, 0.3], [0.2, 0.8]])


@ex.case("outputs a quarter of the way, inputs as measured: 0.75 · 0.2 + 0.25 · 1.0")
def outputs_only() -> Question:
    return 5, 16, [4, 8], [8, 16], torch.tensor([[0.1, 0.2], [0.4, 1.0]])


@ex.case("inputs three quarters of the way, outputs as measured")
def inputs_only() -> Question:
    return 8, 14, [4, 8], [8, 16], torch.tensor([[0.1, 0.2], [0.4, 1.0]])


@ex.case("three measured widths, unevenly spaced, and times that do not grow evenly")
def uneven() -> Question:
    return 10, 20, [2, 8, 32], [3, 12, 48], torch.tensor([[0.05, 0.07, 0.2], [0.06, 0.18, 0.5], [0.2, 0.55, 2.1]])


@ex.case("the same table, elsewhere")
def uneven_elsewhere() -> Question:
    return 26, 6, [2, 8, 32], [3, 12, 48], torch.tensor([[0.05, 0.07, 0.2], [0.06, 0.18, 0.5], [0.2, 0.55, 2.1]])


@ex.case("the largest widths: the last measured time")
def largest() -> Question:
    return 32, 48, [2, 8, 32], [3, 12, 48], torch.tensor([[0.05, 0.07, 0.2], [0.06, 0.18, 0.5], [0.2, 0.55, 2.1]])


@ex.case("the smallest widths: the first measured time")
def smallest() -> Question:
    return 2, 3, [2, 8, 32], [3, 12, 48], torch.tensor([[0.05, 0.07, 0.2], [0.06, 0.18, 0.5], [0.2, 0.55, 2.1]])


@ex.case("a wide table: two output widths, three input widths")
def wide() -> Question:
    return 12, 10, [8, 24], [4, 8, 12], torch.tensor([[0.1, 0.3, 0.35], [0.2, 0.5, 0.9]])


@ex.inputs
def random_table(rng: np.random.Generator) -> Question:
    grids = [np.cumsum(rng.integers(2, 12, int(rng.integers(2, 5)))).tolist() for _ in range(2)]
    times = np.sort(np.sort(rng.uniform(0.02, 3.0, [len(grid) for grid in grids]).round(3), axis=0), axis=1)
    widths = [int(rng.integers(grid[0], grid[-1] + 1)) for grid in grids]
    return widths[0], widths[1], grids[0], grids[1], torch.tensor(times, dtype=torch.float32)


def _nearest(width: int, grid: Sequence[int]) -> int:
    return min(range(len(grid)), key=lambda i: abs(grid[i] - width))


def _above(width: int, grid: Sequence[int]) -> int:
    return min(i for i in range(len(grid)) if grid[i] >= width)


@ex.mistake("You took the time of the nearest measured widths. Between them draw straight lines.")
def nearest(outputs: int, inputs: int, output_grid: Sequence[int], input_grid: Sequence[int], ms: Tensor) -> float:
    return float(ms[_nearest(outputs, output_grid), _nearest(inputs, input_grid)])


@ex.mistake("You took the next larger measured widths. That is the safe side, not the straight line.")
def next_larger(outputs: int, inputs: int, output_grid: Sequence[int], input_grid: Sequence[int], ms: Tensor) -> float:
    return float(ms[_above(outputs, output_grid), _above(inputs, input_grid)])


@ex.mistake("Your line runs along the outputs alone; the inputs, too, lie between two measured widths.")
def one_axis(outputs: int, inputs: int, output_grid: Sequence[int], input_grid: Sequence[int], ms: Tensor) -> float:
    return table_ms(outputs, input_grid[_nearest(inputs, input_grid)], output_grid, input_grid, ms)


@ex.mistake("Your line runs along the inputs alone; the outputs, too, lie between two measured widths.")
def other_axis(outputs: int, inputs: int, output_grid: Sequence[int], input_grid: Sequence[int], ms: Tensor) -> float:
    return table_ms(output_grid[_nearest(outputs, output_grid)], inputs, output_grid, input_grid, ms)


@ex.mistake("The share is turned round: at the lower width it is 0, and the lower time counts wholly.")
def turned_share(outputs: int, inputs: int, output_grid: Sequence[int], input_grid: Sequence[int], ms: Tensor) -> float:
    (row, a), (column, b) = _between(outputs, output_grid), _between(inputs, input_grid)
    part = ms[row : row + 2, column : column + 2]
    return float(a * (b * part[0, 0] + (1 - b) * part[0, 1]) + (1 - a) * (b * part[1, 0] + (1 - b) * part[1, 1]))


@ex.mistake("You took the mean of the four times around. Weigh them: a nearer width counts more.")
def mean_of_four(outputs: int, inputs: int, output_grid: Sequence[int], input_grid: Sequence[int], ms: Tensor) -> float:
    row, column = _between(outputs, output_grid)[0], _between(inputs, input_grid)[0]
    return float(ms[row : row + 2, column : column + 2].mean())


@ex.mistake("You scaled the largest measured time by the MACs. The times were measured because they do not go by MACs.")
def by_macs(outputs: int, inputs: int, output_grid: Sequence[int], input_grid: Sequence[int], ms: Tensor) -> float:
    return float(ms[-1, -1]) * outputs * inputs / (output_grid[-1] * input_grid[-1])


@ex.mistake("You drew one line from the first to the last measured width. Take the two around the one asked for.")
def ends_alone(outputs: int, inputs: int, output_grid: Sequence[int], input_grid: Sequence[int], ms: Tensor) -> float:
    corners = ms[[0, -1]][:, [0, -1]]
    return table_ms(outputs, inputs, [output_grid[0], output_grid[-1]], [input_grid[0], input_grid[-1]], corners)


@ex.mistake("Rows and columns of the table have changed places: ms[i, j] belongs to output_grid[i] and input_grid[j].")
def turned_table(outputs: int, inputs: int, output_grid: Sequence[int], input_grid: Sequence[int], ms: Tensor) -> float:
    (row, a), (column, b) = _between(outputs, output_grid), _between(inputs, input_grid)
    r, c = min(row, ms.shape[1] - 2), min(column, ms.shape[0] - 2)
    part = ms.T[r : r + 2, c : c + 2]
    return float((1 - a) * ((1 - b) * part[0, 0] + b * part[0, 1]) + a * ((1 - b) * part[1, 0] + b * part[1, 1]))


@ex.mistake("You added up what the two axes give alone. Interpolate the times that the first step left.")
def sum_of_axes(outputs: int, inputs: int, output_grid: Sequence[int], input_grid: Sequence[int], ms: Tensor) -> float:
    along_outputs = table_ms(outputs, input_grid[-1], output_grid, input_grid, ms)
    return along_outputs + table_ms(output_grid[-1], inputs, output_grid, input_grid, ms) - float(ms[-1, -1])


@ex.mistake(
    "Your surface is flat: from the lowest corner you add one slope for each axis, and leave out the fourth corner."
)
def flat(outputs: int, inputs: int, output_grid: Sequence[int], input_grid: Sequence[int], ms: Tensor) -> float:
    (row, a), (column, b) = _between(outputs, output_grid), _between(inputs, input_grid)
    low = ms[row, column]
    return float(low + a * (ms[row + 1, column] - low) + b * (ms[row, column + 1] - low))


@ex.mistake("You returned the place in the table. Asked is the time.")
def place(
    outputs: int, inputs: int, output_grid: Sequence[int], input_grid: Sequence[int], ms: Tensor
) -> tuple[int, int]:
    return _between(outputs, output_grid)[0], _between(inputs, input_grid)[0]


@ex.alternative
def inputs_first(
    outputs: int, inputs: int, output_grid: Sequence[int], input_grid: Sequence[int], ms: Tensor
) -> np.float64:
    return np.interp(outputs, output_grid, [np.interp(inputs, input_grid, row) for row in ms.tolist()])


@ex.alternative
def with_weights(
    outputs: int, inputs: int, output_grid: Sequence[int], input_grid: Sequence[int], ms: Tensor
) -> Tensor:
    def hats(width: int, grid: Sequence[int]) -> Tensor:
        """1 at its own width, 0 at the neighbours', straight between."""
        return torch.tensor([np.interp(width, grid, np.eye(len(grid))[i]) for i in range(len(grid))])

    return hats(outputs, output_grid) @ ms.double() @ hats(inputs, input_grid)


@ex.alternative
def with_searchsorted(
    outputs: int, inputs: int, output_grid: Sequence[int], input_grid: Sequence[int], ms: Tensor
) -> float:
    table, total = ms.numpy().astype(np.float64), 0.0
    corners = []
    for width, grid in ((outputs, output_grid), (inputs, input_grid)):
        upper = int(np.clip(np.searchsorted(grid, width), 1, len(grid) - 1))
        share = (width - grid[upper - 1]) / (grid[upper] - grid[upper - 1])
        corners.append(((upper - 1, 1 - share), (upper, share)))
    for row, a in corners[0]:
        for column, b in corners[1]:
            total += a * b * table[row, column]
    return total
