"""All figures of the course: one module a topic, one style (``plots.style``). Imported by notebooks only."""

from course_lib.plots.ledger import ledger_figure
from course_lib.plots.style import COLOURS, MARKERS, CourseFigure, alt_text, finish, new_figure

__all__ = ["COLOURS", "MARKERS", "CourseFigure", "alt_text", "finish", "ledger_figure", "new_figure"]
