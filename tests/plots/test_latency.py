"""Figures of times show every call they were given, and say in words what was measured."""

from __future__ import annotations

import pytest

from course_lib import plots
from course_lib.evaluation import Estimate
from course_lib.measure.simulation import simulate_session

ESTIMATES = {"means": Estimate(1.5, 1.2, 1.9, 30, "×"), "medians": Estimate(2.0, 1.9, 2.1, 30, "×")}


def session(interleaved: bool):
    return simulate_session(2.0, 20, drift=0.5, interruptions=0.0, interleaved=interleaved, seed=0)


FIGURES = {
    "first calls": lambda: plots.first_calls_figure({"teacher": [9.0, 3, 3], "student": [2.0, 1, 1]}),
    "distribution": lambda: plots.distribution_figure([2.0, 2, 2, 10]),
    "drift": lambda: plots.drift_figure(session(False), session(True), 2.0),
    "estimates": lambda: plots.estimates_figure(ESTIMATES, 2.0),
    "speed-ups": lambda: plots.speedups_figure({"careless": (5.0, 2.0, 20.0), "MACs": (37.6, 37.6, 37.6)}),
}


@pytest.mark.parametrize("make", FIGURES.values(), ids=FIGURES.keys())
def test_each_figure_draws_with_labels_and_alt_text(make, check_drawn):
    check_drawn(make(), most_bytes=80_000)


def test_the_distribution_marks_median_mean_and_p95_of_its_samples():
    figure = plots.distribution_figure([2.0, 2, 2, 10])
    labels = [text.get_text() for text in figure.axes[0].get_legend().get_texts()]
    assert labels == ["median (p50): 2 ms", "mean: 4 ms", "p95: 8.8 ms"]


def test_the_first_call_is_named_apart_from_the_others():
    text = plots.alt_text(FIGURES["first calls"]())
    assert "teacher: first call 9 ms, median of the others 3 ms" in text


def test_an_interval_is_drawn_from_low_to_high_and_none_where_there_is_none():
    axes = plots.speedups_figure({"careless": (5.0, 2.0, 20.0), "MACs": (37.6, 37.6, 37.6)}).axes[0]
    with_bar, without = axes.containers
    assert with_bar.lines[2][0].get_segments()[0][:, 0].tolist() == [2.0, 20.0]
    assert not without.has_xerr


def test_the_true_value_is_drawn_among_the_estimates():
    axes = plots.estimates_figure(ESTIMATES, 2.0).axes[0]
    assert any(list(line.get_xdata()) == [2.0, 2.0] for line in axes.get_lines())
    assert axes.get_xlim()[0] <= 1.2


def test_drift_panels_show_every_call_of_both_sessions():
    left, right = plots.drift_figure(session(False), session(True), 2.0).axes
    assert [len(line.get_xdata()) for axes in (left, right) for line in axes.get_lines()] == [20] * 4
    assert left.get_ylim() == right.get_ylim()
