"""Processors that this machine can imitate: which kernels the libraries may use, and how many threads.

A floating-point sum depends on the order of its terms, and that order depends on how many numbers an instruction takes
at once and on how the work is dealt out to threads. So two processors print different last digits of the same cell, and
an argmax between equals may even name another class. Nobody has every processor, but each library can be told to do
without its newer instructions:

    best      whatever this machine offers
    avx2      as on a processor without AVX-512
    plainest  as on one with SSE 4.2 only, and the order of sums that MKL calls compatible

with one thread or two. A chapter's page is executed under ``AUTHOR`` and compared with its execution under the others
of ``COMPARED`` before it is written; ``make test`` executes the committed pages under ``TEST``.

What each variable reaches: ATEN_CPU_CAPABILITY PyTorch's own kernels, ONEDNN_MAX_CPU_ISA its convolutions,
MKL_ENABLE_INSTRUCTIONS and MKL_CBWR its matrix products (on AMD processors only the latter counts), OPENBLAS_CORETYPE
NumPy's and SciPy's matrix products, NPY_DISABLE_CPU_FEATURES NumPy's elementwise functions. ONNX Runtime has no such
switch: what it computes belongs into cells whose output is not compared. On other architectures than x86-64 only the
plainest kernels of PyTorch and NumPy can be asked for.

Source: PyTorch (aten/src/ATen/native/DispatchStub.cpp), oneDNN ("CPU dispatcher control"), MKL ("Conditional numerical
reproducibility"), OpenBLAS (USAGE.md), NumPy ("CPU/SIMD optimizations, runtime trace").
"""

from __future__ import annotations

import platform
from collections.abc import Mapping
from dataclasses import dataclass

from course_lib.environment.machine import THREAD_VARIABLES

KERNELS = ("best", "avx2", "plainest")
X86 = {
    "best": {},
    "avx2": {
        "ATEN_CPU_CAPABILITY": "avx2",
        "ONEDNN_MAX_CPU_ISA": "AVX2",
        "MKL_ENABLE_INSTRUCTIONS": "AVX2",
        "OPENBLAS_CORETYPE": "Haswell",
    },
    "plainest": {
        "ATEN_CPU_CAPABILITY": "default",
        "ONEDNN_MAX_CPU_ISA": "SSE41",
        "MKL_ENABLE_INSTRUCTIONS": "SSE4_2",
        "MKL_CBWR": "COMPATIBLE",
        "OPENBLAS_CORETYPE": "Nehalem",
    },
}
ELSEWHERE = {"best": {}, "avx2": {}, "plainest": {"ATEN_CPU_CAPABILITY": "default"}}
NUMPY = "NPY_DISABLE_CPU_FEATURES"
# Threads of two kernels on two cores must not spin while they wait: one training took 8 times as long.
WAIT = {"OMP_WAIT_POLICY": "PASSIVE"}
OWN = {name for variables in X86.values() for name in variables} | {*THREAD_VARIABLES, *WAIT, NUMPY}


@dataclass(frozen=True)
class Setting:
    """One processor to imitate.

    Args:
        kernels: of ``KERNELS``: which instructions the libraries may use.
        threads: how many threads compute one operation, ≥ 1.
    """

    kernels: str
    threads: int

    def __post_init__(self) -> None:
        if self.kernels not in KERNELS:
            raise ValueError(f"kernels must be one of {', '.join(KERNELS)}, got {self.kernels!r}")
        if self.threads < 1:
            raise ValueError(f"threads must be at least 1, got {self.threads}")

    @property
    def name(self) -> str:
        """Such as "plainest-1"."""
        return f"{self.kernels}-{self.threads}"

    def variables(self) -> dict[str, str]:
        """The environment variables that make a process compute so; they count when its libraries are imported.

        >>> Setting("best", 2).variables()["OMP_NUM_THREADS"]
        '2'
        """
        known = X86 if platform.machine().lower() in ("x86_64", "amd64") else ELSEWHERE
        variables = (
            known[self.kernels]
            | dict.fromkeys(THREAD_VARIABLES, str(self.threads))
            | (WAIT if self.threads > 1 else {})
        )
        if features := _numpy_features_beyond(self.kernels):
            variables[NUMPY] = " ".join(features)
        return variables

    def environment(self, base: Mapping[str, str]) -> dict[str, str]:
        """``base`` with this setting in it and nothing of another one."""
        return {name: value for name, value in base.items() if name not in OWN} | self.variables()


def _numpy_features_beyond(kernels: str) -> list[str]:
    """NumPy's optional instruction sets that these kernels do without; also those that this machine lacks anyway."""
    if kernels == "best":
        return []
    import numpy

    known = numpy.show_config(mode="dicts")["SIMD Extensions"]  # type: ignore[index]
    optional = [*known.get("found", ()), *known.get("not found", ())]
    return optional if kernels == "plainest" else [f for f in optional if f == "X86_V4" or f.startswith("AVX512")]


AUTHOR = Setting("best", 1)
"""What a page shows was computed and timed so: one thread, as in the tests."""

COMPARED = (AUTHOR, Setting("avx2", 2), Setting("plainest", 1))
"""A page is written only if these print the same."""

ALL = tuple(Setting(kernels, threads) for kernels in KERNELS for threads in (1, 2))

TEST = Setting("plainest", 1)
"""``make test`` runs the pages so: never as their author did."""


def make_test_variables() -> dict[str, str]:
    """What ``make test`` adds to the environment in which it executes the pages; a learner's progress stays out of it.

    >>> make_test_variables()["ATEN_CPU_CAPABILITY"]
    'default'
    """
    return TEST.variables() | {"COURSE_PROGRESS": "off"}
