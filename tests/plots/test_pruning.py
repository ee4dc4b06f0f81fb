"""Pruning's figures show the numbers that they are given, and one way of pruning looks alike in all of them."""

from __future__ import annotations

import numpy as np
import pytest

from course_lib import plots
from course_lib.evaluation import Estimate
from course_lib.experiments.pruning_study import ARMS, DENSE, PRUNING_RATIOS

THRESHOLDS = [0.0, 0.1, 0.2]
ZEROS = {"conv 1": [0.0, 0.4, 0.9], "classifier": [0.0, 0.1, 0.2], "all": [0.0, 0.25, 0.55]}
DRAWN = [arm for arm in ARMS if arm != "dense"]


def losses():
    return {
        arm: {r: Estimate(-i - 10 * r, -i - 12 * r, -i - 9 * r, 3, "points") for r in PRUNING_RATIOS}
        for i, arm in enumerate(DRAWN)
    }


FIGURES = {
    "threshold": lambda: plots.threshold_figure(np.linspace(0, 1, 50), THRESHOLDS, ZEROS, [0.9, 0.8, 0.1], at=1),
    "layers": lambda: plots.layers_figure({"global": {"a": 0.5, "b": 1.0}, "in each layer": {"a": 0.7, "b": 0.7}}),
    "schedules": lambda: plots.schedules_figure({"one_shot": [0.9] * 8, "cubic": np.linspace(0, 0.9, 8)}),
    "losses": lambda: plots.pruning_losses_figure(losses()),
    "storage": lambda: plots.storage_figure([0.0, 0.5], {"dense": [100, 100], "csr": [150, 75]}),
}


@pytest.mark.parametrize("make", FIGURES.values(), ids=FIGURES.keys())
def test_each_figure_draws_with_labels_and_alt_text(make, check_drawn):
    check_drawn(make(), most_bytes=90_000)


def test_the_threshold_is_the_chosen_one_in_all_three_panels():
    figure = FIGURES["threshold"]()
    left, middle, last = figure.axes
    (line,) = left.get_lines()
    assert line.get_xdata()[0] == 0.1
    assert [bar.get_width() for bar in middle.patches] == [40, 10]
    curve, point = last.get_lines()
    assert curve.get_xdata().tolist() == [0, 25, 55.00000000000001]
    assert (point.get_xdata()[0], point.get_ydata()[0]) == (25, 80)
    assert "conv 1 40 %, classifier 10 %" in plots.alt_text(figure)


def test_bars_left_of_the_threshold_have_another_colour():
    bars = FIGURES["threshold"]().axes[0].patches
    colours = [bar.get_facecolor() for bar in bars]
    cut = [bar.get_x() < 0.1 for bar in bars]
    assert len({colour for colour, below in zip(colours, cut, strict=True) if below}) == 1
    assert len({colour for colour, below in zip(colours, cut, strict=True) if not below}) == 1
    assert len(set(colours)) == 2


def test_each_layer_has_a_bar_for_each_way():
    bars = FIGURES["layers"]().axes[0].patches
    assert [bar.get_height() for bar in bars] == pytest.approx([50, 100, 70, 70])


def test_an_arm_has_one_colour_in_all_figures():
    schedules = {line.get_label(): line.get_color() for line in FIGURES["schedules"]().axes[0].get_lines()}
    containers = FIGURES["losses"]().axes[0].containers
    drawn = {c.get_label(): c.lines[0].get_color() for c in containers}
    pruned = [arm for arm in DRAWN if arm not in DENSE]
    assert set(drawn) == {ARMS[arm] for arm in pruned}
    assert len(set(drawn.values())) == len({c.lines[0].get_marker() for c in containers}) == len(pruned)
    assert schedules.items() <= drawn.items()


def test_an_arm_that_removes_nothing_is_one_line_with_a_band():
    axes = FIGURES["losses"]().axes[0]
    lines = [line for line in axes.get_lines() if line.get_label() == ARMS["dense_rewound"]]
    assert [line.get_ydata()[0] for line in lines] == [losses()["dense_rewound"][0.8].value]
    assert len(axes.patches) == 1


def test_losses_are_drawn_with_their_intervals():
    figure = FIGURES["losses"]()
    first = figure.axes[0].containers[0]
    assert first.lines[0].get_ydata() == pytest.approx([-9, -10, -10.5])
    segment = first.lines[2][0].get_segments()[0]
    assert segment[:, 1] == pytest.approx([-10.6, -8.2])
    assert f"{ARMS[DRAWN[1]]} -9.0 [-10.6, -8.2]" in plots.alt_text(figure)


def test_sizes_are_drawn_in_per_cent_of_dense():
    dense, csr = FIGURES["storage"]().axes[0].get_lines()
    assert dense.get_ydata().tolist() == [100, 100]
    assert csr.get_ydata().tolist() == [150, 75]
