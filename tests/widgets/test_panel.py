"""The panel draws with the values of its controls."""

from __future__ import annotations

import ipywidgets
import pytest

from course_lib import plots, widgets


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
    assert "n is 4" in panel.children[1].value
