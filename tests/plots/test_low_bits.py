"""The figures on training with rounding show the gradients that the library computes, and the numbers given."""

from __future__ import annotations

import numpy as np
import pytest

from course_lib import plots
from course_lib.plots.low_bits import METHODS
from course_lib.quantization import Codes

LINE = [2, 4, 8], [80.0, 95.0, 98.0], [78.0, 94.0, 97.5], [82.0, 96.0, 98.5]
PANELS = {
    "rendered": (98.5, {"trained": LINE, "min-max": ([2, 4], [3.0, 90.0], [3.0, 90.0], [3.0, 90.0])}),
    "real": (99.0, {"AdaRound": LINE}),
}
LOST = {"rendered": ([2, 4, 8], [18.5, 3.5, 0.5], [16.0, 2.5, -0.5], [21.0, 4.5, 1.5])}
FIGURES = {
    "staircase": lambda: plots.staircase_figure(1.0, Codes(2)),
    "staircase, unsigned": lambda: plots.staircase_figure(0.3, Codes(4, signed=False)),
    "swinging": lambda: plots.swinging_figure([0.0, 0.3, 0.6, 0.4], [0, 0, 1, 0], 0.3),
    "bits": lambda: plots.low_bits_figure(PANELS, LOST),
    "one panel": lambda: plots.low_bits_figure({"real": PANELS["real"]}, {}),
}


@pytest.mark.parametrize("make", FIGURES.values(), ids=FIGURES.keys())
def test_each_figure_draws_with_labels_and_alt_text(make, check_drawn):
    check_drawn(make(), most_bytes=90_000)


def line(axes, place=0):
    found = axes.get_lines()[place]
    return np.asarray(found.get_xdata()), np.asarray(found.get_ydata())


def test_the_gradient_by_x_ends_half_a_step_beyond_the_codes():
    x, by_x = line(FIGURES["staircase"]().axes[1])  # codes −2 … 1
    assert set(by_x[(x > -2.49) & (x < 1.49)]) == {1}
    assert set(by_x[(x < -2.51) | (x > 1.51)]) == {0}


def test_the_gradient_by_the_step_is_a_sawtooth_with_the_ends_codes_outside():
    x, by_step = line(FIGURES["staircase"]().axes[2])
    inside = (x > -1.99) & (x < 0.99)
    assert by_step[inside] == pytest.approx(np.rint(x[inside]) - x[inside], abs=1e-4)
    assert set(by_step[x < -2.001].round(4)) == {-2}
    assert set(by_step[x > 1.001].round(4)) == {1}


def test_a_weight_that_swings_is_told_with_its_mean():
    assert "swings between 0 and 1, and has the mean 0.50" in plots.alt_text(FIGURES["swinging"]())


def test_methods_keep_their_colour_and_show_their_intervals():
    left, right, *_ = FIGURES["bits"]().axes
    named = {container.get_label(): container for axes in (left, right) for container in axes.containers}
    assert set(named) == set(METHODS.values())
    assert len({container[0].get_color() for container in named.values()}) == 3
    segments = named["trained on codes (LSQ)"][2][0].get_segments()
    assert [[round(y, 6) for _, y in segment] for segment in segments] == [[78, 82], [94, 96], [97.5, 98.5]]
    assert "rendered, trained on codes (LSQ): 80.0 at 2, 95.0 at 4, 98.0 at 8" in plots.alt_text(FIGURES["bits"]())


def test_the_same_bits_stand_at_the_same_place_in_all_panels():
    figure = FIGURES["bits"]()
    for axes in figure.axes:
        assert [label.get_text() for label in axes.get_xticklabels()] == ["2", "4", "8"]
        assert {tuple(container[0].get_xdata()) for container in axes.containers} <= {(0, 1, 2), (0, 1)}


def test_what_training_loses_has_a_scale_of_its_own_with_intervals_and_0():
    *_, lost, absent = FIGURES["bits"]().axes
    (container,) = lost.containers
    assert list(container[0].get_ydata()) == [18.5, 3.5, 0.5]
    assert [[round(y, 6) for _, y in s] for s in container[2][0].get_segments()] == [[16, 21], [2.5, 4.5], [-0.5, 1.5]]
    low, high = lost.get_ylim()
    assert low < -0.5
    assert 21 < high < 30
    assert not absent.get_visible()
    assert "rendered, points lost to float32: 18.5 at 2, 3.5 at 4, 0.5 at 8" in plots.alt_text(FIGURES["bits"]())
