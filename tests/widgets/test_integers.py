"""The explorer of roundings: its picture tells the exact product and what becomes of it."""

from __future__ import annotations

import pytest

from course_lib import plots, widgets


@pytest.mark.parametrize(
    ("accumulator", "factor", "told"),
    [
        (5, 0.5, "2.5 becomes: down (shift alone) 2, half up 3, half to even 2, half away from 0 3"),
        (-5, 0.5, "-2.5 becomes: down (shift alone) -3, half up -2, half to even -2, half away from 0 -3"),
        (7, 1.5, "10.5 becomes: down (shift alone) 10, half up 11, half to even 10, half away from 0 11"),
        (10, 0.25, "2.5 becomes: down (shift alone) 2, half up 3, half to even 2, half away from 0 3"),
        (0, 0.1, "0 becomes: down (shift alone) 0, half up 0, half to even 0, half away from 0 0"),
    ],
)
def test_four_roundings_of_a_product(accumulator, factor, told):
    assert told in plots.alt_text(widgets.rescaled_figure(accumulator, factor))


def test_the_title_shows_multiplier_and_shift():
    assert "5 · 0.5 = 5 · 1,073,741,824 · 2^−31" in plots.alt_text(widgets.rescaled_figure(5, 0.5))


def test_the_controls_redraw_the_picture_and_its_description():
    picture, words, accumulator, factor = widgets.rounding_explorer().children
    assert "The product 2.5" in words.value
    before = picture.value
    accumulator.value = -3
    assert picture.value != before
    assert "The product -1.5" in words.value
    factor.value = 0.75
    assert "The product -2.25" in words.value


@pytest.mark.parametrize("factor", [0.0, -0.5, 2.0, 2**-40])
def test_a_factor_out_of_range_is_refused(factor):
    with pytest.raises(ValueError, match="factor must be in"):
        widgets.rounding_explorer([0.5, factor])


def test_no_factor_is_refused():
    with pytest.raises(ValueError, match="at least one"):
        widgets.rounding_explorer([])
