"""The threshold's slider tells coverage and accuracy."""

from __future__ import annotations

from course_lib.widgets import threshold_explorer


def picture(box) -> str:
    return box.children[0].value


def words(box) -> str:
    return box.children[1].value


def controls(box) -> dict:
    return {child.description: child for child in box.children if getattr(child, "description", "")}


def test_the_threshold_explorer_tells_coverage_and_accuracy_at_the_slider():
    box = threshold_explorer([0.4, 0.6, 0.8, 0.95], [0, 0, 1, 1])
    assert "50.0 %, 75.0 % answered and 66.67 % of them right" in words(box)
    before = picture(box)
    controls(box)["threshold"].value = 0.7
    assert "70.0 %, 50.0 % answered and 100.00 % of them right" in words(box)
    assert picture(box) != before
