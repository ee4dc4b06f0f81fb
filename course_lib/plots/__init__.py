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
from course_lib.plots.teacher import (
    confusion_figure,
    coverage_figure,
    history_figure,
    learning_rate_figure,
    picture_grid,
    reliability_figure,
    selection_figure,
    slice_figure,
    split_figure,
    top_answers_figure,
)

__all__ = [
    "COLOURS",
    "MARKERS",
    "CourseFigure",
    "alt_text",
    "answer_figure",
    "budget_figure",
    "confusion_figure",
    "course_map_figure",
    "coverage_figure",
    "distribution_figure",
    "drift_figure",
    "estimates_figure",
    "finish",
    "first_calls_figure",
    "history_figure",
    "learning_rate_figure",
    "ledger_figure",
    "new_figure",
    "picture_grid",
    "recorded_figure",
    "reliability_figure",
    "roofline_figure",
    "selection_figure",
    "slice_figure",
    "speedups_figure",
    "split_figure",
    "styled",
    "temperature_figure",
    "top_answers_figure",
]
