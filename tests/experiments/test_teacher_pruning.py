"""The teacher is cut to its budget, and arms differ in their start, their loss and their epochs alone."""

from __future__ import annotations

import copy
from typing import cast

import numpy as np
import pytest
import torch
from torch import nn

from course_lib.data import SignDataset, Splits
from course_lib.distillation import Distiller, TeacherTable
from course_lib.experiments import teacher_pruning as study
from course_lib.experiments.pruning_study import Parts
from course_lib.experiments.teacher_pruning import ARMS, BUDGETS, RECOVERY, calibration_part, cut_to_budgets, run_arm
from course_lib.measure import total_macs
from course_lib.models import SignTeacher
from course_lib.training import History


def part(count: int, seed: int) -> SignDataset:
    rng = np.random.default_rng(seed)
    images = rng.integers(0, 256, (count, 3, 32, 32), dtype=np.uint8)
    return SignDataset(images, np.arange(count) % 3, groups=1000 * seed + np.arange(count), num_classes=43)


PLAN = RECOVERY["rendered"]
PARTS = Parts(part(24, 1), part(6, 2), part(6, 3))


@pytest.fixture(scope="module")
def teacher() -> SignTeacher:
    torch.manual_seed(0)
    return SignTeacher().eval()


@pytest.mark.parametrize("budget", BUDGETS.values())
def test_the_cut_teacher_meets_its_budget_in_multiples_of_sixteen(teacher, budget):
    before = {name: value.clone() for name, value in teacher.state_dict().items()}
    (small,) = cut_to_budgets(teacher, {"": budget}, PARTS.train).values()
    ratio = total_macs(small, (1, 3, 32, 32)) / total_macs(teacher, (1, 3, 32, 32))
    assert 0.3 * budget < ratio <= budget
    assert all(m.out_channels % 16 == 0 for m in small.modules() if isinstance(m, nn.Conv2d))
    assert all(torch.equal(value, before[name]) for name, value in teacher.state_dict().items())


def test_batch_norm_of_the_cut_teacher_holds_the_statistics_of_the_calibration_images(teacher):
    (small,) = cut_to_budgets(teacher, {"": 0.5}, PARTS.train).values()
    images = PARTS.train.batch(np.arange(24))[0]
    with torch.no_grad():
        inside = small.stem[0](images)
    torch.testing.assert_close(small.stem[1].running_mean, inside.mean((0, 2, 3)))


@pytest.fixture
def fits(monkeypatch):
    """What ``fit`` was called with: recipe, loss and the weights at the start; nothing is trained."""
    calls = []

    def fit(model, train, validation, recipe, *, loss, progress):
        calls.append((recipe, loss, copy.deepcopy(model.state_dict())))
        return History([{"seconds": 1.0}], 0, 0.5)

    monkeypatch.setattr(study, "fit", fit)
    return calls


@pytest.mark.parametrize("arm", ARMS)
def test_an_arm_has_its_own_start_loss_and_epochs_and_nothing_else(arm, teacher, fits):
    run_arm(arm, PLAN, PARTS, copy.deepcopy(teacher), table=cast(TeacherTable, _Table()), seed=3)
    ((recipe, loss, start),) = fits
    kept = all(torch.equal(value, start[name]) for name, value in teacher.state_dict().items())
    assert kept == (not arm.startswith("fresh"))
    assert isinstance(loss, Distiller) == ("distilled" in arm)
    assert recipe.epochs == PLAN.epochs + ("long" in arm) * PLAN.teacher_epochs
    assert recipe.max_lr == (PLAN.fresh_lr if arm.startswith("fresh") else PLAN.max_lr)
    shared = (recipe.augmentation, recipe.views, recipe.average, recipe.precision, recipe.batch_size, recipe.seed)
    assert shared == (PLAN.augmentation, PLAN.views, PLAN.average, PLAN.precision, 128, 3)


class _Table:
    """In place of the teacher's logits: a Distiller that is not run asks nothing of it."""


def test_new_weights_are_those_of_the_seed_and_every_layer_gets_them(teacher, fits):
    for seed in (3, 3, 4):
        run_arm("fresh", PLAN, PARTS, copy.deepcopy(teacher), table=None, seed=seed)
    first, again, other = (start for _, _, start in fits)
    kernels = [name for name, value in first.items() if value.ndim > 1]
    assert all(torch.equal(first[name], again[name]) for name in kernels)
    assert all(not torch.equal(first[name], other[name]) for name in kernels)
    assert all(not torch.equal(first[name], teacher.state_dict()[name]) for name in kernels)
    scales = [name for name in first if name.endswith("running_var")]
    assert all(bool((first[name] == 1).all()) for name in scales)


def test_a_layer_that_cannot_draw_new_weights_is_refused():
    class Own(nn.Module):
        def __init__(self):
            super().__init__()
            self.weight = nn.Parameter(torch.ones(2))

    with pytest.raises(ValueError, match="1 has parameters and no reset_parameters"):
        study.renew_(nn.Sequential(nn.Linear(2, 2), Own()))


def test_another_arm_is_refused_before_anything_is_drawn(teacher):
    whole = copy.deepcopy(teacher)
    with pytest.raises(ValueError, match=r"arm must be one of distilled, .*, got 'magic'"):
        run_arm("magic", PLAN, PARTS, whole, table=None, seed=3)
    assert all(torch.equal(value, teacher.state_dict()[name]) for name, value in whole.state_dict().items())


def test_gains_are_paired_by_image():
    groups = np.arange(4)
    gain = study.gain([[1, 1, 0, 1], [1, 1, 1, 1]], [[1, 0, 0, 1], [1, 0, 1, 1]], groups)
    assert (gain.value, gain.n, gain.unit) == (25.0, 2, "points")
    assert gain.low < 0 < gain.high  # one sign of four decides it


def test_what_is_right_stands_in_the_parts_order(teacher):
    class Says(nn.Module):
        def forward(self, images):
            return nn.functional.one_hot(torch.zeros(len(images), dtype=torch.long), 43).float()

    assert study.right_on(Says(), PARTS.scoring) == [1, 0, 0, 1, 0, 0]


def test_the_halves_of_validation_share_no_sign():
    validation = part(200, 4)
    parts = Parts.of(Splits(PARTS.train, validation, PARTS.scoring), train=PARTS.train)
    assert not set(parts.choosing.groups) & set(parts.scoring.groups)
    assert len(parts.choosing) + len(parts.scoring) == 200
    assert parts.train is PARTS.train
    assert len(calibration_part(parts.train)) == 24
