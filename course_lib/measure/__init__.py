"""Measuring: what a network costs, how long it takes, and the Ledger that puts variants side by side.

``counting`` (parameters, MACs, bytes), ``cadence`` and ``latency``, ``roofline``, ``machine``, ``variant`` and
``benchmark`` (variants become a ``ledger``), ``sessions`` (several ledgers become one), ``records`` (numbers that are
quoted), ``claim``. Nothing here knows a runtime: ``deploy`` makes variants of its files.
"""

from course_lib.measure.benchmark import measure_ledger
from course_lib.measure.cadence import BACK_TO_BACK, CADENCES, IN_TURN, THIRTY_A_SECOND, Cadence
from course_lib.measure.claim import Claim, claim
from course_lib.measure.counting import (
    LayerCount,
    count_layers,
    count_nonzeros,
    count_parameters,
    macs_by_layer,
    total_macs,
)
from course_lib.measure.latency import LatencyReport, latency, latency_by_cadence
from course_lib.measure.ledger import Ledger
from course_lib.measure.ledger_data import MARKS
from course_lib.measure.machine import (
    Peak,
    cpu_features,
    has_dot_product,
    machine_summary,
    peak_bandwidth_gbs,
    peak_compute_gflops,
    peak_memory_bytes,
    process_memory_bytes,
    processor_key,
    torch_threads,
    versions,
)
from course_lib.measure.records import Measurement, add_figures, load_result, load_results, record
from course_lib.measure.row import Row, Twin
from course_lib.measure.sessions import pool_sessions
from course_lib.measure.tables import quantity, ratio_text, three_digits
from course_lib.measure.times import Times, ratio_of, ratio_of_rounds
from course_lib.measure.variant import Variant, predict_classes

__all__ = [
    "BACK_TO_BACK",
    "CADENCES",
    "IN_TURN",
    "MARKS",
    "THIRTY_A_SECOND",
    "Cadence",
    "Claim",
    "LatencyReport",
    "LayerCount",
    "Ledger",
    "Measurement",
    "Peak",
    "Row",
    "Times",
    "Twin",
    "Variant",
    "add_figures",
    "claim",
    "count_layers",
    "count_nonzeros",
    "count_parameters",
    "cpu_features",
    "has_dot_product",
    "latency",
    "latency_by_cadence",
    "load_result",
    "load_results",
    "machine_summary",
    "macs_by_layer",
    "measure_ledger",
    "peak_bandwidth_gbs",
    "peak_compute_gflops",
    "peak_memory_bytes",
    "pool_sessions",
    "predict_classes",
    "process_memory_bytes",
    "processor_key",
    "quantity",
    "ratio_of",
    "ratio_of_rounds",
    "ratio_text",
    "record",
    "three_digits",
    "torch_threads",
    "total_macs",
    "versions",
]
