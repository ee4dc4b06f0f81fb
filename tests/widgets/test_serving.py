"""Batches against a deadline: a control changes the picture and its words."""

from __future__ import annotations

from course_lib import plots, widgets

LINES = {"teacher": (0.5, 1.8), "pruned": (0.03, 0.04)}
CHANGED = {"arrivals": "all are there", "deadline, ms": 100, "times slower": 10.0}


def test_the_static_twin_of_the_default_settings_is_the_widgets_first_picture():
    words = widgets.deadline_explorer(LINES).children[1].value
    assert plots.alt_text(plots.deadline_figure(LINES, rate=300, deadline_ms=40)) in words


def test_every_control_redraws_the_picture_and_its_description():
    picture, words, *controls = widgets.deadline_explorer(LINES).children
    for control in controls:
        before = picture.value, words.value
        control.value = CHANGED[control.description]
        assert picture.value != before[0]
        assert words.value != before[1]


def test_a_slower_processor_allows_fewer_images():
    _, words, _, _, slower = widgets.deadline_explorer(LINES, deadline_ms=100, rate="all are there").children
    assert "teacher: at most 55" in words.value
    slower.value = 10.0
    assert "teacher: at most 5;" in words.value
