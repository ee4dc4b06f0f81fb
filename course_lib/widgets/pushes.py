"""The interactive part on pushes: what each loss on answers asks of the student, at any T and α."""

from __future__ import annotations

from collections.abc import Sequence

import ipywidgets
import numpy as np
import torch
from numpy.typing import ArrayLike

from course_lib.plots import CourseFigure, push_figure
from course_lib.widgets.panel import figure_panel

TEMPERATURES = (0.5, 1, 1.5, 2, 3, 4, 6, 8, 12, 16, 32)


def push_explorer(
    images: ArrayLike,
    teacher_logits: ArrayLike,
    student_logits: ArrayLike,
    labels: ArrayLike,
    names: Sequence[str],
) -> ipywidgets.VBox:
    """Choose a sign, T and α: the teacher's answer with its entropy, and the push of each loss on the student.

    Args:
        images: (N, 3, H, W).
        teacher_logits, student_logits: (N, C).
        labels: (N,), true classes.
        names: C names.
    Raises: ValueError: not one row of each kind a sign, or none.
    """
    images, labels = np.asarray(images), np.asarray(labels)
    teacher, student = (torch.as_tensor(np.asarray(z)).float() for z in (teacher_logits, student_logits))
    if not len(images) == len(teacher) == len(student) == len(labels) > 0:
        raise ValueError(
            "one image, one label and one row of each network's logits a sign: got "
            f"{len(images)} images, {len(labels)} labels, {len(teacher)} and {len(student)} rows"
        )

    def draw(sign: int, temperature: float, alpha: float) -> CourseFigure:
        row = images[sign], teacher[sign], student[sign], int(labels[sign])
        return push_figure(*row, names, temperature=temperature, alpha=alpha)

    wide = {"style": {"description_width": "6em"}, "layout": {"width": "28em"}, "continuous_update": False}
    options = [(f"{i}: {names[label]}", i) for i, label in enumerate(labels)]
    return figure_panel(
        draw,
        sign=ipywidgets.Dropdown(options=options, value=0, description="sign", style=wide["style"]),
        temperature=ipywidgets.SelectionSlider(options=TEMPERATURES, value=4, description="T", **wide),
        alpha=ipywidgets.FloatSlider(0.9, min=0.0, max=1.0, step=0.05, description="α", **wide),
    )
