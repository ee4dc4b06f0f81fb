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

Validation chooses the epoch, and the settings of a sweep. The test part is read for the arms in ``TESTED`` only. The
small study, which reads no test part, cuts the validation part in two by sign: one half chooses the epoch, the other
is the score.
"""

from __future__ import annotations

import base64
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from itertools import islice

import numpy as np
import torch
from torch import nn

from course_lib.data import SignDataset, Splits
from course_lib.distillation import Distiller, TeacherTable, Term, balanced, term_pulls
from course_lib.evaluation import Estimate, model_accuracy, predict_logits, seed_and_sign_interval
from course_lib.experiments.distillation_arms import TESTED, Arm
from course_lib.models import SignStudent, sign_student
from course_lib.training import History, Recipe, epoch_batches, fit

PULL_BATCHES = 4
"""Batches over which a term's pull is averaged."""


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

    def validation_parts(self, validation: SignDataset) -> tuple[SignDataset, SignDataset]:
        """The part that chooses the epoch, and the one that is the score: halves of the signs in a small study."""
        if self.signs is None:
            return validation, validation
        chooses = _signs_mask(validation, 0.5, seed=0)
        return validation.subset(chooses), validation.subset(~chooses)


FULL = Study("full", signs=None, epochs=12)
SMALL = Study("small", signs=1000, epochs=16, views=2)


@dataclass(frozen=True)
class Score:
    """One training.

    Args:
        study: its name.
        arm: its name.
        seed: of weights, order and views.
        validation: accuracy of the best epoch, a fraction; in a small study on the half that did not choose it.
        test: accuracy on the test part, a fraction; None where it was not read.
        steps: of the optimiser.
        seconds: wall-clock time of the training.
        right: which test images were right, sign by sign, as ``packed`` gives them; None where test was not read.
        weights: of each term of the loss.
        pulls: of each weighted term, in units of the labels', before the first step.
        pulls_at_end: the same after the last step.
    """

    study: str
    arm: str
    seed: int
    validation: float
    test: float | None
    steps: int
    seconds: float
    right: str | None = None
    weights: dict[str, float] = field(default_factory=dict)
    pulls: dict[str, float] = field(default_factory=dict)
    pulls_at_end: dict[str, float] = field(default_factory=dict)


