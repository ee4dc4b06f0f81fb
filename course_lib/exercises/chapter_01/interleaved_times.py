"""01.3: a median, a p95, and the ratio of a run in which both variants take turns."""

from __future__ import annotations

import math
import statistics
from typing import Any

import numpy as np
import torch

from course_lib.evaluation import bootstrap_ratio
from course_lib.exercises.engine.exercise import Exercise

Summary = tuple[float, float, float]

ex = Exercise(
    "01.3",
    "Median, p95 and the ratio of interleaved runs",
    points=3,
    trials=6,  # the fixed cases alone show each mistake
    hints=[
        "One slow run, when something else woke up, must not move the result much: which average ignores it?",
        "p95: 95 % of the runs are at most this slow. np.percentile(times, 95).",
        "Round i gives one pair (aᵢ, bᵢ) timed within milliseconds: first divide, then sum up.",
        "The page's ratio is exp(medianᵢ log(aᵢ/bᵢ)). Two rounds with the ratios 2 and ½ must give 1.",
    ],
    explanation="""
        Latency has a long right tail: the median says what is usual, p95 what a deadline must allow for. In an
        interleaved run round $i$ times both variants one after the other, so that a slower clock multiplies both and
        cancels in $a_i / b_i$. The median is taken of the logarithms, so that $a/b$ and $b/a$ tell the same story: with
        an even number of rounds a plain median averages the two middle ratios, and of 2 and ½ that is 1.25. The
        library adds an interval by drawing rounds with replacement: `course_lib.evaluation.bootstrap_ratio`.
    """,
)


@ex.reference
def compare_times(baseline_ms: np.ndarray, variant_ms: np.ndarray) -> tuple[float, float, float]:
    """(p50, p95, ratio): the variant's median and 95th percentile in ms, and exp(median of log(baseline / variant)).

    Args:
        baseline_ms, variant_ms: (rounds,), in ms; entry i of both belongs to round i.
    """
    p50, p95 = np.percentile(variant_ms, [50, 95])
    # Both times of a round meet the same clock and the same neighbours: what they share cancels in their ratio.
    log_ratios = np.log(baseline_ms / variant_ms)
    return float(p50), float(p95), float(np.exp(np.median(log_ratios)))


@ex.case("the page's two rounds, twice: a/b and b/a must tell the same story, so the ratio is 1")
def two_rounds_twice() -> tuple[np.ndarray, np.ndarray]:
    return np.array([2.0, 1.0, 2.0, 1.0]), np.array([1.0, 2.0, 1.0, 2.0])


@ex.case("an odd number of rounds, none like the other: every way to lose the pairing shows")
def five_rounds() -> tuple[np.ndarray, np.ndarray]:
    return np.array([8.0, 6.0, 3.0, 11.0, 3.0]), np.array([2.0, 4.0, 1.0, 4.0, 3.0])


@ex.case("60 rounds: baseline 1 ms; variant 1 ms (30 times), 2 ms (22), 4 ms (3), 5 ms (3), 7 ms and 9 ms")
def long_tail() -> tuple[np.ndarray, np.ndarray]:
    return np.ones(60), np.repeat([1.0, 2.0, 4.0, 5.0, 7.0, 9.0], [30, 22, 3, 3, 1, 1])


