"""How to prune for the least loss, measured fairly: one student, equal epochs, and only the way of pruning differs.

For each seed one dense student is trained (``Plan.epochs``, of which the weights after ``Plan.early`` are kept). Every
arm then gets the *same number of further epochs*, ``Plan.retraining``:

* ``dense`` removes nothing and trains on as ``one_shot`` does: what the further epochs alone bring.
* ``dense_rewound`` removes nothing and repeats the rates as ``rate_rewinding`` does: what the rates alone bring.
* ``one_shot`` removes everything at once, then fine-tunes at a low learning rate.
* ``iterative`` removes the same share of what is left in four rounds; ``cubic`` removes along Zhu & Gupta's curve in
  twelve. Both reach the target after three fifths of the epochs, and train at the rates of ``one_shot``.
* ``rate_rewinding`` removes at once and repeats the learning rates of the dense training from epoch ``early`` on;
  ``weight_rewinding`` also takes the surviving weights back to what they were then.
* ``random`` is ``one_shot`` with random weights removed: the control for magnitude.
* ``small_dense`` is a dense network with at most as many weights as the pruned ones keep, trained from new weights
  for all epochs, ``epochs`` + ``retraining``, in one cycle: the control for pruning itself.

Masks are global and by magnitude. Half of the validation signs choose the epoch, among those at the target; the other
half is the score. The test part is not read. Differences are taken within a seed; three seeds make wide intervals.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor

from course_lib.data import SignDataset, Splits
from course_lib.evaluation import Estimate, model_accuracy, paired_seed_interval
from course_lib.experiments.distillation_study import SMALL
from course_lib.models import SignStudent, sign_student
from course_lib.pruning import (
    EarlyWeights,
    GradualPruning,
    Masks,
    MasksHeld,
    Schedule,
    cubic,
    iterative,
    one_shot,
    prunable,
    rewind_,
    sparsity,
)
from course_lib.training import Recipe, fit

ARMS = {
    "dense": "dense, trained as long",
    "dense_rewound": "dense, rates rewound",
    "one_shot": "one-shot",
    "iterative": "iterative, 4 rounds",
    "cubic": "cubic",
    "rate_rewinding": "one-shot, rates rewound",
    "weight_rewinding": "one-shot, weights and rates rewound",
    "small_dense": "smaller dense network",
    "random": "random weights, one-shot",
}
"""Every arm's name and what tables and figures call it."""
DENSE = ("dense", "dense_rewound")
"""The arms that remove nothing: one score stands for every fraction."""
PRUNING_RATIOS = (0.8, 0.9, 0.95)
"""The fractions removed."""
WHOLE_SHAPE = sign_student(SMALL.width).channels
"""Channels of the student that is pruned."""


@dataclass(frozen=True)
class Plan:
    """The budget that all arms share.

    Args:
        epochs: of the dense training.
        early: the epochs after which its weights are kept, in 1..epochs − 1.
        batch_size: images a step.
        max_lr: peak of its one-cycle schedule.
        tuning_lr: where the cosine of fine-tuning begins.
    """

    epochs: int = 14
    early: int = 3
    batch_size: int = 64
    max_lr: float = 6e-3
    tuning_lr: float = 6e-4

    @property
    def retraining(self) -> int:
        """Epochs that every arm gets after the dense training: as many as rewinding repeats."""
        return self.epochs - self.early

    def dense_recipe(self, seed: int) -> Recipe:
        """The dense training."""
        return Recipe(epochs=self.epochs, batch_size=self.batch_size, max_lr=self.max_lr, seed=seed)

    def tuning_recipe(self, seed: int) -> Recipe:
        """Fine-tuning: low rates that fall to 0 along a cosine."""
        changed = {"epochs": self.retraining, "max_lr": self.tuning_lr, "schedule": "cosine"}
        return replace(self.dense_recipe(seed), **changed)


@dataclass(frozen=True)
class Parts:
    """The images of the study.

    Args:
        train: to train on.
        choosing: which epoch is kept.
        scoring: the score.
    """

    train: SignDataset
    choosing: SignDataset
    scoring: SignDataset

    @classmethod
    def of(cls, splits: Splits, train: SignDataset | None = None) -> Parts:
        """Halves of the validation signs, and ``train``; by default the small study's 1,000 signs."""
        train = SMALL.train_part(splits.train) if train is None else train
        return cls(train, *SMALL.validation_parts(splits.validation))


@dataclass(frozen=True)
class Score:
    """One training.

    Args:
        arm: one of ``ARMS``.
        pruning_ratio: the fraction removed, in [0, 1); 0 for those of ``DENSE``.
        seed: of weights, order, views and random masks.
        accuracy: on the half of validation that did not choose the epoch, a fraction.
        weights_left: weights in kernels and matrices that are not 0.
        epochs: of training in all.
        seconds: wall-clock time of the arm's own training.
    """

    arm: str
    pruning_ratio: float
    seed: int
    accuracy: float
    weights_left: int
    epochs: int
    seconds: float


@dataclass(frozen=True)
class Dense:
    """A dense training: where every arm but "small_dense" begins.

    Args:
        trained: the weights of its best epoch.
        early: those after ``Plan.early`` epochs.
    """

    trained: dict[str, Tensor]
    early: dict[str, Tensor]


