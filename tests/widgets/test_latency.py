"""The simulated benchmark: a control changes the picture and its words."""

from __future__ import annotations

from course_lib import plots, widgets

CHANGED = {"rounds": 200, "drift, %": 0, "interrupted, %": 30, "seed": 3}


def test_the_static_twin_of_the_default_settings_is_the_widgets_first_picture():
    words = widgets.benchmark_explorer().children[1].value
    assert plots.alt_text(widgets.benchmark_figure(rounds=40, drift=50, interruptions=5, seed=0)) in words


def test_every_control_redraws_the_picture_and_its_description():
    picture, words, *controls = widgets.benchmark_explorer().children
    assert picture.value.startswith("<img alt=")
    for control in controls:
        before = picture.value, words.value
        control.value = CHANGED[control.description]
        assert picture.value != before[0]
        assert words.value != before[1]
