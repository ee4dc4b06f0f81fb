"""A network in integers only: fixed-point factors, operators, and the engine that runs them."""

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
    "RuntimeFactor",
    "doubling_high_multiply",
    "shift_half_away",
    "shift_half_even",
    "significant",
]
