"""The interactive parts of the chapters (ipywidgets): one module a topic. Imported by notebooks only."""

from course_lib.widgets.boards import board_explorer, board_prediction_figure
from course_lib.widgets.budgets import allocation_explorer
from course_lib.widgets.calibration import threshold_explorer
from course_lib.widgets.channels import channel_cut_explorer
from course_lib.widgets.divergences import divergence_explorer, weights_figure
from course_lib.widgets.features import attention_explorer, attention_pair_figure
from course_lib.widgets.fusion import saving_explorer
from course_lib.widgets.integers import rescaled_figure, rounding_explorer
from course_lib.widgets.latency import benchmark_explorer, benchmark_figure
from course_lib.widgets.main_job import budget_explorer
from course_lib.widgets.panel import figure_panel
from course_lib.widgets.pushes import push_explorer
from course_lib.widgets.ranges import range_explorer, range_figure
from course_lib.widgets.relations import relations_explorer, relations_figure
from course_lib.widgets.roofline import layer_roofline_figure, roofline_explorer
from course_lib.widgets.ruler import ruler_explorer
from course_lib.widgets.serving import deadline_explorer
from course_lib.widgets.signs import sign_explorer
from course_lib.widgets.steps import step_explorer
from course_lib.widgets.temperature import temperature_explorer
from course_lib.widgets.threshold import pruning_explorer

__all__ = [
    "allocation_explorer",
    "attention_explorer",
    "attention_pair_figure",
    "benchmark_explorer",
    "benchmark_figure",
    "board_explorer",
    "board_prediction_figure",
    "budget_explorer",
    "channel_cut_explorer",
    "deadline_explorer",
    "divergence_explorer",
    "figure_panel",
    "layer_roofline_figure",
    "pruning_explorer",
    "push_explorer",
    "range_explorer",
    "range_figure",
    "relations_explorer",
    "relations_figure",
    "rescaled_figure",
    "roofline_explorer",
    "rounding_explorer",
    "ruler_explorer",
    "saving_explorer",
    "sign_explorer",
    "step_explorer",
    "temperature_explorer",
    "threshold_explorer",
    "weights_figure",
]
