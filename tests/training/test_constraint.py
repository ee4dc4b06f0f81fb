"""A constraint is asked at the right places, holds in steps and averages, and has its say in which epoch is chosen."""

from __future__ import annotations

import copy
from dataclasses import replace

import numpy as np
import pytest
import torch

from course_lib.data import SignDataset
from course_lib.errors import CourseError
from course_lib.models import SignStudent
from course_lib.training import Constraint, CrossEntropy, Recipe, fit, loop

RECIPE = Recipe(epochs=4, max_lr=0.02, batch_size=16, augmentation=None)
STEPS = 3  # an epoch: 40 images

pytestmark = pytest.mark.usefixtures("one_thread")


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


class InBall(Constraint):
    """|w| ≤ radius for the classifier's weights; may choose epochs from ``first`` on."""

    def __init__(self, radius=0.01, first=0):
        self.radius, self.first, self.told = radius, first, []

    def start(self, model, epochs, steps_per_epoch):
        self.told.append(("start", epochs, steps_per_epoch))

    def before_step(self, model, step):
        self.told.append(("before", step))

    @torch.no_grad()
    def enforce(self, model):
        self.told.append(("enforce",))
        model.classifier.weight.clamp_(-self.radius, self.radius)

    def may_be_chosen(self, step):
        self.told.append(("chosen", step))
        return step >= self.first

    def identity(self):
        return f"ball {self.radius}"


def test_without_an_override_a_constraint_changes_nothing():
    plain, bound = network(), network()
    run(plain)
    run(bound, constraint=Constraint())
    assert same_weights(plain, bound)


def test_it_is_asked_before_and_after_each_step_and_at_each_epoch_s_end():
    constraint = InBall()
    run(network(), replace(RECIPE, epochs=2), constraint=constraint)
    steps = [[("before", step), ("enforce",)] for step in range(2 * STEPS)]
    first, second = ([told for step in part for told in step] for part in (steps[:STEPS], steps[STEPS:]))
    assert constraint.told == [("start", 2, STEPS), *first, ("chosen", 2), *second, ("chosen", 5)]


@pytest.mark.parametrize("average", [0.0, 0.9])
def test_it_holds_for_what_is_validated_and_returned(monkeypatch, average):
    seen, real = [], loop.model_accuracy

    def accuracy(model, dataset):
        seen.append(model.classifier.weight.abs().max().item())
        return real(model, dataset)

    monkeypatch.setattr(loop, "model_accuracy", accuracy)
    model = network()
    assert model.classifier.weight.abs().max() > 0.1
    run(model, replace(RECIPE, average=average), constraint=InBall())
    assert max(seen) <= 0.01 + 1e-9  # clamp's bound in single precision
    assert model.classifier.weight.abs().max() <= 0.01 + 1e-9


class Shrinking(InBall):
    """The ball gets smaller from step to step: the mean of earlier points lies outside the last one's."""

    def before_step(self, model, step):
        self.radius = 0.1 / (1 + step)


def test_averaged_weights_are_put_under_the_constraint_in_force(monkeypatch):
    seen = []
    monkeypatch.setattr(loop, "model_accuracy", lambda model, _: seen.append(model.classifier.weight.abs().max()) or 0)
    constraint = Shrinking()
    run(network(), replace(RECIPE, average=0.99, epochs=1), constraint=constraint)
    assert seen[0].item() == pytest.approx(constraint.radius)


@pytest.mark.parametrize(("first", "best"), [(0, 0), (STEPS - 1, 0), (STEPS, 1), (3 * STEPS, 3)])
def test_only_epochs_that_it_allows_are_chosen(monkeypatch, first, best):
    scores = iter((0.9, 0.8, 0.7, 0.7))
    monkeypatch.setattr(loop, "model_accuracy", lambda *_: next(scores))
    history = run(network(), constraint=InBall(first=first))
    assert (history.best_epoch, len(history.epochs)) == (best, 4)


