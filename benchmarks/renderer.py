"""How fast signs are rendered: the recorded figure renderer_images_per_s.

    python benchmarks/renderer.py            print the result as JSON
    python benchmarks/renderer.py --record   also write benchmarks/results/renderer.json

Each run renders the same signs in memory at 32 px, without the cache and the disk, on two threads. One run before the
first fills the file cache and torch's thread pool, and is dropped. Reported: the median over the runs, with the
slowest and the fastest as its interval. The time in all threads' processors is given too: where it is far below
threads × wall time, the machine was busy with something else, and the figure says more about that than about the
renderer.
"""

from __future__ import annotations

import argparse
import json
import time
from dataclasses import asdict

import numpy as np
import torch

from course_lib.data.rendered import render_split
from course_lib.data.rendered.renderer import FRAMES
from course_lib.measure import Measurement, record

RUNS, TRACKS, SIZE, THREADS = 7, 384, 32, 2
TARGET = 1500
BUSY = "the machine was busy: see renderer_cpu_share"
SLOW = "slower than the target on this machine"


def timed_run(tracks: int) -> tuple[float, float]:
    """Wall seconds and processor seconds of rendering ``tracks`` signs."""
    wall, processor = time.perf_counter(), time.process_time()
    render_split("train", size=SIZE, tracks=tracks)
    return time.perf_counter() - wall, time.process_time() - processor


def measure(runs: int = RUNS, tracks: int = TRACKS) -> dict[str, Measurement]:
    """Images per second over ``runs`` ≥ 5 runs, and the share of the threads' time that was really spent."""
    if runs < 5:
        raise ValueError(f"runs must be at least 5, got {runs}")
    before = torch.get_num_threads()
    torch.set_num_threads(THREADS)
    try:
        times = np.array([timed_run(tracks) for _ in range(runs + 1)])[1:]  # (runs, 2)
    finally:
        torch.set_num_threads(before)
    speeds = tracks * FRAMES / times[:, 0]
    median, share = float(np.median(speeds)), float(np.median(times[:, 1] / times[:, 0]) / THREADS)
    note = None if median >= TARGET else f"{SLOW}; {BUSY}" if share < 0.8 else SLOW
    return {
        "renderer_images_per_s": Measurement(
            round(median),
            "images/s",
            runs,
            f"{tracks * FRAMES:,} images at {SIZE} px in memory, {THREADS} threads; median, slowest and fastest run",
            low=round(float(speeds.min())),
            high=round(float(speeds.max())),
            target=f"≥ {TARGET}",
            note=note,
        ),
        "renderer_cpu_share": Measurement(
            round(share, 2), "", runs, f"processor time / ({THREADS} threads × wall time), median of the same runs"
        ),
    }


def main() -> None:
    """Measure, print, and record if asked."""
    parser = argparse.ArgumentParser(description="Time the renderer.")
    parser.add_argument("--record", action="store_true", help="write benchmarks/results/renderer.json")
    parser.add_argument("--runs", type=int, default=RUNS, help="at least 5")
    options = parser.parse_args()
    figures = measure(options.runs)
    print(json.dumps({name: asdict(figure) for name, figure in figures.items()}, indent=2, ensure_ascii=False))
    if options.record:
        command = "python benchmarks/renderer.py --record"
        print(f"Written: {record('renderer', command, figures, seeds=[0], threads=THREADS)}")


if __name__ == "__main__":
    main()
