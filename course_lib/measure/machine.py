"""What machine is this, and how fast can it be at best?

A latency means little without the machine. Two facts decide most of what this course measures: which vector
instructions the processor has (INT8 pays with VNNI, AMX or the Arm dot product, and hardly without), and the two roofs
of the roofline model (Williams et al. 2009): a layer that does I floating-point operations per byte moved cannot run
faster than

    min(peak compute, I · peak bandwidth)   in FLOP/s

Both peaks are measured here, on this machine, with the tools a network also uses: one large matrix product for
compute, and streaming over arrays far larger than the caches for bandwidth. Data sheets promise more than either.

Bandwidth counts the bytes the program asked for (copy: 2 per byte of array, triad: 3), the convention of McCalpin's
STREAM; a processor that first reads a line before overwriting it moves more.

An emulated processor (QEMU user mode, Rosetta) gives right results and meaningless times, so it is detected where
possible: an Arm interpreter that sees an x86 vendor in /proc/cpuinfo. QEMU from 9.0 on forges that file too.
"""

from __future__ import annotations

import contextlib
import importlib.metadata
import os
import platform
import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from course_lib.measure.without_dot_products import HIDDEN, HIDDEN_WORDS

# Flags that change what a neural network costs, as Linux names them; Arm's names after the second line.
ISA_FLAGS = (
    *("sse4_2", "avx", "avx2", "fma", "f16c", "avx512f", "avx512_vnni", "avx512_bf16", "avx512_fp16"),
    *("avx_vnni", "avx_vnni_int8", "amx_tile", "amx_int8", "amx_bf16"),
    *("asimd", "asimdhp", "asimddp", "i8mm", "bf16", "sve", "sve2", "sme"),
)
MACOS_FLAGS = {
    "hw.optional.neon": "asimd",
    "hw.optional.arm.FEAT_FP16": "asimdhp",
    "hw.optional.arm.FEAT_DotProd": "asimddp",
    "hw.optional.arm.FEAT_I8MM": "i8mm",
    "hw.optional.arm.FEAT_BF16": "bf16",
    "hw.optional.arm.FEAT_SME": "sme",
    "hw.optional.avx2_0": "avx2",
    "hw.optional.avx512f": "avx512f",
}
DOT_PRODUCTS = ("avx512_vnni", "avx_vnni", "avx_vnni_int8", "amx_int8", "asimddp", "i8mm")
"""Instructions that multiply and add four or more 8-bit numbers at once: with one of them INT8 buys time."""
VERSIONED = ("torch", "torchvision", "onnxruntime", "onnx", "numpy")


@dataclass(frozen=True)
class Peak:
    """A measured roof.

    Args:
        value: median of the samples, in ``unit``.
        low: the lowest sample.
        high: the highest sample.
        unit: "GFLOP/s" or "GB/s".
        samples: how many.
        method: what was run, in words.
    """

    value: float
    low: float
    high: float
    unit: str
    samples: int
    method: str


@contextlib.contextmanager
def torch_threads(threads: int) -> Iterator[None]:
    """Run the block with PyTorch's intra-operator threads set to ``threads``; the old number returns afterwards."""
    if threads < 1:
        raise ValueError(f"threads must be at least 1, got {threads}")
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def cpu_features() -> dict[str, Any]:
    """Model name, architecture, logical cores, known instruction sets, and whether the processor is emulated.

    Returns: {"model": str, "architecture": str, "cores": int, "isa": [str], "emulated": bool}; what cannot be found
        is "unknown", [] or False. What ``environment_without`` hides is left out, and the model's name says so.
        Never raises: an unusual machine must not stop a chapter.
    """
    architecture = platform.machine().lower() or "unknown"
    model, flags, emulated = "", set(), False
    if sys.platform == "darwin":
        model, flags, emulated = _from_sysctl(
            _command(["sysctl", "machdep.cpu", "hw.optional", "sysctl.proc_translated"])
        )
    else:
        with contextlib.suppress(OSError):
            text = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace")
            model, flags, emulated = _from_cpuinfo(text, architecture)
    hidden = set(os.environ.get(HIDDEN, "").split())
    model = model or platform.processor() or "unknown"
    return {
        "model": f"{model}, {HIDDEN_WORDS}" if hidden & flags else model,
        "architecture": architecture,
        "cores": os.cpu_count() or 1,
        "isa": [flag for flag in ISA_FLAGS if flag in flags - hidden],
        "emulated": emulated,
    }


def has_dot_product(isa: Iterable[str]) -> bool:
    """True if one of these instruction sets has 8-bit dot products.

    >>> has_dot_product(["avx2", "fma"]), has_dot_product(["avx2", "avx_vnni"])
    (False, True)
    """
    return not set(isa).isdisjoint(DOT_PRODUCTS)


def processor_key(machine: Mapping[str, Any]) -> str:
    """A processor's name as a part of a file's name, with what decides about INT8: its 8-bit dot product, or none.

    Args: machine: as ``machine_summary`` gives it.

    >>> processor_key({"cpu": "AMD EPYC", "isa": ["avx2", "avx512_vnni"]})
    'amd_epyc_avx512_vnni'
    >>> processor_key({"cpu": "AMD EPYC", "isa": ["avx2"]})
    'amd_epyc_no_dot_product'
    """
    name = re.sub(r"[^a-z0-9]+", "_", str(machine["cpu"]).lower()).strip("_") or "unknown"
    return f"{name}_{next((flag for flag in DOT_PRODUCTS if flag in machine['isa']), 'no_dot_product')}"


