"""How good a network is, and how sure one may be: predictions, intervals, slices, calibration, leaks, lucky choices."""

from course_lib.evaluation.calibration import (
    Calibration,
    ReliabilityBin,
    coverage_curve,
    expected_calibration_error,
    fit_temperature,
)
from course_lib.evaluation.estimate import Estimate
from course_lib.evaluation.intervals import (
    accuracy,
    accuracy_difference,
    bootstrap_ratio,
    paired_seed_interval,
    ratio_over_sessions,
    seed_and_sign_interval,
    seed_interval,
    track_standard_error,
    wilson_interval,
)
from course_lib.evaluation.leakage import leak_fraction
from course_lib.evaluation.predictions import model_accuracy, predict_logits
from course_lib.evaluation.selection import expected_maximum
from course_lib.evaluation.slices import (
    accuracy_by_slice,
    confident_mistakes,
    confusion_matrix,
    quartile_names,
    recall_matrix,
)

__all__ = [
    "Calibration",
    "Estimate",
    "ReliabilityBin",
    "accuracy",
    "accuracy_by_slice",
    "accuracy_difference",
    "bootstrap_ratio",
    "confident_mistakes",
    "confusion_matrix",
    "coverage_curve",
    "expected_calibration_error",
    "expected_maximum",
    "fit_temperature",
    "leak_fraction",
    "model_accuracy",
    "paired_seed_interval",
    "predict_logits",
    "quartile_names",
    "ratio_over_sessions",
    "recall_matrix",
    "seed_and_sign_interval",
    "seed_interval",
    "track_standard_error",
    "wilson_interval",
]
