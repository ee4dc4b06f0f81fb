"""How long does one call take? Interleaved rounds, medians, and an interval for the ratio.

Time variant A a hundred times, then variant B a hundred times, and the clock has changed in between: the processor
warmed up, a neighbour woke, a battery saver stepped in. The quotient of the two measures the day as much as the code.
Here every *round* runs every variant, in an order shuffled anew each round, so that each meets the same weather and
none always runs after the one that empties the cache. Ratios are taken inside rounds (``evaluation.bootstrap_ratio``).

Choices, each against a common mistake:

* Warm-up calls are thrown away: the first calls allocate memory, pick kernels and fill caches.
* The median (p50) is the typical call, p95 the slow ones; a mean mixes both, and one interruption moves it.
* One sample is one call, for every variant. A sample that averages a loop of calls hides the slow ones, and on a busy
  machine a long loop is interrupted more often than a short call: the same file twice then gives another ratio than 1.
  Reading the clock costs under 0.1 µs; calls shorter than about 10 µs need a loop inside the function.
* How calls follow one another is part of the result: ``cadence``.
* A process that was not let run has used less processor time than has passed: ``busy`` tells.
* Python's garbage collector is off while the clock runs.
* The number of threads is stated and recorded, because it is part of the result. Nothing here can set it for every
  runtime: give it to the session or use ``torch_threads``.

What industry does differently: benchmark suites run each variant in a process of its own on a machine with pinned
clocks; on a laptop or a shared server that is not to be had, and interleaving is what is left.
"""

from __future__ import annotations

import contextlib
import gc
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from course_lib.evaluation import Estimate
from course_lib.measure.cadence import IN_TURN, Cadence, timed_calls
from course_lib.measure.tables import html_table, ratio_text, text_table, three_digits
from course_lib.measure.times import ratio_of_rounds

PASSES = 5
"""Times that ``latency_by_cadence`` visits each cadence."""


@dataclass(frozen=True)
class LatencyReport:
    """Raw samples of every variant and how they were taken.

    Args:
        samples_ms: variant -> (repeats, cadence.calls) ms, one a call; row i of all variants belongs to one round.
        busy: variant -> processor time of the process / wall time, during its timed calls.
        warmup: calls of each variant before the clock started.
        repeats: rounds.
        threads: that the variants used.
        seed: of the order within rounds and of the bootstrap.
        cadence: how calls followed one another.
    """

    samples_ms: dict[str, np.ndarray]
    busy: dict[str, float]
    warmup: int
    repeats: int
    threads: int
    seed: int
    cadence: Cadence = IN_TURN

    def p50(self, name: str) -> float:
        """Median over all calls, in ms."""
        return float(np.percentile(self.samples(name), 50))

    def p95(self, name: str) -> float:
        """The time, in ms, that 5 % of the calls exceed."""
        return float(np.percentile(self.samples(name), 95))

    def ratio(self, reference: str, other: str) -> Estimate:
        """How many times faster ``other`` is than ``reference``: median of the rounds' ratios, 95 % interval."""
        return ratio_of_rounds(self.samples(reference), self.samples(other), self.seed)

    def samples(self, name: str) -> np.ndarray:
        """(repeats, calls) ms of one variant. Raises: ValueError: there is none of this name."""
        if name not in self.samples_ms:
            raise ValueError(f"no variant {name!r}; there are {', '.join(map(repr, self.samples_ms))}")
        return self.samples_ms[name]

    def _cells(self) -> tuple[list[str], list[list[str]]]:
        first = next(iter(self.samples_ms))
        rows = []
        for name in self.samples_ms:
            r = self.ratio(first, name)
            speed = "1" if name == first else ratio_text(r)
            mark = "interval includes 1" if name != first and r.includes(1) else ""
            rows.append([name, three_digits(self.p50(name)), three_digits(self.p95(name)), speed, mark])
        return ["variant", "p50, ms", "p95, ms", f"times faster than {first}", "mark"], rows

    def _caption(self) -> str:
        calls = f" of {self.cadence.calls} calls" if self.cadence.calls > 1 else ""
        return (
            f"{self.repeats} interleaved rounds{calls}, {self.cadence.name}, after {self.warmup} warm-up calls, "
            f"{self.threads} thread(s)"
        )

    def __str__(self) -> str:
        return f"{text_table(*self._cells())}\n{self._caption()}"

    def _repr_html_(self) -> str:
        return html_table(*self._cells(), notes=[self._caption()])


