"""A schedule starts, rises and ends as it says; pruning along it is exact, resumes, and no dense epoch is chosen."""

from __future__ import annotations

import itertools
import os
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from course_lib.data import SignDataset
from course_lib.errors import CourseError
from course_lib.models import SignStudent
from course_lib.pruning import (
    EarlyWeights,
    GradualPruning,
    Masks,
    MasksHeld,
    Schedule,
    constant,
    cubic,
    iterative,
    one_shot,
    prunable,
    removed_count,
    rewind_,
)
from course_lib.training import CrossEntropy, Recipe, fit, loop

pytestmark = pytest.mark.usefixtures("one_thread")

RECIPE = Recipe(epochs=4, max_lr=0.02, batch_size=16, augmentation=None)
STEPS = 3  # an epoch: 40 images


def every_schedule():
    for target, rounds, first, every in itertools.product((0.0, 0.3, 0.9, 0.95, 1 - 1e-9), (1, 2, 7), (0, 3), (1, 4)):
        options = {"rounds": rounds, "first": first, "every": every}
        for initial in {0.0, 0.1, target / 3, target}:
            if initial <= target:
                yield cubic(target, initial=initial, **options), initial, target
                yield iterative(target, of="remaining", initial=initial, **options), initial, target
                yield iterative(target, of="total", initial=initial, **options), initial, target
        yield one_shot(target, at=first), 0.0, target
        yield constant(target), target, target


def test_every_schedule_starts_at_its_initial_never_falls_and_ends_exactly_at_its_target():
    for schedule, initial, target in every_schedule():
        values = [schedule(t) for t in range(schedule.last + 3)]
        assert schedule.initial == initial
        assert all(schedule(t) == initial for t in range(schedule.steps[0] if schedule.steps else 0))
        assert values == sorted(values)
        assert values[schedule.last] == values[-1] == schedule.target == target
        assert schedule(10**9) == target
        assert schedule.last == 0 or target == initial or schedule(schedule.last - 1) < target


