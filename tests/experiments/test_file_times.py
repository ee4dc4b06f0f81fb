"""Files are timed in processes of their own, and a session that fails is told."""

from __future__ import annotations

import numpy as np
import pytest
from torch import nn

from course_lib.deploy.onnx import export_onnx
from course_lib.errors import CourseError
from course_lib.experiments.file_times import time_ratios
from course_lib.measure import BACK_TO_BACK, IN_TURN


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