def latency(
    variants: Mapping[str, Callable[[], Any]],
    *,
    warmup: int,
    repeats: int,
    threads: int,
    seed: int,
    cadence: Cadence = IN_TURN,
) -> LatencyReport:
    """Milliseconds of single calls of every variant, measured in interleaved rounds.

    Args:
        variants: name -> a function without arguments that does the work once.
        warmup: calls of each variant before the clock starts, ≥ 1.
        repeats: rounds; each gives ``cadence.calls`` samples per variant, ≥ 2 (30 or more for a useful p95).
        threads: how many threads the variants use: recorded, not set.
        seed: of the order within rounds and of the bootstrap.
        cadence: how calls follow one another.
    Raises:
        ValueError: no variants, or warmup, repeats or threads too small.
        RuntimeError: a variant raised; the message names it.
    """
    if not variants:
        raise ValueError("variants must hold at least one function, got none")
    if warmup < 1 or repeats < 2 or threads < 1:
        raise ValueError(f"need warmup ≥ 1, repeats ≥ 2, threads ≥ 1, got {warmup}, {repeats}, {threads}")
    rng = np.random.default_rng(seed)
    wall: dict[str, list[np.ndarray]] = {name: [] for name in variants}
    busy = dict.fromkeys(variants, 0)
    for name, function in variants.items():
        _round(name, function, Cadence("warm-up", warmup))
    with _without_garbage_collection():
        for _ in range(repeats):
            for name in rng.permutation(list(variants)).tolist():
                calls, used = _round(name, variants[name], cadence)
                wall[name].append(calls)
                busy[name] += used
    samples_ms = {name: np.array(rounds) / 1e6 for name, rounds in wall.items()}
    shares = {name: busy[name] / max(1.0, 1e6 * ms.sum()) for name, ms in samples_ms.items()}
    return LatencyReport(samples_ms, shares, warmup, repeats, threads, seed, cadence)


def latency_by_cadence(
    variants: Mapping[str, Callable[[], Any]], rounds: Mapping[Cadence, int], *, warmup: int, threads: int, seed: int
) -> list[LatencyReport]:
    """``latency`` in several cadences that take turns: a machine that slows down must slow all of them.

    Args: rounds: cadence -> rounds, ≥ 2; they are made in up to ``PASSES`` passes over all cadences. Others: as there.
    Returns: one report a cadence, in the order of ``rounds``.

    >>> paces = {IN_TURN: 5, Cadence("pairs", calls=2): 2}
    >>> [len(r.samples("a")) for r in latency_by_cadence({"a": int}, paces, warmup=1, threads=1, seed=0)]
    [5, 2]
    """
    parts: dict[Cadence, list[LatencyReport]] = {cadence: [] for cadence in rounds}
    for number in range(PASSES if len(rounds) > 1 else 1):
        for cadence, wanted in rounds.items():
            pieces = max(1, min(PASSES, wanted // 2)) if len(rounds) > 1 else 1
            repeats = wanted // pieces + (number < wanted % pieces)
            if number < pieces:
                options = {"warmup": warmup, "repeats": repeats, "threads": threads, "seed": seed + number}
                parts[cadence].append(latency(variants, cadence=cadence, **options))
    return [_joined(some, seed) for some in parts.values()]


def _joined(parts: list[LatencyReport], seed: int) -> LatencyReport:
    """The rounds of several reports of one cadence, one after another."""
    samples = {name: np.concatenate([part.samples_ms[name] for part in parts]) for name in parts[0].samples_ms}
    weights = {name: [part.samples_ms[name].sum() for part in parts] for name in samples}
    busy = {name: float(np.average([part.busy[name] for part in parts], weights=weights[name])) for name in samples}
    first, repeats = parts[0], sum(part.repeats for part in parts)
    return LatencyReport(samples, busy, first.warmup, repeats, first.threads, seed, first.cadence)


def _round(name: str, function: Callable[[], Any], cadence: Cadence) -> tuple[np.ndarray, int]:
    try:
        return timed_calls(function, cadence)
    except Exception as error:
        raise RuntimeError(f"variant {name!r} raised {type(error).__name__}: {error}") from error


@contextlib.contextmanager
def _without_garbage_collection() -> Iterator[None]:
    collecting = gc.isenabled()
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        if collecting:
            gc.enable()
