"""A picture with controls under it: the one building block of the course's interactive parts.

The picture is an HTML widget that gets a new ``<img>`` with its alt text, not an Output that captures a display: it
works the same in JupyterLab, in tests without a kernel, and leaves nothing behind in the notebook's file. (An Image
widget has no alt text, and is stretched to the cell.) What the picture shows also stands below it in words.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import ipywidgets

from course_lib.plots import CourseFigure


def figure_panel(draw: Callable[..., CourseFigure], **controls: ipywidgets.ValueWidget) -> ipywidgets.VBox:
    """Shows ``draw(name=value, …)`` and draws again whenever a control changes.

    Args: draw: makes a figure with alt text; controls: one widget for each keyword of ``draw``, in order.
    Returns: a box whose children are the picture, its description (both HTML) and the controls.
    Raises: ValueError: there are no controls.
    """
    if not controls:
        raise ValueError("controls must hold at least one widget, got none")
    picture, words = ipywidgets.HTML(), ipywidgets.HTML()

    def redraw(_: Any = None) -> None:
        figure = draw(**{name: control.value for name, control in controls.items()})
        picture.value, words.value = figure.html(), f"<small>{figure.alt_text}</small>"

    for control in controls.values():
        control.observe(redraw, names="value")
    redraw()
    return ipywidgets.VBox([picture, words, *controls.values()])


def slider(
    text: str, value: float, low: float, high: float, step: float
) -> ipywidgets.IntSlider | ipywidgets.FloatSlider:
    """Waits until the handle is let go: each value costs a drawing."""
    kind = ipywidgets.FloatSlider if isinstance(step, float) else ipywidgets.IntSlider
    style = {"readout_format": ".3f" if step < 0.01 else ".2f"} if isinstance(step, float) else {}
    return kind(
        value, min=low, max=high, step=step, description=text, continuous_update=False,
        style={"description_width": "8em"}, layout={"width": "28em"}, **style,
    )  # fmt: skip
