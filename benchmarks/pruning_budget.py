"""Does a budget in milliseconds hold? The teacher cut to fractions of its own latency: results/pruning_budget.json.

    python benchmarks/pruning_budget.py            print the result
    python benchmarks/pruning_budget.py --record   also write benchmarks/results/pruning_budget.json

For each target, ``pruning.latency_allocation`` walks down the greedy path (Taylor importance, a table of the layers'
times taken here, multiples of eight channels) until the network that is really cut hits the target on its own clock:
calls of the candidate and of the whole network in turn, so that a machine that slows down slows both. That clock chose
the network, so it is no witness. The error is taken anew, in three processes of their own:

    error = (time of the cut network / time of the whole one) / target − 1

Beside it stands what the table alone predicts (the sum of its layers, as a fraction of the whole network's sum), and
the MACs: what a budget in MACs would have promised.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from torch import nn

from course_lib.data import load
from course_lib.deploy.onnx import export_onnx, open_session, run_session
from course_lib.experiments.file_times import time_ratios
from course_lib.experiments.reporting import report
from course_lib.experiments.teacher_pruning import calibration_part, importance_of
from course_lib.measure import BACK_TO_BACK, Cadence, Measurement, latency, total_macs
from course_lib.models import SignTeacher, checkpoints
from course_lib.pruning import (
    LatencyAllocation,
    Measure,
    cut,
    dependency_graph,
    importance_losses,
    latency_allocation,
    latency_table,
    rank_channels,
)

NAME, TARGETS, MULTIPLE, TOLERANCE, SESSIONS, SEED = "pruning_budget", (0.75, 0.5, 0.35), 8, 0.05, 3, 0
LAYER, NETWORK = Cadence("back to back", calls=10), Cadence("back to back", calls=5)
PACES = {BACK_TO_BACK: 40}
SHAPE = (1, 3, 32, 32)


def session_of(model: nn.Module, shape: tuple[int, ...], folder: Path) -> Callable[[], object]:
    """One call of a network or layer in ONNX Runtime, one thread."""
    path = export_onnx(model.eval(), folder / "candidate.onnx", input_shape=shape)
    session, image = open_session(path, threads=1), np.zeros(shape, np.float32)
    return lambda: run_session(session, image)


def layer_clock(folder: Path) -> Measure:
    """The median call of a layer alone, ms."""

    def measure(layer: nn.Module, shape: tuple[int, ...]) -> float:
        report = latency({"layer": session_of(layer, shape, folder)}, **_timing(LAYER, 5))
        return float(np.median(report.samples("layer")))

    return measure


def network_clock(whole: nn.Module, folder: Path) -> Measure:
    """A network's time as a fraction of the whole one's, calls of both in turn."""
    reference = session_of(whole, SHAPE, folder)

    def measure(model: nn.Module, shape: tuple[int, ...]) -> float:
        calls = {"candidate": session_of(model, shape, folder), "whole": reference}
        return latency(calls, **_timing(NETWORK, 40)).ratio("candidate", "whole").value

    return measure


def _timing(cadence: Cadence, repeats: int) -> dict[str, object]:
    return {"warmup": 10, "repeats": repeats, "threads": 1, "seed": SEED, "cadence": cadence}


def allocations(teacher: SignTeacher, folder: Path) -> tuple[dict[float, LatencyAllocation], dict[float, SignTeacher]]:
    """Target → what was allocated, and the network cut so."""
    graph = dependency_graph(teacher, torch.zeros(SHAPE))
    calibration = calibration_part(load("rendered").train)
    ranking = rank_channels(teacher, graph, importance_of(teacher, graph, calibration))
    table = latency_table(teacher, graph, ranking, layer_clock(folder), progress=True)
    losses, clock = importance_losses(ranking), network_clock(teacher, folder)
    found, networks = {}, {}
    for target in TARGETS:
        found[target] = latency_allocation(
            teacher, graph, losses, table, clock, target, tolerance=TOLERANCE, multiple=MULTIPLE
        )
        networks[target] = cut(teacher, graph, ranking.keep(found[target].counts))
    return found, networks


def figures_of(
    teacher: SignTeacher, found: dict[float, LatencyAllocation], networks: dict[float, SignTeacher], folder: Path
) -> dict[str, Measurement]:
    """What the networks take in fresh processes, beside what was asked, predicted and counted."""
    paths = {"whole": export_onnx(teacher, folder / "whole.onnx")}
    paths |= {f"{target:g}": export_onnx(model, folder / f"{target:g}.onnx") for target, model in networks.items()}
    ratios = time_ratios(paths, "whole", np.zeros(SHAPE, np.float32), PACES, SESSIONS)
    figures, errors = {}, []
    for target, model in networks.items():
        name = f"at_{100 * target:.0f}_percent"
        ratio = ratios[f"{target:g}", BACK_TO_BACK.name]
        errors.append(100 * abs(ratio.value / target - 1))
        what = f"one call of the cut network / of the whole, asked {target:g}; {SESSIONS} processes"
        figures[f"latency_ratio_{name}"] = Measurement.of(ratio, "×", what, digits=4)
        table = found[target].predicted_ms / found[target].tried[0][0]
        figures[f"table_ratio_{name}"] = Measurement(round(table, 4), "×", 1, "the table's sum of layers, cut / whole")
        macs = total_macs(model, SHAPE) / total_macs(teacher, SHAPE)
        figures[f"macs_ratio_{name}"] = Measurement(round(macs, 4), "×", 1, "MACs, cut / whole")
        figures[f"networks_timed_{name}"] = Measurement(
            len(found[target].tried), "", 1, "networks cut and timed on the way"
        )
    how = "how far the time of the cut network is from what was asked; the target that is missed most"
    return {
        "latency_target_error": Measurement(round(max(errors), 2), "%", len(TARGETS), how, target="≤ 10"),
        **figures,
    }


def main() -> None:
    """Allocate, cut, time, print, and record if asked."""
    parser = argparse.ArgumentParser(description="Cut the teacher to fractions of its latency.")
    parser.add_argument("--record", action="store_true", help=f"write benchmarks/results/{NAME}.json")
    options = parser.parse_args()
    torch.set_num_threads(1)
    teacher, _ = checkpoints.load("teacher_rendered")
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        found, networks = allocations(teacher, folder)
        figures = figures_of(teacher, found, networks, folder)
    extra = {"counts": {f"{target:g}": one.counts for target, one in found.items()}}
    command = "python benchmarks/pruning_budget.py --record"
    report(NAME, command, figures, recorded=options.record, seeds=[SEED], threads=1, extra=extra)


if __name__ == "__main__":
    main()
