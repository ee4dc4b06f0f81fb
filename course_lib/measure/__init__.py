"""Measuring: what a model costs, how sure the numbers are, and the Ledger that puts them side by side.

``counting`` and ``onnx_counts`` (parameters, MACs, bytes), ``latency``, ``statistics`` (intervals), ``machine``,
``ledger`` with ``evaluation`` and ``onnx_variants``, ``results`` (recorded figures), ``claim``.
ONNX Runtime, ONNX, SciPy and matplotlib are imported when a function needs them, not here.
"""

from course_lib.measure.claim import Claim, claim
from course_lib.measure.counting import (
    LayerCount,
    count_layers,
    count_nonzeros,
    count_parameters,
    macs_by_layer,
    total_macs,
)
from course_lib.measure.evaluation import Variant, predict_classes
from course_lib.measure.latency import LatencyReport, latency
from course_lib.measure.ledger import MARKS, Ledger, Row, Twin
from course_lib.measure.machine import (
    Peak,
    cpu_features,
    machine_summary,
    peak_bandwidth_gbs,
    peak_compute_gflops,
    peak_memory_bytes,
    process_memory_bytes,
    torch_threads,
    versions,
)
from course_lib.measure.onnx_counts import OnnxCounts, deployable_bytes, onnx_counts
from course_lib.measure.onnx_variants import onnx_variant
from course_lib.measure.results import Figure, load_result, record
from course_lib.measure.statistics import (
    Accuracy,
    Calibration,
    Difference,
    Ratio,
    ReliabilityBin,
    SeedMean,
    accuracy,
    accuracy_difference,
    bootstrap_ratio,
    expected_calibration_error,
    seed_interval,
    wilson_interval,
)
from course_lib.measure.tables import quantity, three_digits

__all__ = [
    "MARKS",
    "Accuracy",
    "Calibration",
    "Claim",
    "Difference",
    "Figure",
    "LatencyReport",
    "LayerCount",
    "Ledger",
    "OnnxCounts",
    "Peak",
    "Ratio",
    "ReliabilityBin",
    "Row",
    "SeedMean",
    "Twin",
    "Variant",
    "accuracy",
    "accuracy_difference",
    "bootstrap_ratio",
    "claim",
    "count_layers",
    "count_nonzeros",
    "count_parameters",
    "cpu_features",
    "deployable_bytes",
    "expected_calibration_error",
    "latency",
    "load_result",
    "machine_summary",
    "macs_by_layer",
    "onnx_counts",
    "onnx_variant",
    "peak_bandwidth_gbs",
    "peak_compute_gflops",
    "peak_memory_bytes",
    "predict_classes",
    "process_memory_bytes",
    "quantity",
    "record",
    "seed_interval",
    "three_digits",
    "torch_threads",
    "total_macs",
    "versions",
    "wilson_interval",
]
