"""The figures of integer arithmetic show the numbers that they are given."""

from __future__ import annotations

import numpy as np
import pytest

from course_lib import plots


def drawn(line, axis: str = "y") -> list[float]:
    """The numbers that a line was drawn with."""
    return np.asarray(line.get_ydata() if axis == "y" else line.get_xdata(), float).tolist()


FIGURES = {
    "accumulator": lambda: plots.accumulator_figure(
        {
            "bound": {"conv 1": 200_000.0, "classifier": 90_000.0},
            "seen": {"conv 1": 40_000.0, "classifier": 9_000.0},
        },
        [16, 32],
    ),
    "rounding": lambda: plots.rounding_figure(2.5, {"down": 2, "half up": 3, "even": 2}, "5 · 0.5"),
    "mean shift": lambda: plots.mean_shift_figure(
        [1, 2], {"down": ([-0.25, -0.375], [-0.25, -0.375]), "even": ([0.0, 0.0], [0.01, 0.0])}
    ),
    "parting": lambda: plots.parting_figure(["conv 1", "pool"], {"alone": [0.001, 0.1], "together": [0.001, 0.25]}),
}


@pytest.mark.parametrize("make", FIGURES.values(), ids=FIGURES.keys())
def test_each_figure_draws_with_labels_and_alt_text(make, check_drawn):
    check_drawn(make(), most_bytes=90_000)


def test_accumulators_stand_beside_the_ends_of_words():
    figure = FIGURES["accumulator"]()
    axes = figure.axes[0]
    heights = [bar.get_height() for bars in axes.containers for bar in bars]
    assert heights == [200_000, 90_000, 40_000, 9_000]
    assert [drawn(line)[0] for line in axes.get_lines()] == [2**15, 2**31]
    assert "bound: conv 1 200,000, classifier 90,000; seen: conv 1 40,000" in plots.alt_text(figure)
    assert "16 bits end at 32,768" in plots.alt_text(figure)


def test_a_product_is_joined_to_where_each_rounding_sends_it():
    figure = FIGURES["rounding"]()
    joined = [drawn(line, "x") for line in figure.axes[0].get_lines() if drawn(line) in ([0, 0], [1, 1])]
    assert joined == [[2.5, 2.0], [2.5, 3.0]]
    assert plots.alt_text(figure) == "5 · 0.5. The product 2.5 becomes: down 2, half up 3, even 2."


def test_means_are_drawn_over_the_bits_in_both_panels():
    figure = FIGURES["mean shift"]()
    left, right = (axes.get_lines() for axes in figure.axes)
    assert drawn(left[0]) == [-0.25, -0.375]
    assert drawn(right[1]) == [0.01, 0.0]
    assert "above 0: down -0.375, even +0.000" in plots.alt_text(figure)


def test_shares_are_drawn_in_per_cent():
    figure = FIGURES["parting"]()
    alone, together = figure.axes[0].get_lines()
    assert drawn(alone) == pytest.approx([0.1, 10])
    assert drawn(together) == pytest.approx([0.1, 25])
    assert "together: largest 25.00 %, last layer 25.00 %" in plots.alt_text(figure)
