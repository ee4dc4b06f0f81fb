"""The convolution under the roof: a control changes the picture and its words."""

from __future__ import annotations

from course_lib import plots, widgets

CHANGED = {"channels": 128, "pixels": 4, "kernel": 1, "kind": "depthwise", "batch": 16}


def test_every_control_redraws_the_picture_and_its_description():
    picture, words, *controls = widgets.roofline_explorer(73.0, 19.0).children
    assert picture.value.startswith("<img alt=")
    for control in controls:
        before = picture.value, words.value
        control.value = CHANGED[control.description]
        assert picture.value != before[0]
        assert words.value != before[1]


def test_the_static_twin_shows_what_the_widget_shows():
    panel = widgets.roofline_explorer(73.0, 19.0)
    shape = {"channels": 32, "size": 16, "kernel": 3, "kind": "dense", "batch": 1}
    assert plots.alt_text(widgets.layer_roofline_figure(73.0, 19.0, **shape)) in panel.children[1].value