@pytest.mark.parametrize(("initial", "target", "rounds", "first", "every"), [(0, 0.9, 8, 5, 3), (0.25, 0.75, 3, 0, 1)])
def test_cubic_is_equation_1_of_zhu_and_gupta(initial, target, rounds, first, every):
    schedule = cubic(target, initial=initial, rounds=rounds, first=first, every=every)
    for t in range(first, first + rounds * every + 1, every):
        expected = target + (initial - target) * (1 - (t - first) / (rounds * every)) ** 3
        assert schedule(t) == pytest.approx(expected, abs=1e-15)
    for t in range(first, first + rounds * every):
        assert schedule(t) == schedule(first + (t - first) // every * every)  # constant in between


def test_equal_shares_of_what_remains_and_equal_shares_of_all():
    remaining = iterative(0.9, rounds=5, first=0, every=1, of="remaining", initial=0.2)
    left = [0.8, *(1 - level for level in remaining.levels)]
    assert [b / a for a, b in itertools.pairwise(left)] == pytest.approx([(0.1 / 0.8) ** (1 / 5)] * 5)
    total = iterative(0.9, rounds=5, first=0, every=1, of="total", initial=0.2)
    assert np.diff([0.2, *total.levels]) == pytest.approx([0.14] * 5)
    twenty = iterative(1 - 0.8**3, rounds=3, first=1, every=2, of="remaining")  # 20 % a round
    assert twenty.levels == pytest.approx((0.2, 0.36, 0.488))
    assert twenty.steps == (1, 3, 5)


def test_a_schedule_is_data():
    assert cubic(0.9, rounds=3, first=0, every=1) == cubic(0.9, rounds=3, first=0, every=1)
    assert len({constant(0.5), constant(0.5), constant(0.6)}) == 2


@pytest.mark.parametrize(
    ("make", "problem"),
    [
        (lambda: constant(1.0), r"must be in \[0, 1\), got 1\.0"),
        (lambda: one_shot(float("nan"), at=0), r"must be in \[0, 1\), got nan"),
        (lambda: one_shot(0.5, at=-1), "steps must rise and be at least 0"),
        (lambda: cubic(0.5, rounds=0, first=0, every=1), "rounds must be at least 1, got 0"),
        (lambda: cubic(0.5, rounds=2, first=0, every=0), "every must be at least 1, got 0"),
        (lambda: cubic(0.5, initial=0.6, rounds=2, first=0, every=1), "initial ≤ target < 1, got 0.6 and 0.5"),
        (lambda: iterative(0.5, rounds=2, first=0, every=1, of="all"), "of must be one of .*, got 'all'"),
        (lambda: Schedule(0.0, (1, 1), (0.1, 0.2)), "steps must rise"),
        (lambda: Schedule(0.0, (1, 2), (0.2, 0.1)), "the fraction must not fall"),
        (lambda: Schedule(0.0, (1,), ()), "equally many, got 1 and 0"),
    ],
)
def test_a_schedule_out_of_range_is_refused(make, problem):
    with pytest.raises(ValueError, match=problem):
        make()


# In the training loop.


def signs(count, seed):
    rng = np.random.default_rng(seed)
    return SignDataset(rng.integers(0, 256, (count, 3, 8, 8), dtype=np.uint8), rng.integers(0, 3, count), num_classes=3)


TRAIN, VALIDATION = signs(40, 0), signs(20, 1)


def network(seed=0):
    torch.manual_seed(seed)
    return SignStudent(num_classes=3, channels=(8, 8, 8, 8, 8))


def run(model, recipe=RECIPE, **options):
    return fit(model, TRAIN, VALIDATION, recipe, progress=False, **options)


def same_weights(a, b):
    return all(torch.equal(x, y) for x, y in zip(a.state_dict().values(), b.state_dict().values(), strict=True))


def gradual(**options):
    options = {"schedule": cubic(0.8, rounds=5, first=1, every=1), "per": "step", "scope": "global"} | options
    return GradualPruning(options.pop("schedule"), **options)


class Watching(CrossEntropy):
    """The default loss, which notes how many weights are zero in each step, and stops at the call ``at``."""

    def __init__(self, model, at=-1, act=None):
        super().__init__()
        self.watched, self.at, self.act, self.zeros = [model], at, act, []

    def forward(self, logits, batch):
        if len(self.zeros) == self.at:
            self.act()
        self.zeros.append(zeros(self.watched[0]))
        return super().forward(logits, batch)


def zeros(model):
    return sum(int((p == 0).sum()) for p in prunable(model).values())


def interrupt():
    raise KeyboardInterrupt


@pytest.mark.parametrize("per", ["step", "epoch"])
@pytest.mark.parametrize("average", [0.0, 0.9])
def test_every_step_is_trained_at_exactly_the_fraction_of_its_time(per, average):
    model = network()
    schedule, watching = cubic(0.8, rounds=2, first=1, every=1), Watching(model)
    run(model, replace(RECIPE, average=average), loss=watching, constraint=gradual(schedule=schedule, per=per))
    size = sum(p.numel() for p in prunable(model).values())
    times = [step if per == "step" else step // STEPS for step in range(4 * STEPS)]
    assert watching.zeros == [removed_count(size, schedule(time)) for time in times]
    assert zeros(model) == removed_count(size, 0.8)


@pytest.mark.parametrize("scope", ["layer", "global"])
@pytest.mark.parametrize("unit", ["weight", "filter"])
def test_masks_only_ever_remove_more(monkeypatch, scope, unit):
    seen = []
    real = Masks.apply_

    def apply_(self, model):
        real(self, model)
        seen.append({name: mask.clone() for name, mask in Masks.of(model).items()})

    monkeypatch.setattr(Masks, "apply_", apply_)
    run(network(), constraint=gradual(scope=scope, unit=unit))
    assert len(seen) == 1 + 6  # all kept at the start, then 0 and five levels
    for before, after in itertools.pairwise(seen):
        assert not any((after[name] & ~before[name]).any() for name in after)


@pytest.mark.parametrize("average", [0.0, 0.9])
def test_validation_sees_masked_weights_and_chooses_among_epochs_at_the_target_only(monkeypatch, average):
    seen, scores = [], iter((0.9, 0.8, 0.3, 0.4))

    def accuracy(model, dataset):
        seen.append(zeros(model))
        return next(scores)

    monkeypatch.setattr(loop, "model_accuracy", accuracy)
    model, schedule = network(), Schedule(0.0, (1, 2), (0.5, 0.8))
    constraint = gradual(schedule=schedule, per="epoch")
    history = run(model, replace(RECIPE, average=average), constraint=constraint)
    size = sum(p.numel() for p in prunable(model).values())
    assert seen == [removed_count(size, level) for level in (0.0, 0.5, 0.8, 0.8)]
    assert (history.best_epoch, history.best_accuracy) == (3, 0.4)
    assert zeros(model) == removed_count(size, 0.8)


@pytest.mark.parametrize(("last", "best"), [(0, 0), (2, 0), (3, 1), (5, 1), (6, 2), (11, 3)])
def test_the_first_epoch_that_may_be_chosen_is_the_one_that_ends_at_the_target(monkeypatch, last, best):
    monkeypatch.setattr(loop, "model_accuracy", lambda *_: 0.5)
    assert run(network(), constraint=gradual(schedule=one_shot(0.5, at=last))).best_epoch == best


@pytest.mark.parametrize(
    "recipe", [RECIPE, replace(RECIPE, optimizer="sgd", average=0.9)], ids=["adamw", "sgd, average"]
)
@pytest.mark.parametrize("at", [STEPS, STEPS + 2, 2 * STEPS + 1, 4 * STEPS - 1])
def test_an_interrupted_gradual_pruning_ends_in_the_weights_of_one_that_was_not(tmp_path, recipe, at):
    whole, model, resumed = network(), network(), network()
    expected = run(whole, recipe, constraint=gradual())
    with pytest.raises(KeyboardInterrupt):
        run(model, recipe, loss=Watching(model, at, interrupt), constraint=gradual(), checkpoint=tmp_path / "x.pt")
    history = run(resumed, recipe, constraint=gradual(), checkpoint=tmp_path / "x.pt")
    assert same_weights(resumed, whole)
    assert list(resumed.state_dict()) == list(whole.state_dict())
    assert history.best_epoch == expected.best_epoch


def killed_run(checkpoint):
    """What the killed process does: SIGKILL in the middle of the third epoch."""
    torch.set_num_threads(1)
    model = network()
    stop = Watching(model, 2 * STEPS + 1, lambda: os.kill(os.getpid(), signal.SIGKILL))
    run(model, loss=stop, constraint=gradual(schedule=LONG), checkpoint=checkpoint)


LONG = cubic(0.8, rounds=9, first=1, every=1)


def test_a_process_killed_while_it_prunes_resumes_to_the_same_weights(tmp_path):
    code = "import sys; sys.path.insert(0, sys.argv[1]); import test_schedules; test_schedules.killed_run(sys.argv[2])"
    here, checkpoint = str(Path(__file__).parent), tmp_path / "x.pt"
    done = subprocess.run([sys.executable, "-c", code, here, str(checkpoint)], capture_output=True, check=False)
    assert done.returncode == -signal.SIGKILL, done.stderr.decode()[-2000:]
    whole, resumed = network(), network()
    run(whole, constraint=gradual(schedule=LONG))
    run(resumed, constraint=gradual(schedule=LONG), checkpoint=checkpoint)
    assert same_weights(resumed, whole)


@pytest.mark.parametrize(
    "other",
    [
        gradual(schedule=cubic(0.7, rounds=5, first=1, every=1)),
        gradual(scope="layer"),
        gradual(unit="filter"),
        gradual(schedule=Schedule(0.0, (1,), (0.8,)), per="epoch"),
        gradual(names=["classifier.weight", "features.0.0.weight"]),
        None,
    ],
)
def test_a_state_of_another_pruning_is_refused(tmp_path, other):
    run(network(), replace(RECIPE, epochs=3), constraint=gradual(), checkpoint=tmp_path / "x.pt")
    with pytest.raises(CourseError, match="belongs to a run with another"):
        run(network(), replace(RECIPE, epochs=3), constraint=other, checkpoint=tmp_path / "x.pt")


def test_one_constraint_serves_two_trainings():
    constraint, one, two = gradual(), network(), network()
    run(one, constraint=constraint)
    run(two, constraint=constraint)
    assert same_weights(one, two)


def test_a_network_that_is_pruned_already_is_pruned_on():
    model = network()
    Masks.from_fraction(model, 0.4, scope="global").apply_(model)
    before = {name: mask.clone() for name, mask in Masks.of(model).items()}
    watching = Watching(model)
    run(model, loss=watching, constraint=gradual())
    size = sum(p.numel() for p in prunable(model).values())
    assert watching.zeros[0] == removed_count(size, 0.4)  # the schedule's 0 gives nothing back
    assert zeros(model) == removed_count(size, 0.8)
    assert not any((mask & ~before[name]).any() for name, mask in Masks.of(model).items())


def test_what_does_not_fit_is_refused_and_changes_nothing():
    model = network()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    for constraint, problem in (
        (gradual(schedule=one_shot(0.5, at=12)), "last change, at step 12, is not within 4 epochs of 3 steps"),
        (gradual(schedule=one_shot(0.5, at=4), per="epoch"), "at epoch 4, is not within"),
        (gradual(names=["classifier"]), "names must be parameters of the model, got 'classifier'"),
    ):
        with pytest.raises(ValueError, match=problem):
            run(model, constraint=constraint)
        assert list(model.state_dict()) == list(before)
    Masks.from_fraction(model, 0.5, scope="layer", names=["classifier.weight"]).apply_(model)
    with pytest.raises(ValueError, match=r"has masks of classifier\.weight, which are not the parameters to prune"):
        run(model, constraint=gradual())
    for options in ({"per": "batch"}, {"scope": "all"}, {"unit": "row"}):
        with pytest.raises(ValueError, match=rf"{next(iter(options))} must be one of"):
            gradual(**options)


def test_rewinding_and_its_control_spend_the_same_steps_at_the_same_rates(tmp_path):
    """Epochs 2 and 3 again, from early weights and from late ones, under the same masks."""
    model = network()
    early = EarlyWeights(model, 2, tmp_path / "early.pt")
    run(model, on_epoch=early)
    Masks.from_fraction(model, 0.6, scope="global").apply_(model)
    control, masks = network(), Masks.of(model)
    masks.apply_(control)
    control.load_state_dict(model.state_dict())
    rewind_(model, early.state())
    assert not torch.equal(model.classifier.weight, control.classifier.weight)
    histories = [run(each, constraint=MasksHeld(), first_epoch=2) for each in (model, control)]
    rates = [[(row["epoch"], row["lr"]) for row in history.epochs] for history in histories]
    assert rates[0] == rates[1]
    assert [epoch for epoch, _ in rates[0]] == [2, 3]
    size = sum(p.numel() for p in prunable(model).values())
    assert zeros(model) == zeros(control) == removed_count(size, 0.6)
