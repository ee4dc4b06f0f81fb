"""Gains, sweeps and regimes are drawn with their intervals, in order."""

from __future__ import annotations

import numpy as np
import pytest

from course_lib import plots
from course_lib.evaluation import Estimate
from course_lib.measure import Measurement


def measured(value: float, unit: str = "points") -> Measurement:
    return Measurement(value, unit, 3, "made up", low=value - 1, high=value + 0.5)


GAINS = {
    "soft targets": Estimate(2.0, 1.0, 3.0, 3, "points"),
    "hint": Estimate(0.5, -0.4, 1.2, 3, "points"),
    "similarity-preserving": Estimate(-1.5, -2.5, -0.5, 3, "points"),
}

RESULT = {
    "alone_accuracy": measured(90, "%"), "soft_targets_accuracy": measured(92, "%"),
    "alone_tenth_accuracy": measured(60, "%"), "soft_targets_tenth_accuracy": measured(75, "%"),
}  # fmt: skip
BY_TEMPERATURE = {4: measured(1), 1: measured(0), 2: measured(2)}
FIGURES = {
    "gains": lambda: plots.gains_figure(GAINS),
    "sweep": lambda: plots.sweep_figure(BY_TEMPERATURE, {0.9: measured(1), 0.1: measured(-1)}),
    "regimes": lambda: plots.regimes_figure({"rendered": RESULT, "gtsrb": RESULT}),
    "one regime": lambda: plots.regimes_figure({"rendered": RESULT}),
}


@pytest.mark.parametrize("make", FIGURES.values(), ids=FIGURES.keys())
def test_each_figure_draws_with_labels_and_alt_text(make, check_drawn):
    check_drawn(make(), most_bytes=80_000)


def test_gains_stand_from_low_to_high_in_the_colour_of_their_verdict():
    axes = plots.gains_figure(GAINS).axes[0]
    bars = [container.lines[2][0].get_segments()[0][:, 0].tolist() for container in axes.containers]
    assert np.allclose(bars, [[1.0, 3.0], [-0.4, 1.2], [-2.5, -0.5]])
    assert [tick.get_text() for tick in axes.get_yticklabels()] == ["soft targets", "hint", "similarity-preserving"]
    assert len({container.lines[0].get_color() for container in axes.containers}) == 3


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
    assert [text.get_text() for text in left.texts if text.get_text()[0] in "+−"] == ["+2.00", "+15.00"]


def test_a_gain_without_an_interval_is_a_point_without_a_bar():
    alone = {1: Measurement(0.5, "points", 1, "made up"), 2: Measurement(0.7, "points", 1, "made up")}
    left, _ = plots.sweep_figure(alone, alone).axes
    assert [s[:, 1].tolist() for s in left.containers[0].lines[2][0].get_segments()] == [[0.5, 0.5], [0.7, 0.7]]
