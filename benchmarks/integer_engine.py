"""The integer engine beside ONNX Runtime, and the C file beside both: benchmarks/results/integer_engine.json.

    python benchmarks/integer_engine.py --record     whole test part, three processes to time in
    python benchmarks/integer_engine.py --quick      64 images, one process, to see whether it runs

* **Codes**: every code of every layer, NumPy with the runtime's rounding beside ONNX Runtime, each layer alone (on the
  runtime's own inputs) and all together; then the logits of the C file beside NumPy's, with both roundings.
* **Memory**: flash (constants and code) and RAM of the compiled file, from the object's sections.
* **Time**: the C file / ONNX Runtime's INT8 with the same scales, batch 1, one thread, back to back and 30 a second, in
  processes of their own; the C file twice (A/A). Then the same without 8-bit dot products: hidden from the runtime, and
  not given to the compiler. Above 1, C is slower.

Student and teacher for rendered signs, calibrated on 512 training images. The classes are not looked at.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from pathlib import Path

import numpy as np

from course_lib.evaluation import Estimate
from course_lib.experiments.c_export import quantized_checkpoint
from course_lib.experiments.file_times import time_ratios
from course_lib.measure import BACK_TO_BACK, THIRTY_A_SECOND, Measurement, record
from course_lib.measure.machine import cpu_features, has_dot_product
from course_lib.quantization.calibrated import QuantizedNetwork
from course_lib.quantization.integer import (
    c_source,
    code_lines,
    compare_with_runtime,
    compile_c,
    footprint,
    integer_network,
    load_c,
    memory_plan,
)
from course_lib.quantization.integer.c_program import FLAGS, FOR_SIZE
from course_lib.quantization.qdq import export_qdq

ROLES = {"student": "", "teacher": "_teacher"}
"""Networks, and what their figures' names end in."""
ROUNDINGS = ("hardware", "runtime")
PACES = {BACK_TO_BACK: 40, THIRTY_A_SECOND: 20}
SUFFIX = {BACK_TO_BACK.name: "", THIRTY_A_SECOND.name: "_30_a_second"}
WITHOUT = ("-mno-avx512vnni", "-mno-avxvnni")
SESSIONS = 3
Figures = dict[str, Measurement]


def code_figures(networks: dict[str, QuantizedNetwork], images: np.ndarray, threads: int) -> Figures:
    """Layers and codes, NumPy beside ONNX Runtime and C beside NumPy; NumPy's time."""
    rows = [row for network in networks.values() for row in compare_with_runtime(network, images)]
    exact, codes = sum(not row.together for row in rows), sum(row.codes for row in rows)
    alone, together = sum(row.alone for row in rows), sum(row.together for row in rows)
    seconds, largest, differing = 0.0, 0, 0
    with tempfile.TemporaryDirectory() as folder:
        for network in networks.values():
            for rounding in ROUNDINGS:
                engine = integer_network(network, rounding=rounding)
                started = time.perf_counter()
                expected = engine.logit_codes(images, threads=threads)
                seconds += time.perf_counter() - started
                largest = max(largest, time.perf_counter() - started)
                differing += int(np.count_nonzero(load_c(compile_c(c_source(engine), folder))(images) != expected))
    pair, both = "NumPy with the runtime's rounding beside ONNX Runtime, student and teacher", "student and teacher"
    logits = len(networks) * len(ROUNDINGS) * images.shape[0] * 43
    total = len(rows)
    return {
        "images": Measurement(len(images), "", len(images), "rendered test images, all of them compared"),
        "layers_total": Measurement(total, "", total, f"layers with codes of their own, {both}"),
        "layers_bit_exact": Measurement(exact, "", total, f"of them, equal in every code: {pair}", target=f"≥ {total}"),
        "codes_differing": Measurement(together, "", codes, f"codes that differ: {pair}", target="≤ 0"),
        "codes_differing_alone": Measurement(alone, "", codes, "the same, each layer on the runtime's own inputs"),
        "c_codes_differing": Measurement(
            differing, "", logits, f"logits that differ, C beside NumPy, {both}, both roundings", target="≤ 0"
        ),
        "numpy_seconds": Measurement(
            round(largest, 1),
            "s",
            2 * len(ROUNDINGS),
            f"the slowest of {both}, NumPy, {threads} threads",
            target="≤ 180",
        ),
        "numpy_seconds_all": Measurement(round(seconds, 1), "s", 1, f"{both}, both roundings, together"),
    }


