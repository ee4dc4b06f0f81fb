"""00.1: smaller is about bytes, faster is about the median time, lost is about points; each has one column."""

from __future__ import annotations

import math

import numpy as np
import torch

from course_lib.exercises.engine.exercise import Exercise

Row = dict[str, float]
Comparison = tuple[float, float, float]

ex = Exercise(
    "00.1",
    "Read two rows of a ledger",
    points=2,
    trials=6,  # the fixed cases alone show each mistake
    hints=[
        "“× smaller” and “× faster” are above 1 when the second row is better: what must stand on top?",
        "A file is weighed in bytes and a network timed in ms. Which columns are neither?",
        "Points are differences of percentages: from 98 % to 97 % is 1 point.",
    ],
    explanation="""
        Smaller is about bytes, faster is about time, lost is about points; each has one column. A row that is larger
        is “0.5 times smaller”, and one that is more accurate loses less than 0 points: a comparison must be able to
        say so. The ledger's own “× faster” is a little better than p50 over p50: it divides the two times of each
        round before it takes the median, so that a clock that slows down cancels out. Chapter 01 shows the difference.
    """,
)


@ex.reference
def compare_rows(first: dict[str, float], other: dict[str, float]) -> tuple[float, float, float]:
    """(times smaller, times faster, points lost): bytes and p50 of ``first`` over ``other``, and 100·(accuracy lost).

    Args:
        first, other: rows with "accuracy" (a fraction), "bytes", "parameters", "macs", "p50_ms" and "p95_ms".
    """
    smaller = first["bytes"] / other["bytes"]
    faster = first["p50_ms"] / other["p50_ms"]
    lost = 100 * (first["accuracy"] - other["accuracy"])
    return smaller, faster, lost


def _row(accuracy: float, size_bytes: int, parameters: int, macs: int, p50_ms: float, p95_ms: float) -> Row:
    row = {"accuracy": accuracy, "bytes": size_bytes, "parameters": parameters, "macs": macs}
    return row | {"p50_ms": p50_ms, "p95_ms": p95_ms}


@ex.case("a row that is 8 times smaller and 4 times faster, and loses 1 point")
def smaller_and_faster() -> tuple[Row, Row]:
    return _row(0.98, 4000, 1000, 60000, 2.0, 2.4), _row(0.97, 500, 250, 6000, 0.5, 0.8)


@ex.case("a row that is slower, and more accurate: it loses less than 0 points")
def slower_and_better() -> tuple[Row, Row]:
    return _row(0.9675, 3000, 700, 9000, 2.0, 2.5), _row(0.98, 900, 200, 4000, 3.0, 3.3)


@ex.case("a row that is larger, and as accurate")
def larger() -> tuple[Row, Row]:
    return _row(0.96, 1000, 240, 5000, 1.0, 1.6), _row(0.96, 3000, 750, 8000, 0.75, 0.8)


@ex.case("accuracies of 1,500 images, whose difference is 0.7333… points: not rounded")
def many_decimals() -> tuple[Row, Row]:
    return _row(1472 / 1500, 4000, 1000, 60000, 2.0, 2.4), _row(1461 / 1500, 1000, 250, 6000, 1.0, 1.2)


@ex.inputs
def random_rows(rng: np.random.Generator) -> tuple[Row, Row]:
    """A large row and a small one, in either order; either may be the more accurate one."""
    accuracies = rng.permutation([rng.uniform(0.93, 0.95), rng.uniform(0.955, 0.99)])
    parameters, macs, p50 = rng.uniform(1e6, 5e6), rng.uniform(30e6, 300e6), rng.uniform(0.8, 4.0)
    # The ratios of bytes and parameters, and of MACs, p50 and p95, lie far apart.
    fewer, faster = rng.uniform(8, 30), rng.uniform(4, 30)
    large = (4 * parameters + 20e3, parameters, macs, p50, p50 * rng.uniform(1.1, 1.4))
    p50 /= faster
    small = (parameters / fewer + 8e3, parameters / fewer, macs / rng.uniform(35, 60), p50, p50 * rng.uniform(1.5, 2.5))
    rows = [
        _row(round(float(accuracy), 4), *(int(n) for n in counts[:3]), *(round(float(ms), 3) for ms in counts[3:]))
        for accuracy, counts in zip(accuracies, (large, small), strict=True)
    ]
    return (rows[0], rows[1]) if rng.random() < 0.5 else (rows[1], rows[0])


