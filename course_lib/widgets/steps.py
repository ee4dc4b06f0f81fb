"""The interactive part on training with rounding: drag step and bits, and watch the staircase and its gradients."""

from __future__ import annotations

import ipywidgets

from course_lib.plots import CourseFigure, staircase_figure
from course_lib.quantization import Codes
from course_lib.widgets.panel import figure_panel, slider


def step_explorer(step: float = 1.0, bits: int = 3) -> ipywidgets.VBox:
    """The staircase with its two gradients, by step, bits and sign.

    Args: step: 0.1 … 2, bits: 2 … 5, to begin with.
    Raises: ValueError: a step or bits outside.
    """
    if not 0.1 <= step <= 2 or not 2 <= bits <= 5:
        raise ValueError(f"step must be in 0.1 … 2 and bits in 2 … 5, got {step} and {bits}")

    def draw(step: float, bits: int, signed: bool) -> CourseFigure:
        return staircase_figure(round(step, 2), Codes(bits, signed=signed))

    return figure_panel(
        draw,
        step=slider("step", step, 0.1, 2.0, 0.05),
        bits=slider("bits", bits, 2, 5, 1),
        signed=ipywidgets.Checkbox(value=True, description="codes with a sign"),
    )
