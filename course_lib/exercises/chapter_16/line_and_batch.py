"""16.1: the line t(B) = a + b·B through measured times, and the largest batch within a deadline."""

from __future__ import annotations

from collections.abc import Sequence
from math import ceil, floor

import numpy as np

from course_lib.exercises.engine.exercise import Exercise
from course_lib.measure.serving import batch_line
from course_lib.measure.serving import largest_batch as librarys

Question = tuple[list[int], list[float], float]
Answer = tuple[float, float, int]

ex = Exercise(
    "16.1",
    "The largest batch within a deadline",
    points=3,
    hints=[
        "Least squares: b = Σ(B − B̄)(t − t̄) / Σ(B − B̄)², a = t̄ − b·B̄, where B̄ and t̄ are means. "
        "np.polyfit(batches, times_ms, 1) gives (b, a), in this order.",
        "a + b·B ≤ D is B ≤ (D − a)/b. The largest whole number that is not larger: floor; and never below 0.",
    ],
    explanation="""
        `a` is paid for each call, `b` for each image. A larger batch divides `a` among more images, and makes each of
        them wait for all. The deadline says how far that may go; where even one image is late, no batch helps.
    """,
)


@ex.reference
def largest_batch(batches: Sequence[int], times_ms: Sequence[float], deadline_ms: float) -> Answer:
    """(a, b, B): the least-squares line t(B) = a + b·B through all points; the largest whole B with t(B) ≤ deadline.

    B is 0 if one image is late already. B may lie beyond the batches that were measured. b is positive.
    """
    a, b = batch_line(batches, times_ms)
    return a, b, librarys(a, b, deadline_ms)


@ex.solution
def in_full(batches: Sequence[int], times_ms: Sequence[float], deadline_ms: float) -> Answer:
    """(a, b, B): the least-squares line t(B) = a + b·B, and the largest whole B with t(B) ≤ deadline; 0 if none."""
    b, a = np.polyfit(batches, times_ms, 1)
    return a, b, max(0, floor((deadline_ms - a) / b))


@ex.case("by hand: 3 ms for 1 image, 11 ms for 9: a = 2, b = 1; 7.8 ms are enough for 5")
def by_hand() -> Question:
    return [1, 9], [3.0, 11.0], 7.8


@ex.case("points that lie on no line, in no order, and more than two")
def scattered() -> Question:
    return [8, 1, 32, 4, 2], [5.2, 1.9, 15.8, 2.7, 2.9], 9.25


@ex.case("the deadline allows more than the largest measured batch")
def beyond() -> Question:
    return [1, 2, 4], [1.4, 2.1, 3.2], 40.3


@ex.case("one image is late already: 0")
def late() -> Question:
    return [1, 4, 8], [6.3, 9.1, 13.2], 6.0


@ex.case("the deadline is shorter than the call's own cost: still 0, not a negative batch")
def hopeless() -> Question:
    return [2, 4, 6], [22.0, 24.2, 25.9], 3.0


@ex.case("an answer just below the next batch is not rounded up to it")
def just_below() -> Question:
    return [1, 3, 5, 9], [1.25, 2.0, 3.25, 5.0], 3.55


@ex.case("the same batch measured twice counts twice")
def twice() -> Question:
    return [1, 1, 1, 16], [2.2, 2.0, 4.1, 12.6], 10.1


@ex.case("the line meets the axis below 0: noise, and still the least-squares line")
def below_zero() -> Question:
    return [1, 4, 8], [0.5, 3.1, 7.4], 6.0


@ex.inputs
def random_times(rng: np.random.Generator) -> Question:
    """The answer is never within a hundredth of a batch of the next one."""
    while True:
        count = int(rng.integers(3, 6))
        batches = [int(n) for n in rng.permutation([1, 2, 4, 8, 16, 32])[:count]]
        a, b = rng.uniform(0.5, 4), rng.uniform(0.2, 2)
        times = [round(float(a + b * n + rng.uniform(-0.3, 0.3) * b), 2) for n in batches]
        deadline = round(float(rng.uniform(3, 40)), 2)
        fit = batch_line(batches, times)
        exact = (deadline - fit[0]) / fit[1]
        if fit[0] > 0.1 and fit[1] > 0.1 and abs(exact - round(exact)) > 0.02:
            return batches, times, deadline


def _with(line: tuple[float, float], deadline_ms: float) -> Answer:
    return line[0], line[1], max(0, floor((deadline_ms - line[0]) / line[1]))


@ex.mistake("Your batch is rounded to the nearest: the one above can be late. Round down.")
def nearest(batches: Sequence[int], times_ms: Sequence[float], deadline_ms: float) -> Answer:
    a, b = batch_line(batches, times_ms)
    return a, b, max(0, round((deadline_ms - a) / b))


@ex.mistake("Your batch is rounded up: it is late. Round down.")
def up(batches: Sequence[int], times_ms: Sequence[float], deadline_ms: float) -> Answer:
    a, b = batch_line(batches, times_ms)
    return a, b, max(0, ceil((deadline_ms - a) / b))


@ex.mistake("Your batch can be negative. Where one image is late already, the answer is 0.")
def negative(batches: Sequence[int], times_ms: Sequence[float], deadline_ms: float) -> Answer:
    a, b = batch_line(batches, times_ms)
    return a, b, floor((deadline_ms - a) / b)


