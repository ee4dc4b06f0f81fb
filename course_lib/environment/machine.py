"""What the doctor asks of the machine: memory, threads against cores, and which INT8 instructions there are."""

from __future__ import annotations

import importlib
import os
from collections.abc import Iterable
from pathlib import Path

from course_lib.environment.finding import Finding, failed_import, one_line

MEMORY_GB = 3.0  # the demo's peak
THREAD_VARIABLES = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")


def check_memory() -> Finding:
    """Enough memory is free for the demo."""
    try:
        memory = importlib.import_module("psutil").virtual_memory()
    except ImportError as error:
        return failed_import("memory", error, "psutil")
    free = memory.available / 1e9
    detail = f"{free:.1f} of {memory.total / 1e9:.1f} GB available, the demo needs {MEMORY_GB:.0f}"
    return Finding("memory", free >= MEMORY_GB, detail, "" if free >= MEMORY_GB else "close other programs")


def check_threads() -> Finding:
    """Threads asked for by the environment, against cores granted by the machine or its container."""
    cores = granted_cores()
    set_here = {name: os.environ[name] for name in THREAD_VARIABLES if os.environ.get(name)}
    wrong = [name for name, value in set_here.items() if not value.isdigit() or not 1 <= int(value) <= cores]
    listed = ", ".join(f"{name}={value}" for name, value in set_here.items()) or "no thread variable set"
    detail = f"{cores:g} cores granted of {os.cpu_count()}, {listed}"
    if wrong:
        return Finding("threads", False, detail, f"unset {' '.join(wrong)}")
    if not set_here and cores < _visible_cores():
        detail += "; PyTorch would start a thread for each core it sees and they would wait for one another"
        return Finding("threads", False, detail, f"export OMP_NUM_THREADS={max(1, int(cores))}")
    return Finding("threads", True, detail)


def granted_cores(cpu_max: Path = Path("/sys/fs/cgroup/cpu.max")) -> float:
    """Cores this process may use, a fraction where the container's quota is one: its affinity, and at most that quota.

    Args:
        cpu_max: the quota's file (cgroup v2): microseconds of processor time, and the period in which they count.
    """
    cores = float(_visible_cores())
    try:
        quota, period = cpu_max.read_text(encoding="ascii").split()
    except (OSError, ValueError):
        return cores
    return cores if quota == "max" else min(cores, int(quota) / int(period))


def _visible_cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def check_processor() -> Finding:
    """Which INT8 instructions the processor has, and what that means for the course's numbers."""
    try:
        features = importlib.import_module("course_lib.measure.machine").cpu_features()
    except Exception as error:  # it needs PyTorch; the finding above says what is wrong with that
        return Finding("processor", True, f"not looked at: {one_line(error)}")
    emulated = "emulated, so no time measured here may be quoted; " if features["emulated"] else ""
    return Finding("processor", True, f"{features['model']}: {emulated}{int8_advice(features['isa'])}")


def int8_advice(isa: Iterable[str]) -> str:
    """What INT8 may bring on a processor with these instruction sets (named as in course_lib.measure.machine).

    >>> int8_advice(["avx2", "avx512_vnni"])
    'INT8 dot products in hardware (avx512_vnni), so INT8 can be much faster than FP32'
    """
    isa = set(isa)
    present = sorted(isa & {"avx512_vnni", "avx_vnni", "amx_int8", "asimddp", "i8mm"})
    if present:
        return f"INT8 dot products in hardware ({', '.join(present)}), so INT8 can be much faster than FP32"
    if "asimd" in isa:
        return "no INT8 dot product, so INT8 gains little time over FP32; it still makes files 4 times smaller"
    if "avx2" in isa:
        return (
            "no VNNI: ONNX Runtime sums pairs of U8·S8 products in 16 bits, which saturate, so INT8 gains less time "
            "and can lose accuracy (reduce_range, 7-bit weights, avoids that)"
        )
    return "no INT8 instructions known to the course, so expect no gain in time from INT8"
