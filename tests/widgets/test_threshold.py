"""The explorer of the pruning threshold: the slider changes the picture and its words."""

from __future__ import annotations

import numpy as np
import pytest

from course_lib import widgets

THRESHOLDS = [0.0, 0.1, 0.2]
ZEROS = {"conv 1": [0.0, 0.4, 0.9], "all": [0.0, 0.25, 0.55]}


def test_the_slider_redraws_the_picture_and_its_description():
    panel = widgets.pruning_explorer(np.linspace(0, 1, 50), THRESHOLDS, ZEROS, [0.9, 0.8, 0.1])
    picture, words, slider = panel.children
    assert "Threshold 0.100: 25.0 %" in words.value
    before = picture.value
    slider.value = 2
    assert picture.value != before
    assert "Threshold 0.200: 55.0 %" in words.value
    assert "accuracy 10.0 %" in words.value


@pytest.mark.parametrize(
    ("zeros", "accuracies", "message"),
    [
        (ZEROS, [0.9], "accuracies must have one value a threshold, got 1 and 3"),
        ({**ZEROS, "conv 1": [0.0]}, [0.9, 0.8, 0.1], "conv 1 must have one value a threshold, got 1 and 3"),
    ],
)
def test_unequal_lengths_are_refused(zeros, accuracies, message):
    with pytest.raises(ValueError, match=message):
        widgets.pruning_explorer(np.ones(5), THRESHOLDS, zeros, accuracies)
