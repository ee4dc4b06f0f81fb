"""The recorded figures say which code was compared with which, and which file was timed beside which."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from course_lib.data.rendered import render_split
from course_lib.evaluation import Estimate
from course_lib.measure import BACK_TO_BACK, THIRTY_A_SECOND
from course_lib.models import checkpoints
from course_lib.quantization.calibrated import QuantizedNetwork, quantize_network
from course_lib.quantization.integer import find_compiler

pytestmark = pytest.mark.skipif(find_compiler() is None, reason="no C compiler here (cc, gcc or clang)")


@pytest.fixture
def benchmark(load_script):
    return load_script("benchmarks/integer_engine.py")


@pytest.fixture(scope="module")
def signs() -> np.ndarray:
    return render_split("test", tracks=43, frames=1).images[:10]


@pytest.fixture(scope="module")
def student(signs) -> QuantizedNetwork:
    model, _ = checkpoints.load("student_rendered")
    return quantize_network(model, torch.from_numpy(signs).float() / 255)


def test_codes_are_counted_over_all_networks_and_roundings(benchmark, student, signs):
    found = benchmark.code_figures({"student": student, "teacher": student}, signs, 1)
    assert found["layers_total"].value == 2 * 7  # flattening gives no codes of its own
    assert found["images"].value == len(signs)
    assert found["c_codes_differing"].n == 2 * 2 * len(signs) * 43
    assert found["c_codes_differing"].value == 0


def test_a_differing_code_is_counted(benchmark, student, signs, monkeypatch):
    right = benchmark.load_c

    def wrong(path):
        return lambda images: right(path)(images) ^ (np.arange(43) == 5).astype(np.uint8)

    monkeypatch.setattr(benchmark, "load_c", wrong)
    found = benchmark.code_figures({"student": student}, signs, 1)
    assert found["c_codes_differing"].value == 2 * len(signs)
    assert found["c_codes_differing"].met is False


def test_times_are_named_by_rounding_cadence_and_dot_products(benchmark, student, monkeypatch):
    asked = []

    def time_ratios(paths, reference, image, paces, sessions, *, dot_products=True):
        asked.append((reference, list(paths), dot_products))
        others = [name for name in paths if name != reference]
        return {(n, c.name): Estimate(2.0, 1.9, 2.1, sessions) for n in others for c in (BACK_TO_BACK, THIRTY_A_SECOND)}

    monkeypatch.setattr(benchmark, "time_ratios", time_ratios)
    monkeypatch.setattr(benchmark, "has_dot_product", lambda isa: False)
    found = benchmark.time_figures("teacher", student, np.zeros((1, 3, 32, 32), np.float32), 3)
    assert asked == [
        ("onnx", ["onnx", "hardware", "runtime", "again"], True),
        ("hardware", ["hardware", "again"], True),
    ]
    labels = ("c_time_ratio_to_onnxruntime", "c_time_ratio_runtime_rounding", "c_aa")
    assert set(found) == {f"{label}{pace}_teacher" for label in labels for pace in ("", "_30_a_second")}
    assert "without 8-bit dot products" in found["c_aa_teacher"].meaning
    assert found["c_time_ratio_to_onnxruntime_teacher"].target == "≤ 3"


def test_memory_is_that_of_the_compiled_file(benchmark, student):
    found = benchmark.memory_figures("student", student)
    assert 150_000 < found["c_flash_bytes_small"].value <= found["c_flash_bytes"].value < 300_000
    assert 10_000 < found["c_ram_bytes"].value < 12_000
    assert found["c_lines"].met
