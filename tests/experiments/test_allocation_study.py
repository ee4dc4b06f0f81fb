"""Every rule meets the same budget, and what chooses is not what is scored."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from course_lib.data import SignDataset, Splits
from course_lib.experiments import allocation_study as study
from course_lib.experiments.allocation_study import RULES, Parts, Plan
from course_lib.models import sign_student
from course_lib.pruning import SearchResult, SearchTrial, first_within, proportional_path

PLAN = Plan(ratios=(0.25, 0.5), trials=2, choosing_images=8, scoring_images=12, train_images=16, epochs=1)


def part(count: int, seed: int) -> SignDataset:
    rng = np.random.default_rng(seed)
    images = rng.integers(0, 256, (count, 3, 16, 16), dtype=np.uint8)
    return SignDataset(images, np.arange(count) % 43, groups=1000 * seed + np.arange(count) // 2)


SPLITS = Splits(part(40, 1), part(48, 2), part(4, 3))


@pytest.fixture
def searched(monkeypatch):
    """What the search was asked; it answers with an allocation that spares the last layer."""
    asked = []

    def search(model, graph, ranking, cost, budget, parts, *, trials, seed):
        asked.append((budget, trials, seed, parts[0](study.cut(model, graph, {}))))
        appetites = {name: 0.1 + (name != list(ranking.orders)[-1]) for name in ranking.orders}
        counts = first_within(proportional_path(ranking, appetites), cost, budget)
        return SearchResult((SearchTrial(0, counts, cost(counts), (0.5,), given_up=False),))

    monkeypatch.setattr(study, "search_allocation", search)
    return asked


def test_all_rules_meet_the_budget_and_are_scored_before_and_after_training(searched):
    torch.manual_seed(0)
    student = sign_student(channels=(8, 12, 16), strides=(2, 2, 1)).eval()
    before = {name: value.clone() for name, value in student.state_dict().items()}
    scores = study.compare(student, Parts.of(SPLITS, PLAN), PLAN, seed=7)
    assert tuple(score.rule for score in scores) == RULES
    assert [(budget, trials, seed) for budget, trials, seed, _ in searched] == [(0.5, 2, 7)]
    assert all(score.macs <= 0.5 and score.seed == 7 for score in scores)
    assert scores[0].widths != scores[2].widths
    assert all(0 <= value <= 1 for score in scores for value in (score.chosen, score.at_once, score.trained))
    assert all(torch.equal(value, before[name]) for name, value in student.state_dict().items())


def test_no_sign_both_chooses_and_is_scored():
    parts = Parts.of(SPLITS, PLAN)
    assert not set(parts.choosing.groups) & set(parts.scoring.groups)
    assert set(parts.choosing.groups) | set(parts.scoring.groups) <= set(SPLITS.validation.groups)
    assert len(parts.choosing) == 8
    assert len(parts.scoring) == 12
