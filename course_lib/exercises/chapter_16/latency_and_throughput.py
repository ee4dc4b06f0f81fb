"""16.2: latency and throughput from a list of times."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import quantiles

import numpy as np

from course_lib.exercises.engine.exercise import Exercise

Question = tuple[list[float], int, int]
Answer = tuple[float, float, float]

ex = Exercise(
    "16.2",
    "Latency and throughput",
    points=2,
    hints=[
        "Drop the first ``warmup`` times, then everything else is of the rest. np.percentile(times, 95) is the p95 "
        "of this course.",
        "Throughput is images over seconds: batch · number of calls, over the sum of their times in seconds. A sum "
        "knows the slow calls, a median does not.",
    ],
    explanation="""
        Latency is what one caller waits, and the median tells of a usual one. Throughput is work over time, and time
        is a sum: the slow calls belong to it. So images a second is not batch / median; on a busy machine it is less.
        And the latency of a batch is that of each of its images: nobody waits t/B.
    """,
)


@ex.reference
def latency_and_throughput(times_ms: Sequence[float], batch: int, warmup: int) -> Answer:
    """(p50 in ms, p95 in ms, images per second) of calls back to back with ``batch`` images each.

    The first ``warmup`` calls are dropped. p50 and p95 are those of a call, as np.percentile gives them (linear
    between two calls). Images per second: all images of the calls that count, over the time that these calls took.
    """
    kept = np.asarray(times_ms, float)[warmup:]
    return float(np.percentile(kept, 50)), float(np.percentile(kept, 95)), float(1000 * batch * len(kept) / kept.sum())


@ex.case("by hand: after one warm-up call 2, 2, 2 and 10 ms, 4 images each: median 2 ms, 16 images in 16 ms")
def by_hand() -> Question:
    return [50.0, 2.0, 2.0, 2.0, 10.0], 4, 1


@ex.case("no warm-up, one image a call")
def single() -> Question:
    return [3.0, 1.0, 2.0, 2.5], 1, 0


@ex.case("the order of the list is the order of the calls: drop the first ones, not the slowest")
def slow_later() -> Question:
    return [1.0, 2.0, 9.0, 3.0, 4.0, 30.0, 3.5], 8, 2


@ex.case("a warm-up of more than half of the calls")
def long_warmup() -> Question:
    return [8.0, 7.0, 6.0, 5.0, 1.2, 1.1, 1.9], 2, 4


@ex.case("an even number of calls: the median lies between two of them")
def even() -> Question:
    return [4.0, 1.0, 2.0, 7.0, 12.0, 3.0], 16, 0


@ex.inputs
def random_times(rng: np.random.Generator) -> Question:
    count, warmup = int(rng.integers(8, 14)), int(rng.integers(1, 4))
    times = rng.lognormal(0.5, 0.7, count).round(2) + 0.05
    return [round(float(ms), 2) for ms in times], int(rng.choice([2, 4, 8, 16])), warmup


def _kept(times_ms: Sequence[float], warmup: int) -> np.ndarray:
    return np.asarray(times_ms, float)[warmup:]


def _changed(
    times_ms: Sequence[float], batch: int, warmup: int, at: int, value: float
) -> Answer:  # one of the three, replaced
    found = list(latency_and_throughput(times_ms, batch, warmup))
    found[at] = value
    return found[0], found[1], found[2]


@ex.mistake("You kept the warm-up calls. The first ``warmup`` times are dropped.")
def warmup_kept(times_ms: Sequence[float], batch: int, warmup: int) -> Answer:
    return latency_and_throughput(times_ms, batch, 0)


@ex.mistake("You dropped the last ``warmup`` times. The first ones warm up.")
def last_dropped(times_ms: Sequence[float], batch: int, warmup: int) -> Answer:
    return latency_and_throughput(list(times_ms)[: len(times_ms) - warmup], batch, 0)


@ex.mistake("You dropped the slowest calls. Warm-up calls are the first ones; a slow call later counts.")
def slowest_dropped(times_ms: Sequence[float], batch: int, warmup: int) -> Answer:
    return latency_and_throughput(sorted(times_ms)[: len(times_ms) - warmup], batch, 0)


@ex.mistake("You sorted before you dropped: the fastest calls are gone. Drop the first calls of the list, then sort.")
def fastest_dropped(times_ms: Sequence[float], batch: int, warmup: int) -> Answer:
    return latency_and_throughput(sorted(times_ms), batch, warmup)


@ex.mistake("You gave the mean as p50. One slow call moves a mean; the median is the middle of the sorted times.")
def mean_for_median(times_ms: Sequence[float], batch: int, warmup: int) -> Answer:
    return _changed(times_ms, batch, warmup, 0, float(_kept(times_ms, warmup).mean()))


@ex.mistake(
    "Your throughput is batch over the *median*. Images per second is images over time, and slow calls take it."
)
def throughput_of_median(times_ms: Sequence[float], batch: int, warmup: int) -> Answer:
    value = 1000 * batch / float(np.median(_kept(times_ms, warmup)))
    return _changed(times_ms, batch, warmup, 2, value)


@ex.mistake("Your throughput is the mean of batch/t. Rates are not averaged: add the images, add the times, divide.")
def mean_of_rates(times_ms: Sequence[float], batch: int, warmup: int) -> Answer:
    value = float((1000 * batch / _kept(times_ms, warmup)).mean())
    return _changed(times_ms, batch, warmup, 2, value)


@ex.mistake("You divided the latency by the batch. Every image of a batch waits for the whole call.")
def latency_per_image(times_ms: Sequence[float], batch: int, warmup: int) -> Answer:
    p50, p95, images = latency_and_throughput(times_ms, batch, warmup)
    return p50 / batch, p95 / batch, images


@ex.mistake("Your throughput counts calls. Each call has ``batch`` images.")
def calls_per_second(times_ms: Sequence[float], batch: int, warmup: int) -> Answer:
    p50, p95, images = latency_and_throughput(times_ms, batch, warmup)
    return p50, p95, images / batch


@ex.mistake("Your throughput is in images per ms. A second has 1000 of them.")
def per_ms(times_ms: Sequence[float], batch: int, warmup: int) -> Answer:
    p50, p95, images = latency_and_throughput(times_ms, batch, warmup)
    return p50, p95, images / 1000


@ex.mistake("Your throughput is turned round: ms for an image. Asked is images per second.")
def ms_per_image(times_ms: Sequence[float], batch: int, warmup: int) -> Answer:
    p50, p95, images = latency_and_throughput(times_ms, batch, warmup)
    return p50, p95, 1000 / images


@ex.mistake("Your throughput divides by the time of all calls, but counts the images of those after the warm-up.")
def all_time(times_ms: Sequence[float], batch: int, warmup: int) -> Answer:
    value = 1000 * batch * (len(times_ms) - warmup) / sum(times_ms)
    return _changed(times_ms, batch, warmup, 2, value)


@ex.mistake("Your throughput counts the images of the warm-up calls, but not their time.")
def all_images(times_ms: Sequence[float], batch: int, warmup: int) -> Answer:
    value = 1000 * batch * len(times_ms) / float(_kept(times_ms, warmup).sum())
    return _changed(times_ms, batch, warmup, 2, value)


@ex.mistake("You gave the slowest call as p95. 5 % of the calls may be slower than p95: np.percentile(times, 95).")
def slowest(times_ms: Sequence[float], batch: int, warmup: int) -> Answer:
    return _changed(times_ms, batch, warmup, 1, float(_kept(times_ms, warmup).max()))


@ex.mistake("Your p95 is the 5th percentile: the fast end. Slow calls are at the other one.")
def wrong_end(times_ms: Sequence[float], batch: int, warmup: int) -> Answer:
    return _changed(times_ms, batch, warmup, 1, float(np.percentile(_kept(times_ms, warmup), 5)))


@ex.mistake("Your p50 and p95 are calls of the list, with nothing between. np.percentile is linear between two calls.")
def no_interpolation(times_ms: Sequence[float], batch: int, warmup: int) -> Answer:
    kept = _kept(times_ms, warmup)
    p50, p95 = (float(np.percentile(kept, q, method="lower")) for q in (50, 95))
    return p50, p95, latency_and_throughput(times_ms, batch, warmup)[2]


@ex.mistake(
    "Your p50 and p95 are calls of the list. np.percentile is linear between two calls: so is the median of four."
)
def sorted_place(times_ms: Sequence[float], batch: int, warmup: int) -> Answer:
    kept = sorted(times_ms[warmup:])
    p50, p95 = (float(kept[int(share * len(kept))]) for share in (0.5, 0.95))
    return p50, p95, latency_and_throughput(times_ms, batch, warmup)[2]


@ex.mistake(
    "Your p95 is another definition's, such as that of statistics.quantiles: it can lie beyond the slowest call. "
    "Asked is np.percentile's."
)
def exclusive_quantile(times_ms: Sequence[float], batch: int, warmup: int) -> Answer:
    return _changed(times_ms, batch, warmup, 1, float(quantiles(times_ms[warmup:], n=20)[-1]))


@ex.alternative
def in_plain_python(times_ms: Sequence[float], batch: int, warmup: int) -> list[float]:
    kept = sorted(list(times_ms)[warmup:])

    def percentile(share: float) -> float:
        place = share * (len(kept) - 1)
        below = int(place)
        above = min(below + 1, len(kept) - 1)
        return kept[below] + (place - below) * (kept[above] - kept[below])

    return [percentile(0.5), percentile(0.95), batch * len(kept) / (sum(kept) / 1000)]


@ex.alternative
def by_quantiles(times_ms: Sequence[float], batch: int, warmup: int) -> np.ndarray:
    kept = np.array(times_ms[warmup:])
    return np.array([*np.quantile(kept, [0.5, 0.95]), batch / (kept.mean() / 1e3)])


@ex.alternative
def median_and_quantile(times_ms: Sequence[float], batch: int, warmup: int) -> Answer:
    import torch

    kept = torch.tensor(times_ms, dtype=torch.float64)[warmup:]
    images = batch * kept.numel()
    return kept.quantile(0.5).item(), kept.quantile(0.95).item(), images / (kept.sum().item() * 1e-3)
