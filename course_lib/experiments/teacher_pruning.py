"""The teacher with a half, a quarter and a tenth of its MACs: what cutting costs, and whether the old weights matter.

One network, the shipped teacher, is cut to three budgets of multiply-accumulates: the same fraction of every group of
channels, to the nearest multiple of 16, those of the least Taylor importance first. Every arm then gets as many epochs:

* ``distilled`` goes on from the weights that the cut left, with the unpruned teacher's logits.
* ``tuned`` does so on the labels alone.
* ``fresh`` and ``fresh_distilled`` train the *same shape from new weights*, as long as the pruned one recovers. They
  ask what the old weights are worth once the shape is known (Liu et al. 2019, arXiv:1810.05270).
* ``fresh_long`` and ``fresh_long_distilled`` get the whole budget: the epochs of the teacher's own training as well.
* ``dense`` removes nothing and goes on like ``tuned``: what the further epochs alone bring.

Half of the validation signs choose the epoch, the other half is the score; the test part is not read. All arms see the
same augmented views, in an order that their seed decides, as it decides new weights. Differences are paired by seed and
image.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import nn

from course_lib.data import Augmentation, SignDataset
from course_lib.distillation import Distiller, TeacherTable, soft_target_terms
from course_lib.evaluation import Estimate, predict_logits, seed_and_sign_interval
from course_lib.experiments.plans import PLANS, STRONG_VIEWS, TEACHER_PLANS
from course_lib.experiments.pruning_study import Parts
from course_lib.models import SignTeacher
from course_lib.pruning import (
    DependencyGraph,
    Importance,
    choose,
    cut,
    dependency_graph,
    predicted_macs,
    rank_channels,
    reestimate_batch_norm_,
    taylor,
)
from course_lib.training import Recipe, fit

BUDGETS = {"half": 0.5, "quarter": 0.25, "tenth": 0.1}
"""What is left of the teacher's MACs, at most."""
ARMS = {
    "distilled": "cut, distilled from the unpruned",
    "tuned": "cut, trained on the labels",
    "fresh_distilled": "new weights, distilled",
    "fresh": "new weights, labels",
    "fresh_long_distilled": "new weights, distilled, all epochs",
    "fresh_long": "new weights, labels, all epochs",
    "dense": "unpruned, trained as long",
}
"""Every arm's name and what tables and figures call it."""
CALIBRATION = 1024
"""Training images, plain, that importances and BatchNorm's statistics are taken from."""
MULTIPLE = 16
"""Groups that lose channels keep a multiple of it: so many floats fill a vector, and kernels pad what does not."""


@dataclass(frozen=True)
class RecoveryPlan:
    """What all arms on one set of signs share.

    Args:
        epochs: of each arm, ≥ 1.
        teacher_epochs: of the teacher's own training, which the ``_long`` arms get as well.
        max_lr: peak for weights that were trained before.
        fresh_lr: peak for new ones.
        views: of each image, for which the teacher's logits are kept.
        temperature: T of the distillation loss, > 0.
        alpha: weight of the teacher in it, in [0, 1].
        label_smoothing: of the arms without a teacher.
        augmentation: of the views.
        average: decay of the moving average of the weights.
        precision: see ``training.Recipe``.
    """

    epochs: int
    teacher_epochs: int
    max_lr: float
    fresh_lr: float
    views: int
    temperature: float
    alpha: float
    label_smoothing: float
    augmentation: Augmentation
    average: float
    precision: str = "bfloat16"

    def recipe(self, arm: str, seed: int) -> Recipe:
        """The arm's training."""
        new = arm.startswith("fresh")
        return Recipe(
            self.epochs + (self.teacher_epochs if "long" in arm else 0),
            self.fresh_lr if new else self.max_lr,
            weight_decay=0.05,
            augmentation=self.augmentation,
            views=self.views,
            label_smoothing=0.0 if "distilled" in arm else self.label_smoothing,
            seed=seed,
            average=self.average,
            precision=self.precision,
        )


def _plan(key: str, epochs: int, max_lr: float, augmentation: Augmentation) -> RecoveryPlan:
    students, teacher = PLANS[key], TEACHER_PLANS[key].recipe
    return RecoveryPlan(
        epochs,
        teacher.epochs,
        max_lr,
        teacher.max_lr,
        students.views,
        students.temperature,
        students.alpha,
        teacher.label_smoothing,
        augmentation,
        average=0.995,
    )


RECOVERY = {
    "rendered": _plan("rendered", 6, 1.5e-3, Augmentation()),
    "gtsrb": _plan("gtsrb", 8, 2e-3, STRONG_VIEWS),
}
"""The plans by data, see ``plans.data_key``."""


