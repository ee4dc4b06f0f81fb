"""What distillation buys: benchmarks/results/distillation_<rendered|gtsrb>.json and distillation_methods.json.

    python benchmarks/distillation.py gain --data rendered --record      all labels, and a tenth of them
    python benchmarks/distillation.py gain --data PATH.npz --record      the same on real photographs
    python benchmarks/distillation.py methods --record                   every loss on the small study

Every arm gets the seeds 100 … 104, fixed before the first of these trainings; no other study used them. Gains on the
test part are paired by seed and image, and their intervals cover trainings and test signs.

Arms, budgets and controls: ``course_lib/experiments/distillation_study.py``. Every finished training is kept in the
course's cache, named by what decided it, so that an interrupted run continues; ``--afresh`` ignores what is kept.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import asdict, fields, replace
from pathlib import Path

import numpy as np
import torch
from torch import nn
from tqdm.auto import tqdm

from course_lib.data import Splits, load
from course_lib.distillation import Outputs, TeacherTable, Term, tapped_table, teacher_table
from course_lib.evaluation import Estimate, seed_interval
from course_lib.experiments.distillation_arms import ALPHA, ARMS, TEMPERATURE, TESTED, VERSION, Arm
from course_lib.experiments.distillation_study import (
    FULL,
    SMALL,
    Score,
    Study,
    gain_over_signs,
    gains,
    make_teacher,
    run_arm,
)
from course_lib.experiments.plans import data_key, shown_data
from course_lib.experiments.reporting import report
from course_lib.measure import Measurement
from course_lib.models import checkpoints
from course_lib.storage.cache import cached
from course_lib.storage.files import read_json, write_json

FIRST_SEED, SEEDS = 100, 5
THREADS = 1
GAIN_ARMS = TESTED
METHOD_ARMS = (*(arm.name for arm in ARMS.values() if arm.group != "tenth"), "torchdistill")
FEATURE_TAPS = ("stages.4", "stages.5", "pool")
SHIPPED = {"shipped": "teacher", "assistant": "student"}


def scores(data: str, study: Study, names: Sequence[str], seeds: Sequence[int], *, afresh: bool = False) -> list[Score]:
    """Train every arm with every seed, or read what an earlier run kept."""
    key, splits, known, found = data_key(data), load(data), every_arm(), []
    shipped = {kind: checkpoints.load_for_split(f"{role}_{key}", splits) for kind, role in SHIPPED.items()}
    identity = {
        "version": VERSION,
        "data": checkpoints.fingerprint(splits),
        "study": asdict(study),
        "teachers": {kind: card["sha256"] for kind, (_, card) in shipped.items()},
        "fields": [field.name for field in fields(Score)],
    }
    ready = {kind: model for kind, (model, _) in shipped.items()}
    teachers = _Teachers(study, splits, ready)
    todo = [(name, seed) for seed in seeds for name in names]  # seed by seed: an early stop leaves whole comparisons
    for name, seed in tqdm(todo, unit="run"):

        def train(folder: Path, arm: Arm = known[name], seed: int = seed) -> None:
            teacher, table = (None, None) if arm.terms is None else teachers(arm.teacher, seed)
            write_json(folder / "score.json", asdict(run_arm(arm, study, splits, teacher, table, seed)[1]))

        decided = {**identity, "arm": name, "seed": seed}
        entry = cached(
            "studies", f"{name}_seed{seed}", decided, ["score.json"], train, needed_bytes=100_000, afresh=afresh
        )
        kept = Score(**read_json(entry / "score.json", mend=f"delete {entry}"))
        accuracy = f"validation {kept.validation:.2%}, {kept.seconds:.0f} s"
        tqdm.write(f"{key} {study.name} {name} seed {seed}: {accuracy}")
        found.append(kept)
    return found


class _Teachers:
    """Each teacher with its table, made when an arm first asks for it: most arms share the shipped one."""

    def __init__(self, study: Study, splits: Splits, ready: dict[str, nn.Module]):
        self.study, self.splits, self.ready = study, splits, ready
        self.made: dict[tuple[str, int], tuple[nn.Module, TeacherTable]] = {}

    def __call__(self, kind: str, seed: int) -> tuple[nn.Module, TeacherTable]:
        at = (kind, -1 if kind in self.ready else seed)
        if at not in self.made:
            model = self.ready.get(kind) or make_teacher(kind, self.study, self.splits, seed)
            self.made[at] = model, _table(model, self.study, self.splits, kind)
        return self.made[at]


def every_arm() -> dict[str, Arm]:
    """The study's arms, and torchdistill's own loss where that package is installed (pip install ".[peers]")."""
    known = dict(ARMS)
    try:
        from torchdistill.losses.mid_level import KDLoss
    except ImportError:
        return known
    # Its alpha weighs the labels, ours the teacher.
    loss = KDLoss("z", "output", "z", "output", temperature=TEMPERATURE, alpha=1 - ALPHA)

    def theirs(outputs: Outputs) -> torch.Tensor:
        student, teacher = outputs.student_logits, outputs.teacher_logits
        return loss({"z": {"output": student}}, {"z": {"output": teacher}}, outputs.labels)

    return known | {
        "torchdistill": Arm("torchdistill", "logits", terms=lambda student: [Term("torchdistill", 1.0, theirs)])
    }


def _table(teacher: nn.Module, study: Study, splits: Splits, kind: str) -> TeacherTable:
    train, recipe = study.train_part(splits.train), study.recipe(0)
    if study is SMALL and kind == "shipped":
        return tapped_table(teacher, train, recipe, FEATURE_TAPS, progress=False)
    return teacher_table(teacher, train, recipe, progress=False)


def gain_figures(
    found: list[Score], study: Study = FULL, images_per_sign: Sequence[int] | None = None
) -> dict[str, Measurement]:
    """Means over seeds: the accuracies with t-intervals, and what distillation adds to the student alone.

    Args: images_per_sign: of the test part; the gains' intervals then cover test signs as well as seeds.
    """
    figures = {}
    for name in GAIN_ARMS:
        values = seed_interval([100 * s.test for s in found if s.arm == name and s.test is not None])
        figures[f"{name}_accuracy"] = _figure(values, "%", f"test accuracy of the student, {name.replace('_', ' ')}")
    budget = f"student of width {study.width:g}, {study.epochs} epochs, equal steps"
    for key, suffix, what, target in (
        ("gain_points_full", "", "all labels", "> 0"),
        ("gain_points_ten_percent", "_tenth", "labels of a tenth of the signs, the other images unlabelled", "≥ 2"),
    ):
        arms = f"soft_targets{suffix}", f"alone{suffix}"
        if images_per_sign is None:
            gain, over = seed_interval(gains(found, *arms)), "seeds"
        else:
            gain, over = gain_over_signs(found, *arms, images_per_sign), "seeds; interval over seeds and test signs"
        meaning = f"test accuracy, distilled − alone; {what}; {budget}"
        figures[key] = _figure(gain, "points", meaning, target, over=over)
    return figures


def method_figures(found: list[Score], study: Study = SMALL) -> dict[str, Measurement]:
    """``<arm>_gain_points``: validation accuracy minus the student's alone, within a seed, mean over seeds."""
    alone = seed_interval([100 * s.validation for s in found if s.arm == "alone"])
    figures = {"alone_accuracy": _figure(alone, "%", "validation accuracy, alone")}
    for name in dict.fromkeys(s.arm for s in found if s.arm != "alone"):
        meaning = f"validation accuracy, {name.replace('_', ' ')} − alone; {study.signs} signs, {study.epochs} epochs"
        gain = seed_interval(gains(found, name, "alone", "validation"))
        figures[f"{name}_gain_points"] = _figure(gain, "points", meaning)
    return figures


