"""Uniform, greedy and searched widths at equal MACs: benchmarks/results/pruning_allocation.json.

    python benchmarks/allocation.py --record        needs the extra "search": pip install -e ".[search]"

The seeds 330 … 332 were fixed beforehand; no other study used them. See ``course_lib/experiments/allocation_study.py``.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import asdict

import torch
from tqdm.auto import tqdm

from course_lib.data import load
from course_lib.evaluation import paired_seed_interval, seed_interval
from course_lib.experiments.allocation_study import RULES, Parts, Plan, Score, compare
from course_lib.experiments.reporting import report
from course_lib.measure import Measurement
from course_lib.models import checkpoints

SEEDS = (330, 331, 332)
THREADS = 1
MOMENTS = {
    "chosen": "on the signs that chose, before training",
    "at_once": "on the other signs, before training",
    "trained": "on the other signs, after equal training",
}


def figures(scores: Sequence[Score]) -> dict[str, Measurement]:
    """Every rule's accuracies, and the paired differences to the uniform rule after training."""
    found = {}
    for rule in RULES:
        for moment, words in MOMENTS.items():
            values = [100 * getattr(score, moment) for score in scores if score.rule == rule]
            found[f"{rule}_{moment}"] = Measurement.of(seed_interval(values), "%", f"{rule}: accuracy {words}")
    for rule in RULES[1:]:
        for moment, name in (("trained", f"{rule}_gain_points"), ("at_once", f"{rule}_gain_at_once_points")):
            pair = [{s.seed: getattr(s, moment) for s in scores if s.rule == r} for r in (rule, RULES[0])]
            gain = paired_seed_interval(*pair)
            found[name] = Measurement.of(gain, "points", f"{rule} − {RULES[0]} {MOMENTS[moment]}")
    return found


def main() -> None:
    """Compare, print, and record if asked."""
    parser = argparse.ArgumentParser(description="Measure whether a search for widths is worth its trials.")
    parser.add_argument("--record", action="store_true", help="write benchmarks/results")
    options = parser.parse_args()
    torch.set_num_threads(THREADS)
    plan = Plan()
    student, parts = checkpoints.load("student_rendered")[0], Parts.of(load("rendered"), plan)
    scores: list[Score] = []
    for seed in tqdm(SEEDS, unit="seed"):
        scores += compare(student, parts, plan, seed)
        for score in scores[-len(RULES) :]:
            tqdm.write(str(score))
    found = figures(scores)
    extra = {"plan": asdict(plan), "scores": [asdict(score) for score in scores]}
    command = "python benchmarks/allocation.py --record"
    report("pruning_allocation", command, found, recorded=options.record, seeds=SEEDS, threads=THREADS, extra=extra)


if __name__ == "__main__":
    main()
