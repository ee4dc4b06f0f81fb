"""The study compares what it says: equal budgets, labels hidden by sign, differences within a seed."""

from __future__ import annotations

import json
from dataclasses import asdict, replace

import numpy as np
import pytest
import torch

from course_lib.data import SignDataset, Splits
from course_lib.distillation import tapped_table
from course_lib.evaluation import seed_and_sign_interval
from course_lib.experiments import distillation_study as study
from course_lib.experiments.distillation_arms import ARMS, TESTED
from course_lib.experiments.distillation_study import Score, Study, gains, make_teacher, run_arm
from course_lib.models import sign_teacher
from course_lib.storage.files import ROOT


def part(signs: int, seed: int, frames: int = 2) -> SignDataset:
    rng = np.random.default_rng(seed)
    labels = np.repeat(np.arange(signs) % 3, frames)
    images = rng.integers(0, 256, (signs * frames, 3, 32, 32), dtype=np.uint8)
    groups = 1000 * seed + np.repeat(np.arange(signs), frames)
    return SignDataset(images, labels, groups=groups, num_classes=43)


SPLITS = Splits(part(30, 1), part(6, 2), part(6, 3))
TOY = Study("full", signs=None, epochs=1, views=2, width=0.25)


@pytest.fixture(scope="module")
def teacher():
    torch.manual_seed(0)
    return sign_teacher().eval()


@pytest.fixture(scope="module")
def table(teacher):
    taps = ("stages.4", "stages.5", "pool")
    return tapped_table(teacher, SPLITS.train, TOY.recipe(0), taps, progress=False)


@pytest.mark.parametrize("name", ARMS)
def test_every_arm_trains_with_the_same_number_of_steps(name, teacher, table):
    _, score = run_arm(ARMS[name], TOY, SPLITS, teacher, table, seed=0)
    assert score.steps == 1
    assert 0 <= score.validation <= 1
    assert (score.test is None) == (name not in TESTED)


def test_a_table_with_the_tapped_layers_gives_the_running_teachers_student(teacher, table):
    students = [run_arm(ARMS["attention"], TOY, SPLITS, teacher, given, seed=3)[0] for given in (table, None)]
    for a, b in zip(*(s.parameters() for s in students), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-3, atol=1e-4)