@ex.mistake("You return at least one image although it is late: then the answer is 0.")
def at_least_one(batches: Sequence[int], times_ms: Sequence[float], deadline_ms: float) -> Answer:
    a, b = batch_line(batches, times_ms)
    return a, b, max(1, floor((deadline_ms - a) / b))


@ex.mistake("Your batch forgets the call's own cost: D/b instead of (D − a)/b.")
def without_cost(batches: Sequence[int], times_ms: Sequence[float], deadline_ms: float) -> Answer:
    a, b = batch_line(batches, times_ms)
    return a, b, max(0, floor(deadline_ms / b))


@ex.mistake("Your line goes through the origin (a = 0): what a call costs by itself is then spread over the images.")
def through_origin(batches: Sequence[int], times_ms: Sequence[float], deadline_ms: float) -> Answer:
    b = float(np.dot(batches, times_ms) / np.dot(batches, batches))
    return _with((0.0, b), deadline_ms)


@ex.mistake("You cut a off at 0, or cut the line there. Asked is the least-squares line as it is, with a below 0, too.")
def cut_at_zero(batches: Sequence[int], times_ms: Sequence[float], deadline_ms: float) -> Answer:
    a, b = batch_line(batches, times_ms)
    return _with((max(0.0, a), b), deadline_ms)


@ex.mistake("Your line goes through two points alone. Least squares uses all of them.")
def two_points(batches: Sequence[int], times_ms: Sequence[float], deadline_ms: float) -> Answer:
    few, many = int(np.argmin(batches)), int(np.argmax(batches))
    b = (times_ms[many] - times_ms[few]) / (batches[many] - batches[few])
    return _with((times_ms[few] - b * batches[few], b), deadline_ms)


@ex.mistake("Your line goes through the first and the last point of the list alone. Least squares uses all of them.")
def first_and_last(batches: Sequence[int], times_ms: Sequence[float], deadline_ms: float) -> Answer:
    b = (times_ms[-1] - times_ms[0]) / (batches[-1] - batches[0])
    return _with((times_ms[0] - b * batches[0], b), deadline_ms)


@ex.mistake("You fitted B over t: b is then images for each ms. Fit t over B.")
def turned_round(batches: Sequence[int], times_ms: Sequence[float], deadline_ms: float) -> Answer:
    slope, offset = np.polyfit(times_ms, batches, 1)
    return float(offset), float(slope), max(0, floor(offset + slope * deadline_ms))


@ex.mistake("a and b are swapped: a is the cost of a call, b that of an image. np.polyfit gives the slope first.")
def swapped(batches: Sequence[int], times_ms: Sequence[float], deadline_ms: float) -> Answer:
    a, b = batch_line(batches, times_ms)
    return b, a, max(0, floor((deadline_ms - a) / b))


@ex.mistake("Your batch is the largest *measured* one that is in time. The line also tells of others.")
def measured_alone(batches: Sequence[int], times_ms: Sequence[float], deadline_ms: float) -> Answer:
    a, b = batch_line(batches, times_ms)
    return a, b, max([n for n, ms in zip(batches, times_ms, strict=True) if ms <= deadline_ms], default=0)


@ex.mistake("Your b is the mean of t/B. That holds the call's cost too: the smaller the batch, the more of it.")
def mean_per_image(batches: Sequence[int], times_ms: Sequence[float], deadline_ms: float) -> Answer:
    b = float(np.mean(np.divide(times_ms, batches)))
    return _with((float(np.mean(times_ms)) - b * float(np.mean(batches)), b), deadline_ms)


@ex.mistake("Your a and b are in seconds. The times are in ms, and so are a and b.")
def seconds(batches: Sequence[int], times_ms: Sequence[float], deadline_ms: float) -> Answer:
    a, b, batch = largest_batch(batches, times_ms, deadline_ms)
    return a / 1000, b / 1000, batch


@ex.mistake("Your batch is limited to those that were measured. B may lie beyond them.")
def not_beyond(batches: Sequence[int], times_ms: Sequence[float], deadline_ms: float) -> Answer:
    a, b, batch = largest_batch(batches, times_ms, deadline_ms)
    return a, b, min(batch, max(batches))


@ex.alternative
def normal_equations(batches: Sequence[int], times_ms: Sequence[float], deadline_ms: float) -> Answer:
    matrix = np.stack([np.ones(len(batches)), batches], axis=1)
    a, b = np.linalg.lstsq(matrix, np.asarray(times_ms), rcond=None)[0]
    return float(a), float(b), int(max(0, (deadline_ms - a) // b))


@ex.alternative
def counting_up(batches: Sequence[int], times_ms: Sequence[float], deadline_ms: float) -> Answer:
    n, sum_b, sum_t = len(batches), sum(batches), sum(times_ms)
    sum_bb = sum(x * x for x in batches)
    sum_bt = sum(x * t for x, t in zip(batches, times_ms, strict=True))
    b = (n * sum_bt - sum_b * sum_t) / (n * sum_bb - sum_b**2)
    a, batch = (sum_t - b * sum_b) / n, 0
    while a + b * (batch + 1) <= deadline_ms:
        batch += 1
    return a, b, batch


@ex.alternative
def by_covariance(batches: Sequence[int], times_ms: Sequence[float], deadline_ms: float) -> np.ndarray:
    covariance = np.cov(batches, times_ms)
    b = covariance[0, 1] / covariance[0, 0]
    a = np.mean(times_ms) - b * np.mean(batches)
    return np.array([a, b, np.clip(np.floor((deadline_ms - a) / b), 0, None)])
