"""The interactive part on relations: four points that are moved, turned and scaled; which losses see it?"""

from __future__ import annotations

import math

import ipywidgets
import torch

from course_lib.distillation import relational_angle_loss, relational_distance_loss
from course_lib.plots import CourseFigure, points_figure
from course_lib.widgets.panel import figure_panel

SQUARE = torch.tensor([[0.0, 0.0], [1.0, 0.0], [1.0, 1.0], [0.0, 1.0]])
WIDE = {"style": {"description_width": "8em"}, "layout": {"width": "28em"}}


def relations_figure(*, x: float, y: float, turn_deg: float, scale: float) -> CourseFigure:
    """The teacher's four points form a square; the student's too, but for point 3 at (x, y), then turned and scaled."""
    student = SQUARE.clone()
    student[2] = torch.tensor([x, y])
    angle = math.radians(turn_deg)
    turn = torch.tensor([[math.cos(angle), math.sin(angle)], [-math.sin(angle), math.cos(angle)]])
    student = scale * student @ turn
    losses = {
        "distance loss": relational_distance_loss(student, SQUARE).item(),
        "angle loss": relational_angle_loss(student, SQUARE).item(),
    }
    return points_figure(SQUARE, student, losses)


def relations_explorer() -> ipywidgets.VBox:
    """Move the student's third point, turn and scale all four: which changes do the relational losses see?"""
    controls = {
        "x": (1.0, -1.0, 3.0, 0.1, "point 3: x"),
        "y": (1.0, -1.0, 3.0, 0.1, "point 3: y"),
        "turn_deg": (0.0, -180.0, 180.0, 5.0, "turn, °"),
        "scale": (1.0, 0.2, 5.0, 0.2, "scale ×"),
    }
    sliders = {
        name: ipywidgets.FloatSlider(
            value, min=low, max=high, step=step, description=text, continuous_update=False, **WIDE
        )
        for name, (value, low, high, step, text) in controls.items()
    }
    return figure_panel(relations_figure, **sliders)
