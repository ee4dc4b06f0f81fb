"""The interactive part on temperature: a sign, a temperature, and the teacher's answer at it."""

from __future__ import annotations

from collections.abc import Sequence

import ipywidgets
import numpy as np
from numpy.typing import ArrayLike

from course_lib.plots import CourseFigure, soft_answers_figure
from course_lib.widgets.panel import figure_panel


def temperature_explorer(
    images: ArrayLike, logits: ArrayLike, labels: ArrayLike, names: Sequence[str]
) -> ipywidgets.VBox:
    """Choose one of the signs and a temperature: the teacher's answer at T beside the one at T = 1.

    Args:
        images: (N, 3, H, W).
        logits: (N, C).
        labels: (N,), true classes.
        names: C names.
    Raises: ValueError: not one image and one label for each row of logits.
    """
    images, logits, labels = np.asarray(images), np.asarray(logits), np.asarray(labels)
    if not len(images) == len(logits) == len(labels) > 0:
        raise ValueError(f"one image and one label a row: got {len(images)}, {len(labels)} and {len(logits)} rows")

    def draw(sign: int, temperature: float) -> CourseFigure:
        some = slice(sign, sign + 1)
        return soft_answers_figure(images[some], logits[some], labels[some], names, temperatures=(1, temperature))

    options = [(f"{i}: {names[label]}", i) for i, label in enumerate(labels)]
    return figure_panel(
        draw,
        sign=ipywidgets.Dropdown(options=options, value=0, description="sign"),
        temperature=ipywidgets.SelectionSlider(
            options=[0.5, 1, 1.5, 2, 3, 4, 6, 8, 10, 15, 20, 50, 100], value=4, description="T"
        ),
    )
