"""Pruning while the data drift from day to night to rain: benchmarks/results/pruning_drift.json.

    python benchmarks/drift.py --record

Every arm gets the seeds 320 … 322, fixed before the first of these trainings; no other study used them. (Rates, sizes
and the darkness of the nights were chosen by a run with seed 99, whose numbers are not in the record.) The stream, the
arms and their budgets: ``course_lib/experiments/drift.py``. Finished runs are kept in the course's cache, named by what
decided them, so that an interrupted study continues; ``--afresh`` ignores what is kept.
"""

from __future__ import annotations

import argparse
import functools
import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import torch
from tqdm.auto import tqdm

from course_lib.data.rendered import renderer
from course_lib.evaluation import Estimate, seed_interval
from course_lib.experiments.drift import NIGHT_GAIN, Plan, Stream, begin, run_arm, stream
from course_lib.experiments.drift_rows import ARMS, CONDITIONS, Row, difference, scores
from course_lib.experiments.reporting import report
from course_lib.measure import Measurement
from course_lib.models import SignStudent, checkpoints
from course_lib.storage.cache import cached
from course_lib.storage.files import read_json, write_json

VERSION = 1  # of the arms and the stream: a change of any of them is a new version, and kept rows no longer count
FIRST_SEED, SEEDS = 320, 3
THREADS = 1
STUDENT = "student_rendered"
PAIRS = {
    "training": ("fixed", "frozen"),
    "rechoosing": ("rechosen", "fixed"),
    "rechoosing_with_replay": ("rechosen_replay", "fixed_replay"),
    "replay": ("fixed_replay", "fixed"),
    "replay_rechosen": ("rechosen_replay", "rechosen"),
    "replay_dense": ("dense_replay", "dense"),
    "sparsity": ("fixed", "dense"),
    "sparsity_with_replay": ("rechosen_replay", "dense_replay"),
}
"""Name of a question → (arm, control)."""


def study(plan: Plan, seeds: Sequence[int], *, afresh: bool = False) -> list[Row]:
    """Let the stream pass every arm with every seed, or read what an earlier run kept."""
    make = functools.cache(lambda: _begun(plan))
    start = functools.lru_cache(maxsize=1)(lambda seed: begin(plan, make()[1], make()[0], seed))
    identity = {
        "version": VERSION,
        "renderer": renderer.VERSION,
        "student": checkpoints.load(STUDENT)[1]["sha256"],
        "night_gain": NIGHT_GAIN,
        "plan": asdict(plan),
    }
    found: list[Row] = []
    for seed, arm in tqdm([(seed, arm) for seed in seeds for arm in ARMS], unit="run"):

        def run(folder: Path, arm: str = arm, seed: int = seed) -> None:
            began = time.monotonic()
            _, rows = run_arm(arm, plan, make()[1], start(seed)[0 if arm.startswith("dense") else 1], seed)
            write_json(folder / "rows.json", {"rows": [asdict(row) for row in rows]})
            last = rows[-1].accuracy
            tqdm.write(f"{arm}, seed {seed}: {last}, {time.monotonic() - began:.0f} s")

        decided = {**identity, "arm": arm, "seed": seed}
        label = f"{arm}_seed{seed}"
        entry = cached("drift", label, decided, ["rows.json"], run, needed_bytes=1_000_000, afresh=afresh)
        kept = read_json(entry / "rows.json", mend=f"delete {entry}")["rows"]
        found += [Row(**row) for row in kept]
    return found


def _begun(plan: Plan) -> tuple[SignStudent, Stream]:
    return checkpoints.load(STUDENT)[0], stream(plan)


def figures(rows: Sequence[Row]) -> dict[str, Measurement]:
    """Every arm's accuracy along the stream and at its end, and the paired differences."""
    found = {}
    for arm, words in ARMS.items():
        along = seed_interval([100 * value for value in scores(rows, arm, CONDITIONS, along=True).values()])
        found[f"{arm}_along"] = _figure(along, "%", f"{words}: each window scored in its own condition, mean of all")
        for condition in CONDITIONS:
            end = seed_interval([100 * value for value in scores(rows, arm, [condition], along=False).values()])
            found[f"{arm}_end_{condition}"] = _figure(end, "%", f"{words}: {condition} after the last window")
    for name, (arm, control) in PAIRS.items():
        pair = f"{ARMS[arm]} − {ARMS[control]}"
        along = difference(rows, arm, control, CONDITIONS, along=True)
        found[f"{name}_gain_along_points"] = _figure(along, "points", f"{pair}: mean along the stream")
        for condition in CONDITIONS:
            end = difference(rows, arm, control, [condition], along=False)
            found[f"{name}_gain_end_{condition}_points"] = _figure(end, "points", f"{pair}: {condition}, at the end")
    return found


def _figure(mean: Estimate, unit: str, meaning: str) -> Measurement:
    return Measurement.of(mean, unit, f"{meaning}; equal steps; mean over seeds")


def main() -> None:
    """Run, print, and record if asked."""
    parser = argparse.ArgumentParser(description="Measure what re-choosing a mask buys while the data drift.")
    parser.add_argument("--afresh", action="store_true", help="run again what an earlier run kept")
    parser.add_argument("--record", action="store_true", help="write benchmarks/results")
    options = parser.parse_args()
    torch.set_num_threads(THREADS)
    plan, seeds = Plan(), range(FIRST_SEED, FIRST_SEED + SEEDS)
    rows = study(plan, seeds, afresh=options.afresh)
    found = figures(rows)
    extra = {"plan": asdict(plan), "rows": [asdict(row) for row in rows]}
    command = "python benchmarks/drift.py --record"
    report("pruning_drift", command, found, recorded=options.record, seeds=list(seeds), threads=THREADS, extra=extra)


if __name__ == "__main__":
    main()