@ex.mistake("“Times smaller” is upside down: the first row's bytes over the other's, so that 8 means an eighth.")
def smaller_upside_down(first: Row, other: Row) -> Comparison:
    _, faster, lost = compare_rows(first, other)
    return other["bytes"] / first["bytes"], faster, lost


@ex.mistake(
    "You compared parameters, not bytes: a parameter may take four bytes or one, and a file holds more than parameters."
)
def parameters_for_bytes(first: Row, other: Row) -> Comparison:
    _, faster, lost = compare_rows(first, other)
    return first["parameters"] / other["parameters"], faster, lost


@ex.mistake("Parameters × 4 is no file: codes of 8 bits take one byte each, and the graph takes its own. Use `bytes`.")
def parameters_times_four(first: Row, other: Row) -> Comparison:
    _, faster, lost = compare_rows(first, other)
    return 4 * first["parameters"] / other["bytes"], faster, lost


@ex.mistake("You subtracted the bytes: that is how many were saved. “Times smaller” is a ratio.")
def bytes_subtracted(first: Row, other: Row) -> Comparison:
    _, faster, lost = compare_rows(first, other)
    return first["bytes"] - other["bytes"], faster, lost


@ex.mistake("You give the percentage of bytes that was saved: asked is how many *times* smaller, bytes over bytes.")
def bytes_saved(first: Row, other: Row) -> Comparison:
    _, faster, lost = compare_rows(first, other)
    return 100 * (1 - other["bytes"] / first["bytes"]), faster, lost


@ex.mistake("“Times faster” is upside down: the first row's time over the other's: 4 means a fourth of the time.")
def faster_upside_down(first: Row, other: Row) -> Comparison:
    smaller, _, lost = compare_rows(first, other)
    return smaller, other["p50_ms"] / first["p50_ms"], lost


@ex.mistake("That is a ratio of MACs, not of times: a multiplication saved is not always time saved. Divide ms by ms.")
def macs_for_time(first: Row, other: Row) -> Comparison:
    smaller, _, lost = compare_rows(first, other)
    return smaller, first["macs"] / other["macs"], lost


@ex.mistake("You divided p95, the slow tail. The usual time, which “× faster” is about, is the median: p50.")
def p95_for_p50(first: Row, other: Row) -> Comparison:
    smaller, _, lost = compare_rows(first, other)
    return smaller, first["p95_ms"] / other["p95_ms"], lost


@ex.mistake("You give the percentage of time that was saved: asked is how many *times* faster, ms over ms.")
def time_saved(first: Row, other: Row) -> Comparison:
    smaller, _, lost = compare_rows(first, other)
    return smaller, 100 * (1 - other["p50_ms"] / first["p50_ms"]), lost


@ex.mistake("You subtracted the times: that is how many ms were saved. “Times faster” is a ratio.")
def ms_saved(first: Row, other: Row) -> Comparison:
    smaller, _, lost = compare_rows(first, other)
    return smaller, first["p50_ms"] - other["p50_ms"], lost


@ex.mistake("You gave per cent of the accuracy, not points: points are a plain difference of two percentages.")
def per_cent_for_points(first: Row, other: Row) -> Comparison:
    smaller, faster, _ = compare_rows(first, other)
    return smaller, faster, 100 * (1 - other["accuracy"] / first["accuracy"])


@ex.mistake("That is how many times more errors there are. Points are a plain difference of two percentages.")
def ratio_of_errors(first: Row, other: Row) -> Comparison:
    smaller, faster, _ = compare_rows(first, other)
    return smaller, faster, (1 - other["accuracy"]) / (1 - first["accuracy"])


@ex.mistake("The accuracies are fractions: a difference of 0.01 is 1 point. Multiply by 100.")
def fractions_for_points(first: Row, other: Row) -> Comparison:
    smaller, faster, _ = compare_rows(first, other)
    return smaller, faster, first["accuracy"] - other["accuracy"]


@ex.mistake("The sign: points *lost* are positive when the second row is less accurate.")
def points_gained(first: Row, other: Row) -> Comparison:
    smaller, faster, lost = compare_rows(first, other)
    return smaller, faster, -lost


@ex.mistake("You dropped the sign: a row that is more accurate than the first one loses less than 0 points.")
def loss_without_sign(first: Row, other: Row) -> Comparison:
    smaller, faster, lost = compare_rows(first, other)
    return smaller, faster, abs(lost)


