"""What calibration costs beside the forward passes that it cannot do without: benchmarks/results/calibration.json.

    python benchmarks/calibration.py            print the table
    python benchmarks/calibration.py --record   also write the record

``quantize_network`` on 512 training images, with each observer, for the shipped teacher and student of rendered signs:
every tensor of every image is looked at, no value is left out. Beside it the plain forward passes of the same
``LayerGraph`` over the same images in batches of the same size. One thread. All take turns in every round, in an order
that moves on by one each round; the interval covers the rounds. Seconds are those of the processor, which other
programs lengthen less than those of the clock.

Asked: calibration takes at most 1.2 times the forward passes and 2 seconds. So (calibration − 2 s) / forward is
compared with 1.2; where a network is small it is below 0, and the seconds themselves say more.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable

import torch
from torch import Tensor

from course_lib.data import load
from course_lib.evaluation import seed_interval
from course_lib.experiments.reporting import report
from course_lib.measure import Measurement
from course_lib.models import checkpoints
from course_lib.quantization import calibration_images
from course_lib.quantization.calibrated import ACTIVATION_CODES, quantize_network
from course_lib.quantization.entropy import Entropy
from course_lib.quantization.graph import LayerGraph, layer_graph
from course_lib.quantization.observers import LeastSquares, MinMax, MovingAverage, Observer, Percentile

NAME, IMAGES, BATCH, THREADS, ROUNDS = "calibration", 512, 256, 1, 5
ALLOWED, TARGET = 2.0, "≤ 1.2"
"""Seconds that calibration may take beside its share of the forward passes, and that share."""
OBSERVERS: dict[str, Callable[[], Observer]] = {
    "min_max": MinMax,
    "moving_average": MovingAverage,
    "percentile": Percentile,
    "least_squares": lambda: LeastSquares(ACTIVATION_CODES),
    "entropy": Entropy,
}
FORWARD = "forward"


def calls(graph: LayerGraph, images: Tensor) -> dict[str, Callable[[], object]]:
    """The plain forward passes, and calibration with each observer."""

    def forward() -> None:
        for batch in images.split(BATCH):
            graph.tensors(batch)

    found: dict[str, Callable[[], object]] = {FORWARD: forward}
    for name, observer in OBSERVERS.items():
        found[name] = lambda observer=observer: quantize_network(graph, images, observer=observer)
    return found


def seconds_by_round(calls: dict[str, Callable[[], object]], rounds: int) -> dict[str, list[float]]:
    """Of each call, in every round; one round before them warms up."""
    names = list(calls)
    found: dict[str, list[float]] = {name: [] for name in names}
    for number in range(rounds + 1):
        first = number % len(names)
        for name in names[first:] + names[:first]:
            started = time.process_time()
            calls[name]()
            if number:
                found[name].append(time.process_time() - started)
    return found


def figures_of(role: str, seconds: dict[str, list[float]]) -> dict[str, Measurement]:
    """Seconds of each call, and each observer's (calibration − 2 s) / forward."""
    found = {}
    words = f"{role} of rendered signs, {IMAGES} images in batches of {BATCH}, {THREADS} thread; mean over rounds"
    for name, times in seconds.items():
        what = "forward passes" if name == FORWARD else f"calibration, {name.replace('_', ' ')}"
        found[f"{role}_{name}_seconds"] = Measurement.of(seed_interval(times, unit="s"), "s", f"{what}, {words}")
        if name != FORWARD:
            shares = [(own - ALLOWED) / plain for own, plain in zip(times, seconds[FORWARD], strict=True)]
            meaning = f"(calibration − {ALLOWED:g} s) / forward passes, {name.replace('_', ' ')}, {words}"
            found[f"{role}_{name}_share"] = Measurement.of(seed_interval(shares), "×", meaning, target=TARGET)
    return found


def main() -> None:
    """Measure, print, and record if asked."""
    parser = argparse.ArgumentParser(description="Time calibration beside the forward passes.")
    parser.add_argument("--rounds", type=int, default=ROUNDS, help="≥ 2")
    parser.add_argument("--record", action="store_true", help=f"write benchmarks/results/{NAME}.json")
    options = parser.parse_args()
    torch.set_num_threads(THREADS)
    images = torch.tensor(calibration_images(load("rendered").train, IMAGES))
    figures: dict[str, Measurement] = {}
    for role in ("teacher", "student"):
        graph = layer_graph(checkpoints.load(f"{role}_rendered")[0])
        figures |= figures_of(role, seconds_by_round(calls(graph, images), options.rounds))
    command = f"python benchmarks/{NAME}.py --record"
    report(NAME, command, figures, recorded=options.record, seeds=[0], threads=THREADS)


if __name__ == "__main__":
    main()
