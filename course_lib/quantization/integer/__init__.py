"""A network in integers only: fixed-point factors, layers on codes, the engine, comparison with a runtime, C."""

from course_lib.quantization.integer.arena import Arena, Block, plan_arena
from course_lib.quantization.integer.c_code import MemoryPlan, c_source, code_lines, memory_plan
from course_lib.quantization.integer.c_program import (
    CNetwork,
    Footprint,
    compile_c,
    find_compiler,
    footprint,
    load_c,
    run_program,
)
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
    "Arena",
    "Block",
    "CNetwork",
    "Footprint",
    "HardwareFactor",
    "IntegerNetwork",
    "LayerComparison",
    "MemoryPlan",
    "RuntimeFactor",
    "c_source",
    "code_lines",
    "compare_with_runtime",
    "compile_c",
    "doubling_high_multiply",
    "find_compiler",
    "footprint",
    "integer_network",
    "load_c",
    "memory_plan",
    "plan_arena",
    "run_program",
    "runtime_codes",
    "shift_half_away",
    "shift_half_even",
    "significant",
]
