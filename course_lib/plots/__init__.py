"""All figures of the course: one module a topic, one style (``plots.style``). Imported by notebooks only.

A figure draws what it is given. Means and quantiles of the points that it shows aside, it computes nothing: entropies,
losses, shares and budgets come from the topic's own functions, so that there is one of each.
"""

from course_lib.plots.boards import board_roofs_figure, least_times_figure
from course_lib.plots.budgets import (
    accuracy_and_time_figure,
    allocation_figure,
    gates_figure,
    predicted_times_figure,
    sensitivity_figure,
    stream_figure,
    together_figure,
)
from course_lib.plots.calibration import coverage_figure, reliability_figure
from course_lib.plots.channels import (
    criteria_figure,
    cut_figure,
    groups_figure,
    importance_figure,
    macs_and_time_figure,
    widths_figure,
)
from course_lib.plots.curriculum import course_map_figure
from course_lib.plots.divergences import code_price_figure, two_fits_figure, underflow_figure
from course_lib.plots.features import agreement_figure, attention_figure
from course_lib.plots.fusion import bandwidth_figure, rim_figure, saving_figure, shares_figure, steps_figure
from course_lib.plots.gains import gains_figure, regimes_figure, sweep_figure
from course_lib.plots.integers import accumulator_figure, mean_shift_figure, parting_figure, rounding_figure
from course_lib.plots.latency import (
    distribution_figure,
    drift_figure,
    estimates_figure,
    first_calls_figure,
    speedups_figure,
)
from course_lib.plots.ledger import ledger_figure
from course_lib.plots.low_bits import low_bits_figure, staircase_figure, swinging_figure
from course_lib.plots.main_job import budget_figure, recorded_figure
from course_lib.plots.pruning import (
    layers_figure,
    pruning_losses_figure,
    schedules_figure,
    storage_figure,
    threshold_figure,
)
from course_lib.plots.pushes import push_figure
from course_lib.plots.quantization import bits_figure, channel_ranges_figure, clip_figure, noise_figure, ruler_figure
from course_lib.plots.ranges import chosen_range_figure, draws_figure, ends_figure, observers_figure, shifts_figure
from course_lib.plots.relations import points_figure, similarity_figure
from course_lib.plots.roofline import roofline_figure
from course_lib.plots.serving import batch_figure, cadences_figure, deadline_figure, queue_figure
from course_lib.plots.signs import answer_figure, picture_grid, top_answers_figure
from course_lib.plots.slices import confusion_figure, slice_figure
from course_lib.plots.splits import selection_figure, split_figure
from course_lib.plots.style import COLOURS, MARKERS, CourseFigure, alt_text, finish, new_figure, styled
from course_lib.plots.temperature import entropy_figure, soft_answers_figure, square_law_figure, temperature_figure
from course_lib.plots.training import history_figure, learning_rate_figure, shrinkage_figure, terms_figure
from course_lib.plots.wrong_answers import likeness_figure, wrong_answers_figure

__all__ = [
    "COLOURS",
    "MARKERS",
    "CourseFigure",
    "accumulator_figure",
    "accuracy_and_time_figure",
    "agreement_figure",
    "allocation_figure",
    "alt_text",
    "answer_figure",
    "attention_figure",
    "bandwidth_figure",
    "batch_figure",
    "bits_figure",
    "board_roofs_figure",
    "budget_figure",
    "cadences_figure",
    "channel_ranges_figure",
    "chosen_range_figure",
    "clip_figure",
    "code_price_figure",
    "confusion_figure",
    "course_map_figure",
    "coverage_figure",
    "criteria_figure",
    "cut_figure",
    "deadline_figure",
    "distribution_figure",
    "draws_figure",
    "drift_figure",
    "ends_figure",
    "entropy_figure",
    "estimates_figure",
    "finish",
    "first_calls_figure",
    "gains_figure",
    "gates_figure",
    "groups_figure",
    "history_figure",
    "importance_figure",
    "layers_figure",
    "learning_rate_figure",
    "least_times_figure",
    "ledger_figure",
    "likeness_figure",
    "low_bits_figure",
    "macs_and_time_figure",
    "mean_shift_figure",
    "new_figure",
    "noise_figure",
    "observers_figure",
    "parting_figure",
    "picture_grid",
    "points_figure",
    "predicted_times_figure",
    "pruning_losses_figure",
    "push_figure",
    "queue_figure",
    "recorded_figure",
    "regimes_figure",
    "reliability_figure",
    "rim_figure",
    "roofline_figure",
    "rounding_figure",
    "ruler_figure",
    "saving_figure",
    "schedules_figure",
    "selection_figure",
    "sensitivity_figure",
    "shares_figure",
    "shifts_figure",
    "shrinkage_figure",
    "similarity_figure",
    "slice_figure",
    "soft_answers_figure",
    "speedups_figure",
    "split_figure",
    "square_law_figure",
    "staircase_figure",
    "steps_figure",
    "storage_figure",
    "stream_figure",
    "styled",
    "sweep_figure",
    "swinging_figure",
    "temperature_figure",
    "terms_figure",
    "threshold_figure",
    "together_figure",
    "top_answers_figure",
    "two_fits_figure",
    "underflow_figure",
    "widths_figure",
    "wrong_answers_figure",
]
