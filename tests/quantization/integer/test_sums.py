"""A sum of two tensors with different scales: every pair of codes, beside ONNX Runtime's and the real sum."""

from __future__ import annotations

import platform
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

from course_lib.quantization.integer.fixed_point import HardwareFactor
from course_lib.quantization.integer.sums import HardwareSum, RuntimeSum

A, B = (part.ravel() for part in np.meshgrid(np.arange(256), np.arange(256)))

Draw = tuple[np.float32, int, np.float32, int, np.float32, int]


def avx2() -> bool:
    cpuinfo = Path("/proc/cpuinfo")
    return platform.machine() == "x86_64" and cpuinfo.is_file() and " avx2 " in cpuinfo.read_text()


def draw(seed: int) -> Draw:
    rng = np.random.default_rng(seed)
    a, b = (np.float32(10.0 ** rng.uniform(-3, 1)) for _ in range(2))
    c = np.float32(max(a, b) * rng.uniform(0.4, 2.5))
    zeros = [int(rng.integers(0, 2) * rng.integers(0, 256)) for _ in range(3)]
    return a, zeros[0], b, zeros[1], c, zeros[2]


def by_onnx_runtime(a: np.float32, zero_a: int, b: np.float32, zero_b: int, c: np.float32, zero_c: int) -> np.ndarray:
    """QLinearAdd of all pairs of codes."""
    constants = {"sa": a, "za": np.uint8(zero_a), "sb": b, "zb": np.uint8(zero_b), "sc": c, "zc": np.uint8(zero_c)}
    node = helper.make_node("QLinearAdd", ["a", "sa", "za", "b", "sb", "zb", "sc", "zc"], ["c"], domain="com.microsoft")
    graph = helper.make_graph(
        [node],
        "sum",
        [helper.make_tensor_value_info(name, TensorProto.UINT8, [len(A)]) for name in "ab"],
        [helper.make_tensor_value_info("c", TensorProto.UINT8, [len(A)])],
        [numpy_helper.from_array(np.array(value), name) for name, value in constants.items()],
    )
    opsets = [helper.make_opsetid("", 13), helper.make_opsetid("com.microsoft", 1)]
    model = helper.make_model(graph, opset_imports=opsets, ir_version=7)
    onnx.checker.check_model(model)
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    found = session.run(None, {"a": A.astype(np.uint8), "b": B.astype(np.uint8)})[0]
    assert isinstance(found, np.ndarray)
    return found


def real_sum(a: np.float32, zero_a: int, b: np.float32, zero_b: int, c: np.float32) -> np.ndarray:
    return (float(a) * (A - zero_a) + float(b) * (B - zero_b)) / float(c)


@pytest.mark.skipif(not avx2(), reason="ONNX Runtime's sum differs by processor: this is its kernel on x86 with AVX2")
# 58 … 97 are draws in which another order of the fixed part's roundings would change a code.
@pytest.mark.parametrize("seed", [*range(30), 58, 60, 67, 68, 82, 97])
def test_the_runtimes_sum_is_onnx_runtimes_on_every_pair_of_codes(seed):
    given = draw(seed)
    zero_c = given[5]
    ours = np.clip(RuntimeSum.of(*given)(A, B) + zero_c, 0, 255)
    assert np.array_equal(ours, by_onnx_runtime(*given))


@pytest.mark.parametrize("seed", range(40))
def test_both_sums_are_within_a_step_of_the_real_one(seed):
    given = draw(seed)
    exact = real_sum(*given[:5])
    inside = np.abs(exact) < 500
    for found in (HardwareSum.of(*given[:5])(A, B), RuntimeSum.of(*given)(A, B)):
        assert (np.abs(found - exact)[inside] <= 0.5001).all()


def test_a_sum_of_equal_scales_is_a_sum_of_steps():
    scale = np.float32(0.25)
    expected = (A - 3) + (B - 200)
    assert np.array_equal(HardwareSum.of(scale, 3, scale, 200, scale)(A, B), expected)
    assert np.array_equal(RuntimeSum.of(scale, 3, scale, 200, scale, 7)(A, B), expected)


def test_halves_go_away_from_zero_on_hardware_and_to_the_even_code_in_the_runtime():
    one, half = np.float32(1), np.float32(0.5)
    a, b = np.array([1, 3, 5]), np.zeros(3, int)
    assert HardwareSum.of(half, 0, half, 0, one)(a, b).tolist() == [1, 2, 3]
    assert RuntimeSum.of(half, 0, half, 0, one, 0)(a, b).tolist() == [0, 2, 2]


def test_the_hardwares_inputs_cannot_overflow_32_bits():
    for seed in range(200):
        given = draw(seed)
        total = HardwareSum.of(*given[:5])
        for factor in (total.factor_a, total.factor_b):
            assert isinstance(factor, HardwareFactor)
            assert factor(np.array([255 << 20]))[0] <= 255 << 19
        assert 2 * (255 << 19) < 2**31


def test_scales_too_far_apart_are_refused():
    with pytest.raises(ValueError, match="too far apart"):
        RuntimeSum.of(np.float32(1e-12), 0, np.float32(1e9), 0, np.float32(1e9), 0)
