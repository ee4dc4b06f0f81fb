"""What distillation buys, measured fairly: one student, one schedule, one budget, and only the loss differs.

An *arm* is a way to train the same student. Every arm gets the same network and first weights (per seed), the same
number of optimiser steps, the same batch size and the same augmentation; the control is the student alone. The
difference of two arms is taken within a seed and averaged over seeds, so that a lucky initialization helps both.

Two sizes of the problem:

* ``full``: all training images. Two regimes: every label known, or a tenth of the *signs* labelled (frames of one sign
  are near copies: a tenth of the images would show nearly every sign). There the distilled student learns from the
  teacher on all images, and the control can only use the labelled ones, for as many steps; it sees a new view in every
  epoch where the distilled student cycles through the views of the teacher's table, which favours the control.
* ``small``: a subset of signs and fewer steps, to compare many losses with several seeds in little time. Its winner
  need not win at full size.

The teacher was trained on all labels of the training part, also of those that the second regime hides from the
student: that regime asks what a teacher can pass on without labels, not what could be reached without them.

Validation chooses the epoch, and the settings of a sweep. The test part is read for the arms in ``TESTED`` only.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import nn

from course_lib.data import SignDataset, Splits
from course_lib.distillation import Distiller, TeacherTable
from course_lib.evaluation import model_accuracy
from course_lib.experiments.distillation_arms import TESTED, Arm
from course_lib.models import SignStudent, sign_student
from course_lib.training import Recipe, fit


@dataclass(frozen=True)
class Study:
    """Size and budget that all arms of a comparison share.

    Args:
        name: part of a kept score's identity.
        signs: how many physical signs of the training part are used; None: all.
        epochs: passes over those images; every arm gets as many steps as this makes.
        views: of the teacher's table.
        width: of the student.
        max_lr: the schedule's peak.
    """

    name: str
    signs: int | None
    epochs: int
    views: int = 4
    width: float = 0.5
    max_lr: float = 6e-3

    def recipe(self, seed: int) -> Recipe:
        """The budget; the seed decides order and views."""
        return Recipe(epochs=self.epochs, max_lr=self.max_lr, views=self.views, seed=seed)

    def train_part(self, train: SignDataset) -> SignDataset:
        """The images of ``signs`` signs, each class about equally often; all if that is None."""
        if self.signs is None:
            return train
        return train.subset(_signs_mask(train, self.signs / len(np.unique(train.groups)), seed=0))


FULL = Study("full", signs=None, epochs=12)
SMALL = Study("small", signs=1000, epochs=16, views=2)


@dataclass(frozen=True)
class Score:
    """One training.

    Args:
        study: its name.
        arm: its name.
        seed: of weights, order and views.
        validation: accuracy of the best epoch, a fraction.
        test: accuracy on the test part, a fraction; None where it was not read.
        steps: of the optimiser.
        seconds: wall-clock time of the training.
    """

    study: str
    arm: str
    seed: int
    validation: float
    test: float | None
    steps: int
    seconds: float


def make_teacher(kind: str, study: Study, splits: Splits, seed: int) -> SignStudent:
    """The teachers that a study trains itself: "itself", "plain" or "smoothed", with the study's own budget."""
    width = study.width if kind == "itself" else 4 * study.width
    recipe = replace(study.recipe(seed), label_smoothing=0.1 if kind == "smoothed" else 0.0)
    torch.manual_seed(seed)
    model = sign_student(width)
    fit(model, study.train_part(splits.train), splits.validation, recipe, progress=False)
    return model


def run_arm(
    arm: Arm,
    study: Study,
    splits: Splits,
    teacher: nn.Module | None,
    table: TeacherTable | None,
    seed: int,
    *,
    progress: bool = False,
) -> tuple[SignStudent, Score]:
    """Train one student; it is left with the weights of its best epoch on validation.

    Args:
        teacher: of the kind ``arm.teacher``. table: its logits (and what ``arm.teacher_taps`` asks for) on
            ``study.train_part(splits.train)``, so that it need not run; not needed where the arm has no terms.
    """
    train, recipe = study.train_part(splits.train), study.recipe(seed)
    torch.manual_seed(seed)
    student = sign_student(study.width)
    mask = _signs_mask(train, arm.labelled, seed) if arm.labelled < 1 else None
    if arm.terms is None:
        used = train.subset(mask) if arm.only_labelled and mask is not None else train
        recipe = replace(_equal_steps(recipe, len(train), len(used)), label_smoothing=arm.smoothing)
        history = fit(student, used, splits.validation, recipe, progress=progress)
    else:
        used, labelled = train, None if mask is None else torch.from_numpy(mask)
        options = {"student_taps": arm.student_taps, "teacher_taps": arm.teacher_taps, "labelled": labelled}
        table = None if table is None else _mistaken(table, arm.targets)
        with Distiller(student, teacher, arm.terms(student), table=table, **options) as distiller:
            history = fit(student, train, splits.validation, recipe, loss=distiller, progress=progress)
    steps = recipe.epochs * -(-len(used) // recipe.batch_size)
    test = model_accuracy(student, splits.test) if arm.name in TESTED and study.signs is None else None
    return student, Score(study.name, arm.name, seed, history.best_accuracy, test, steps, history.seconds)


def gains(scores: list[Score], arm: str, control: str, part: str = "test") -> list[float]:
    """Percentage points arm − control, one a seed that both have, in the order of the seeds."""
    by_seed = {name: {s.seed: getattr(s, part) for s in scores if s.arm == name} for name in (arm, control)}
    common = sorted(by_seed[arm].keys() & by_seed[control].keys())
    return [100 * (by_seed[arm][seed] - by_seed[control][seed]) for seed in common]


def _mistaken(table: TeacherTable, targets: str) -> TeacherTable:
    """The table as it is, or made wrong in the way that ``Arm.targets`` names."""
    if targets == "own":
        return table
    views, count, _ = table.logits.shape
    if targets == "other view":
        if views < 2:
            raise ValueError("another view's targets need a table of at least 2 views")
        return TeacherTable(table.logits.roll(1, dims=0), table.augmentation)
    order = torch.from_numpy(np.random.default_rng(0).permutation(count))
    return TeacherTable(table.logits[:, order], table.augmentation)


def _equal_steps(recipe: Recipe, images: int, used: int) -> Recipe:
    """As many steps on fewer images: more epochs, and a new view in each."""
    if used == images:
        return recipe
    steps = recipe.epochs * -(-images // recipe.batch_size)
    return replace(recipe, epochs=round(steps / -(-used // recipe.batch_size)), views=None)


def _signs_mask(train: SignDataset, share: float, seed: int) -> np.ndarray:
    """Boolean (N,): the images of this share of each class's signs, at least one sign a class."""
    rng, mask = np.random.default_rng(seed), np.zeros(len(train), dtype=bool)
    for label in np.unique(train.labels):
        groups = np.unique(train.groups[train.labels == label])
        chosen = rng.permutation(groups)[: max(1, round(share * len(groups)))]
        mask |= np.isin(train.groups, chosen)
    return mask