def memory_figures(role: str, network: QuantizedNetwork) -> Figures:
    """Flash and RAM of the compiled file (hardware's rounding), for speed and for size."""
    engine = integer_network(network, rounding="hardware")
    source, plan, end = c_source(engine), memory_plan(engine), ROLES[role]
    with tempfile.TemporaryDirectory() as folder:
        fast, small = footprint(source, folder), footprint(source, folder, flags=FOR_SIZE)
    return {
        f"c_flash_bytes{end}": Measurement(fast.flash_bytes, "bytes", 1, f"{role}, constants and code, {fast.source}"),
        f"c_flash_bytes_small{end}": Measurement(small.flash_bytes, "bytes", 1, f"{role}, the same, {small.source}"),
        f"c_ram_bytes{end}": Measurement(
            fast.ram_bytes, "bytes", 1, f"{role}, static memory (.bss); of it tensors {plan.arena.size:,}"
        ),
        f"c_lines{end}": Measurement(
            max(len(code_lines(c_source(integer_network(network, rounding=rounding)))) for rounding in ROUNDINGS),
            "lines",
            len(ROUNDINGS),
            f"{role}, before the numbers, the longer of both roundings",
            target="≤ 400",
        ),
    }


def time_figures(role: str, network: QuantizedNetwork, image: np.ndarray, sessions: int) -> Figures:
    """The C file's time / ONNX Runtime's, with and without 8-bit dot products, both roundings."""
    figures: Figures = {}
    dot_products = has_dot_product(cpu_features()["isa"])
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        onnx = export_qdq(network, folder / "int8.onnx")
        sources = {rounding: c_source(integer_network(network, rounding=rounding)) for rounding in ROUNDINGS}
        for shown in (True, False) if dot_products else (True,):
            flags = FLAGS if shown or not dot_products else (*FLAGS, *WITHOUT)
            built = {rounding: compile_c(source, folder, flags=flags) for rounding, source in sources.items()}
            again = compile_c(sources["hardware"] + "/* again */\n", folder, flags=flags)
            paths = {"onnx": onnx, **built, "again": again}
            ratios = time_ratios(paths, "onnx", image, PACES, sessions, dot_products=shown)
            same = time_ratios({k: paths[k] for k in ("hardware", "again")}, "hardware", image, PACES, sessions)
            isa = "with" if shown and dot_products else "without"
            end = ROLES[role] + ("" if shown else "_without_dot_products")
            for (what, pace), ratio in {**{k: v for k, v in ratios.items() if k[0] != "again"}, **same}.items():
                figures |= _ratio_figure(role, what, pace, ratio, isa, end)
    return figures


def _ratio_figure(role: str, what: str, pace: str, ratio: Estimate, isa: str, end: str) -> Figures:
    label = {"hardware": "c_time_ratio_to_onnxruntime", "runtime": "c_time_ratio_runtime_rounding", "again": "c_aa"}[
        what
    ]
    pair = "the C file / itself compiled again" if what == "again" else "the C file / ONNX Runtime's INT8"
    rounding = "hardware" if what == "again" else what
    words = f"{pair}, {role}, {rounding} rounding, batch 1, one thread, {pace}, {isa} 8-bit dot products"
    asked = what == "hardware" and pace == BACK_TO_BACK.name
    figure = Measurement.of(ratio, "×", words, target="≤ 3" if asked else None)
    note = "the compiler's own vector code, beside kernels that were written by hand for this processor"
    return {f"{label}{SUFFIX[pace]}{end}": figure.explained(note)}


def main() -> None:
    """Compare, weigh, time, print, and record if asked."""
    parser = argparse.ArgumentParser(description="The integer engine and the C file beside ONNX Runtime.")
    parser.add_argument("--quick", action="store_true", help="64 images and one process; is not recorded")
    parser.add_argument("--sessions", type=int, default=SESSIONS, help="fresh processes to time in")
    parser.add_argument("--record", action="store_true", help="write benchmarks/results/integer_engine.json")
    options = parser.parse_args()
    if options.quick and options.record:
        parser.error("what --quick measures is not recorded")
    found = {role: quantized_checkpoint(f"{role}_rendered", "rendered") for role in ROLES}
    networks = {role: network for role, (network, _) in found.items()}
    images = found["student"][1].test.images[: 64 if options.quick else None]
    figures = code_figures(networks, images, os.cpu_count() or 1)
    sessions = 1 if options.quick else options.sessions
    for role, network in networks.items():
        figures |= memory_figures(role, network)
        figures |= time_figures(role, network, images[:1].astype(np.float32) / 255, sessions)
    for name, figure in figures.items():
        print(f"{name}: {figure}, target {figure.target}")
    if options.record:
        command = "python benchmarks/integer_engine.py --record"
        print(f"Written: {record('integer_engine', command, figures, seeds=[0], threads=1)}")


if __name__ == "__main__":
    main()
