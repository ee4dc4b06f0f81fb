"""Files are timed in processes of their own, and a session that fails is told."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from course_lib.deploy.onnx import export_onnx
from course_lib.errors import CourseError
from course_lib.experiments.file_times import time_ratios
from course_lib.measure import BACK_TO_BACK, IN_TURN
from course_lib.models import checkpoints
from course_lib.quantization.calibrated import quantize_network
from course_lib.quantization.integer import c_source, compile_c, find_compiler, integer_network
from course_lib.quantization.qdq import export_qdq


def test_a_file_that_does_more_takes_longer(tmp_path):
    shape = (1, 3, 64, 64)
    light = export_onnx(nn.Conv2d(3, 8, 1), tmp_path / "light.onnx", input_shape=shape)
    heavy_network = nn.Sequential(nn.Conv2d(3, 64, 3), *(nn.Conv2d(64, 64, 3) for _ in range(4)))
    heavy = export_onnx(heavy_network, tmp_path / "heavy.onnx", input_shape=shape)
    paths = {"light": light, "heavy": heavy}
    found = time_ratios(paths, "light", np.zeros(shape, np.float32), {BACK_TO_BACK: 2, IN_TURN: 4}, 2)
    assert set(found) == {("heavy", "back to back"), ("heavy", "in turn")}
    assert all(ratio.value > 3 for ratio in found.values())


def test_a_session_that_fails_is_told(tmp_path):
    with pytest.raises(CourseError, match=r"session 0 failed: .*no such ONNX file"):
        time_ratios({"a": tmp_path / "none.onnx"}, "a", np.zeros((1, 3, 8, 8), np.float32), {IN_TURN: 2}, 1)


@pytest.mark.skipif(find_compiler() is None, reason="no C compiler here (cc, gcc or clang)")
def test_a_compiled_network_is_timed_beside_a_file(tmp_path):
    model, _ = checkpoints.load("student_rendered")
    network = quantize_network(model, torch.rand(8, 3, 32, 32, generator=torch.Generator().manual_seed(0)))
    library = compile_c(c_source(integer_network(network)), tmp_path, flags=("-O0",))
    paths = {"onnx": export_qdq(network, tmp_path / "int8.onnx"), "c": library}
    found = time_ratios(paths, "onnx", np.zeros((1, 3, 32, 32), np.float32), {IN_TURN: 4}, 2)
    assert found["c", "in turn"].value > 3  # without optimization: far slower than the runtime
