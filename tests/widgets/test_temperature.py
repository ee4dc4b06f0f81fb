"""The explorer of temperature: a control changes the picture and its words."""

from __future__ import annotations

import ipywidgets
import numpy as np
import pytest

from course_lib import widgets

NAMES = ("30", "50", "80", "stop")
LOGITS = np.array([[3.0, 1.0, 0.0, 0.0], [0.0, 0.0, 2.0, 1.0]])
IMAGES = np.zeros((2, 3, 8, 8), np.uint8)


def explorer() -> ipywidgets.VBox:
    return widgets.temperature_explorer(IMAGES, LOGITS, [0, 2], NAMES)


def test_every_control_redraws_the_picture_and_its_description():
    picture, words, *controls = explorer().children
    assert picture.value.startswith("<img alt=")
    for control in controls:
        before = picture.value, words.value
        control.value = {"sign": 1, "T": 10}[control.description]
        assert picture.value != before[0]
        assert words.value != before[1]


def test_the_temperature_explorer_shows_the_chosen_sign_at_one_and_at_the_chosen_temperature():
    panel = explorer()
    panel.children[2].value, panel.children[3].value = 1, 20
    assert "sign 80 at T = 1:" in panel.children[1].value
    assert "sign 80 at T = 20:" in panel.children[1].value


def test_unequal_lengths_are_refused():
    with pytest.raises(ValueError, match="got 2, 1 and 2 rows"):
        widgets.temperature_explorer(IMAGES, LOGITS, [0], NAMES)