def train_dense(plan: Plan, parts: Parts, seed: int, folder: Path) -> Dense:
    """Train the dense student.

    Args: folder: for the early weights.
    """
    torch.manual_seed(seed)
    student = sign_student(SMALL.width)
    early = EarlyWeights(student, plan.early, folder / "early.pt")
    fit(student, parts.train, parts.choosing, plan.dense_recipe(seed), progress=False, on_epoch=early)
    return Dense(student.state_dict(), early.state())


def run_arm(
    arm: str, pruning_ratio: float, plan: Plan, parts: Parts, dense: Dense, seed: int
) -> tuple[SignStudent, Score]:
    """Prune and retrain one student, or train a control.

    Args:
        arm: one of ``ARMS``. pruning_ratio: in [0, 1); not looked at for those of ``DENSE``.
        dense: of the same plan and seed.
    Returns: the student, with the weights of its best epoch, and its score.
    Raises: ValueError: another arm.
    """
    if arm not in ARMS:
        raise ValueError(f"arm must be one of {', '.join(ARMS)}, got {arm!r}")
    torch.manual_seed(seed)
    student = sign_student(channels=small_channels(pruning_ratio) if arm == "small_dense" else WHOLE_SHAPE)
    recipe, constraint, first_epoch = plan.tuning_recipe(seed), None, 0
    if arm == "small_dense":
        recipe = replace(plan.dense_recipe(seed), epochs=plan.epochs + plan.retraining)
    else:
        student.load_state_dict(dense.trained)
    if arm in ("one_shot", "iterative", "cubic"):
        steps = -(-len(parts.train) // plan.batch_size)
        curve = schedule(arm, pruning_ratio, 3 * plan.retraining * steps // 5)
        constraint = GradualPruning(curve, per="step", scope="global")
    elif arm in ("random", "rate_rewinding", "weight_rewinding"):
        scores = _random(student, seed) if arm == "random" else None
        Masks.from_fraction(student, pruning_ratio, scope="global", scores=scores).apply_(student)
        constraint = MasksHeld()
    if arm in ("dense_rewound", "rate_rewinding", "weight_rewinding"):
        recipe, first_epoch = plan.dense_recipe(seed), plan.early
    if arm == "weight_rewinding":
        rewind_(student, dense.early)
    history = fit(
        student, parts.train, parts.choosing, recipe, constraint=constraint, first_epoch=first_epoch, progress=False
    )
    every = sparsity(student)[-1]
    removed = 0.0 if arm in DENSE else pruning_ratio
    accuracy, epochs = model_accuracy(student, parts.scoring), plan.epochs + plan.retraining
    return student, Score(arm, removed, seed, accuracy, every.size - every.zeros, epochs, history.seconds)


def schedule(arm: str, pruning_ratio: float, last: int) -> Schedule:
    """When "one_shot", "iterative" and "cubic" remove how much, in steps of the retraining.

    Args: last: the step at which the gradual ones reach the target, at least 12.

    >>> schedule("iterative", 0.9375, last=300)
    Schedule(initial=0.0, steps=(0, 100, 200, 300), levels=(0.5, 0.75, 0.875, 0.9375))
    >>> schedule("cubic", 0.9, last=300).steps[-3:]
    (250, 275, 300)
    """
    if arm == "one_shot":
        return one_shot(pruning_ratio, at=0)
    if arm == "iterative":
        return iterative(pruning_ratio, rounds=4, first=0, every=last // 3, of="remaining")
    return cubic(pruning_ratio, rounds=12, first=0, every=last // 12)


def small_channels(pruning_ratio: float) -> tuple[int, ...]:
    """The largest uniformly narrowed student with at most as many weights as pruning leaves.

    Args: pruning_ratio: the fraction removed, in [0, 1).
    Raises: ValueError: fewer weights are left than one channel a layer has.

    >>> small_channels(0.9)
    (2, 4, 7, 9, 14)
    """
    whole = _weights(WHOLE_SHAPE)
    for percent in range(100, 0, -1):
        channels = tuple(max(1, percent * c // 100) for c in WHOLE_SHAPE)
        if _weights(channels) <= whole - round(pruning_ratio * whole):
            return channels
    raise ValueError(f"pruning_ratio must leave a weight for each layer, got {pruning_ratio}")


def difference(
    scores: Sequence[Score], arm: str, control: str, pruning_ratio: float, *, level: float = 0.95
) -> Estimate:
    """Points arm − control at one fraction, paired by seed, with a t-interval over the seeds.

    Args: level: of the interval, in (0, 1); among k comparisons 1 − 0.05/k.
    Raises: ValueError: fewer than two seeds that both have.
    """
    found = {name: accuracies(scores, name, pruning_ratio) for name in (arm, control)}
    return paired_seed_interval(found[arm], found[control], level)


def accuracies(scores: Sequence[Score], arm: str, pruning_ratio: float) -> dict[int, float]:
    """Accuracy by seed of one arm; those of ``DENSE`` have one for every fraction."""
    at = 0.0 if arm in DENSE else pruning_ratio
    return {s.seed: s.accuracy for s in scores if s.arm == arm and s.pruning_ratio == at}


def _weights(channels: Sequence[int]) -> int:
    return sum(p.numel() for p in prunable(sign_student(channels=channels)).values())


def _random(student: SignStudent, seed: int) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return {name: torch.rand(p.shape, generator=generator) for name, p in prunable(student).items()}