def _figure(mean: Estimate, unit: str, meaning: str, target: str | None = None, over: str = "seeds") -> Measurement:
    figure = Measurement.of(mean, unit, f"{meaning}; mean over {over}", target=target)
    if target is None or (figure.met and (target != "> 0" or mean.low > 0)):
        return figure
    why = "the interval includes 0" if mean.low <= 0 else "below the target with this student and budget"
    return replace(figure, note=why)


def main() -> None:
    """Train, print, and record if asked."""
    parser = argparse.ArgumentParser(description="Measure what distillation buys.")
    parser.add_argument("study", choices=("gain", "methods"))
    parser.add_argument("--data", default="rendered", help="rendered, gtsrb, or the path of an .npz")
    parser.add_argument("--seeds", type=int, default=SEEDS, help=f"how many (default: {SEEDS})")
    parser.add_argument("--arms", nargs="*", help="train and keep these arms only, and record nothing")
    parser.add_argument("--afresh", action="store_true", help="train again what an earlier run kept")
    parser.add_argument("--record", action="store_true", help="write benchmarks/results")
    options = parser.parse_args()
    torch.set_num_threads(THREADS)
    study = FULL if options.study == "gain" else SMALL
    everything = GAIN_ARMS if options.study == "gain" else METHOD_ARMS
    seeds = range(FIRST_SEED, FIRST_SEED + options.seeds)
    found = scores(options.data, study, options.arms or everything, seeds, afresh=options.afresh)
    if options.arms:
        return
    extra = {"study": asdict(study), "scores": [asdict(score) for score in found]}
    if options.study == "gain":
        extra["images_per_sign"] = np.unique(load(options.data).test.groups, return_counts=True)[1].tolist()
        figures = gain_figures(found, images_per_sign=extra["images_per_sign"])
    else:
        figures = method_figures(found)
    name = f"distillation_{data_key(options.data)}" if options.study == "gain" else "distillation_methods"
    what = f"{options.study} --data {shown_data(options.data)} --seeds {options.seeds}"
    command = f"python benchmarks/distillation.py {what} --record"
    report(name, command, figures, recorded=options.record, seeds=list(seeds), threads=THREADS, extra=extra)


if __name__ == "__main__":
    main()
