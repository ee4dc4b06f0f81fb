"""All figures of the course: one module a topic, one style (``plots.style``). Imported by notebooks only."""

from course_lib.plots.journey import (
    answer_figure,
    budget_figure,
    course_map_figure,
    recorded_figure,
    temperature_figure,
)
from course_lib.plots.ledger import ledger_figure
from course_lib.plots.measuring import (
    distribution_figure,
    drift_figure,
    estimates_figure,
    first_calls_figure,
    roofline_figure,
    speedups_figure,
)
from course_lib.plots.style import COLOURS, MARKERS, CourseFigure, alt_text, finish, new_figure, styled

__all__ = [
    "COLOURS",
    "MARKERS",
    "CourseFigure",
    "alt_text",
    "answer_figure",
    "budget_figure",
    "course_map_figure",
    "distribution_figure",
    "drift_figure",
    "estimates_figure",
    "finish",
    "first_calls_figure",
    "ledger_figure",
    "new_figure",
    "recorded_figure",
    "roofline_figure",
    "speedups_figure",
    "styled",
    "temperature_figure",
]
