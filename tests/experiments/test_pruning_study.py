"""Every arm gets equal epochs and ends at its fraction, and differences are taken within a seed."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from course_lib.data import SignDataset
from course_lib.experiments import pruning_study as study
from course_lib.experiments.pruning_study import ARMS, DENSE, Parts, Plan, Score, difference, run_arm
from course_lib.models import sign_student
from course_lib.pruning import Masks, prunable, sparsity


def part(count: int, seed: int) -> SignDataset:
    rng = np.random.default_rng(seed)
    images = rng.integers(0, 256, (count, 3, 32, 32), dtype=np.uint8)
    return SignDataset(images, np.arange(count) % 3, groups=1000 * seed + np.arange(count), num_classes=43)


PLAN = Plan(epochs=3, early=1, batch_size=2)
PARTS = Parts(part(22, 1), part(6, 2), part(6, 3))
SIZE = sum(p.numel() for p in prunable(sign_student(channels=study.WHOLE_SHAPE)).values())


@pytest.fixture(scope="module")
def dense(tmp_path_factory):
    return study.train_dense(PLAN, PARTS, seed=5, folder=tmp_path_factory.mktemp("dense"))


@pytest.fixture
def fits(monkeypatch):
    """What ``fit`` was called with: recipe, options, and the weights at the start."""
    calls, real = [], study.fit

    def spied(model, train, validation, recipe, **options):
        start = {name: value.clone() for name, value in model.state_dict().items()}
        calls.append((recipe, options, start))
        return real(model, train, validation, recipe, **options)

    monkeypatch.setattr(study, "fit", spied)
    return calls


@pytest.mark.parametrize("arm", ARMS)
def test_every_arm_trains_for_equally_many_epochs_and_ends_at_its_fraction(arm, dense, fits):
    student, score = run_arm(arm, 0.9, PLAN, PARTS, dense, seed=5)
    ((recipe, options, _),) = fits
    before = 0 if arm == "small_dense" else PLAN.epochs
    assert before + recipe.epochs - options["first_epoch"] == score.epochs == 5
    kept = SIZE - round(0.9 * SIZE)
    if arm in DENSE:
        assert (score.pruning_ratio, score.weights_left) == (0, SIZE)
    elif arm == "small_dense":
        assert 0.9 * kept < score.weights_left <= kept
    else:
        assert (score.pruning_ratio, score.weights_left) == (0.9, kept)
    row = sparsity(student)[-1]
    assert score.weights_left == row.size - row.zeros


def test_fine_tuning_begins_at_the_low_rate_and_rewinding_repeats_the_rates_from_the_early_epoch(dense, fits):
    for arm in ("one_shot", "cubic", "rate_rewinding", "weight_rewinding", "dense_rewound"):
        run_arm(arm, 0.8, PLAN, PARTS, dense, seed=5)
    tuned, rewound = [recipe for recipe, _, _ in fits[:2]], [recipe for recipe, _, _ in fits[2:]]
    assert all((r.max_lr, r.schedule, r.epochs) == (PLAN.tuning_lr, "cosine", 2) for r in tuned)
    assert all(r == PLAN.dense_recipe(5) for r in rewound)
    assert [options["first_epoch"] for _, options, _ in fits] == [0, 0, 1, 1, 1]


def test_weights_are_rewound_to_the_early_ones_under_the_masks_of_the_trained_ones(dense, fits):
    run_arm("weight_rewinding", 0.8, PLAN, PARTS, dense, seed=5)
    run_arm("rate_rewinding", 0.8, PLAN, PARTS, dense, seed=5)
    trained = sign_student(channels=study.WHOLE_SHAPE)
    trained.load_state_dict(dense.trained)
    masks = Masks.from_fraction(trained, 0.8, scope="global")
    for (_, _, start), weights in zip(fits, (dense.early, dense.trained), strict=True):
        for name, mask in masks.items():
            assert torch.equal(start[name], torch.where(mask, weights[name], 0.0))
    assert any(not torch.equal(dense.early[name], dense.trained[name]) for name in masks)


def test_random_masks_are_another_draw_for_another_seed_and_not_by_magnitude(dense, fits):
    for seed in (5, 5, 6):
        run_arm("random", 0.9, PLAN, PARTS, dense, seed=seed)
    run_arm("rate_rewinding", 0.9, PLAN, PARTS, dense, seed=5)
    first, again, other, magnitude = ({n: s[n + "_mask"] for n in prunable(sign_student())} for _, _, s in fits)
    assert Masks(first) == Masks(again)
    assert Masks(first) != Masks(other)
    assert Masks(first) != Masks(magnitude)


def test_gradual_arms_reach_the_target_after_three_fifths_of_the_steps(dense, fits):
    run_arm("iterative", 0.9, PLAN, PARTS, dense, seed=5)
    run_arm("cubic", 0.9, PLAN, PARTS, dense, seed=5)
    for _, options, _ in fits:  # 2 epochs of 11 steps
        curve = options["constraint"].schedule
        assert curve.levels[-1] == 0.9
        assert 10 <= curve.last <= 13


def test_the_small_network_is_the_largest_that_fits():
    for ratio in study.PRUNING_RATIOS:
        kept = SIZE - round(ratio * SIZE)
        channels = study.small_channels(ratio)
        size = sum(p.numel() for p in prunable(sign_student(channels=channels)).values())
        assert 0.85 * kept < size <= kept
    with pytest.raises(ValueError, match=r"must leave a weight for each layer, got 0\.9999"):
        study.small_channels(0.9999)


def test_another_arm_is_refused(dense):
    with pytest.raises(ValueError, match=r"arm must be one of dense, .*, got 'magic'"):
        run_arm("magic", 0.9, PLAN, PARTS, dense, seed=5)


def scored(arm: str, ratio: float, seed: int, accuracy: float) -> Score:
    return Score(arm, ratio, seed, accuracy, weights_left=1, epochs=5, seconds=1.0)


SCORES = [
    *(scored("dense", 0.0, seed, 0.5 + seed / 10) for seed in range(3)),
    *(scored("cubic", 0.9, seed, 0.4 + seed / 10) for seed in range(3)),
    *(scored("cubic", 0.8, seed, 0.45 + seed / 10) for seed in range(2)),
    *(scored("one_shot", 0.9, seed, accuracy) for seed, accuracy in enumerate((0.3, 0.42, 0.5))),
]


def test_differences_are_paired_by_seed_and_the_dense_control_stands_for_every_fraction():
    steady = difference(SCORES, "cubic", "dense", 0.9)
    assert (steady.value, steady.low, steady.high, steady.n) == pytest.approx((-10, -10, -10, 3))
    assert difference(SCORES, "cubic", "dense", 0.8).n == 2
    gain = difference(SCORES, "cubic", "one_shot", 0.9)
    assert gain.value == pytest.approx(np.mean([10, 8, 10]))
    assert gain.unit == "points"


def test_a_stricter_level_gives_a_wider_interval():
    wide, narrow = (difference(SCORES, "cubic", "one_shot", 0.9, level=level) for level in (0.99, 0.9))
    assert wide.low < narrow.low < narrow.high < wide.high


def test_one_seed_has_no_interval():
    with pytest.raises(ValueError, match="at least two"):
        difference([replace(SCORES[0]), scored("cubic", 0.9, 0, 0.1)], "cubic", "dense", 0.9)
