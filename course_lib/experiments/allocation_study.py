"""Is a search for the widths worth its trials? Uniform, greedy and searched at equal MACs, before and after training.

The shipped student is cut to half of its MACs by three allocations. Which channels of a layer stay is the same for all
(L2 norms); how many is what differs: the same fraction everywhere (the control), greedy by sensitivity curves, or the
best of ``Plan.trials`` of ``search_allocation``, of which the uniform rule is the first.

Half of the validation signs *choose*: curves, trials and the epoch of each training. The other half is the score. The
test part is not read. Every score is taken after BatchNorm's statistics were measured anew. Then each network gets the
same short training. A seed decides the trials and the order of training; differences are taken within a seed.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import nn

from course_lib.data import SignDataset, Splits
from course_lib.evaluation import model_accuracy
from course_lib.models import SignStudent
from course_lib.pruning import (
    cut,
    dependency_graph,
    greedy_allocation,
    norms,
    predicted_macs,
    rank_channels,
    reestimate_batch_norm_,
    search_allocation,
    sensitivity,
    uniform_allocation,
)
from course_lib.training import Recipe, fit

RULES = ("uniform", "greedy", "search")
"""The allocations that are compared; the first is the control."""


@dataclass(frozen=True)
class Plan:
    """What all rules share.

    Args:
        budget: the fraction of the student's MACs that is left.
        ratios: removed from each layer in turn, for the curves.
        trials: of the search.
        choosing_images: of the choosing half of the validation signs, about.
        scoring_images: of the other half, about.
        train_images: of the training part, about.
        statistics_images: for BatchNorm's statistics, about.
        epochs: of the training after the cut.
        max_lr: where its cosine begins.
    """

    budget: float = 0.5
    ratios: tuple[float, ...] = (0.125, 0.25, 0.375, 0.5, 0.75)
    trials: int = 60
    choosing_images: int = 500
    scoring_images: int = 1800
    train_images: int = 2400
    statistics_images: int = 300
    epochs: int = 2
    max_lr: float = 2e-3


@dataclass(frozen=True)
class Score:
    """One rule and one seed.

    Args:
        rule: one of ``RULES``.
        seed: of the search and of the order of training.
        widths: of the layers.
        macs: fraction of the student's.
        chosen: accuracy on the choosing half, before training.
        at_once: accuracy on the other half, before training.
        trained: accuracy on the other half, after training.
    """

    rule: str
    seed: int
    widths: tuple[int, ...]
    macs: float
    chosen: float
    at_once: float
    trained: float


@dataclass(frozen=True)
class Parts:
    """The images.

    Args:
        train: to train on.
        statistics: for BatchNorm.
        choosing: curves, trials, epochs.
        scoring: the score.
    """

    train: SignDataset
    statistics: SignDataset
    choosing: SignDataset
    scoring: SignDataset

    @classmethod
    def of(cls, splits: Splits, plan: Plan) -> Parts:
        """Every other sign of validation chooses; of each set about as many images as planned, evenly spread."""
        first = np.isin(splits.validation.groups, np.unique(splits.validation.groups)[::2])
        return cls(
            _spread(splits.train, plan.train_images),
            _spread(splits.train, plan.statistics_images),
            _spread(splits.validation.subset(first), plan.choosing_images),
            _spread(splits.validation.subset(~first), plan.scoring_images),
        )


def compare(student: SignStudent, parts: Parts, plan: Plan, seed: int) -> list[Score]:
    """The score of every rule.

    Raises: CourseError: Optuna is not installed.
    """
    graph = dependency_graph(student, torch.zeros(1, *parts.train.images.shape[1:]))
    ranking = rank_channels(student, graph, norms(2))
    macs = predicted_macs(student, graph, ranking)

    def score(model: nn.Module) -> float:
        reestimate_batch_norm_(model, parts.statistics)
        return model_accuracy(model, parts.choosing)

    curves = sensitivity(student, graph, ranking, plan.ratios, score).losses()
    found = search_allocation(student, graph, ranking, macs, plan.budget, [score], trials=plan.trials, seed=seed)
    allocations = {
        "uniform": uniform_allocation(ranking, macs, plan.budget),
        "greedy": greedy_allocation(ranking, macs, curves, plan.budget),
        "search": found.best.counts,
    }
    scores = []
    for rule, counts in allocations.items():
        small = cut(student, graph, ranking.keep(counts))
        chosen, at_once = score(small), model_accuracy(small, parts.scoring)
        recipe = Recipe(plan.epochs, plan.max_lr, batch_size=64, schedule="cosine", seed=seed)
        fit(small, parts.train, parts.choosing, recipe, progress=False)
        trained = model_accuracy(small, parts.scoring)
        share = macs(counts) / macs({})
        scores.append(Score(rule, seed, tuple(counts.values()), share, chosen, at_once, trained))
    return scores


def _spread(dataset: SignDataset, count: int) -> SignDataset:
    return dataset.subset(np.arange(0, len(dataset), max(1, len(dataset) // count)))
