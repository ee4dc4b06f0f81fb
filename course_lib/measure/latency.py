"""How long does one call take? Interleaved rounds, medians, and an interval for the ratio.

Time variant A a hundred times, then variant B a hundred times, and the clock has changed in between: the processor
warmed up, a neighbour woke, a battery saver stepped in. The quotient of the two measures the day as much as the code.
Here every *round* runs every variant once, in an order shuffled anew each round, so that each meets the same weather
and none always runs after the one that empties the cache. Ratios are taken inside rounds (``measure.statistics``).

Choices, each against a common mistake:

* Warm-up calls are thrown away: the first calls allocate memory, pick kernels and fill caches.
* The median (p50) is the typical call, p95 the slow ones; a mean mixes both, and one interruption moves it.
* A call of a few microseconds is timed in a loop that lasts at least 1 ms, and the sample is the loop's mean: the
  clock and the loop then cost nothing, but p95 is that of means, milder than that of single calls. ``calls`` tells.
* Python's garbage collector is off while the clock runs.
* The number of threads is stated and recorded, because it is part of the result. Nothing here can set it for every
  runtime: give it to the session or use ``torch_threads``.

What industry does differently: benchmark suites run each variant in a process of its own on a machine with pinned
clocks; on a laptop or a shared server that is not to be had, and interleaving is what is left.
"""

from __future__ import annotations

import gc
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from course_lib.evaluation import Estimate, bootstrap_ratio
from course_lib.measure.tables import html_table, text_table, three_digits

SHORTEST_SAMPLE_NS = 1_000_000


@dataclass(frozen=True)
class LatencyReport:
    """Raw samples of every variant and how they were taken.

    Args:
        samples_ms: variant -> (repeats,) ms per call, in the order of rounds: entry i of all belongs to one round.
        calls: variant -> calls averaged in one sample.
        warmup: calls of each variant before the clock started.
        repeats: rounds.
        threads: that the variants used.
        seed: of the order within rounds and of the bootstrap.
    """

    samples_ms: dict[str, np.ndarray]
    calls: dict[str, int]
    warmup: int
    repeats: int
    threads: int
    seed: int

    def p50(self, name: str) -> float:
        """Median, in ms per call."""
        return float(np.percentile(self._samples(name), 50))

    def p95(self, name: str) -> float:
        """The time, in ms per call, that 5 % of the samples exceed."""
        return float(np.percentile(self._samples(name), 95))

    def ratio(self, reference: str, other: str) -> Estimate:
        """How many times faster ``other`` is than ``reference``: median of the rounds' ratios, 95 % interval."""
        return bootstrap_ratio(self._samples(reference), self._samples(other), seed=self.seed)

    def _samples(self, name: str) -> np.ndarray:
        if name not in self.samples_ms:
            raise ValueError(f"no variant {name!r}; there are {', '.join(map(repr, self.samples_ms))}")
        return self.samples_ms[name]

    def _cells(self) -> tuple[list[str], list[list[str]]]:
        first = next(iter(self.samples_ms))
        rows = []
        for name in self.samples_ms:
            r = self.ratio(first, name)
            speed = "1" if name == first else f"{r.value:.2f} [{r.low:.2f}, {r.high:.2f}]"
            mark = "interval includes 1" if name != first and r.includes(1) else ""
            rows.append([name, three_digits(self.p50(name)), three_digits(self.p95(name)), speed, mark])
        return ["variant", "p50, ms", "p95, ms", f"times faster than {first}", "mark"], rows

    def _caption(self) -> str:
        return f"{self.repeats} interleaved rounds after {self.warmup} warm-up calls, {self.threads} thread(s)"

    def __str__(self) -> str:
        return f"{text_table(*self._cells())}\n{self._caption()}"

    def _repr_html_(self) -> str:
        return html_table(*self._cells(), notes=[self._caption()])


def latency(
    variants: Mapping[str, Callable[[], Any]], *, warmup: int, repeats: int, threads: int, seed: int
) -> LatencyReport:
    """Milliseconds per call of every variant, measured in interleaved rounds.

    Args:
        variants: name -> a function without arguments that does the work once.
        warmup: calls of each variant before the clock starts, ≥ 1.
        repeats: rounds; each gives one sample per variant, ≥ 2 (30 or more for a useful p95).
        threads: how many threads the variants use: recorded, not set.
        seed: of the order within rounds and of the bootstrap.
    Raises:
        ValueError: no variants, or warmup, repeats or threads too small.
        RuntimeError: a variant raised; the message names it.
    """
    if not variants:
        raise ValueError("variants must hold at least one function, got none")
    if warmup < 1 or repeats < 2 or threads < 1:
        raise ValueError(f"need warmup ≥ 1, repeats ≥ 2, threads ≥ 1, got {warmup}, {repeats}, {threads}")
    rng = np.random.default_rng(seed)
    samples_ns: dict[str, list[float]] = {name: [] for name in variants}
    for name in variants:
        _run(name, variants[name], warmup)
    calls = {name: _calls_per_sample(name, variants[name]) for name in variants}
    collecting = gc.isenabled()
    gc.collect()
    gc.disable()
    try:
        for _ in range(repeats):
            for name in rng.permutation(list(variants)).tolist():
                samples_ns[name].append(_run(name, variants[name], calls[name]) / calls[name])
    finally:
        if collecting:
            gc.enable()
    samples_ms = {name: np.array(ns) / 1e6 for name, ns in samples_ns.items()}
    return LatencyReport(samples_ms, calls, warmup, repeats, threads, seed)


def _run(name: str, function: Callable[[], Any], calls: int) -> int:
    """Nanoseconds of ``calls`` calls in a row."""
    try:
        start = time.perf_counter_ns()
        for _ in range(calls):
            function()
        return time.perf_counter_ns() - start
    except Exception as error:
        raise RuntimeError(f"variant {name!r} raised {type(error).__name__}: {error}") from error


def _calls_per_sample(name: str, function: Callable[[], Any]) -> int:
    """The smallest power of two of calls that together last at least 1 ms."""
    calls = 1
    while _run(name, function, calls) < SHORTEST_SAMPLE_NS:
        calls *= 2
    return calls
