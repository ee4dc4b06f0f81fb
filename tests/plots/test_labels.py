"""Numbers in figures claim no more than was measured."""

from __future__ import annotations

import pytest

from course_lib.plots.labels import bytes_text, percent, quantity_text, shortened


@pytest.mark.parametrize(
    ("p", "text"), [(0.0, "0 %"), (0.004, "<1 %"), (0.006, "1 %"), (0.5, "50 %"), (0.996, ">99 %"), (1.0, "100 %")]
)
def test_rounding_claims_no_certainty(p, text):
    assert percent(p) == text


@pytest.mark.parametrize(("value", "text"), [(0.11513, "0.115"), (88.4, "88.4"), (661.2, "661"), (5705.4, "5,710")])
def test_numbers_have_three_digits_and_no_exponent(value, text):
    assert quantity_text(value) == text


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0, "0 B"),
        (999, "999 B"),
        (1000, "1 kB"),
        (98304, "98.3 kB"),
        (1e6, "1 MB"),
        (3.2e8, "320 MB"),
        (5e12, "5,000 GB"),
    ],
)
def test_bytes_have_a_unit_of_a_thousand(value, text):
    assert bytes_text(value) == text


@pytest.mark.parametrize(("name", "text"), [("stop", "stop"), ("x" * 26, "x" * 26), ("x" * 27, "x" * 25 + "…")])
def test_a_long_name_ends_in_an_ellipsis(name, text):
    assert shortened(name) == text