def calibration_part(train: SignDataset) -> SignDataset:
    """``CALIBRATION`` training images, evenly spread."""
    places = np.linspace(0, len(train) - 1, min(CALIBRATION, len(train))).astype(int)
    return train.subset(np.unique(places))


def cut_to_budgets(
    teacher: SignTeacher, budgets: Mapping[str, float], calibration: SignDataset
) -> dict[str, SignTeacher]:
    """The teacher with at most each budget of its MACs, BatchNorm re-estimated, not trained.

    Args:
        teacher: it stays as it is.
        budgets: name → what is left, in (0, 1].
        calibration: images and labels for the importances, images for BatchNorm.
    Raises: ValueError: no fraction of the channels meets a budget.
    """
    graph = dependency_graph(teacher, torch.zeros(1, 3, 32, 32))
    importance = importance_of(teacher, graph, calibration)
    ranking = rank_channels(teacher, graph, importance)
    macs = predicted_macs(teacher, graph, ranking)

    def within(budget: float) -> dict[str, tuple[int, ...]]:
        for percent in range(100):
            keep = choose(graph, teacher, importance, percent / 100, scope="layer", multiple=MULTIPLE)
            if macs({name: len(channels) for name, channels in keep.items()}) <= budget * macs(ranking.sizes):
                return keep
        raise ValueError(f"budget {budget} cannot be met in multiples of {MULTIPLE} channels")

    networks = {name: cut(teacher, graph, within(budget)) for name, budget in budgets.items()}
    for small in networks.values():
        reestimate_batch_norm_(small, calibration)
    return networks


def importance_of(model: nn.Module, graph: DependencyGraph, calibration: SignDataset) -> Importance:
    """First-order Taylor scores of all prunable groups, taken at BatchNorm's outputs, mean over batches of 128.

    Args: model, graph: the network, which stays as it is, and its graph.
    """
    groups = [group for group in graph.groups if group.prunable]
    return taylor(groups, model, _batches(calibration), gate="activations")


def _batches(part: SignDataset) -> list[tuple[torch.Tensor, torch.Tensor]]:
    return [part.batch(np.arange(start, min(start + 128, len(part)))) for start in range(0, len(part), 128)]


def run_arm(
    arm: str, plan: RecoveryPlan, parts: Parts, start: SignTeacher, table: TeacherTable | None, seed: int
) -> tuple[SignTeacher, float]:
    """Train one arm; ``start`` itself is trained, and new weights are drawn into it where the arm says so.

    Args:
        arm: one of ``ARMS``.
        start: the cut teacher, or the whole one for "dense".
        table: the unpruned teacher's logits for ``plan.views`` views; None where the arm has no teacher.
    Returns: the network with the weights of its best epoch, and the seconds of training.
    Raises: ValueError: another arm.
    """
    if arm not in ARMS:
        raise ValueError(f"arm must be one of {', '.join(ARMS)}, got {arm!r}")
    torch.manual_seed(seed)
    if arm.startswith("fresh"):
        renew_(start)
    loss = None
    if "distilled" in arm:
        terms = soft_target_terms(temperature=plan.temperature, alpha=plan.alpha)
        loss = Distiller(start, None, terms, table=table)
    history = fit(start, parts.train, parts.choosing, plan.recipe(arm, seed), loss=loss, progress=False)
    return start, history.seconds


def renew_(model: nn.Module) -> None:
    """Draw new weights for every layer, as its class does when it is made.

    Raises: ValueError: a layer with parameters cannot draw them.
    """
    for name, module in model.named_modules():
        own = list(module.parameters(recurse=False))
        reset = getattr(module, "reset_parameters", None)
        if own and reset is None:
            raise ValueError(f"{name} has parameters and no reset_parameters")
        if reset is not None:
            reset()


def right_on(model: nn.Module, part: SignDataset) -> list[int]:
    """1 for each image that is classified rightly, 0 for the others, in the part's order."""
    return (predict_logits(model, part).argmax(1).numpy() == part.labels).astype(int).tolist()


def gain(of: Sequence[Sequence[int]], control: Sequence[Sequence[int]], groups: np.ndarray) -> Estimate:
    """Points of − control with a 95 % interval over seeds and signs.

    Args:
        of: one row of ``right_on`` a seed, (n, N).
        control: as many rows, paired by seed.
        groups: (N,): the sign that each image shows.
    Raises: ValueError: see ``seed_and_sign_interval``.
    """
    return seed_and_sign_interval(np.asarray(of) - np.asarray(control), groups)
