"""The teacher at half, a quarter and a tenth of its MACs: benchmarks/results/pruning_<data>.json.

    python benchmarks/pruning_teacher.py --record                        rendered signs
    python benchmarks/pruning_teacher.py --data PATH.npz --record        real ones

Arms, budgets and controls: ``course_lib/experiments/teacher_pruning.py``. Every arm gets the seeds 310 … 312, fixed
before the first of these trainings. Every finished training is kept in the course's cache, named by what decided it, so
that an interrupted run continues (``--train-only`` stops after the trainings); ``--afresh`` ignores what is kept.

Time: ONNX Runtime, batch 1, one thread, back to back and in turn, the unpruned network twice (A/A), in five processes
of their own. The trainings want a processor that multiplies bfloat16 matrices.
"""

from __future__ import annotations

import argparse
import copy
import tempfile
from collections.abc import Mapping
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from tqdm.auto import tqdm

from course_lib.data import load
from course_lib.deploy.onnx import export_onnx
from course_lib.distillation import teacher_table
from course_lib.evaluation import seed_interval
from course_lib.experiments.file_times import time_ratios
from course_lib.experiments.plans import data_key
from course_lib.experiments.pruning_study import Parts
from course_lib.experiments.reporting import command_for, report
from course_lib.experiments.teacher_pruning import (
    ARMS,
    BUDGETS,
    RECOVERY,
    calibration_part,
    cut_to_budgets,
    gain,
    right_on,
    run_arm,
)
from course_lib.measure import (
    BACK_TO_BACK,
    IN_TURN,
    Measurement,
    count_parameters,
    total_macs,
)
from course_lib.models import SignTeacher, checkpoints
from course_lib.storage.cache import cached
from course_lib.storage.files import read_json, write_json

VERSION = 1  # of the arms: a change of any of them is a new version, and kept scores no longer count
FIRST_SEED, SEEDS, SESSIONS, THREADS = 310, 3, 5, 1
RUNS = {
    "rendered": {
        **{arm: tuple(BUDGETS) for arm in ("distilled", "tuned")},
        **{arm: ("quarter",) for arm in ("fresh_distilled", "fresh", "fresh_long_distilled", "fresh_long")},
        "dense": ("whole",),
    },
    # The teacher of real signs took 30 epochs: its whole budget again, three times, is left out.
    "gtsrb": {
        "distilled": tuple(BUDGETS),
        "tuned": ("quarter",),
        "fresh_distilled": ("quarter",),
        "fresh": ("quarter",),
    },
}
"""Data → arm → the budgets that it is trained at."""
PAIRS = (
    ("distilled", "tuned"),
    ("distilled", "fresh_distilled"),
    ("tuned", "fresh"),
    ("distilled", "fresh_long_distilled"),
    ("tuned", "fresh_long"),
    ("fresh_long_distilled", "fresh_long"),
)
_figure = partial(Measurement.of, digits=4)
TARGETS = {
    "drop_points_at_half_macs": "≤ 0.2",
    "latency_ratio_at_half_macs": "≤ 0.55",
    "drop_points_at_quarter_macs": "≤ 0.5",
    "latency_ratio_at_quarter_macs": "≤ 0.35",
}
PACES = {BACK_TO_BACK: 40, IN_TURN: 200}
Rights = dict[tuple[str, str, int], list[int]]
"""(arm, budget, seed) → which images of the scoring part are right."""


def trainings(
    key: str, parts: Parts, networks: Mapping[str, SignTeacher], identity: Mapping[str, Any], *, afresh: bool
) -> tuple[Rights, list[dict[str, Any]]]:
    """Train every arm with every seed, or read what an earlier run kept."""
    plan, rights, told = RECOVERY[key], {}, []
    table = teacher_table(networks["whole"], parts.train, plan.recipe("distilled", 0), precision=plan.precision)
    todo = [(s, arm, budget) for s in range(SEEDS) for arm, budgets in RUNS[key].items() for budget in budgets]
    for offset, arm, budget in tqdm(todo, unit="run"):
        seed = FIRST_SEED + offset

        def train(folder: Path, arm: str = arm, budget: str = budget, seed: int = seed) -> None:
            model, seconds = run_arm(arm, plan, parts, copy.deepcopy(networks[budget]), table, seed)
            score = {"right": right_on(model, parts.scoring), "seconds": seconds}
            write_json(folder / "score.json", score)

        decided = {**identity, "arm": arm, "budget": budget, "seed": seed}
        label = f"{key}_{arm}_{budget}_seed{seed}"
        entry = cached("pruned", label, decided, ["score.json"], train, needed_bytes=1_000_000, afresh=afresh)
        kept = read_json(entry / "score.json", mend=f"delete {entry}")
        rights[arm, budget, seed] = kept["right"]
        accuracy = float(np.mean(kept["right"]))
        tqdm.write(f"{label}: {accuracy:.2%}, {kept['seconds']:.0f} s")
        told.append({"arm": arm, "budget": budget, "seed": seed, "accuracy": accuracy, "seconds": kept["seconds"]})
    return rights, told