def machine_summary(threads: int | None = None) -> dict[str, Any]:
    """The machine as it is written into every recorded result; ``threads`` are those the measurement used."""
    features = cpu_features()
    return {
        "cpu": features["model"],
        "architecture": features["architecture"],
        "cores": features["cores"],
        "threads": threads if threads is not None else torch.get_num_threads(),
        "isa": features["isa"],
        "emulated": features["emulated"],
        "memory_gb": round(_memory_bytes_total() / 1e9, 1),
        "system": f"{platform.system()} {platform.release()}",
    }


def versions() -> dict[str, str]:
    """Python's and the main packages' versions, read from their metadata (nothing is imported)."""
    found = {"python": platform.python_version()}
    for package in VERSIONED:
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            found[package] = importlib.metadata.version(package)
    return found


def process_memory_bytes() -> int:
    """Bytes of physical memory that this process holds now (resident set)."""
    import psutil

    return int(psutil.Process().memory_info().rss)


def peak_memory_bytes() -> int:
    """The most physical memory, in bytes, that this process has held since it started."""
    try:
        import resource
    except ImportError:  # Windows
        import psutil

        return int(psutil.Process().memory_info().peak_wset)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return int(peak if sys.platform == "darwin" else peak * 1024)  # macOS counts bytes, Linux KiB


def peak_compute_gflops(threads: int, seconds: float, size: int = 1024) -> Peak:
    """GFLOP/s of a (size × size) FP32 matrix product, 2·size³ FLOP each: the roof for compute.

    Args: threads: PyTorch's; seconds: how long to sample; size: large enough that memory traffic is negligible.
    Raises: ValueError: threads, seconds or size not positive.
    """
    if seconds <= 0 or size < 1:
        raise ValueError(f"seconds and size must be positive, got {seconds} and {size}")
    a, b, out = (torch.ones(size, size) for _ in range(3))
    with torch_threads(threads), torch.no_grad():
        times = _sample(lambda: torch.mm(a, b, out=out), seconds)
    return _peak(2 * size**3 / times / 1e9, "GFLOP/s", f"matmul {size}×{size}×{size} FP32, {threads} thread(s)")


def peak_bandwidth_gbs(threads: int, seconds: float, array_mib: float = 256) -> Peak:
    """GB/s of a ← b + 2·c over three FP32 arrays ("triad", 3 bytes moved per array byte): the roof for memory.

    Args: threads: PyTorch's; seconds: how long to sample; array_mib: MiB of each of the three arrays, at least 1/64:
        four times the last-level cache for main memory's roof; less measures a cache's (1/8: three arrays of 128 KiB,
        which a second-level cache holds).
    Raises: ValueError: threads or seconds not positive, or array_mib too small.
    """
    if seconds <= 0 or array_mib < 1 / 64:
        raise ValueError(f"seconds must be positive and array_mib at least 1/64, got {seconds} and {array_mib}")
    # ones, not empty: pages are mapped when first written, and that must not be timed.
    a, b, c = (torch.ones(round(array_mib * 2**20) // 4) for _ in range(3))
    with torch_threads(threads), torch.no_grad():
        times = _sample(lambda: torch.add(b, c, alpha=2.0, out=a), seconds)
    size = f"{array_mib:g} MiB" if array_mib >= 1 else f"{1024 * array_mib:g} KiB"
    return _peak(3 * 4 * len(a) / times / 1e9, "GB/s", f"triad over 3 × {size}, {threads} thread(s)")


def _sample(function: Callable[[], Any], seconds: float) -> np.ndarray:
    """Seconds of single calls after two warm-up calls, for about ``seconds``; at least 5 samples."""
    for _ in range(2):
        function()
    times: list[float] = []
    while len(times) < 5 or sum(times) < seconds:
        start = time.perf_counter()
        function()
        times.append(time.perf_counter() - start)
    return np.array(times)


def _peak(rates: np.ndarray, unit: str, method: str) -> Peak:
    return Peak(float(np.median(rates)), float(rates.min()), float(rates.max()), unit, len(rates), method)


def _from_cpuinfo(text: str, architecture: str) -> tuple[str, set[str], bool]:
    """Model name, flags and emulation from the text of /proc/cpuinfo."""
    fields: dict[str, str] = {}
    for line in text.splitlines():
        key, colon, value = line.partition(":")
        if colon:
            fields.setdefault(key.strip().lower(), value.strip())
    model = fields.get("model name") or fields.get("hardware") or fields.get("cpu part", "")
    flags = set(fields.get("flags", fields.get("features", "")).split())
    vendor = fields.get("vendor_id", "")
    foreign = architecture.startswith(("aarch64", "arm")) and vendor in ("GenuineIntel", "AuthenticAMD")
    return model, flags, foreign or vendor == "VirtualApple" or "QEMU" in model or "TCG" in vendor


def _from_sysctl(text: str) -> tuple[str, set[str], bool]:
    """Model name, flags and emulation (Rosetta) from the output of macOS's sysctl."""
    values = dict(line.split(": ", 1) for line in text.splitlines() if ": " in line)
    listed = f"{values.get('machdep.cpu.features', '')} {values.get('machdep.cpu.leaf7_features', '')}".lower()
    flags = {flag.replace("avx1.0", "avx").replace("sse4.2", "sse4_2") for flag in listed.split()}
    flags |= {name for key, name in MACOS_FLAGS.items() if values.get(key) == "1"}
    return values.get("machdep.cpu.brand_string", ""), flags, values.get("sysctl.proc_translated") == "1"


def _command(arguments: list[str]) -> str:
    try:
        return subprocess.run(arguments, capture_output=True, text=True, timeout=10, check=False).stdout
    except (OSError, subprocess.SubprocessError):
        return ""


def _memory_bytes_total() -> int:
    try:
        import psutil

        return int(psutil.virtual_memory().total)
    except Exception:  # a summary must never fail
        return 0
