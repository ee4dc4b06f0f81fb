"""The figures of the chapter on distilling logits show what they were given, and what they compute is right."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from course_lib import plots
from course_lib.measure import Measurement
from course_lib.plots.distilling import pushes, same_group_share, wrong_answer_shares

NAMES, GROUPS = [f"c{i}" for i in range(8)], ["a", "a", "a", "b", "b", "b", "c", "c"]
RNG = np.random.default_rng(0)
P = RNG.dirichlet(np.ones(8), 80)
LABELS = np.arange(80) % 8
SHARES = wrong_answer_shares(P, LABELS, 8)
IMAGES = RNG.random((2, 3, 16, 16))
TEACHER, STUDENT = torch.tensor([4.0, 2, 1, 0, 0, -1, -1, -2]), torch.zeros(8)


def figure(value: float, unit: str = "points") -> Measurement:
    return Measurement(value, unit, 3, "made up", low=value - 1, high=value + 0.5)


RESULT = {
    "alone_accuracy": figure(90, "%"), "soft_targets_accuracy": figure(92, "%"),
    "alone_tenth_accuracy": figure(60, "%"), "soft_targets_tenth_accuracy": figure(75, "%"),
}  # fmt: skip
FIGURES = {
    "wrong answers": lambda: plots.wrong_answers_figure(IMAGES, SHARES, [1, 6], NAMES, GROUPS),
    "likeness": lambda: plots.likeness_figure({"one": SHARES, "two": SHARES}, GROUPS),
    "likeness of one": lambda: plots.likeness_figure({"one": SHARES}, GROUPS),
    "push": lambda: plots.push_figure(IMAGES[0], TEACHER, STUDENT, 0, NAMES, temperature=4, alpha=0.9),
    "sweep": lambda: plots.sweep_figure({4: figure(1), 1: figure(0), 2: figure(2)}, {0.9: figure(1), 0.1: figure(-1)}),
    "regimes": lambda: plots.regimes_figure({"rendered": RESULT, "gtsrb": RESULT}),
    "one regime": lambda: plots.regimes_figure({"rendered": RESULT}),
}


@pytest.mark.parametrize("make", FIGURES.values(), ids=FIGURES.keys())
def test_each_figure_draws_with_labels_and_alt_text(make, tmp_path):
    drawn = make()
    assert len(plots.alt_text(drawn)) > 40
    assert all(axes.get_xlabel() and axes.get_ylabel() for axes in drawn.axes if axes.axison)
    drawn.savefig(tmp_path / "figure.png")
    assert (tmp_path / "figure.png").stat().st_size < 80_000


def test_shares_are_those_of_the_hand_computed_example():
    p = [[0.90, 0.06, 0.03, 0.01], [0.1, 0.8, 0.1, 0.0], [0.0, 0.0, 0.5, 0.5], [0.2, 0.2, 0.2, 0.4]]
    shares = wrong_answer_shares(p, [0, 1, 2, 3], 4)
    assert np.allclose(shares[:3], [[0, 0.6, 0.3, 0.1], [0.5, 0, 0.5, 0], [0, 0, 0, 1]])


def test_shares_of_a_class_are_taken_from_mean_probabilities_and_sum_to_one():
    p = [[0.9, 0.1, 0.0], [0.5, 0.3, 0.2], [0.2, 0.6, 0.2], [0.1, 0.1, 0.8]]
    shares = wrong_answer_shares(p, [0, 0, 1, 2], 3)
    assert np.allclose(shares[0], [0, 2 / 3, 1 / 3])  # the rows' own shares would give 0.8, their maxima 0.6
    assert np.allclose(SHARES.sum(1), 1)
    assert np.diag(SHARES).tolist() == [0] * 8


def test_a_class_without_images_is_refused():
    with pytest.raises(ValueError, match=r"every class, got none of \[2\]"):
        wrong_answer_shares(np.ones((2, 3)) / 3, [0, 1], 3)


def test_the_share_within_a_group_counts_other_classes_of_the_same_group_only():
    shares = [[0, 0.7, 0.3], [0.2, 0, 0.8], [0.5, 0.5, 0]]
    assert same_group_share(shares, ["a", "a", "b"]) == pytest.approx((0.7 + 0.2 + 0) / 3)


def test_pushes_are_the_gradients_that_the_chapter_derives():
    found = pushes(STUDENT, TEACHER, 1, 4.0, 0.75)
    p, q = (TEACHER / 4).softmax(0), STUDENT.softmax(0)
    label, first = torch.eye(8)[1], torch.eye(8)[0]
    assert torch.allclose(found["label"], label - q)
    assert torch.allclose(found["pseudo-label"], first - q)
    soft = 4 * (p - (STUDENT / 4).softmax(0))
    assert torch.allclose(found["soft targets and label"], 0.75 * soft + 0.25 * (label - q), atol=1e-6)


def test_pushes_leave_the_logits_as_they_were():
    student = STUDENT.clone().requires_grad_()
    pushes(student, TEACHER, 1, 4.0, 0.5)
    assert student.grad is None


def test_the_push_figure_names_the_temperature_the_entropy_and_each_push():
    text = plots.alt_text(FIGURES["push"]())
    bits = float(-((p := (TEACHER / 4).softmax(0)) * p.log2()).sum())
    assert f"T = 4: c0 {100 * p[0]:.0f} %" in text
    assert f"entropy {bits:.2f} bits" in text
    assert "label: c0 +0.88, c1 -0.12" in text


def test_bars_of_the_own_group_are_filled_and_others_hatched():
    drawn = FIGURES["wrong answers"]()
    bars = drawn.axes[2].patches  # class 1 of group a
    best = np.argsort(-SHARES[1])[:5]
    assert [bar.get_hatch() is None for bar in bars] == [GROUPS[k] == "a" for k in best]
    assert np.allclose([bar.get_width() for bar in bars], 100 * SHARES[1, best])


def test_the_table_is_sorted_by_group():
    groups = ["b", "a", "b", "a"]
    shares = np.arange(16.0).reshape(4, 4) / 100
    drawn = plots.likeness_figure({"one": shares}, groups)
    order = [1, 3, 0, 2]
    assert np.allclose(drawn.axes[0].images[0].get_array(), 100 * shares[np.ix_(order, order)])


def test_sweeps_are_drawn_in_order_with_their_intervals_on_one_scale():
    left, right = FIGURES["sweep"]().axes
    line = left.containers[0]
    assert line.lines[0].get_xydata().tolist() == [[1, 0], [2, 2], [4, 1]]
    assert [s[:, 1].tolist() for s in line.lines[2][0].get_segments()] == [[-1, 0.5], [1, 2.5], [0, 1.5]]
    assert left.get_ylim() == right.get_ylim()


def test_regimes_put_each_accuracy_in_its_row_with_its_interval():
    left, _ = FIGURES["regimes"]().axes
    points = [c.lines[0].get_xydata()[0].tolist() for c in left.containers]
    assert points == [[90, 0], [92, 0], [60, 1], [75, 1]]
    assert left.containers[3].lines[2][0].get_segments()[0][:, 0].tolist() == [74, 75.5]