def accuracy_figures(rights: Rights, whole: list[int], groups: np.ndarray) -> dict[str, Measurement]:
    """Drops against the unpruned network, every arm's accuracy, and the differences of ``PAIRS``."""
    seeds = range(FIRST_SEED, FIRST_SEED + SEEDS)
    rows = {(arm, budget): [rights[arm, budget, seed] for seed in seeds] for arm, budget, _ in rights}
    words = "validation signs that did not choose the epoch; intervals over seeds and signs"
    figures = {
        "unpruned_accuracy": Measurement(
            round(100 * float(np.mean(whole)), 4), "%", len(whole), f"the teacher; {words}"
        )
    }
    for (arm, budget), found in rows.items():
        at = "" if budget == "whole" else f"_at_{budget}_macs"
        mean = seed_interval([100 * np.mean(right) for right in found])
        figures[f"{arm}_accuracy{at}"] = Measurement.of(
            mean, "%", f"{ARMS[arm]}; mean over seeds; t-interval over seeds", digits=4
        )
        drop = gain([whole] * SEEDS, found, groups)
        name = f"drop_points{at}" if arm == "distilled" else f"{arm}_drop_points{at}"
        figures[name] = Measurement.of(
            drop, "points", f"unpruned − {ARMS[arm]}; {words}", digits=4, target=TARGETS.get(name)
        )
    for one, other in PAIRS:
        for budget in BUDGETS:
            if (one, budget) in rows and (other, budget) in rows:
                change = gain(rows[one, budget], rows[other, budget], groups)
                name = f"{one}_minus_{other}_points_at_{budget}_macs"
                figures[name] = _figure(change, "points", f"{ARMS[one]} − {ARMS[other]}; {words}")
    return figures


def time_figures(networks: Mapping[str, SignTeacher], image: np.ndarray) -> dict[str, Measurement]:
    """MACs, parameters and latencies of the cut networks as fractions of the unpruned one's."""
    figures, whole = {}, networks["whole"]
    with tempfile.TemporaryDirectory() as folder:
        paths = {name: export_onnx(model, Path(folder) / f"{name}.onnx") for name, model in networks.items()}
        paths["again"] = export_onnx(whole, Path(folder) / "again.onnx")
        ratios = time_ratios(paths, "whole", image, PACES, SESSIONS)
    for (name, cadence), ratio in ratios.items():
        pace = {"back to back": "", "in turn": "_in_turn"}[cadence]
        label = f"aa{pace}" if name == "again" else f"latency_ratio{pace}_at_{name}_macs"
        words = (
            f"one call of the cut network / of the unpruned, ONNX Runtime, one thread, {cadence}; {SESSIONS} sessions"
        )
        figures[label] = _figure(ratio, "×", words, target=TARGETS.get(label))
    for name in BUDGETS:
        macs = total_macs(networks[name], (1, 3, 32, 32)) / total_macs(whole, (1, 3, 32, 32))
        weights = count_parameters(networks[name]) / count_parameters(whole)
        figures[f"macs_ratio_at_{name}_macs"] = Measurement(round(macs, 4), "×", 1, "MACs, cut / unpruned")
        figures[f"parameter_ratio_at_{name}_macs"] = Measurement(
            round(weights, 4), "×", 1, "parameters, cut / unpruned"
        )
    return figures


def widths(model: SignTeacher) -> dict[str, int]:
    """Output channels of every convolution."""
    return {name: layer.out_channels for name, layer in model.named_modules() if isinstance(layer, torch.nn.Conv2d)}


def main() -> None:
    """Cut, train, time, print, and record if asked."""
    parser = argparse.ArgumentParser(description="Prune the teacher to budgets of MACs.")
    parser.add_argument("--data", default="rendered", help='"rendered" or the path of an .npz')
    parser.add_argument("--afresh", action="store_true", help="train again what an earlier run kept")
    parser.add_argument("--train-only", action="store_true", help="stop after the trainings")
    parser.add_argument("--record", action="store_true", help="write benchmarks/results")
    options = parser.parse_args()
    torch.set_num_threads(THREADS)
    key = data_key(options.data)
    splits = load(options.data)
    teacher, card = checkpoints.load_for_split(f"teacher_{key}", splits)
    parts = Parts.of(splits, train=splits.train)
    networks = {"whole": teacher, **cut_to_budgets(teacher, BUDGETS, calibration_part(parts.train))}
    shapes = {name: widths(model) for name, model in networks.items()}
    identity = {
        "version": VERSION,
        "data": checkpoints.fingerprint(splits),
        "plan": asdict(RECOVERY[key]),
        "teacher": card["sha256"],
        "shapes": shapes,
    }
    rights, told = trainings(key, parts, networks, identity, afresh=options.afresh)
    if options.train_only:
        return
    figures = accuracy_figures(rights, right_on(teacher, parts.scoring), parts.scoring.groups)
    figures |= time_figures(networks, parts.scoring.batch(np.arange(1))[0].numpy())
    command, seeds = command_for("pruning_teacher", key), list(range(FIRST_SEED, FIRST_SEED + SEEDS))
    extra = {"plan": asdict(RECOVERY[key]), "widths": shapes, "scores": told}
    report(f"pruning_{key}", command, figures, recorded=options.record, seeds=seeds, threads=THREADS, extra=extra)


if __name__ == "__main__":
    main()