def make_teacher(kind: str, study: Study, splits: Splits, seed: int) -> SignStudent:
    """The teachers that a study trains itself: "itself", "plain" or "smoothed", with the study's own budget."""
    width, seed = (study.width, seed + 1000) if kind == "itself" else (4 * study.width, seed)
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
    choosing, scoring = study.validation_parts(splits.validation)
    torch.manual_seed(seed)
    student = sign_student(study.width)
    mask = _signs_mask(train, arm.labelled, seed) if arm.labelled < 1 else None
    used, pulled = train, _Pulled()
    if arm.terms is None:
        used = train.subset(mask) if arm.only_labelled and mask is not None else train
        recipe = replace(_equal_steps(recipe, len(train), len(used)), label_smoothing=arm.smoothing)
        history = fit(student, used, choosing, recipe, progress=progress)
    else:
        table = None if table is None else _mistaken(table, arm.targets)
        parts = train, choosing
        history, pulled = _distilled(student, arm, parts, recipe, teacher, table, mask, progress=progress)
    steps = recipe.epochs * -(-len(used) // recipe.batch_size)
    chosen = history.best_accuracy if scoring is choosing else model_accuracy(student, scoring)
    test, right = None, None
    if arm.name in TESTED and study.signs is None:
        answers = predict_logits(student, splits.test).argmax(1).numpy() == splits.test.labels
        test, right = float(answers.mean()), packed(answers, splits.test.groups)
    told = pulled.weights, pulled.before, pulled.after
    return student, Score(study.name, arm.name, seed, chosen, test, steps, history.seconds, right, *told)


@dataclass(frozen=True)
class _Pulled:
    """Weights and weighted pulls of a loss's terms, by name; empty without a teacher.

    Args:
        weights: of the terms.
        before: pulls before the first step.
        after: pulls after the last one.
    """

    weights: dict[str, float] = field(default_factory=dict)
    before: dict[str, float] = field(default_factory=dict)
    after: dict[str, float] = field(default_factory=dict)


def _distilled(
    student: SignStudent,
    arm: Arm,
    parts: tuple[SignDataset, SignDataset],
    recipe: Recipe,
    teacher: nn.Module | None,
    table: TeacherTable | None,
    mask: np.ndarray | None,
    *,
    progress: bool,
) -> tuple[History, _Pulled]:
    """Train by the arm's terms, balanced where it says so, and measure their pulls before and after."""
    assert arm.terms is not None
    terms, batches = arm.terms(student), list(islice(epoch_batches(parts[0], recipe, 0), PULL_BATCHES))

    def distiller(terms: list[Term]) -> Distiller:
        labelled = None if mask is None else torch.from_numpy(mask)
        taps = {"student_taps": arm.student_taps, "teacher_taps": arm.teacher_taps}
        return Distiller(student, teacher, terms, table=table, labelled=labelled, **taps)

    with distiller(terms) as unweighted:
        before = term_pulls(student, unweighted, batches)
    terms = balanced(terms, before, arm.balance)
    with distiller(terms) as loss:
        history = fit(student, *parts, recipe, loss=loss, progress=progress)
        after = term_pulls(student, loss, batches)
    weights = {term.name: term.weight for term in terms}
    return history, _Pulled(
        weights, *({name: weights[name] * pull[name] for name in weights} for pull in (before, after))
    )


def packed(right: np.ndarray, groups: np.ndarray) -> str:
    """(N,) Booleans as text, sign by sign: eight images a byte, the bytes in base 64.

    >>> text = packed(np.array([True, False, True]), groups=np.array([2, 1, 1]))
    >>> unpacked(text, images_per_sign=[2, 1])  # sign 1: wrong, right; sign 2: right
    (array([0, 1, 1], dtype=uint8), array([0, 0, 1]))
    """
    order = np.argsort(groups, kind="stable")
    return base64.b64encode(np.packbits(np.asarray(right, bool)[order]).tobytes()).decode("ascii")


def unpacked(text: str, images_per_sign: Sequence[int]) -> tuple[np.ndarray, np.ndarray]:
    """What ``packed`` made a text of: (N,) 1 where the image was right, and (N,) the number of its sign, from 0.

    Args: images_per_sign: how many images show each sign, in the order of the signs' numbers.
    """
    groups = np.repeat(np.arange(len(images_per_sign)), images_per_sign)
    return np.unpackbits(np.frombuffer(base64.b64decode(text), np.uint8), count=len(groups)), groups


def gain_over_signs(scores: list[Score], arm: str, control: str, images_per_sign: Sequence[int]) -> Estimate:
    """Test accuracy arm − control in points, paired by seed and image; the interval covers seeds and test signs.

    Raises: ValueError: fewer than two seeds that both arms have, or trainings whose test answers were not kept.
    """
    rows = {name: {s.seed: s.right for s in scores if s.arm == name} for name in (arm, control)}
    common = sorted(rows[arm].keys() & rows[control].keys())
    kept = [(rows[arm][seed], rows[control][seed]) for seed in common]
    pairs = [(one, other) for one, other in kept if one is not None and other is not None]
    if len(pairs) < max(2, len(kept)):
        raise ValueError(f"{arm} and {control} must share two seeds or more with test answers, got {len(pairs)}")
    groups = unpacked(pairs[0][0], images_per_sign)[1]
    differences = [unpacked(a, images_per_sign)[0].astype(int) - unpacked(b, images_per_sign)[0] for a, b in pairs]
    return seed_and_sign_interval(differences, groups)


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
