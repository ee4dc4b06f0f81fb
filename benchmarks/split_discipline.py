"""By how much a split by image flatters a student on real photographs: benchmarks/results/split_discipline_gtsrb.json.

    python benchmarks/split_discipline.py --data PATH.npz            print the result
    python benchmarks/split_discipline.py --data PATH.npz --record   also write the file

For each seed the data are cut by track; the training part becomes the pool, the validation part the signs that nobody
splits. The pool is split again, by image and by track, and a student of width 1 learns each training part
(``course_lib.experiments.split_discipline``). The seed draws both cuts, the first weights, the order and the views, so
the interval over seeds contains all of them. Chapter 02 shows the figures beside its own, shorter run.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence

import torch
from tqdm.auto import tqdm

from course_lib.data import load
from course_lib.evaluation import seed_interval
from course_lib.experiments.reporting import report
from course_lib.experiments.split_discipline import SPLITS, SplitScore, score_split
from course_lib.measure import Measurement
from course_lib.training import Recipe

NAME = "split_discipline_gtsrb"
SEEDS = (0, 1, 2)
RECIPE = Recipe(epochs=4, max_lr=4e-3)
THREADS = 1


def measure(data: str, seeds: Sequence[int] = SEEDS, recipe: Recipe = RECIPE) -> list[SplitScore]:
    """Both splits for every seed: 2·len(seeds) students."""
    scores = []
    for seed in tqdm(seeds, unit="seed"):
        splits = load(data, seed=seed)
        for kind in SPLITS:
            scores.append(
                score_split(kind, splits.train, splits.validation, recipe, width=1.0, seed=seed, progress=False)
            )
    return scores


def figures(scores: Sequence[SplitScore]) -> dict[str, Measurement]:
    """Means over seeds with their t-intervals: test, unseen, optimism and leak for each kind of split.

    Raises: ValueError: fewer than two seeds.
    """
    found = {}
    for kind in SPLITS:
        own = [score for score in scores if score.split == kind]
        meanings = {
            "test": ("%", [100 * s.test for s in own], f"student's accuracy on the test part of a split {kind}"),
            "unseen": ("%", [100 * s.unseen for s in own], "the same student's accuracy on signs set aside before"),
            "optimism": (
                "points",
                [s.optimism_points for s in own],
                "the first minus the second: what the split made up",
            ),
            "leaked": ("%", [100 * s.leaked for s in own], "test images that show a sign of the training part"),
        }
        for name, (unit, values, meaning) in meanings.items():
            mean = seed_interval(values)
            interval = {"low": round(mean.low, 3), "high": round(mean.high, 3)}
            key = f"{name}_{kind.replace(' ', '_')}"
            found[key] = Measurement(round(mean.value, 3), unit, mean.n, f"{meaning}; mean over seeds", **interval)
    return found


def main() -> None:
    """Measure, print, and record if asked."""
    parser = argparse.ArgumentParser(description="Measure the optimism of a split by image on real photographs.")
    parser.add_argument("--data", required=True, help="path of an .npz with x, y, track, or gtsrb")
    parser.add_argument("--record", action="store_true", help=f"write benchmarks/results/{NAME}.json")
    options = parser.parse_args()
    torch.set_num_threads(THREADS)
    scores = measure(options.data)
    found = figures(scores)
    command = "python benchmarks/split_discipline.py --data PATH.npz --record"
    rows = {"scores": [vars(score) for score in scores]}
    report(NAME, command, found, recorded=options.record, seeds=SEEDS, threads=THREADS, extra=rows)


if __name__ == "__main__":
    main()