def test_where_no_epoch_may_be_chosen_the_last_weights_are_left():
    model, last = network(), network()
    history = run(model, constraint=InBall(radius=10, first=99))
    assert history.best_epoch == -1
    assert not model.training
    run(last, constraint=InBall(radius=10, first=3 * STEPS))
    assert same_weights(model, last)


def stopping(call):
    class Stopping(CrossEntropy):
        def forward(self, logits, batch):
            nonlocal call
            call -= 1
            if call < 0:
                raise KeyboardInterrupt
            return super().forward(logits, batch)

    return Stopping()


def test_steps_go_on_counting_after_a_resume(tmp_path):
    with pytest.raises(KeyboardInterrupt, match="after 2 of 4 epochs"):
        run(network(), loss=stopping(7), constraint=InBall(), checkpoint=tmp_path / "x.pt")
    constraint, resumed, whole = InBall(), network(), network()
    run(resumed, constraint=constraint, checkpoint=tmp_path / "x.pt")
    run(whole, constraint=InBall())
    assert [told[1] for told in constraint.told if told[0] == "before"] == list(range(2 * STEPS, 4 * STEPS))
    assert same_weights(resumed, whole)


@pytest.mark.parametrize("options", [{}, {"constraint": InBall(0.02)}, {"constraint": InBall(), "first_epoch": 1}])
def test_a_state_of_another_constraint_or_first_epoch_is_refused(tmp_path, options):
    run(network(), constraint=InBall(), checkpoint=tmp_path / "x.pt")
    with pytest.raises(CourseError, match="belongs to a run with another"):
        run(network(), **options, checkpoint=tmp_path / "x.pt")


# Starting at a later epoch.


@pytest.mark.parametrize("schedule", ["onecycle", "cosine"])
def test_a_later_first_epoch_repeats_the_rest_of_the_training(monkeypatch, schedule):
    """With an optimiser that remembers nothing, two epochs and the two after them are the four at once."""

    def forgetful(model, recipe, loss=None):
        return torch.optim.SGD(model.parameters(), lr=recipe.max_lr)

    monkeypatch.setattr(loop, "make_optimizer", forgetful)
    recipe, whole, rest = replace(RECIPE, schedule=schedule, optimizer="sgd"), network(), network(9)
    states = []
    expected = run(whole, recipe, on_epoch=lambda _: states.append(copy.deepcopy(whole.state_dict())))
    rest.load_state_dict(states[1])
    found = run(rest, recipe, first_epoch=2, on_epoch=lambda _: states.append(copy.deepcopy(rest.state_dict())))
    for ours, theirs in zip(found.epochs, expected.epochs[2:], strict=True):
        assert {**ours, "seconds": 0} == {**theirs, "seconds": 0}
    assert all(torch.equal(value, states[3][name]) for name, value in states[5].items())


def test_a_run_with_a_later_first_epoch_resumes(tmp_path):
    with pytest.raises(KeyboardInterrupt, match="after 3 of 4 epochs"):
        run(network(), loss=stopping(7), first_epoch=1, checkpoint=tmp_path / "x.pt")
    resumed, whole = network(), network()
    history = run(resumed, first_epoch=1, checkpoint=tmp_path / "x.pt")
    run(whole, first_epoch=1)
    assert [row["epoch"] for row in history.epochs] == [1, 2, 3]
    assert same_weights(resumed, whole)


@pytest.mark.parametrize("first", [-1, 4])
def test_a_first_epoch_that_the_recipe_lacks_is_refused(first):
    with pytest.raises(ValueError, match=rf"first_epoch must be in 0\.\.3, got {first}"):
        run(network(), first_epoch=first)


def test_a_refusal_at_the_start_leaves_the_network_alone():
    class Refusing(Constraint):
        def start(self, model, epochs, steps_per_epoch):
            raise ValueError("does not fit")

    model, untouched = network(), network()
    with pytest.raises(ValueError, match="does not fit"):
        run(model, constraint=Refusing())
    assert same_weights(model, untouched)
    assert model.training
