"""The interactive parts of the chapters (ipywidgets): one module a topic. Imported by notebooks only."""

from course_lib.widgets.distilling import push_explorer
from course_lib.widgets.divergences import divergence_explorer, temperature_explorer, weights_figure
from course_lib.widgets.features import attention_explorer, attention_pair_figure, relations_explorer, relations_figure
from course_lib.widgets.journey import budget_explorer
from course_lib.widgets.measuring import benchmark_explorer, benchmark_figure, layer_roofline_figure, roofline_explorer
from course_lib.widgets.panel import figure_panel
from course_lib.widgets.teacher import sign_explorer, threshold_explorer

__all__ = [
    "attention_explorer",
    "attention_pair_figure",
    "benchmark_explorer",
    "benchmark_figure",
    "budget_explorer",
    "divergence_explorer",
    "figure_panel",
    "layer_roofline_figure",
    "push_explorer",
    "relations_explorer",
    "relations_figure",
    "roofline_explorer",
    "sign_explorer",
    "temperature_explorer",
    "threshold_explorer",
    "weights_figure",
]
