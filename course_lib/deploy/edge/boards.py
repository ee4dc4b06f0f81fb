"""What vendors document of the boards: peaks that nothing exceeds, each with the place where it is written.

A peak is cores × clock × operations a cycle, or bits × transfers a second: no program reaches it, and none passes it.
So it bounds what a board can do from above, and that is its only use here (``prediction``). Where a number follows
from documented ones, its source says so and how. What a board cannot do stands in ``Board.lacks`` with the reason: the
GPU of a Jetson Nano has no INT8, and cores without dot products multiply bytes by way of wider numbers, for which no
peak is documented.

Clocks are the highest of the named power mode. A mode with less power has lower ones: then the bound is looser.

What each number stands on:

* Nano, CPU: two documents of NVIDIA differ. The module's data sheet says 1.43 GHz, the developer guide of its system
  1,479 MHz in mode MAXN, and boards report 1479: a bound takes the larger one. Cycles: Arm's guide of the Cortex-A57.
* Nano, GPU: 472 GFLOP/s in FP16 is NVIDIA's figure; 128 cores × 2 × 2 × 921.6 MHz gives it. Memory: 1,600 MHz × 2
  transfers × 8 bytes = 25.6 GB/s.
* Orin Nano: 20 dense TOPS, 625 MHz, 1.5 GHz and 68 GB/s are the data sheet's, and it rounds: boards report 1510 MHz for
  their cores, 2,133 MHz × 2 × 16 bytes are 68.3 GB/s, and 32 tensor cores × 1,024 operations × 625 MHz are 20.5 TOPS.
  So an Orin's bound may be off by up to 3 %.
* Orin Nano, FP16 and FP32 on the GPU: no figure of NVIDIA's; they follow from INT8 by what Ampere's tensor cores do.
* Cortex-A78AE: cycles are those of Arm's guide for the Cortex-A78, whose pipelines it is taken to share. That is no
  figure of a vendor for this core. Neither is 17.1 GB/s for the Pi: it follows from the memory's type and width.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from course_lib.errors import CourseError

PROCESSOR = {"onnxruntime": "cpu", "c": "cpu", "tensorrt": "gpu"}
"""Where a kit's runtime computes; ONNX Runtime with its CPU provider."""


@dataclass(frozen=True)
class Documented:
    """A number and where it is written.

    Args:
        value: in ``unit``.
        unit: such as "GB/s".
        source: title and section, and how the number follows if it is not there as it stands.
    """

    value: float
    unit: str
    source: str


@dataclass(frozen=True)
class Board:
    """A board's documented peaks.

    Args:
        name: to ask for it.
        title: with the power mode.
        model: how the board names itself (``/proc/device-tree/model``): a part of it that no other board has.
        cores: of its CPU.
        bandwidth: of main memory.
        cache: the CPU's largest; what fits in it need not come from main memory in a hot loop.
        peaks: (processor, precision) -> G operations/s, 2 per MAC; of one core for "cpu".
        lacks: (processor, precision) -> why there is no number.
    """

    name: str
    title: str
    model: str
    cores: int
    bandwidth: Documented
    cache: Documented
    peaks: Mapping[tuple[str, str], Documented]
    lacks: Mapping[tuple[str, str], str]

    def peak(self, runtime: str, precision: str, threads: int = 1) -> Documented:
        """G operations/s for a runtime of the kit.

        Raises: ValueError: unknown runtime, or threads not in 1..cores. CourseError: the board cannot do it, and why.

        >>> round(BOARDS["nano"].peak("onnxruntime", "fp32", threads=4).value, 1)
        47.3
        """
        if runtime not in PROCESSOR:
            raise ValueError(f"runtime must be one of {', '.join(PROCESSOR)}, got {runtime!r}")
        if not 1 <= threads <= self.cores:
            raise ValueError(f"threads must be in 1..{self.cores} on {self.title}, got {threads}")
        processor = PROCESSOR[runtime]
        found = self.peaks.get((processor, precision))
        if found is None:
            reason = self.lacks.get((processor, precision), "no peak is documented for it")
            others = [p for where, p in self.peaks if where == processor]
            raise CourseError(
                f"{self.title}, {processor.upper()}, {precision}: {reason}", mend=f"predict {' or '.join(others)}"
            )
        if processor == "gpu":
            return found
        return Documented(threads * found.value, found.unit, f"{found.source}; × {threads} core(s)")


def _neon(core: str, ghz: float, clock: str, operations: int, source: str) -> Documented:
    told = f"{ghz} GHz ({clock}) × {operations} a cycle: {core}, {source}"
    return Documented(ghz * operations, "GFLOP/s", told)


