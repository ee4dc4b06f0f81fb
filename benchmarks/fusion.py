"""What operator fusion buys in PyTorch's eager mode, and how well memory traffic predicts it: fusion.json.

    python benchmarks/fusion.py            print the figures
    python benchmarks/fusion.py --record   also write benchmarks/results/fusion.json

The course's teacher and student at 32 pixels and ResNet-18 (random weights) at 64, batch 1 and 32, one thread. Every
step of the fusion stands in the same interleaved rounds as the untouched network, which is timed twice (A/A); every
network and batch in fresh processes, and the intervals cover them. The traffic prediction is compared with the time
between "packed" and "fused", which run the same convolutions on the same packed weights.
"""

from __future__ import annotations

import argparse
from dataclasses import asdict

import numpy as np

from course_lib.experiments.fusion_study import AGAIN, FUSED, NETWORKS, Session, pooled, sessions
from course_lib.experiments.reporting import report
from course_lib.measure import Measurement

NAME, THREADS, SPEEDUP, ERROR = "fusion", 1, 1.15, 0.3
BATCHES = (1, 32)
HOW = {
    "by_traffic": "calls × overhead (timed at the operators' places) + bytes / bandwidth",
    "by_loop": "the same with the overhead of each operator in a loop of its own",
}


def key(words: str) -> str:
    """A figure's name from a step's."""
    return words.replace("/", "").replace(",", "").replace(" ", "_").lower()


def speedups(network: str, batch: int, found: list[Session]) -> dict[str, Measurement]:
    """A figure for each step; the teacher's at batch 1 is the one with a target."""
    figures, where = {}, f"{network}, batch {batch}, {NETWORKS[network]} px, PyTorch eager, 1 thread, back to back"
    for step, ratio in pooled(found).items():
        headline = step == FUSED and (network, batch) == ("teacher", 1)
        what = "packed / fused: the same packed convolutions" if step == "fusion alone" else f"untouched / {step}"
        target = f"≥ {SPEEDUP}" if headline else None
        figure = Measurement.of(ratio, "×", f"time of {what}; {where}; {len(found)} processes", target=target)
        name = "fusion_speedup" if headline else f"{network}_{batch}_{key(AGAIN if step == AGAIN else step)}"
        figures[name] = figure.explained("convolutions take nearly all of the time on this machine")
    return figures


def prediction(network: str, batch: int, found: list[Session]) -> dict[str, Measurement]:
    """|predicted − measured| / measured of the saved time, with calls timed at their places and in loops."""
    measured = np.array([one.saving.measured for one in found])
    figures = {}
    for how, told in HOW.items():
        predicted = np.array([getattr(one.saving, how) for one in found])
        errors = np.sort(abs(predicted - measured) / abs(measured))
        headline = how == "by_traffic" and (network, batch) == ("teacher", 1)
        name = "traffic_prediction_error" if headline else f"{network}_{batch}_error_{how}"
        words = (
            f"|predicted − measured| / measured of the time that removing BatchNorm, ReLU and sums saves, {told}: "
            f"median predicted {np.median(predicted):.3f}, measured {np.median(measured):.3f} ms; {network}, "
            f"batch {batch}; median, least and largest of {len(found)} processes"
        )
        value, low, high = (round(float(v), 3) for v in (np.median(errors), errors[0], errors[-1]))
        figure = Measurement(value, "", len(found), words, low, high, f"≤ {ERROR}" if headline else None)
        figures[name] = figure.explained(
            "the model leaves out caches between operators, arithmetic, and memory that is given out anew in each call"
        )
    return figures


def main() -> None:
    """Measure, print, and record if asked."""
    parser = argparse.ArgumentParser(description="Time operator fusion in PyTorch's eager mode.")
    parser.add_argument("--record", action="store_true", help=f"write benchmarks/results/{NAME}.json")
    parser.add_argument("--rounds", type=int, default=60, help="of each process at batch 1; a fifth at batch 32")
    parser.add_argument("--processes", type=int, default=5)
    parser.add_argument("--networks", nargs="+", choices=list(NETWORKS), default=list(NETWORKS))
    options = parser.parse_args()
    figures: dict[str, Measurement] = {}
    parts = []
    for network in options.networks:
        for batch in BATCHES:
            rounds = options.rounds if batch == 1 else max(2, options.rounds // 5)
            found = sessions(network, batch, rounds, options.processes)
            figures |= speedups(network, batch, found) | prediction(network, batch, found)
            parts.append({"network": network, "batch": batch, "savings": [asdict(one.saving) for one in found]})
    command, seeds = f"python benchmarks/{NAME}.py --record", list(range(options.processes))
    report(NAME, command, figures, recorded=options.record, seeds=seeds, threads=THREADS, extra={"savings": parts})


if __name__ == "__main__":
    main()
