"""Numbers in figures claim no more than was measured."""

from __future__ import annotations

import pytest

from course_lib.plots.labels import percent, quantity_text, shortened


@pytest.mark.parametrize(
    ("p", "text"), [(0.0, "0 %"), (0.004, "<1 %"), (0.006, "1 %"), (0.5, "50 %"), (0.996, ">99 %"), (1.0, "100 %")]
)
def test_rounding_claims_no_certainty(p, text):
    assert percent(p) == text


@pytest.mark.parametrize(("value", "text"), [(0.11513, "0.115"), (88.4, "88.4"), (661.2, "661"), (5705.4, "5,710")])
def test_numbers_have_three_digits_and_no_exponent(value, text):
    assert quantity_text(value) == text


@pytest.mark.parametrize(("name", "text"), [("stop", "stop"), ("x" * 26, "x" * 26), ("x" * 27, "x" * 25 + "…")])
def test_a_long_name_ends_in_an_ellipsis(name, text):
    assert shortened(name) == text
