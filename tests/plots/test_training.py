"""Curves of a training run from its first step to its last."""

from __future__ import annotations

import pytest

from course_lib import plots

HISTORY = [{"attention": 0.4, "hint": 2.0}, {"attention": 0.1, "hint": 1.5}]
EPOCHS = [{"epoch": 0, "loss": 2.0, "validation_accuracy": 0.5}, {"epoch": 1, "loss": 1.0, "validation_accuracy": 0.7}]
FIGURES = {
    "learning rate": lambda: plots.learning_rate_figure({"a": [0.001, 0.002, 0.001, 0.0], "b": [0.002] * 4}, 2),
    "history": lambda: plots.history_figure({"student": EPOCHS}),
    "terms": lambda: plots.terms_figure({"labels only": HISTORY, "all": HISTORY}, ["attention", "hint"]),
    "shrinkage": lambda: plots.shrinkage_figure(range(3), {"test": [3.0, 1.0, 2.0]}),
}


@pytest.mark.parametrize("make", FIGURES.values(), ids=FIGURES.keys())
def test_each_figure_draws_with_labels_and_alt_text(make, check_drawn):
    check_drawn(make(), most_bytes=90_000)


def test_the_learning_rate_figure_marks_the_ends_of_the_epochs():
    figure = plots.learning_rate_figure({"a": [0.001, 0.002, 0.001, 0.0], "b": [0.002] * 4}, 2)
    assert figure.axes[0].lines[0].get_ydata().tolist() == pytest.approx([1, 2, 1, 0])
    assert [line.get_xdata()[0] for line in figure.axes[0].lines[1:]] == [2]
    assert "a: from 1 over at most 2 to 0" in figure.alt_text


def test_the_history_figure_counts_epochs_from_one_and_shows_percent():
    rows = [
        {"epoch": 0, "loss": 2.0, "validation_accuracy": 0.5},
        {"epoch": 1, "loss": 1.0, "validation_accuracy": 0.7},
    ]
    figure = plots.history_figure({"student": rows})
    assert figure.axes[1].lines[0].get_xydata().tolist() == [[1, 50], [2, 70]]
    assert "student: 70 % after 2 epochs" in figure.alt_text


def test_terms_run_from_the_first_epoch_to_the_last():
    left, right = plots.terms_figure({"all": HISTORY}, ["attention", "hint"]).axes
    assert left.get_lines()[0].get_xydata().tolist() == [[1, 0.4], [2, 0.1]]
    assert right.get_lines()[0].get_ydata().tolist() == [2.0, 1.5]


def test_the_lowest_error_is_marked_in_its_round():
    axes = FIGURES["shrinkage"]().axes[0]
    curve, star = axes.get_lines()
    assert curve.get_xydata().tolist() == [[0, 3], [1, 1], [2, 2]]
    assert star.get_xydata().tolist() == [[1, 1]]
    assert "test: 3 at first, lowest 1 in round 1" in plots.alt_text(FIGURES["shrinkage"]())
