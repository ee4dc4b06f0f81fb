"""The interactive parts of the chapters (ipywidgets): one module a topic. Imported by notebooks only."""

from course_lib.widgets.journey import budget_explorer
from course_lib.widgets.measuring import benchmark_explorer, benchmark_figure, layer_roofline_figure, roofline_explorer
from course_lib.widgets.panel import figure_panel
from course_lib.widgets.teacher import sign_explorer, threshold_explorer

__all__ = [
    "benchmark_explorer",
    "benchmark_figure",
    "budget_explorer",
    "figure_panel",
    "layer_roofline_figure",
    "roofline_explorer",
    "sign_explorer",
    "threshold_explorer",
]