_MODULES = "NVIDIA, Jetson Modules, comparison of technical specifications"
_ORIN = "NVIDIA, Jetson Orin Nano Series data sheet"
_SUPER = "NVIDIA, Jetson Orin Nano Super Developer Kit (JetPack 6.2), specifications"
_A57 = (
    "Arm, Cortex-A57 Software Optimization Guide (UAN 0015B), 3.15: ASIMD FP multiply accumulate, Q-form, one a cycle"
)
_NANO_GUIDE = (
    "NVIDIA, Tegra Linux Driver Package Development Guide 32.7, Power Management for Jetson Nano, Supported Modes and "
    "Power Efficiency, mode MAXN"
)
_A78 = (
    "taken to compute as Arm's Cortex-A78 Core Software Optimization Guide says of that core: ASIMD FP multiply "
    "accumulate, two a cycle"
)
_A76 = "Arm, Cortex-A76 Software Optimization Guide: ASIMD FP multiply accumulate, two a cycle"
_PI = "Raspberry Pi, Raspberry Pi 5 product brief"
_DOT = "ASIMD dot product, two a cycle, 16 products each"
_NO_DOT = "the Cortex-A57 has no dot-product instructions, and no INT8 peak is documented for it"
_NO_INT8 = (
    "its Maxwell GPU (compute capability 5.3) has no INT8 in TensorRT (NVIDIA, TensorRT 8.2 Support Matrix, "
    "Hardware and Precision)"
)
_TF32 = "TensorRT computes FP32 networks in TF32 where tensor cores have it: half of FP16"


def _orin(name: str, title: str, bandwidth: Documented, int8: float, ghz: float, clock: str, source: str) -> Board:
    """An Orin Nano 8GB in one of its modes; int8: dense G operations/s of the tensor cores."""
    return Board(
        name,
        title,
        model="Orin Nano",
        cores=6,
        bandwidth=bandwidth,
        cache=Documented(4.0, "MB", f"{_ORIN}, CPU: L3"),
        peaks=MappingProxyType(
            {
                ("cpu", "fp32"): _neon("Cortex-A78AE", ghz, clock, 16, _A78),
                ("cpu", "int8"): Documented(64 * ghz, "GOP/s", f"{ghz} GHz ({clock}) × 64 a cycle: {_A78}, {_DOT}"),
                ("gpu", "fp32"): Documented(int8 / 4, "GFLOP/s", f"{_TF32}, a quarter of INT8; {source}"),
                ("gpu", "fp16"): Documented(int8 / 2, "GFLOP/s", f"half of INT8 on Ampere's tensor cores; {source}"),
                ("gpu", "int8"): Documented(int8, "GOP/s", source),
            }
        ),
        lacks=MappingProxyType({}),
    )


_NANO = Board(
    "nano",
    "Jetson Nano (10 W)",
    model="Jetson Nano",
    cores=4,
    bandwidth=Documented(25.6, "GB/s", f"{_MODULES}: 4 GB 64-bit LPDDR4; 1,600 MHz × 2 × 8 bytes"),
    cache=Documented(2.0, "MB", "NVIDIA, Jetson Nano System-on-Module data sheet, CPU: L2"),
    peaks=MappingProxyType(
        {
            ("cpu", "fp32"): _neon("Cortex-A57", 1.479, _NANO_GUIDE, 8, _A57),
            ("gpu", "fp32"): Documented(236.0, "GFLOP/s", f"half of FP16 (128 cores × 2 × 921.6 MHz); {_MODULES}"),
            ("gpu", "fp16"): Documented(472.0, "GFLOP/s", f"{_MODULES}: AI performance"),
        }
    ),
    lacks=MappingProxyType({("gpu", "int8"): _NO_INT8, ("cpu", "int8"): _NO_DOT}),
)
_ORIN_NANO = _orin(
    "orin_nano",
    "Jetson Orin Nano 8GB (15 W)",
    Documented(68.0, "GB/s", f"{_MODULES}: 8 GB 128-bit LPDDR5"),
    int8=20_000.0,
    ghz=1.5,
    clock=f"{_ORIN}, CPU: maximum operating frequency",
    source=f"{_ORIN}, AI performance: 20 (dense) INT8 TOPs",
)
_ORIN_SUPER = _orin(
    "orin_nano_super",
    "Jetson Orin Nano 8GB Super (MAXN SUPER)",
    Documented(102.0, "GB/s", f"{_SUPER}: 8 GB 128-bit LPDDR5"),
    int8=33_500.0,
    ghz=1.7,
    clock=f"{_SUPER}: CPU clock",
    source=f"{_SUPER}: 67 TOPS, which are sparse; half of it dense",
)
_PI5 = Board(
    "pi5",
    "Raspberry Pi 5",
    model="Raspberry Pi 5",
    cores=4,
    bandwidth=Documented(17.1, "GB/s", f"32 bits × 4,267 MT/s: {_PI}, LPDDR4X-4267"),
    cache=Documented(2.0, "MB", f"{_PI}: shared L3"),
    peaks=MappingProxyType(
        {
            ("cpu", "fp32"): _neon("Cortex-A76", 2.4, _PI, 16, _A76),
            ("cpu", "int8"): Documented(64 * 2.4, "GOP/s", f"2.4 GHz ({_PI}) × 64 a cycle: {_A76}, {_DOT}"),
        }
    ),
    lacks=MappingProxyType(
        {("gpu", precision): "TensorRT needs an NVIDIA GPU" for precision in ("fp32", "fp16", "int8")}
    ),
)
BOARDS: Mapping[str, Board] = MappingProxyType({b.name: b for b in (_NANO, _ORIN_NANO, _ORIN_SUPER, _PI5)})
"""Name -> board."""


def find_board(name: str) -> Board:
    """The board of that name. Raises: ValueError: there is none."""
    if name not in BOARDS:
        raise ValueError(f"board must be one of {', '.join(BOARDS)}, got {name!r}")
    return BOARDS[name]
