"""The figures on ranges show the numbers that they are given."""

from __future__ import annotations

import numpy as np
import pytest
from matplotlib.patches import Rectangle

from course_lib import plots
from course_lib.plots.ranges import OBSERVERS

COUNTS, EDGES = np.array([90, 20, 0, 5, 1]), np.arange(6) / 2.0
FIGURES = {
    "ends": lambda: plots.ends_figure(
        COUNTS, EDGES, {name: 0.5 * i + 0.5 for i, name in enumerate(OBSERVERS)}, "conv 4"
    ),
    "observers": lambda: plots.observers_figure(
        [8, 6, 4], {"min-max": [0.98, 0.97, 0.9], "entropy": [0.94, 0.93, 0.8]}, 0.985
    ),
    "draws": lambda: plots.draws_figure(
        [1, 8], {"SQNR, dB": {"min-max": [[10, 12], [14, 15]], "least squares": [[9, 12], [16, 16.5]]}}
    ),
    "shifts": lambda: plots.shifts_figure(["conv 1", "conv 2"], {"nearest": [0.1, 0.2], "empirical": [0.02, 0.05]}),
    "chosen": lambda: plots.chosen_range_figure(COUNTS, EDGES, 0.0, 1.5, "0 … 1.5: 5 % clipped"),
}


@pytest.mark.parametrize("make", FIGURES.values(), ids=FIGURES.keys())
def test_each_figure_draws_with_labels_and_alt_text(make, check_drawn):
    check_drawn(make(), most_bytes=90_000)


def test_every_end_stands_where_its_observer_put_it():
    axes = FIGURES["ends"]().axes[0]
    markers = [line for line in axes.lines if line.get_linestyle() == "None"]
    assert [float(np.asarray(line.get_xdata())[0]) for line in markers] == [0.5, 1.0, 1.5, 2.0, 2.5]
    assert str(markers[3].get_label()) == "least squares: 2.00"


def test_an_observer_keeps_its_colour_and_marker():
    looks = []
    for name in ("observers", "draws"):
        axes = FIGURES[name]().axes[0]
        line = next(one for one in axes.lines if one.get_marker() == "o")
        looks.append((line.get_color(), line.get_marker()))
    assert looks[0] == looks[1]


def test_accuracies_are_percent_and_a_marker_hides_no_other():
    axes = FIGURES["observers"]().axes[0]
    lines = [line for line in axes.lines if len(np.asarray(line.get_xdata())) == 3]
    assert [np.asarray(line.get_ydata()).round(1).tolist() for line in lines] == [[98, 97, 90], [94, 93, 80]]
    assert not set(np.asarray(lines[0].get_xdata())) & set(np.asarray(lines[1].get_xdata()))
    assert axes.xaxis_inverted()


def test_draws_are_points_and_their_mean_a_line():
    axes = FIGURES["draws"]().axes[0]
    points, mean = axes.lines[0], axes.lines[1]
    assert np.asarray(points.get_ydata()).tolist() == [10, 12, 14, 15]
    assert np.asarray(mean.get_ydata()).tolist() == [11, 14.5]


def test_the_alt_text_tells_shifts():
    assert "nearest: 0.100, 0.200; empirical: 0.020, 0.050" in plots.alt_text(FIGURES["shifts"]())


def test_a_shift_that_is_not_there_has_no_bar_and_is_told_as_none():
    figure = plots.shifts_figure(["conv 1", "classifier"], {"behind the ReLU": [0.1, float("nan")]})
    bars = [bar for bar in figure.axes[0].patches if isinstance(bar, Rectangle)]
    assert np.array_equal([bar.get_height() for bar in bars], [0.1, np.nan], equal_nan=True)
    assert "behind the ReLU: 0.100, none." in plots.alt_text(figure)


def test_a_chosen_range_names_its_tensor():
    figure = plots.chosen_range_figure(COUNTS, EDGES, 0.0, 1.5, "0 … 1.5: 5 % clipped", "conv 4")
    assert figure.axes[0].get_xlabel() == "value in conv 4"
    assert "Values of conv 4 lie in" in plots.alt_text(figure)


def test_an_unknown_observer_is_refused():
    with pytest.raises(ValueError, match="one of min-max"):
        plots.ends_figure(COUNTS, EDGES, {"guess": 1.0}, "conv 4")
