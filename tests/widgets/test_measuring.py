"""The interactive parts of the chapter on measuring: a control changes the picture and its words."""

from __future__ import annotations

import ipywidgets
import pytest
from torch import nn

from course_lib import plots, widgets
from course_lib.measure import count_layers
from course_lib.widgets.measuring import convolution_intensity

PANELS = {
    "benchmark": widgets.benchmark_explorer,
    "roofline": lambda: widgets.roofline_explorer(73.0, 19.0),
}
CHANGED = {"rounds": 200, "drift, %": 0, "interrupted, %": 30, "seed": 3, "channels": 128, "pixels": 4, "kernel": 1}
CHANGED |= {"kind": "depthwise", "batch": 16}


@pytest.mark.parametrize("make", PANELS.values(), ids=PANELS.keys())
def test_every_control_redraws_the_picture_and_its_description(make):
    picture, words, *controls = make().children
    assert picture.value.startswith("<img alt=")
    for control in controls:
        before = picture.value, words.value
        control.value = CHANGED[control.description]
        assert picture.value != before[0]
        assert words.value != before[1]


@pytest.mark.parametrize(
    "figure",
    [
        lambda: widgets.benchmark_figure(rounds=40, drift=50, interruptions=5, seed=0),
        lambda: widgets.layer_roofline_figure(73.0, 19.0, channels=32, size=16, kernel=3, kind="dense", batch=1),
    ],
)
def test_the_static_twin_shows_what_the_widget_shows(figure):
    assert plots.alt_text(figure())


def test_the_static_twin_of_the_default_settings_is_the_widgets_first_picture():
    words = widgets.benchmark_explorer().children[1].value
    assert plots.alt_text(widgets.benchmark_figure(rounds=40, drift=50, interruptions=5, seed=0)) in words


@pytest.mark.parametrize("groups", [1, 8])
def test_intensity_is_that_of_the_real_layer(groups):
    conv = nn.Conv2d(8, 8, 3, padding=1, groups=groups, bias=False)
    (row,) = count_layers(conv, (2, 8, 4, 4)).values()
    assert convolution_intensity(8, 4, 3, groups, batch=2) == row.arithmetic_intensity


def test_a_panel_without_controls_is_refused():
    with pytest.raises(ValueError, match="at least one widget"):
        widgets.figure_panel(lambda: None)


def test_a_panel_passes_values_by_name_and_shows_the_alt_text():
    seen = []

    def draw(n: int) -> plots.CourseFigure:
        seen.append(n)
        figure, axes = plots.new_figure(2, 2)
        axes.set(xlabel="x", ylabel="y")
        return plots.finish(figure, alt=f"n is {n}")

    slider = ipywidgets.IntSlider(value=1, max=5)
    panel = widgets.figure_panel(draw, n=slider)
    slider.value = 4
    assert seen == [1, 4]
    assert '<img alt="n is 4" src="data:image/png;base64,' in panel.children[0].value
    assert "n is 4" in panel.children[1].value
