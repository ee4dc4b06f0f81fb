"""Slices, confusion, evidence in tracks, temperature and the expected maximum are what their formulas say."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from course_lib.evaluation import (
    accuracy,
    accuracy_by_slice,
    confident_mistakes,
    confusion_matrix,
    coverage_curve,
    expected_maximum,
    fit_temperature,
    quartile_names,
    recall_matrix,
    track_standard_error,
)
from course_lib.exercises.chapter_02.one_cycle import one_cycle_rate


def test_quartiles_hold_a_quarter_each_and_say_their_limits():
    names = quartile_names(np.arange(100), "px", 0)
    assert sorted(np.unique(names, return_counts=True)[1]) == [25, 25, 25, 25]
    assert names[0] == "0–25 px"
    assert names[-1] == "74–99 px"


def test_a_value_on_an_edge_belongs_to_the_lower_quarter_and_equal_edges_merge():
    assert quartile_names([0, 0, 0, 0, 1], digits=0).tolist() == ["0–1"] * 5
    assert quartile_names([2.0, 2.0]).tolist() == ["2.00–2.00"] * 2
    assert quartile_names([0, 1, 2, 3, 4], digits=0).tolist() == ["0–1", "0–1", "1–2", "2–3", "3–4"]


@pytest.mark.parametrize("values", [[], [1.0, math.nan], [[1.0]]])
def test_values_that_cannot_be_cut_are_refused(values):
    with pytest.raises(ValueError, match="values must be"):
        quartile_names(values)


def test_slices_partition_the_errors_and_keep_the_tracks():
    rng = np.random.default_rng(0)
    labels, groups = rng.integers(0, 3, 60), np.repeat(np.arange(20), 3)
    predictions = np.where(rng.random(60) < 0.8, labels, (labels + 1) % 3)
    slices = np.where(np.arange(60) < 24, "near", "far")
    found = accuracy_by_slice(predictions, labels, slices, groups)
    assert list(found) == ["far", "near"]
    assert sum(s.value * s.n for s in found.values()) == pytest.approx((predictions == labels).sum())
    assert found["near"].clusters == 8
    assert found["near"] == accuracy(predictions[:24], labels[:24], groups[:24])


def test_slices_come_in_the_order_of_their_numbers_and_words_last():
    names = ["rain", "10–20 px", "9–10 px", "> 20 px", "clear"]
    ones = np.ones(5, int)
    assert list(accuracy_by_slice(ones, ones, names)) == ["9–10 px", "10–20 px", "> 20 px", "clear", "rain"]


def test_slices_of_another_length_are_refused():
    with pytest.raises(ValueError, match="must be"):
        accuracy_by_slice([1, 2], [1, 2], ["a"])


def test_confusion_rows_are_the_truth():
    counts = confusion_matrix([0, 0, 0, 1], [0, 1, 1, 1], 3)
    assert counts.tolist() == [[1, 2, 0], [0, 1, 0], [0, 0, 0]]
    assert recall_matrix([0, 0, 0, 1], [0, 1, 1, 1], 3)[0].tolist() == pytest.approx([1 / 3, 2 / 3, 0])
    assert recall_matrix([0, 0, 0, 1], [0, 1, 1, 1], 3)[2].tolist() == [0, 0, 0]


@pytest.mark.parametrize(("labels", "predictions"), [([0, 3], [0, 1]), ([0, 1], [0, -1])])
def test_an_id_out_of_range_is_refused(labels, predictions):
    with pytest.raises(ValueError, match=r"must be in 0\.\.2"):
        confusion_matrix(labels, predictions, 3)


def test_the_standard_error_of_two_tracks_by_hand():
    assert track_standard_error([1, 1, 1, 1, 0, 0], [0, 0, 0, 1, 1, 1]) == pytest.approx(math.sqrt(2 * 2) / 6)


def test_with_one_image_a_track_the_standard_error_is_the_binomial_one():
    right = np.array([1] * 70 + [0] * 30)
    assert track_standard_error(right, np.arange(100)) == pytest.approx(math.sqrt(0.7 * 0.3 / 99))


def test_copies_of_every_image_leave_the_standard_error():
    rng = np.random.default_rng(1)
    right, groups = rng.integers(0, 2, 80), np.repeat(np.arange(16), 5)
    assert track_standard_error(np.repeat(right, 30), np.repeat(groups, 30)) == pytest.approx(
        track_standard_error(right, groups)
    )


def test_the_standard_error_has_the_width_of_the_cluster_bootstrap():
    rng = np.random.default_rng(2)
    groups = np.repeat(np.arange(300), rng.integers(1, 12, 300))
    right = rng.random(len(groups)) < rng.beta(4, 1, 300)[groups]
    drawn = accuracy(right.astype(int), np.ones(len(right), int), groups)
    # 2,000 resamples know their quantiles to about 3 %.
    assert 2 * 1.96 * track_standard_error(right, groups) == pytest.approx(drawn.high - drawn.low, rel=0.12)


def test_the_fitted_temperature_recovers_the_one_that_was_applied():
    torch.manual_seed(0)
    logits = 2 * torch.randn(20_000, 5)
    labels = torch.distributions.Categorical(logits=logits).sample().numpy()
    # The labels were drawn at T = 1, so logits made three times too large need T = 3.
    assert fit_temperature(3 * logits, labels) == pytest.approx(3, rel=0.05)
    assert fit_temperature(logits / 2, labels) == pytest.approx(0.5, rel=0.05)


def test_the_fitted_temperature_is_where_the_loss_is_least():
    torch.manual_seed(1)
    logits = 4 * torch.randn(500, 6).double()
    labels = torch.distributions.Categorical(logits=logits / 2).sample()
    best = fit_temperature(logits, labels.numpy())
    losses = [F.cross_entropy(logits / t, labels).item() for t in (best, 0.99 * best, 1.01 * best)]
    assert losses[0] == min(losses)


def test_logits_that_are_not_finite_are_refused():
    with pytest.raises(ValueError, match="logits must be finite"):
        fit_temperature(torch.tensor([[math.inf, 0.0]]), [0])


def test_confident_mistakes_are_wrong_sorted_and_one_a_sign():
    logits = torch.tensor([[9.0, 0], [5, 0], [3, 0], [0, 4], [8, 0]])
    found = confident_mistakes(logits, [1, 1, 1, 0, 0], [7, 7, 8, 9, 9], 10)
    assert found.tolist() == [0, 3, 2]
    assert confident_mistakes(logits, [1, 1, 1, 0, 0], [7, 7, 8, 9, 9], 1).tolist() == [0]
    assert len(confident_mistakes(logits, [0, 0, 0, 1, 0], [7, 7, 8, 9, 9], 3)) == 0


def test_coverage_falls_with_the_threshold_and_keeps_the_sure():
    coverage, kept = coverage_curve([0.5, 0.9, 0.7, 0.99], [0, 1, 1, 1], [0.0, 0.7, 0.95, 1.0])
    assert coverage.tolist() == [1, 0.75, 0.25, 0]
    assert kept[:3].tolist() == [0.75, 1, 1]
    assert math.isnan(kept[3])


@pytest.mark.parametrize(("k", "value"), [(1, 0.0), (2, 1 / math.sqrt(math.pi)), (3, 1.5 / math.sqrt(math.pi))])
def test_the_expected_maximum_has_its_closed_forms(k, value):
    assert expected_maximum(k) == pytest.approx(value, abs=1e-9)


@pytest.mark.parametrize("k", [2, 10, 50, 1000])
def test_the_expected_maximum_stays_below_its_bound_and_is_simulated(k):
    drawn = np.random.default_rng(0).standard_normal((4000, k)).max(1)
    assert expected_maximum(k) <= math.sqrt(2 * math.log(k))
    assert expected_maximum(k) == pytest.approx(drawn.mean(), abs=4 * drawn.std() / math.sqrt(4000))


def test_a_maximum_of_nothing_is_refused():
    with pytest.raises(ValueError, match="k must be at least 1"):
        expected_maximum(0)


def test_the_exercise_s_one_cycle_is_torch_s_at_every_step():
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=1.0)
    scheduler = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, 0.01, total_steps=60, pct_start=0.2, cycle_momentum=False
    )
    for step in range(60):
        assert one_cycle_rate(step, 60, 0.01) == pytest.approx(optimizer.param_groups[0]["lr"], rel=1e-9)
        optimizer.step()
        scheduler.step() if step < 59 else None
