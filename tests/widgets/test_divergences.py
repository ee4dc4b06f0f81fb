"""The explorer of divergences: a control changes the picture and its words."""

from __future__ import annotations

import pytest

from course_lib import plots, widgets

NAMES = ("30", "50", "80", "stop")


def test_the_static_twin_of_the_default_settings_is_the_widgets_first_picture():
    words = widgets.divergence_explorer().children[1].value
    assert plots.alt_text(widgets.weights_figure((4, 2, 1, 1), (1, 1, 2, 4), NAMES)) in words


def test_weights_are_normalized_and_all_zero_means_all_alike():
    assert "30 50 and 25 %" in plots.alt_text(widgets.weights_figure((2, 1, 1, 0), (0, 0, 0, 0), NAMES))


def test_what_q_never_expects_is_said_to_cost_infinitely_much():
    explorer = widgets.divergence_explorer()
    explorer.children[-1].value = 0
    assert "KL inf" in explorer.children[1].value


def test_every_control_redraws_the_picture_and_its_description():
    picture, words, *controls = widgets.divergence_explorer().children
    assert picture.value.startswith("<img alt=")
    for control in controls:
        before = picture.value, words.value
        control.value = 9
        assert picture.value != before[0]
        assert words.value != before[1]


def test_negative_weights_are_refused():
    with pytest.raises(ValueError, match="expected must hold weights ≥ 0"):
        widgets.weights_figure((1, 1), (1, -1), NAMES[:2])