@ex.mistake("You stop at 0: a row that is more accurate than the first one loses less than 0 points, so let it.")
def loss_never_below_zero(first: Row, other: Row) -> Comparison:
    smaller, faster, lost = compare_rows(first, other)
    return smaller, faster, max(0.0, lost)


@ex.mistake("You stop at 1: a row that is larger or slower than the first one is less than 1 times smaller or faster.")
def ratios_never_below_one(first: Row, other: Row) -> Comparison:
    smaller, faster, lost = compare_rows(first, other)
    return max(1.0, smaller), max(1.0, faster), lost


@ex.mistake(
    "You divide the larger number by the smaller one, so nobody can see which row is better: always the first row "
    "over the other."
)
def larger_over_smaller(first: Row, other: Row) -> Comparison:
    smaller, faster, lost = compare_rows(first, other)
    return max(smaller, 1 / smaller), max(faster, 1 / faster), lost


@ex.mistake("// cuts the fraction off: 3000 bytes against 900 are 3.33 times smaller, not 3. Divide with /.")
def whole_times(first: Row, other: Row) -> Comparison:
    smaller, faster, lost = compare_rows(first, other)
    return math.floor(smaller), math.floor(faster), lost


@ex.mistake("You subtracted 1. The course says “4 times faster” for a fourth of the time: the plain ratio.")
def ratios_minus_one(first: Row, other: Row) -> Comparison:
    smaller, faster, lost = compare_rows(first, other)
    return smaller - 1, faster - 1, lost


@ex.mistake("You rounded to whole numbers: 3000 bytes against 900 are 3.33 times smaller. Round where you print.")
def rounded_to_whole_times(first: Row, other: Row) -> Comparison:
    smaller, faster, lost = compare_rows(first, other)
    return round(smaller), round(faster), lost


@ex.mistake("You rounded to one decimal. Round where you print: a loss of 0.04 points is not none.")
def rounded_to_one_decimal(first: Row, other: Row) -> Comparison:
    smaller, faster, lost = compare_rows(first, other)
    return round(smaller, 1), round(faster, 1), round(lost, 1)


@ex.mistake("You rounded to two decimals. Return the numbers as they are, and round where you print them.")
def rounded_to_two_decimals(first: Row, other: Row) -> Comparison:
    smaller, faster, lost = compare_rows(first, other)
    return round(smaller, 2), round(faster, 2), round(lost, 2)


@ex.mistake("You rounded the points. Return the number as it is, and round where you print it.")
def points_rounded(first: Row, other: Row) -> Comparison:
    smaller, faster, lost = compare_rows(first, other)
    return smaller, faster, round(lost, 2)


@ex.mistake("The order: (times smaller, times faster, points lost), so the ratio of bytes comes first.")
def time_first(first: Row, other: Row) -> Comparison:
    smaller, faster, lost = compare_rows(first, other)
    return faster, smaller, lost


@ex.mistake("The order: (times smaller, times faster, points lost), so the points come last.")
def points_first(first: Row, other: Row) -> Comparison:
    smaller, faster, lost = compare_rows(first, other)
    return lost, smaller, faster


@ex.mistake("You exchanged the rows: the first one is the one to compare with, and stands on top of both ratios.")
def rows_exchanged(first: Row, other: Row) -> Comparison:
    return compare_rows(other, first)


@ex.alternative
def loop_over_columns(first: Row, other: Row) -> list[float]:
    ratios = [first[column] / other[column] for column in ("bytes", "p50_ms")]
    return [*ratios, first["accuracy"] * 1e2 - other["accuracy"] * 1e2]


@ex.alternative
def in_numpy(first: Row, other: Row) -> np.ndarray:
    before, after = (np.array([row["bytes"], row["p50_ms"]]) for row in (first, other))
    return np.append(before / after, np.subtract(first["accuracy"], other["accuracy"]) / 0.01)


@ex.alternative
def in_float32(first: Row, other: Row) -> torch.Tensor:
    a, b = (torch.tensor([row["bytes"], row["p50_ms"], row["accuracy"]]) for row in (first, other))
    return torch.cat([(a / b)[:2], (a - b)[2:] * 100])


@ex.alternative
def by_the_errors(first: Row, other: Row) -> Comparison:
    errors = [1 - row["accuracy"] for row in (first, other)]
    return 1 / (other["bytes"] / first["bytes"]), (1 / other["p50_ms"]) * first["p50_ms"], 100 * (errors[1] - errors[0])
