"""How to prune for the least loss: benchmarks/results/pruning_schedules.json.

    python benchmarks/pruning.py schedules --record      one-shot, gradual and rewinding at equal epochs, with controls

Every arm gets the seeds 300 … 302, fixed before the first of these trainings; no other study used them. Arms, budgets
and controls: ``course_lib/experiments/pruning_study.py``. Every finished training is kept in the course's cache, named
by what decided it, so that an interrupted run continues; ``--afresh`` ignores what is kept.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import asdict, fields
from pathlib import Path

import torch
from tqdm.auto import tqdm

from course_lib.data import load
from course_lib.evaluation import Estimate, seed_interval
from course_lib.experiments.pruning_study import (
    ARMS,
    DENSE,
    PRUNING_RATIOS,
    Dense,
    Parts,
    Plan,
    Score,
    accuracies,
    difference,
    run_arm,
    train_dense,
)
from course_lib.experiments.reporting import report
from course_lib.measure import Measurement
from course_lib.models import checkpoints
from course_lib.storage.cache import cached
from course_lib.storage.files import read_json, write_json

VERSION = 1  # of the arms: a change of any of them is a new version, and kept scores no longer count
FIRST_SEED, SEEDS = 300, 3
THREADS = 1


def scores(plan: Plan, seeds: Sequence[int], *, afresh: bool = False) -> list[Score]:
    """Train every arm at every fraction with every seed, or read what an earlier run kept."""
    splits, found = load("rendered"), []
    parts = Parts.of(splits)
    identity = {
        "version": VERSION,
        "data": checkpoints.fingerprint(splits),
        "plan": asdict(plan),
        "fields": [field.name for field in fields(Score)],
    }
    trained = _DenseTrainings(plan, parts)
    pruned = [(arm, ratio) for ratio in PRUNING_RATIOS for arm in ARMS if arm not in DENSE]
    arms = [*((arm, 0.0) for arm in DENSE), *pruned]
    todo = [(arm, ratio, seed) for seed in seeds for arm, ratio in arms]
    for arm, ratio, seed in tqdm(todo, unit="run"):

        def train(folder: Path, arm: str = arm, ratio: float = ratio, seed: int = seed) -> None:
            _, score = run_arm(arm, ratio, plan, parts, trained(seed, folder), seed)
            write_json(folder / "score.json", asdict(score))

        decided = {**identity, "arm": arm, "pruning_ratio": ratio, "seed": seed}
        label = f"{arm}_{100 * ratio:.0f}_seed{seed}"
        entry = cached("pruning", label, decided, ["score.json"], train, needed_bytes=1_000_000, afresh=afresh)
        kept = Score(**read_json(entry / "score.json", mend=f"delete {entry}"))
        tqdm.write(f"{label}: {kept.accuracy:.2%}, {kept.weights_left} weights, {kept.seconds:.0f} s")
        found.append(kept)
    return found


class _DenseTrainings:
    """The dense training of the seed that is asked for; seeds come one after the other, so only the last is kept."""

    def __init__(self, plan: Plan, parts: Parts):
        self.plan, self.parts = plan, parts
        self.seed: int | None = None
        self.last: Dense | None = None

    def __call__(self, seed: int, folder: Path) -> Dense:
        if self.last is None or self.seed != seed:
            self.seed, self.last = seed, train_dense(self.plan, self.parts, seed, folder)
            (folder / "early.pt").unlink()
        return self.last


def schedule_figures(found: list[Score]) -> dict[str, Measurement]:
    """Accuracies of all arms, and their paired differences to the dense control, a figure for each fraction."""
    dense = seed_interval([100 * value for value in accuracies(found, "dense", 0).values()])
    figures = {"dense_accuracy": _figure(dense, "%", "validation accuracy, dense, trained as long")}
    change = difference(found, "dense_rewound", "dense", 0)
    meaning = f"validation accuracy, {ARMS['dense_rewound']} − dense"
    figures["dense_rewound_gain_points"] = _figure(change, "points", meaning)
    for ratio in PRUNING_RATIOS:
        for arm in ARMS:
            if arm not in DENSE:
                change = difference(found, arm, "dense", ratio)
                meaning = f"validation accuracy at {ratio:.0%} zeros, {ARMS[arm]} − dense"
                figures[f"{arm}_{100 * ratio:.0f}_gain_points"] = _figure(change, "points", meaning)
    return figures


def _figure(mean: Estimate, unit: str, meaning: str) -> Measurement:
    return Measurement.of(mean, unit, f"{meaning}; equal epochs; mean over seeds")


def main() -> None:
    """Train, print, and record if asked."""
    parser = argparse.ArgumentParser(description="Measure what schedules and rewinding buy.")
    parser.add_argument("study", choices=("schedules",))
    parser.add_argument("--afresh", action="store_true", help="train again what an earlier run kept")
    parser.add_argument("--record", action="store_true", help="write benchmarks/results")
    options = parser.parse_args()
    torch.set_num_threads(THREADS)
    plan, seeds = Plan(), range(FIRST_SEED, FIRST_SEED + SEEDS)
    found = scores(plan, seeds, afresh=options.afresh)
    figures = schedule_figures(found)
    extra = {"plan": asdict(plan), "scores": [asdict(score) for score in found]}
    command, name = "python benchmarks/pruning.py schedules --record", "pruning_schedules"
    report(name, command, figures, recorded=options.record, seeds=list(seeds), threads=THREADS, extra=extra)


if __name__ == "__main__":
    main()
