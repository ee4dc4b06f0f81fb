"""The figures of boards draw what documented peaks allow."""

from __future__ import annotations

import numpy as np
import pytest

from course_lib import plots

ROOFS = {"a core": (11.0, 6.4), "a GPU": (20_000.0, 68.0)}
LAYERS = {"conv 1": 30.0, "conv 2": 90.0, "classifier": 1.9}
TIMES = {"conv 1": (0.011, 0.11, 5.0), "classifier": (0.0004, 0.06, 5.0)}
FIGURES = {
    "roofs": lambda: plots.board_roofs_figure(ROOFS, LAYERS),
    "times": lambda: plots.least_times_figure(TIMES, "somewhere"),
    "nothing assumed": lambda: plots.least_times_figure({"conv 1": (0.011, 0.11, 0.0)}, "somewhere"),
}


@pytest.mark.parametrize("make", FIGURES.values(), ids=FIGURES.keys())
def test_each_figure_draws_with_labels_and_alt_text(make, check_drawn):
    check_drawn(make(), most_bytes=80_000)


def test_a_roof_bends_where_memory_and_arithmetic_meet_and_layers_stand_on_it():
    figure = plots.board_roofs_figure(ROOFS, LAYERS)
    lines = figure.axes[0].get_lines()
    x, y = lines[2].get_data()
    assert np.allclose(y, np.minimum(20_000.0, 68.0 * np.asarray(x)))
    assert np.array(lines[3].get_xydata()).tolist() == [[30.0, 2040.0], [90.0, 6120.0], [1.9, pytest.approx(129.2)]]
    assert "a core: 11 G operations/s, 0 of 3 layers on the slanted part" in figure.alt_text
    assert "a GPU: 20,000 G operations/s, 3 of 3 layers" in figure.alt_text


def test_the_layers_at_both_ends_are_named():
    axes = plots.board_roofs_figure(ROOFS, LAYERS).axes[0]
    assert {text.get_text().strip() for text in axes.texts} == {"conv 2", "classifier"}


def test_no_time_for_starting_is_not_drawn():
    drawn = [line.get_label() for line in FIGURES["nothing assumed"]().axes[0].get_lines()]
    assert drawn == ["to compute", "to move its bytes"]
    assert "assumed for starting it" in [line.get_label() for line in FIGURES["times"]().axes[0].get_lines()]


def test_numbers_on_the_axes_have_no_exponents():
    figure = FIGURES["times"]()
    figure.canvas.draw()
    ticks = [label.get_text() for label in figure.axes[0].get_xticklabels() if label.get_text()]
    assert "0.01" in ticks
    assert not any("^" in tick or "e" in tick for tick in ticks)
