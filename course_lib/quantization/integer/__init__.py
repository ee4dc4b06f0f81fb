"""A network in integers only: fixed-point factors, layers on codes, the engine, its comparison with a runtime."""

from course_lib.quantization.integer.comparison import LayerComparison, compare_with_runtime, runtime_codes
from course_lib.quantization.integer.engine import IntegerNetwork, integer_network
from course_lib.quantization.integer.fixed_point import (
    HardwareFactor,
    RuntimeFactor,
    doubling_high_multiply,
    shift_half_away,
    shift_half_even,
    significant,
)

__all__ = [
    "HardwareFactor",
    "IntegerNetwork",
    "LayerComparison",
    "RuntimeFactor",
    "compare_with_runtime",
    "doubling_high_multiply",
    "integer_network",
    "runtime_codes",
    "shift_half_away",
    "shift_half_even",
    "significant",
]
