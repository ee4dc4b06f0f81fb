"""The staircase: each control changes it, and the words below say how."""

from __future__ import annotations

import pytest

from course_lib import widgets


def test_each_control_redraws_the_picture_and_its_description():
    panel = widgets.step_explorer(step=1.0, bits=3)
    picture, words, step, bits, signed = panel.children
    assert "3 bits, step 1: x̂ is a staircase from -4 to 3" in words.value
    for control, value, told in (
        (step, 0.5, "3 bits, step 0.5: x̂ is a staircase from -2 to 1.5"),
        (bits, 2, "2 bits, step 0.5: x̂ is a staircase from -1 to 0.5"),
        (signed, False, "2 bits, step 0.5: x̂ is a staircase from 0 to 1.5"),
    ):
        before = picture.value
        control.value = value
        assert picture.value != before
        assert told in words.value


@pytest.mark.parametrize(("step", "bits"), [(0.0, 3), (2.5, 3), (1.0, 1), (1.0, 6)])
def test_values_outside_are_refused(step, bits):
    with pytest.raises(ValueError, match="step must be in"):
        widgets.step_explorer(step, bits)
