"""The explorer of budgets: the slider changes the picture and its words."""

from __future__ import annotations

import pytest

from course_lib import widgets

BUDGETS = [0.25, 0.5, 0.75]
KEPT = {rule: [{"conv 1": b, "conv 2": b / 2} for b in BUDGETS] for rule in ("uniform", "greedy")}
RIGHT = {"uniform": [0.1, 0.4, 0.8], "greedy": [0.2, 0.5, 0.9]}


def test_the_slider_redraws_the_picture_and_its_description():
    picture, words, slider = widgets.allocation_explorer(BUDGETS, KEPT, RIGHT).children
    assert "50 % of the MACs; right before training: uniform 40.0 %, greedy 50.0 %" in words.value
    before = picture.value
    slider.value = 2
    assert picture.value != before
    assert "greedy: conv 1 75 %, conv 2 38 %" in words.value


@pytest.mark.parametrize(
    ("kept", "right", "message"),
    [
        (KEPT, {**RIGHT, "greedy": [0.1]}, "accuracies of greedy must have one value a budget, got 1 and 3"),
        ({**KEPT, "uniform": []}, RIGHT, "kept of uniform must have one value a budget, got 0 and 3"),
    ],
)
def test_unequal_lengths_are_refused(kept, right, message):
    with pytest.raises(ValueError, match=message):
        widgets.allocation_explorer(BUDGETS, kept, right)
