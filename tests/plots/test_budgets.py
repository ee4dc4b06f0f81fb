"""The figures of budgets show the numbers that they are given, and an arm looks alike in all panels."""

from __future__ import annotations

import numpy as np
import pytest

from course_lib import plots
from course_lib.experiments.drift_rows import ARMS, CONDITIONS, Row

RATIOS = [0.0, 0.25, 0.5]


def rows():
    told = [(0, "day"), (1, "day"), (2, "night"), (3, "rain")]
    return [
        Row(arm, seed, w, c, {"day": 0.9 - 0.1 * w + 0.02 * seed, "night": 0.5, "rain": 0.6}, 0.9, 0.0)
        for arm in ARMS
        for seed in (0, 1)
        for w, c in told
    ]


FIGURES = {
    "sensitivity": lambda: plots.sensitivity_figure(
        {"conv 1": (RATIOS, [0.9, 0.8, 0.4]), "conv 2": (RATIOS, [0.9, 0.9, 0.7])}
    ),
    "together": lambda: plots.together_figure([0.25, 0.5], {"conv 1": [1.0, 20.0], "conv 2": [2.0, 30.0]}, [9.0, 80.0]),
    "allocation": lambda: plots.allocation_figure(
        {"uniform": {"a": 0.5, "b": 0.5}, "greedy": {"a": 0.9, "b": 0.25}}, "50 %"
    ),
    "times": lambda: plots.predicted_times_figure({"uniform": ([0.2, 0.1], [0.15, 0.09]), "greedy": ([0.2], [0.14])}),
    "accuracy": lambda: plots.accuracy_and_time_figure({"uniform": ([0.2, 0.1], [0.9, 0.3])}, (0.25, 0.95)),
    "gates": lambda: plots.gates_figure({"conv 1": [1.0, 1.0, 0.5, 0.0], "conv 2": [0.2, 0.3]}, [0.4, 0.5, 0.9]),
    "stream": lambda: plots.stream_figure(rows(), ["frozen", "fixed", "dense"]),
}


@pytest.mark.parametrize("make", FIGURES.values(), ids=FIGURES.keys())
def test_each_figure_draws_with_labels_and_alt_text(make, check_drawn):
    check_drawn(make(), most_bytes=90_000)


def test_a_curve_is_drawn_in_per_cent_and_its_half_is_told():
    figure = FIGURES["sensitivity"]()
    first = figure.axes[0].get_lines()[0]
    assert first.get_xdata() == pytest.approx([0, 25, 50])
    assert first.get_ydata() == pytest.approx([90, 80, 40])
    assert "conv 1 40 %, conv 2 70 %" in plots.alt_text(figure)


def test_losses_alone_are_stacked_beside_those_together():
    figure = FIGURES["together"]()
    bars = figure.axes[0].patches
    assert [bar.get_height() for bar in bars] == pytest.approx([1, 20, 2, 30, 9, 80])
    assert [bar.get_y() for bar in bars[2:4]] == pytest.approx([1, 20])
    assert "50 %: sum 50, together 80" in plots.alt_text(figure)


def test_each_layer_has_a_bar_for_each_rule():
    figure = FIGURES["allocation"]()
    assert [bar.get_height() for bar in figure.axes[0].patches] == pytest.approx([50, 50, 90, 25])
    assert "greedy: a 90 %, b 25 %" in plots.alt_text(figure)


def test_times_are_drawn_measured_over_predicted_with_the_line_of_equality():
    figure = FIGURES["times"]()
    uniform, _, equal = figure.axes[0].get_lines()
    assert (uniform.get_xdata().tolist(), uniform.get_ydata().tolist()) == ([0.2, 0.1], [0.15, 0.09])
    assert np.array_equal(equal.get_xdata(), equal.get_ydata())
    assert "uniform: measured 0.75 to 0.90 of the prediction" in plots.alt_text(figure)


def test_accuracy_is_drawn_over_time_in_the_order_of_time_with_the_whole_network():
    figure = FIGURES["accuracy"]()
    uniform, whole = figure.axes[0].get_lines()
    assert (uniform.get_xdata().tolist(), uniform.get_ydata().tolist()) == ([0.1, 0.2], [30, 90])
    assert (list(whole.get_xdata()), list(whole.get_ydata())) == ([0.25], [95])
    assert "uniform: 30 to 90 % at 0.100 to 0.200 ms; whole: 0.250 ms" in plots.alt_text(figure)


def test_the_channels_of_a_layer_are_sorted_by_how_many_images_switch_them_on():
    figure = FIGURES["gates"]()
    first, second = figure.axes[0].get_lines()
    assert first.get_ydata() == pytest.approx([100, 100, 50, 0])
    assert first.get_xdata() == pytest.approx([12.5, 37.5, 62.5, 87.5])
    assert second.get_ydata() == pytest.approx([30, 20])
    assert sum(bar.get_height() for bar in figure.axes[1].patches) == 3
    assert "conv 2 20 to 30 %" in plots.alt_text(figure)
    assert "mean 60 %, from 40 to 90 %" in plots.alt_text(figure)


def test_the_stream_shows_means_over_seeds_and_an_arm_has_one_colour_in_all_panels():
    figure = FIGURES["stream"]()
    assert len(figure.axes) == len(CONDITIONS)
    day = figure.axes[0].get_lines()
    assert day[0].get_ydata() == pytest.approx([91, 81, 71, 61])
    for lines in zip(*(axes.get_lines() for axes in figure.axes), strict=True):
        assert len({(line.get_color(), line.get_marker(), line.get_label()) for line in lines}) == 1
    assert len({line.get_color() for line in day}) == 3
    assert "frozen after pruning 61 %" in plots.alt_text(figure)
