"""README's tables of INT8: what it costs and buys on the shipped networks, and the same network as one C file."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from course_lib.measure import Measurement, load_result
from course_lib.measure.tables import markdown_table
from course_lib.publishing.numbers import DATA, number_and_target
from course_lib.storage.files import RESULTS

ROLES = {"teacher": "teacher", "student": "student", "final": "student pruned", "small": "small student"}
PACES = {"": "back to back", "_in_turn": "in turn", "_30_a_second": "30 a second"}
Figures = Mapping[str, Measurement]


def quantization_table(folder: str | Path = RESULTS) -> str:
    """One row a data set and network: points lost, times smaller, times faster by cadence and kind of processor.

    Raises: CourseError: a recorded file is missing or broken.
    """
    header = ["", "network", "points lost", "× smaller"]
    header += [f"× faster, {pace}" for pace in PACES.values()]
    header += [f"without 8-bit dot products, {pace}" for pace in PACES.values()]
    rows = []
    for key, words in DATA.items():
        figures = load_result(f"quantization_{key}", folder)["figures"]
        for role, name in ROLES.items():
            if f"{role}_int8_bytes" in figures:
                worth = [number_and_target(figures[f"{role}_int8_{what}"]) for what in ("drop_points", "size_ratio")]
                rows.append([words, name, *worth, *_speeds(figures, role)])
    return markdown_table(header, rows)


def _speeds(figures: Figures, role: str) -> list[str]:
    names = [f"{role}_int8_latency_ratio{pace}{kind}" for kind in ("", "_without_dot_products") for pace in PACES]
    return [number_and_target(figures[name]) if name in figures else "not measured here" for name in names]


def integer_table(folder: str | Path = RESULTS) -> str:
    """The C file of student and teacher: bytes, and its time over ONNX Runtime's INT8, as Markdown.

    Raises: CourseError: the recorded file is missing or broken.
    """
    figures = load_result("integer_engine", folder)["figures"]
    rows = []
    for role, end in (("student", ""), ("teacher", "_teacher")):
        names = [
            f"c_time_ratio_to_onnxruntime{pace}{end}{kind}"
            for kind in ("", "_without_dot_products")
            for pace in ("", "_30_a_second")
        ]
        times = [number_and_target(figures[name]) if name in figures else "not measured here" for name in names]
        sizes = [f"{figures[f'c_{what}_bytes{end}'].value / 1000:,.1f} kB" for what in ("flash", "ram")]
        rows.append([role, *sizes, *times])
    header = ["network as C", "flash", "RAM"]
    paces = ("back to back", "30 a second")
    header += [f"time over ONNX Runtime's INT8, {pace}" for pace in paces]
    header += [f"without 8-bit dot products, {pace}" for pace in paces]
    layers, exact, images = (round(figures[name].value) for name in ("layers_total", "layers_bit_exact", "images"))
    note = (
        f"{exact} of {layers} layers (student and teacher) equal ONNX Runtime's kernels in every code, on all "
        f"{images:,} rendered test images; codes that differ: {figures['codes_differing'].value:.0f} of "
        f"{figures['codes_differing'].n:,}. Logits in which the C files differ from the NumPy engine: "
        f"{figures['c_codes_differing'].value:.0f} of {figures['c_codes_differing'].n:,}."
    )
    return "\n".join([markdown_table(header, rows), "", note])
