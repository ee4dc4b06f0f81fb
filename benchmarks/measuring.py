"""The reference machine's figures for chapter 01: what its hardware claims are compared with.

    python benchmarks/measuring.py            run the chapter, print the figures
    python benchmarks/measuring.py --record   also write benchmarks/results/measuring__<processor>.json

The chapter's text twin is an ordinary Python program. It is run as a learner's kernel runs it, and the figures are
taken from its variables: the chapter and the record cannot measure two different things. Run it on a quiet machine; it
makes it busy itself for the A/A tests.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import os
import runpy
import subprocess
import sys
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from course_lib.evaluation import Estimate, ratio_over_sessions
from course_lib.measure import Measurement, latency, record
from course_lib.storage.files import ROOT

COMMAND = "python benchmarks/measuring.py --record"
AA_RUNS = 20
OPENINGS, ROUNDS = 10, 30
CHAPTER = ROOT / "notebooks" / "text" / "01_measuring.py"


def ratio_figure(ratio: Estimate, meaning: str) -> Measurement:
    """A Figure with the ratio's interval, rounded to what a latency can tell."""
    value, low, high = (float(f"{v:.4g}") for v in (ratio.value, ratio.low, ratio.high))
    return Measurement(value, "×", ratio.n, meaning, low, high)


def figures(chapter: dict[str, Any]) -> dict[str, Measurement]:
    """The recorded figures, from the variables that the chapter leaves behind."""

    def number(value: float, unit: str, n: int, meaning: str) -> Measurement:
        return Measurement(float(f"{value:.4g}"), unit, n, meaning)

    by_pace = chapter["by_pace"]
    pair, calls, ways = "teacher / student, FP32, ONNX Runtime", chapter["single_calls"], chapter["measured"]
    tail = calls.mean() / np.median(calls)
    return {
        "speedup": ratio_figure(chapter["speedup"], f"{pair}, batch 1, 1 thread, single calls in turn"),
        "speedup_back_to_back": ratio_figure(by_pace["back to back"], f"{pair}, the same, back to back"),
        "speedup_30_hz": ratio_figure(by_pace["30 a second"], f"{pair}, the same, 30 calls a second, asleep between"),
        "speedup_30_hz_awake": ratio_figure(by_pace["30 a second, awake"], f"{pair}, the same, waiting in a loop"),
        "speedup_30_hz_ahead": ratio_figure(
            by_pace["30 a second, one call ahead"], f"{pair}, 30 a second, a call thrown away right before each"
        ),
        "zeros_speedup": ratio_figure(
            chapter["zeros"], "student / the same with 90 % zeros, batch 1, 1 thread, back to back"
        ),
        "speedup_eager": ratio_figure(chapter["eager"], "teacher / student, PyTorch, eval mode, warm, 1 thread"),
        "speedup_batch_128": ratio_figure(chapter["ways"]["batch"], f"{pair}, batch 128, 1 thread"),
        "speedup_all_cores": ratio_figure(chapter["ways"]["cores"], f"{pair}, batch 1, {chapter['cores']} threads"),
        "ways_highest_over_lowest": number(
            max(ways) / min(ways), "×", len(ways), "largest / smallest figure for one pair"
        ),
        "crowding": number(chapter["crowding"], "×", 100, "teacher: median call / fastest call; 1 on a quiet machine"),
        "first_call_ratio": number(
            chapter["first_ratio"]["student"], "×", 1, "student: first call / median of the others"
        ),
        "mean_over_median": number(tail, "×", len(calls), "single calls of the student"),
        "aa_spread_blocks": number(chapter["aa_spread"]["blocks"], "%", 10, "A/A test, highest over lowest, in blocks"),
        "aa_spread_interleaved": number(
            chapter["aa_spread"]["interleaved"], "%", 10, "A/A test, the same, interleaved"
        ),
        "peak_compute": number(chapter["peak"].high, "GFLOP/s", chapter["peak"].samples, chapter["peak"].method),
        "peak_bandwidth": number(
            chapter["bandwidth"].high, "GB/s", chapter["bandwidth"].samples, chapter["bandwidth"].method
        ),
        "layer_speed_spread": number(
            chapter["fastest"].gflops / chapter["slowest"].gflops,
            "×",
            len(chapter["everything"]),
            "fastest / slowest layer",
        ),
        "highest_share_of_roof": number(
            100 * chapter["highest"], "%", len(chapter["everything"]), "speed of the layer nearest to its roof"
        ),
        "amdahl_forecast": number(chapter["amdahl"], "×", 60, "speed-up forecast from the MACs ratio and the floor"),
        "floor": number(chapter["floor"].p50("empty"), "ms", 60, "student with one channel a layer, batch 1, 1 thread"),
    }


@contextlib.contextmanager
def busy_machine() -> Iterator[None]:
    """As many processes that only count as the machine has cores."""
    command = [sys.executable, "-c", "while True: pass"]
    others = [subprocess.Popen(command) for _ in range(os.cpu_count() or 1)]
    try:
        yield
    finally:
        for other in others:
            other.kill()
            other.wait()


def aa_figures(runner: Callable[[str], Callable[[], Any]]) -> dict[str, Measurement]:
    """A/A tests of the student's file while other processes want every core: how many intervals hold 1?

    Two openings of one file lie elsewhere in memory and may differ a little for as long as they live, which more rounds
    do not show. So a test opens the file anew ``OPENINGS`` times, and its interval covers openings as a recorded one
    covers sessions.

    Args: runner: opens the file of that name in a session of its own, and gives a function that calls it once.
    """
    ratios = []
    with busy_machine():
        for seed in range(AA_RUNS):
            parts = []
            for opening in range(OPENINGS):
                same = {name: runner("student") for name in ("first", "second")}
                report = latency(same, warmup=20, repeats=ROUNDS, threads=1, seed=OPENINGS * seed + opening)
                parts.append(report.ratio("first", "second"))
            ratios.append(ratio_over_sessions(parts))
    how = (
        f"the student's file under two names, {os.cpu_count()} other busy processes, single calls in turn, {OPENINGS} "
        f"openings of {ROUNDS} rounds, Student's t over the openings"
    )
    held = sum(ratio.includes(1) for ratio in ratios)
    furthest = max(ratio.percent_from_one for ratio in ratios)
    note = "a 95 % interval misses once in 20 where nothing is wrong"
    return {
        "aa_runs": Measurement(AA_RUNS, "", AA_RUNS, f"A/A tests on a busy machine: {how}"),
        "aa_holding_one": Measurement(held, "", AA_RUNS, "of them, intervals that hold 1", target="≥ 20", note=note),
        "aa_furthest_percent": Measurement(
            float(f"{furthest:.3g}"), "%", AA_RUNS, "of them, the ratio furthest from 1"
        ),
    }


def main() -> None:
    """Run the chapter, print its figures, and write them if asked to."""
    parser = argparse.ArgumentParser(description="Measure the reference figures of chapter 01.")
    parser.add_argument("--record", action="store_true", help="write benchmarks/results/measuring__<processor>.json")
    options = parser.parse_args()
    os.environ["COURSE_PROGRESS"] = "off"
    with contextlib.redirect_stdout(io.StringIO()):
        chapter = runpy.run_path(str(CHAPTER))
    found = figures(chapter) | aa_figures(chapter["runner"])
    for name, figure in found.items():
        print(f"{name:26} {figure.value:8.4g} {figure.unit:8} {figure.meaning}")
    if options.record:
        print(
            f"Written: {record('measuring', COMMAND, found, seeds=list(range(AA_RUNS)), threads=1, by_processor=True)}"
        )


if __name__ == "__main__":
    main()
