"""Answers, entropies and gradients are drawn at the temperature they were taken at."""

from __future__ import annotations

import numpy as np
import pytest

from course_lib import plots
from course_lib.plots import temperature_figure

NAMES = ("30", "50", "80", "stop")
LOGITS = np.array([[3.0, 1.0, 0.0, 0.0], [0.0, 0.0, 2.0, 1.0]])
IMAGES = np.zeros((2, 3, 8, 8), np.uint8)
TEMPERATURES = np.array([1.0, 3.0, 10.0, 100.0])
MEASURED = np.array([[t**-2.0, 2 * t**-2.0, 3 * t**-2.0] for t in TEMPERATURES])


def square_law():
    scaled = TEMPERATURES[:, None] ** 2 * MEASURED / 2
    return plots.square_law_figure(TEMPERATURES, MEASURED, scaled, 1 / TEMPERATURES[:, None] * np.ones(3))


FIGURES = {
    "temperature": lambda: plots.temperature_figure(LOGITS[0], NAMES, (1, 4)),
    "answers": lambda: plots.soft_answers_figure(IMAGES, LOGITS, [0, 2], NAMES, temperatures=(1, 4)),
    "square law": square_law,
    "entropy": lambda: plots.entropy_figure(TEMPERATURES, np.ones((4, 3)), 43, name="teacher's answers"),
}


@pytest.mark.parametrize("make", FIGURES.values(), ids=FIGURES.keys())
def test_each_figure_draws_with_labels_and_alt_text(make, check_drawn):
    check_drawn(make(), most_bytes=90_000)


def test_temperature_divides_the_logits():
    z = np.array([1.0, 2.0, 4.0])
    figure = temperature_figure(z, ["a", "b", "c"], (1, 4))
    for axes, temperature in zip(figure.axes, (1, 4), strict=True):
        expected = np.exp(z / temperature) / np.exp(z / temperature).sum()
        np.testing.assert_allclose([bar.get_height() for bar in axes.patches], 100 * expected)
        assert axes.get_title(loc="left") == f"T = {temperature}"


def test_huge_logits_do_not_overflow():
    figure = temperature_figure([1000.0, 0.0], ["a", "b"], (1,))
    assert [bar.get_height() for bar in figure.axes[0].patches] == [100, 0]


def test_answers_are_softmaxes_at_their_temperature_and_the_right_class_has_its_own_colour():
    figure = FIGURES["answers"]()
    first = figure.axes[1]
    for axes, temperature in ((first, 1), (figure.axes[2], 4)):
        p = np.exp(LOGITS[0] / temperature) / np.exp(LOGITS[0] / temperature).sum()
        assert [patch.get_width() for patch in axes.patches] == pytest.approx((100 * p).tolist())
    assert [patch.get_facecolor()[:3] for patch in first.patches].count(first.patches[0].get_facecolor()[:3]) == 1
    assert "sign 80 at T = 4" in plots.alt_text(figure)


def test_the_entropy_axis_reaches_the_entropy_of_all_classes_alike():
    line = FIGURES["entropy"]().axes[0].get_lines()[-1]
    assert line.get_ydata()[0] == pytest.approx(np.log2(43))


def test_the_square_law_draws_medians_and_guides_of_slope_minus_two_and_minus_one():
    left, middle, right = FIGURES["square law"]().axes
    median, guide = left.get_lines()
    assert median.get_ydata() == pytest.approx(2 * TEMPERATURES**-2)
    assert guide.get_ydata() == pytest.approx(2 * TEMPERATURES[1:] ** -2)
    assert middle.get_lines()[0].get_ydata() == pytest.approx(np.ones(4))
    assert right.get_lines()[1].get_ydata() == pytest.approx(1 / TEMPERATURES[1:])
