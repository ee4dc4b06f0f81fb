"""A drop is FP32 minus INT8, deployed answers stand beside simulated ones, and the worst network is quoted."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from course_lib.data import SignDataset, load
from course_lib.deploy.onnx import export_onnx, open_session, run_session
from course_lib.evaluation import Estimate
from course_lib.measure import BACK_TO_BACK, IN_TURN, Measurement
from course_lib.models import checkpoints
from course_lib.quantization.affine import Codes
from course_lib.quantization.calibrated import quantize_network
from course_lib.quantization.qdq import export_qdq


@pytest.fixture
def benchmark(load_script):
    return load_script("benchmarks/quantization.py")


def test_figures_compare_what_their_names_say(benchmark, tmp_path):
    model, _ = checkpoints.load("student_rendered")
    validation = load("rendered").validation
    images = validation.images[:: len(validation) // 60][:60]
    given = torch.tensor(images / np.float32(255))
    fp32 = export_onnx(model, tmp_path / "fp32.onnx")
    whole = run_session(open_session(fp32), given.numpy()).argmax(1)
    part = SignDataset(images, whole)  # FP32 is right everywhere
    network = quantize_network(model, given, weight_codes=Codes(3, restricted=True))
    int8 = export_qdq(network, tmp_path / "int8.onnx")
    deployed = run_session(open_session(int8), given.numpy()).argmax(1)
    found = benchmark.accuracy_figures("teacher", network, fp32, int8, part)
    assert found["teacher_fp32_accuracy"].value == 100
    assert found["teacher_int8_accuracy"].value == round(100 * (deployed == whole).mean(), 2) < 100
    assert found["teacher_int8_drop_points"].value == pytest.approx(100 * (deployed != whole).mean(), abs=0.001)
    assert found["teacher_agreement"].value >= 95
    ratio = fp32.stat().st_size / int8.stat().st_size
    assert found["teacher_int8_size_ratio"].value == pytest.approx(ratio, abs=0.001)
    assert found["teacher_int8_bytes"].value == int8.stat().st_size


def test_times_are_named_by_cadence_and_by_what_the_processor_hides(benchmark, monkeypatch, tmp_path):
    asked = []

    def time_ratios(paths, reference, image, paces, sessions, *, dot_products):
        asked.append((list(paths), reference, dot_products))
        cadences = [BACK_TO_BACK.name, IN_TURN.name]
        return {(n, c): Estimate(2.0, 1.9, 2.1, sessions) for n in ("fp32", "again") for c in cadences}

    monkeypatch.setattr(benchmark, "time_ratios", time_ratios)
    monkeypatch.setattr(benchmark, "cpu_features", lambda: {"isa": ["avx512_vnni"]})
    found = benchmark.time_figures("student", tmp_path / "a", tmp_path / "b", np.zeros(1), 3)
    assert asked == [(["int8", "fp32", "again"], "int8", True), (["int8", "fp32", "again"], "int8", False)]
    assert set(found) == {
        f"student_{what}{pace}{hidden}"
        for what in ("aa", "int8_latency_ratio")
        for pace in ("", "_in_turn")
        for hidden in ("", "_without_dot_products")
    }
    asked.clear()
    monkeypatch.setattr(benchmark, "cpu_features", lambda: {"isa": ["avx2"]})
    assert set(benchmark.time_figures("student", tmp_path / "a", tmp_path / "b", np.zeros(1), 3)) == {
        f"student_{what}{pace}_without_dot_products"
        for what in ("aa", "int8_latency_ratio")
        for pace in ("", "_in_turn")
    }
    assert [dot_products for _, _, dot_products in asked] == [True]


def test_the_worst_of_the_asked_networks_is_quoted(benchmark):
    figures = {
        f"{role}_{name}": Measurement(value, "×", 1, role)
        for name, values in {"int8_drop_points": (0.1, 0.2), "int8_size_ratio": (3.9, 3.8)}.items()
        for role, value in zip(("teacher", "student"), values, strict=True)
    }
    found = benchmark.common_figures(figures | {"small_int8_drop_points": Measurement(9, "points", 1, "small")})
    assert (found["int8_drop_points"].value, found["int8_size_ratio"].value) == (0.2, 3.8)
    assert "int8_latency_ratio" not in found