def test_a_tenth_of_the_labels_is_a_tenth_of_each_classs_signs_and_the_control_makes_up_the_steps():
    train = part(300, 1)
    mask = study._signs_mask(train, 0.1, seed=0)
    shown, hidden = set(train.groups[mask]), set(train.groups[~mask])
    assert not shown & hidden, "a sign's frames are all labelled or none"
    assert [len(np.unique(train.groups[mask & (train.labels == c)])) for c in range(3)] == [10, 10, 10]
    assert not np.array_equal(mask, study._signs_mask(train, 0.1, seed=1))
    recipe = TOY.recipe(0)
    more = study._equal_steps(replace(recipe, epochs=12), 25_000, 2_500)
    assert more.epochs * -(-2_500 // recipe.batch_size) == pytest.approx(12 * -(-25_000 // recipe.batch_size), rel=0.01)
    assert more.views is None


def test_small_studies_take_signs_of_every_class():
    few = replace(TOY, signs=6).train_part(SPLITS.train)
    assert [len(np.unique(few.groups[few.labels == c])) for c in range(3)] == [2, 2, 2]
    assert TOY.train_part(SPLITS.train) is SPLITS.train


def test_wrong_targets_are_those_of_another_view_or_of_another_image(table):
    own, other, mixed = (study._mistaken(table, kind) for kind in ("own", "other view", "shuffled"))
    assert own is table
    assert torch.equal(other.logits[0], table.logits[1])
    assert torch.equal(other.logits[1], table.logits[0])
    assert not torch.equal(mixed.logits, table.logits)
    assert torch.equal(mixed.logits.sum(1), table.logits.sum(1)) or torch.allclose(
        mixed.logits.sort(1).values, table.logits.sort(1).values
    )


def test_the_students_of_a_seed_start_from_the_same_weights_and_the_same_seed_gives_the_same_student(teacher, table):
    first, again = (run_arm(ARMS["soft_targets"], TOY, SPLITS, teacher, table, seed=5)[0] for _ in range(2))
    other, _ = run_arm(ARMS["soft_targets"], TOY, SPLITS, teacher, table, seed=6)
    assert all(torch.equal(a, b) for a, b in zip(first.parameters(), again.parameters(), strict=True))
    assert not torch.equal(next(first.parameters()), next(other.parameters()))


def test_made_teachers_differ_by_what_their_name_says():
    longer = replace(TOY, epochs=3)  # Adam's first step only sees signs
    plain, smoothed, itself = (make_teacher(kind, longer, SPLITS, 0) for kind in ("plain", "smoothed", "itself"))
    assert plain.channels == smoothed.channels
    assert itself.channels[0] < plain.channels[0]
    assert not torch.equal(plain.classifier.weight, smoothed.classifier.weight)
    alone, again = (run_arm(ARMS["alone"], longer, SPLITS, None, None, seed=seed)[0] for seed in (0, 1000))
    assert torch.equal(again.classifier.weight, itself.classifier.weight)
    assert not torch.equal(alone.classifier.weight, itself.classifier.weight)  # born again from another seed


BALANCED = [name for name, arm in ARMS.items() if arm.balance]


@pytest.mark.parametrize("name", BALANCED)
def test_balanced_terms_pull_together_as_hard_as_the_labels_before_the_first_step(name, teacher, table):
    _, score = run_arm(ARMS[name], TOY, SPLITS, teacher, table, seed=0)
    assert sum(score.pulls[term] for term in ARMS[name].balance) == pytest.approx(1, rel=1e-4)
    assert score.weights.keys() == score.pulls.keys() == score.pulls_at_end.keys() > set(ARMS[name].balance)
    assert score.pulls != score.pulls_at_end


def test_every_loss_on_features_has_a_balanced_arm():
    features = {name for name, arm in ARMS.items() if arm.group == "features"}
    assert {name for name in features if name.endswith("_balanced")} == set(BALANCED)
    plain = {name.removesuffix("_heavy") for name in features - set(BALANCED)}
    assert {f"{name}_balanced" for name in (*plain, "soft_hint", "soft_similarity")} == set(BALANCED)


def test_a_small_study_does_not_score_by_the_signs_that_chose_the_epoch():
    small = replace(TOY, signs=6)
    chooses, scores = small.validation_parts(part(12, 2))
    assert not set(chooses.groups) & set(scores.groups)
    assert len(chooses) + len(scores) == 24
    assert set(chooses.labels) == set(scores.labels) == {0, 1, 2}
    assert TOY.validation_parts(SPLITS.validation) == (SPLITS.validation, SPLITS.validation)


def test_test_answers_are_kept_sign_by_sign_and_the_gain_is_paired_by_image():
    groups, rng = np.array([5, 3, 3, 5, 9]), np.random.default_rng(0)
    rights = {name: rng.random((3, 5)) < 0.6 for name in ("alone", "soft_targets")}
    kept = [
        replace(score, right=study.packed(rights[name][score.seed], groups))
        for name in rights
        for score in scores(name, dict.fromkeys(range(3), 0.5))
    ]
    answers, signs = study.unpacked(kept[0].right, [2, 2, 1])
    assert answers.tolist() == rights["alone"][0][[1, 2, 0, 3, 4]].tolist()
    assert signs.tolist() == [0, 0, 1, 1, 2]
    found = study.gain_over_signs(kept, "soft_targets", "alone", [2, 2, 1])
    assert found.value == pytest.approx(100 * (rights["soft_targets"].mean() - rights["alone"].mean()))
    order = [1, 2, 0, 3, 4]
    difference = (rights["soft_targets"].astype(int) - rights["alone"])[:, order]
    expected = seed_and_sign_interval(difference, [0, 0, 1, 1, 2])
    assert (found.low, found.high) == (expected.low, expected.high)
    with pytest.raises(ValueError, match="must share two seeds or more with test answers, got 0"):
        study.gain_over_signs(
            scores("alone", {0: 0.5}) + scores("soft_targets", {0: 0.5}), "soft_targets", "alone", [1]
        )


def scores(arm: str, values: dict[int, float]) -> list[Score]:
    return [Score("full", arm, seed, value, value, 10, 1.0) for seed, value in values.items()]


def test_gains_are_differences_within_a_seed_that_both_arms_have():
    found = scores("alone", {0: 0.5, 1: 0.6, 2: 0.9}) + scores("soft_targets", {2: 0.95, 0: 0.6, 7: 0.1})
    assert gains(found, "soft_targets", "alone") == pytest.approx([10.0, 5.0])


@pytest.fixture
def benchmark(load_script):
    return load_script("benchmarks/distillation.py")


def test_a_gain_whose_interval_includes_zero_is_recorded_with_that_reason(benchmark):
    arm = {0: 0.9, 1: 0.9, 2: 0.95}
    tenth = scores("alone_tenth", dict.fromkeys(range(3), 0.3)) + scores("soft_targets_tenth", arm)
    figures = benchmark.gain_figures(scores("alone", {0: 0.9, 1: 0.91, 2: 0.89}) + scores("soft_targets", arm) + tenth)
    full, small = figures["gain_points_full"], figures["gain_points_ten_percent"]
    assert full.value == pytest.approx(100 * (0 - 0.01 + 0.06) / 3, abs=1e-3)
    assert full.low < 0 < full.high
    assert "includes 0" in full.note
    assert small.met
    assert small.note is None
    assert (full.n, small.n) == (3, 3)


@pytest.mark.parametrize("key", ["rendered", "gtsrb"])
def test_recorded_gains_follow_from_the_recorded_trainings(benchmark, key):
    recorded = json.loads((ROOT / "benchmarks" / "results" / f"distillation_{key}.json").read_text(encoding="utf-8"))
    found = [Score(**row) for row in recorded["scores"]]
    again = benchmark.gain_figures(found, Study(**recorded["study"]), recorded.get("images_per_sign"))
    for name, figure in again.items():
        assert {k: recorded["figures"][name].get(k) for k in ("value", "low", "high", "n")} == {
            k: v for k, v in asdict(figure).items() if k in ("value", "low", "high", "n")
        }, name
    assert len({s.steps for s in found if not s.arm.endswith("_tenth")}) == 1, "equal budgets"