@ex.inputs
def random_session(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """A drifting clock, an odd or an even number of rounds, and one time that all usual definitions of p95 give."""
    rounds = int(rng.choice([40, 41, 60, 61]))
    drift = 1 + np.cumsum(rng.gamma(2.0, 0.02, rounds))
    means = rng.permutation(rng.uniform([3, 1], [5, 2]))
    baseline, variant = (mean * drift * rng.lognormal(0, 0.25, rounds) for mean in means)
    # Definitions differ in the rank, and in whether they interpolate: these ranks hold the same time, and none is last.
    ranks = np.arange(math.floor(0.95 * rounds) - 1, math.ceil(0.95 * rounds) + 1)
    at = variant.argsort()[ranks]
    variant[at] = variant[at[-1]]
    return baseline.round(4), variant.round(4)


@ex.mistake(
    "The first result is a mean: a single interrupted run moves it. The median (p50) does not care how late the "
    "latest run was."
)
def mean_for_p50(baseline_ms: np.ndarray, variant_ms: np.ndarray) -> Summary:
    _, p95, ratio = compare_times(baseline_ms, variant_ms)
    return variant_ms.mean(), p95, ratio


@ex.mistake(
    "The first result is the upper of the two middle times. Of an even number of times the median is the mean of both."
)
def upper_middle(baseline_ms: np.ndarray, variant_ms: np.ndarray) -> Summary:
    _, p95, ratio = compare_times(baseline_ms, variant_ms)
    return np.sort(variant_ms)[len(variant_ms) // 2], p95, ratio


@ex.mistake(
    "The first result is the lower of the two middle times, as torch.median takes it. Of an even number of times the "
    "median is the mean of both."
)
def lower_middle(baseline_ms: np.ndarray, variant_ms: np.ndarray) -> Summary:
    _, p95, ratio = compare_times(baseline_ms, variant_ms)
    return np.sort(variant_ms)[(len(variant_ms) - 1) // 2], p95, ratio


@ex.mistake("The first result is the middle of a list in no order: sort the times (a copy of them) first.")
def middle_unsorted(baseline_ms: np.ndarray, variant_ms: np.ndarray) -> Summary:
    _, p95, ratio = compare_times(baseline_ms, variant_ms)
    return variant_ms[len(variant_ms) // 2], p95, ratio


@ex.mistake("The first two results are the baseline's: asked are p50 and p95 of the variant.")
def baseline_s_times(baseline_ms: np.ndarray, variant_ms: np.ndarray) -> Summary:
    p50, p95 = np.percentile(baseline_ms, [50, 95])
    return p50, p95, compare_times(baseline_ms, variant_ms)[2]


@ex.mistake("The order: (p50, p95, ratio).")
def p95_first(baseline_ms: np.ndarray, variant_ms: np.ndarray) -> Summary:
    p50, p95, ratio = compare_times(baseline_ms, variant_ms)
    return p95, p50, ratio


@ex.mistake("The second result is the maximum, one unlucky run. p95 is the time that 95 % of the runs keep.")
def maximum_for_p95(baseline_ms: np.ndarray, variant_ms: np.ndarray) -> Summary:
    p50, _, ratio = compare_times(baseline_ms, variant_ms)
    return p50, variant_ms.max(), ratio


@ex.mistake("The second result is the fast end: p95 is the time that 95 % of the runs stay below, so a slow one.")
def p5(baseline_ms: np.ndarray, variant_ms: np.ndarray) -> Summary:
    p50, _, ratio = compare_times(baseline_ms, variant_ms)
    return p50, np.percentile(variant_ms, 5), ratio


@ex.mistake("np.percentile takes per cent: 95, not 0.95, which is nearly the fastest run.")
def fraction_for_per_cent(baseline_ms: np.ndarray, variant_ms: np.ndarray) -> Summary:
    p50, _, ratio = compare_times(baseline_ms, variant_ms)
    return p50, np.percentile(variant_ms, 0.95), ratio


@ex.mistake("The second result is the 90th percentile: one run in ten is slower. p95 is the 95th.")
def p90(baseline_ms: np.ndarray, variant_ms: np.ndarray) -> Summary:
    p50, _, ratio = compare_times(baseline_ms, variant_ms)
    return p50, np.percentile(variant_ms, 90), ratio


@ex.mistake("The second result is a round near the end, not a slow one: sort the times (a copy of them) first.")
def p95_unsorted(baseline_ms: np.ndarray, variant_ms: np.ndarray) -> Summary:
    p50, _, ratio = compare_times(baseline_ms, variant_ms)
    return p50, variant_ms[int(0.95 * len(variant_ms))], ratio


@ex.mistake("95 % of the slowest time is no p95: count runs, 95 % of them are at most this slow.")
def scaled_maximum(baseline_ms: np.ndarray, variant_ms: np.ndarray) -> Summary:
    p50, _, ratio = compare_times(baseline_ms, variant_ms)
    return p50, 0.95 * variant_ms.max(), ratio


@ex.mistake("Mean + 1.645 · σ is the p95 of a bell curve. Times have a long tail: count runs instead.")
def bell_curve(baseline_ms: np.ndarray, variant_ms: np.ndarray) -> Summary:
    p50, _, ratio = compare_times(baseline_ms, variant_ms)
    return p50, variant_ms.mean() + 1.645 * variant_ms.std(), ratio


@ex.mistake("The ratio is upside down: baseline / variant, so that above 1 means that the variant is faster.")
def ratio_upside_down(baseline_ms: np.ndarray, variant_ms: np.ndarray) -> Summary:
    p50, p95, ratio = compare_times(baseline_ms, variant_ms)
    return p50, p95, 1 / ratio


@ex.mistake(
    "The ratio is a plain median of aᵢ/bᵢ. With an even number of rounds that averages the two middle ones, and of 2 "
    "and ½ it makes 1.25, for a/b and for b/a. Take the median of the logarithms, then exp."
)
def median_of_plain_ratios(baseline_ms: np.ndarray, variant_ms: np.ndarray) -> Summary:
    p50, p95, _ = compare_times(baseline_ms, variant_ms)
    return p50, p95, np.median(baseline_ms / variant_ms)


@ex.mistake(
    "The ratio is the lower of the two middle ones, as torch.median takes it. np.median of the logarithms, then exp."
)
def lower_middle_ratio(baseline_ms: np.ndarray, variant_ms: np.ndarray) -> Summary:
    p50, p95, _ = compare_times(baseline_ms, variant_ms)
    return p50, p95, statistics.median_low(baseline_ms / variant_ms)


@ex.mistake(
    "The ratio is 1 over a plain median of bᵢ/aᵢ. With an even number of rounds that averages the two middle ones: of "
    "2 and ½ you make 0.8. Take the median of the logarithms, then exp."
)
def one_over_median_of_plain_ratios(baseline_ms: np.ndarray, variant_ms: np.ndarray) -> Summary:
    p50, p95, _ = compare_times(baseline_ms, variant_ms)
    return p50, p95, 1 / np.median(variant_ms / baseline_ms)


@ex.mistake("That is the logarithm of the ratio: equally fast would be 0. Undo the log with exp.")
def exp_forgotten(baseline_ms: np.ndarray, variant_ms: np.ndarray) -> Summary:
    p50, p95, ratio = compare_times(baseline_ms, variant_ms)
    return p50, p95, np.log(ratio)


@ex.mistake(
    "The ratio is a geometric mean, exp of the mean of the logarithms: one interrupted run moves it. Take their median."
)
def geometric_mean(baseline_ms: np.ndarray, variant_ms: np.ndarray) -> Summary:
    p50, p95, _ = compare_times(baseline_ms, variant_ms)
    return p50, p95, np.exp(np.log(baseline_ms / variant_ms).mean())


@ex.mistake(
    "The ratio of two medians throws the pairing away: the machine's drift stays in it. Divide round by round, then "
    "take the median of the ratios' logarithms."
)
def ratio_of_medians(baseline_ms: np.ndarray, variant_ms: np.ndarray) -> Summary:
    p50, p95, _ = compare_times(baseline_ms, variant_ms)
    return p50, p95, np.median(baseline_ms) / p50


@ex.mistake(
    "The ratio of two means throws the pairing away and lets one interrupted run move it. Divide round by round, then "
    "take the median of the ratios' logarithms."
)
def ratio_of_means(baseline_ms: np.ndarray, variant_ms: np.ndarray) -> Summary:
    p50, p95, _ = compare_times(baseline_ms, variant_ms)
    return p50, p95, baseline_ms.mean() / variant_ms.mean()


@ex.mistake("The ratio is a mean over rounds: one interrupted run moves it, and a mean of ratios can prove anything.")
def mean_of_ratios(baseline_ms: np.ndarray, variant_ms: np.ndarray) -> Summary:
    p50, p95, _ = compare_times(baseline_ms, variant_ms)
    return p50, p95, (baseline_ms / variant_ms).mean()


@ex.mistake("The ratio of the two p95 compares the slow tails, from different rounds. Divide round by round.")
def ratio_of_p95(baseline_ms: np.ndarray, variant_ms: np.ndarray) -> Summary:
    p50, p95, _ = compare_times(baseline_ms, variant_ms)
    return p50, p95, np.percentile(baseline_ms, 95) / p95


@ex.mistake("You stop at 1: if the variant is slower, baseline / variant is below 1, and must be allowed to be.")
def ratio_never_below_one(baseline_ms: np.ndarray, variant_ms: np.ndarray) -> Summary:
    p50, p95, ratio = compare_times(baseline_ms, variant_ms)
    return p50, p95, max(1.0, ratio)


@ex.mistake("The ratio of the two fastest runs rests on one round each, from different moments. Divide round by round.")
def ratio_of_minima(baseline_ms: np.ndarray, variant_ms: np.ndarray) -> Summary:
    p50, p95, _ = compare_times(baseline_ms, variant_ms)
    return p50, p95, baseline_ms.min() / variant_ms.min()


@ex.mistake("You sorted both lists before you divided: entry i must stay with round i, or the pairing is lost.")
def sorted_before_pairing(baseline_ms: np.ndarray, variant_ms: np.ndarray) -> Summary:
    p50, p95, _ = compare_times(baseline_ms, variant_ms)
    return p50, p95, compare_times(np.sort(baseline_ms), np.sort(variant_ms))[2]


@ex.mistake(
    "variant_ms.sort() sorts the caller's own array, and from then on its entries belong to other rounds: the ratio "
    "is wrong, and so is whatever comes later. np.sort(variant_ms) gives a sorted copy."
)
def sorted_in_place(baseline_ms: np.ndarray, variant_ms: np.ndarray) -> Summary:
    variant_ms.sort()
    return compare_times(baseline_ms, variant_ms)


@ex.alternative
def plain_python(baseline_ms: Any, variant_ms: Any) -> list[float]:
    times = sorted(float(t) for t in variant_ms)
    logs = [math.log(a) - math.log(b) for a, b in zip(baseline_ms, variant_ms, strict=True)]
    return [statistics.median(times), times[int(0.95 * len(times))], math.exp(statistics.median(logs))]


@ex.alternative
def p95_by_quantiles(baseline_ms: np.ndarray, variant_ms: np.ndarray) -> Summary:
    cuts = statistics.quantiles(variant_ms, n=20)
    return float(np.median(variant_ms)), cuts[-1], 1 / math.exp(np.median(np.log(variant_ms / baseline_ms)))


@ex.alternative
def p95_without_interpolation(baseline_ms: np.ndarray, variant_ms: np.ndarray) -> np.ndarray:
    p95 = np.quantile(variant_ms, 0.95, method="inverted_cdf")
    ratio = 2 ** np.quantile(np.log2(baseline_ms) - np.log2(variant_ms), 0.5)
    return np.array([np.quantile(variant_ms, 0.5), p95, ratio])


@ex.alternative
def middle_ratios_multiplied(baseline_ms: np.ndarray, variant_ms: np.ndarray) -> Summary:
    ratios, count = np.sort(baseline_ms / variant_ms), len(baseline_ms)
    p50, p95 = torch.quantile(torch.tensor(variant_ms), torch.tensor([0.5, 0.95], dtype=torch.float64))
    return float(p50), float(p95), (ratios[(count - 1) // 2] * ratios[count // 2]) ** 0.5


@ex.alternative
def library_s_ratio(baseline_ms: np.ndarray, variant_ms: np.ndarray) -> Summary:
    p95 = np.sort(variant_ms)[-1 - len(variant_ms) // 20]
    return statistics.median(variant_ms), p95, bootstrap_ratio(baseline_ms, variant_ms, seed=0).value
