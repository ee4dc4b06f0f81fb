"""The moving average is the formula's and PyTorch's, it is what validation scores, and training does not notice it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from course_lib.data import SignDataset
from course_lib.errors import CourseError
from course_lib.models import SignStudent, SignTeacher
from course_lib.training import CrossEntropy, Recipe, epoch_batches, fit, loop, make_optimizer
from course_lib.training.averaging import WeightAverage

RECIPE = Recipe(epochs=3, max_lr=0.02, batch_size=16, augmentation=None, average=0.9)


pytestmark = pytest.mark.usefixtures("one_thread")


def signs(count, seed):
    rng = np.random.default_rng(seed)
    return SignDataset(rng.integers(0, 256, (count, 3, 8, 8), dtype=np.uint8), rng.integers(0, 3, count), num_classes=3)


TRAIN, VALIDATION = signs(40, 0), signs(20, 1)


def network(seed=0, **options):
    torch.manual_seed(seed)
    # Not fewer than eight channels: oneDNN's backward pass of 4 → 6 at stride 2, channels last, has corrupted the heap.
    return SignTeacher(3, channels=(8, 8), blocks=(1, 1), **options)


def run(model, recipe=RECIPE, **options):
    return fit(model, TRAIN, VALIDATION, recipe, progress=False, **options)


def state(model):
    return {name: value.clone() for name, value in model.state_dict().items()}


def same(a, b):
    return list(a) == list(b) and all(torch.equal(a[name], b[name]) for name in a)


# The formula.


def moved(model):
    """The weights and statistics a step somewhere else."""
    with torch.no_grad():
        for value in model.state_dict().values():
            value.add_(torch.randn(value.shape) if value.is_floating_point() else 1)


def test_the_average_of_one_number_is_the_sum_written_out_by_hand():
    layer = nn.Linear(1, 1, bias=False)
    average, expected = WeightAverage(layer, decay=0.3), 0.0
    values = (5.0, -1.0, 2.0, 8.0, 3.0, 3.5)
    # (1 + n)/(10 + n) for n = 1, 2, 3 is below 0.3, from n = 3 on above it.
    for value, kept in zip(values, (0, 2 / 11, 3 / 12, 0.3, 0.3, 0.3), strict=True):
        nn.init.constant_(layer.weight, value)
        average.update_(layer)
        expected = kept * expected + (1 - kept) * value
        assert average.values["weight"].item() == pytest.approx(expected, rel=1e-6)
    assert layer.weight.item() == 3.5


def test_it_equals_pytorch_s_averaged_model_step_by_step_with_the_warm_up():
    model = network()

    def formula(averaged, weights, steps):
        return torch.lerp(averaged, weights, 1 - min(0.6, (1 + int(steps)) / (10 + int(steps))))

    reference = AveragedModel(model, avg_fn=lambda a, w, n: formula(a, w, n) if a.is_floating_point() else w.clone())
    buffers = AveragedModel(
        model, avg_fn=lambda a, w, n: formula(a, w, n) if a.is_floating_point() else w, use_buffers=True
    )
    average = WeightAverage(model, decay=0.6)
    for _ in range(30):
        moved(model)
        for each in (average, reference, buffers):
            (each.update_ if isinstance(each, WeightAverage) else each.update_parameters)(model)
        with average.shown_in(model):
            for name, value in dict(model.named_parameters()).items():
                torch.testing.assert_close(value, dict(reference.module.named_parameters())[name], rtol=0, atol=1e-6)
            assert len(list(model.buffers())) == 18  # mean, variance and count of six BatchNorms
            for found, expected in zip(model.buffers(), buffers.module.buffers(), strict=True):
                torch.testing.assert_close(found, expected, rtol=0, atol=1e-6)


def test_where_the_warm_up_is_over_at_once_it_equals_pytorch_s_own_exponential_average():
    model = nn.Sequential(nn.Linear(4, 3), nn.ReLU(), nn.Linear(3, 2))
    # (1 + n)/(10 + n) is 2/11 at its smallest, so a decay of 0.18 is never cut.
    reference = AveragedModel(model, multi_avg_fn=get_ema_multi_avg_fn(0.18))
    average = WeightAverage(model, decay=0.18)
    for _ in range(20):
        moved(model)
        average.update_(model)
        reference.update_parameters(model)
    for name, value in reference.module.state_dict().items():
        torch.testing.assert_close(average.values[name], value, rtol=0, atol=1e-6)


def test_the_network_gets_its_own_weights_back_also_after_an_error():
    model = network()
    average = WeightAverage(model, 0.5)
    moved(model)
    average.update_(model)
    moved(model)
    own = state(model)

    def fail():
        assert same(state(model), average.values)
        assert not same(state(model), own)
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError), average.shown_in(model):
        fail()
    assert same(state(model), own)


def test_frozen_statistics_and_weights_average_to_themselves():
    model = network()
    average = WeightAverage(model, 0.97)
    frozen = state(model)
    for _ in range(40):
        average.update_(model)
    assert same(average.values, frozen)


# In the training loop.


def by_hand(recipe, averaged):
    """The same training without ``fit``: the averaged and the last weights after each epoch."""
    model, kept = network().train(), []
    reference = AveragedModel(
        model,
        avg_fn=lambda a, w, n: (
            torch.lerp(a, w, 1 - min(averaged, (1 + int(n)) / (10 + int(n)))) if a.is_floating_point() else w
        ),
        use_buffers=True,
    )
    optimizer = make_optimizer(model, recipe)
    scheduler = loop.make_scheduler(optimizer, recipe, 3 * recipe.epochs)
    for epoch in range(recipe.epochs):
        for batch in epoch_batches(TRAIN, recipe, epoch):
            optimizer.zero_grad()
            F.cross_entropy(model(batch.images), batch.labels).backward()
            optimizer.step()
            scheduler.step()
            reference.update_parameters(model)
        kept.append((state(reference.module), state(model)))
    return kept


@pytest.mark.parametrize("best", [0, 1, 2])
def test_validation_scores_the_averaged_network_and_the_best_epoch_s_average_is_returned(monkeypatch, best):
    scored = []

    def score(model, dataset):
        assert dataset is VALIDATION
        scored.append(state(model))
        return 0.9 if len(scored) - 1 == best else 0.5

    monkeypatch.setattr(loop, "model_accuracy", score)
    model = network()
    history = run(model)
    assert history.best_epoch == best
    assert same(state(model), scored[best])
    expected = by_hand(RECIPE, averaged=0.9)
    for found, (averaged, last) in zip(scored, expected, strict=True):
        for name, value in averaged.items():
            torch.testing.assert_close(found[name], value, rtol=1e-3, atol=1e-4)
        assert (found["classifier.weight"] - last["classifier.weight"]).abs().max() > 5e-4


def test_the_steps_do_not_notice_the_average(monkeypatch):
    losses, last = [], []
    for average in (0.0, 0.9):
        model = network(dropout=0.3)

        class Watching(CrossEntropy):
            def end_epoch(self):
                last.append(state(model))  # noqa: B023  (called within this turn)

        history = run(model, replace(RECIPE, average=average), loss=Watching())
        losses.append([row["loss"] for row in history.epochs])
    assert losses[0] == losses[1]
    assert all(same(a, b) for a, b in zip(last[:3], last[3:], strict=True))


def test_without_an_average_the_last_weights_are_what_is_scored(monkeypatch):
    scored, last = [], []

    class Watching(CrossEntropy):
        def end_epoch(self):
            last.append(state(model))

    monkeypatch.setattr(loop, "model_accuracy", lambda model, _: scored.append(state(model)) or len(scored) / 10)
    model = network()
    run(model, replace(RECIPE, average=0.0), loss=Watching())
    assert len(scored) == 3
    assert all(same(a, b) for a, b in zip(scored, last, strict=True))
    assert same(state(model), last[-1])


def test_a_run_that_is_stopped_while_the_average_is_scored_continues_to_the_same_weights(monkeypatch, tmp_path):
    def scores(*values):
        """The last epoch is the best, so that what comes back was averaged over the interruption."""
        left = iter(values)

        def score(model, dataset):
            value = next(left)
            if value is None:
                raise KeyboardInterrupt
            return value

        monkeypatch.setattr(loop, "model_accuracy", score)

    whole = network(dropout=0.3)
    scores(0.1, 0.2, 0.3)
    expected = run(whole)
    scores(0.1, None)
    with pytest.raises(KeyboardInterrupt, match="after 1 of 3 epochs"):
        run(network(dropout=0.3), checkpoint=tmp_path / "x.pt")
    scores(0.2, 0.3)
    resumed = network(dropout=0.3)
    history = run(resumed, checkpoint=tmp_path / "x.pt")
    assert history.best_epoch == expected.best_epoch == 2
    assert same(state(resumed), state(whole))
    assert [row["loss"] for row in history.epochs] == [row["loss"] for row in expected.epochs]


def test_the_rows_are_told_once_each_epoch_is_kept_and_not_again_after_a_resume(tmp_path):
    rows, path = [], tmp_path / "x.pt"
    history = run(network(), checkpoint=path, on_epoch=lambda row: rows.append((row, path.exists())))
    assert rows == [(row, True) for row in history.epochs]
    run(network(), checkpoint=path, on_epoch=lambda row: pytest.fail("trained again"))


OTHERS = {
    "another average": (lambda: network(), replace(RECIPE, average=0.8)),
    "no average": (lambda: network(), replace(RECIPE, average=0.0)),
    "dropout": (lambda: network(dropout=0.3), RECIPE),
}


@pytest.mark.parametrize(("build", "recipe"), OTHERS.values(), ids=OTHERS.keys())
def test_a_checkpoint_of_another_average_or_dropout_is_refused(tmp_path, build, recipe):
    run(network(), checkpoint=tmp_path / "x.pt")
    with pytest.raises(CourseError, match="belongs to a run with another "):
        run(build(), recipe, checkpoint=tmp_path / "x.pt")


def test_a_checkpoint_of_a_student_with_other_strides_is_refused(tmp_path):
    def student(*strides):
        return SignStudent(num_classes=3, channels=(4, 4, 4), strides=strides)

    run(student(1, 2, 2), checkpoint=tmp_path / "x.pt")
    with pytest.raises(CourseError, match="belongs to a run with another "):
        run(student(2, 2, 1), checkpoint=tmp_path / "x.pt")
