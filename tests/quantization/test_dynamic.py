"""Scales, codes and sums of dynamic quantization are ONNX Runtime's, and so is a whole network's answer."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper
from onnxruntime.quantization import QuantType, quantize_dynamic
from torch import Tensor, nn

from course_lib.deploy.onnx import export_onnx
from course_lib.quantization import (
    Codes,
    DynamicLinear,
    PerChannel,
    PerGroup,
    PerTensor,
    dequantize,
    dynamic_affine,
    min_max,
    quantize,
    quantize_dynamic_linears,
    sqnr_db,
    stored_bytes,
)

NARROW = Codes(7, restricted=True)
"""Two products with 8-bit activations fit in 16 bits, so that no processor saturates."""


def run(nodes: list[Any], outputs: dict[str, int], x: Tensor, **constants: np.ndarray) -> list[np.ndarray]:
    """Outputs of a graph that reads "x", in ONNX Runtime without its rewriting."""
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, None)],
        [helper.make_tensor_value_info(name, kind, None) for name, kind in outputs.items()],
        [numpy_helper.from_array(np.array(value, order="C"), name) for name, value in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=7)
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    return [np.asarray(found) for found in session.run(None, {"x": x.numpy()})]


DYNAMIC = helper.make_node("DynamicQuantizeLinear", ["x"], ["q", "s", "z"])
NASTY = {
    "empty": [],
    "zero": [0.0, 0.0, -0.0],
    "positive": [1.0, 2.0, 7.0],
    "negative": [-5.0, -2.0],
    "constant": [3.0] * 5,
    "one": [-4.0],
    "half": [-1.0, 1.0, 0.5],
    "zero_point_at_a_half": [-0.5, 254.5],
    "zero_point_at_another_half": [-1.5, 253.5],
    "outlier": [1e-3, -1e-3, 1e4],
    "tiny": [1e-37, -2e-37],
    "subnormal": [1e-40, -3e-40, 2e-40],
    "least": [3e-43, -1e-43],
    "wide": [1.5e38, -1.5e38, 1e30],
    "lopsided": [1e30, -1e-30],
}


def assert_as_runtime(x: Tensor) -> None:
    codes, scale, zero_point = run([DYNAMIC], {"q": 2, "s": 1, "z": 2}, x)
    found = dynamic_affine(x)
    assert found.scale.item() == scale.item()
    assert found.zero_point.item() == zero_point.item()
    assert np.array_equal(quantize(x, found).numpy(), codes)


@pytest.mark.parametrize("values", NASTY.values(), ids=NASTY.keys())
def test_odd_inputs_get_onnx_runtimes_scale_zero_point_and_codes(values):
    assert_as_runtime(torch.tensor(values, dtype=torch.float32))


def test_scale_zero_point_and_codes_are_onnx_runtimes():
    rng = np.random.default_rng(0)
    for _ in range(50):
        x = torch.tensor(rng.normal(rng.normal(), 1, (3, 50)) * 10.0 ** rng.uniform(-6, 6), dtype=torch.float32)
        assert_as_runtime(x)
        affine = dynamic_affine(x)
        # The ends stay, so the range does; between them values at, and just beside, the halves of a step.
        middle = (torch.arange(-100, 100) + 0.5) * affine.scale
        middle = torch.cat([middle, torch.nextafter(middle, middle + 1), torch.nextafter(middle, middle - 1)])
        assert_as_runtime(torch.cat([x.flatten(), middle.clamp(x.min(), x.max())]))


def test_a_range_too_small_for_a_scale_is_all_zero():
    x = torch.tensor([1e-45, -1e-45])
    affine = dynamic_affine(x)
    assert dequantize(quantize(x, affine), affine).tolist() == [0.0, 0.0]
    assert run([DYNAMIC], {"s": 1}, x)[0] == 0  # there ONNX Runtime divides by 0


def test_min_max_in_float64_differs_by_rounding_only():
    for seed in range(20):
        x = torch.randn(100, generator=torch.Generator().manual_seed(seed))
        ours, other = dynamic_affine(x), min_max(x, Codes(8, signed=False))
        assert ours.scale.item() == pytest.approx(other.scale.item(), rel=2e-7)
        assert abs(ours.zero_point - other.zero_point) <= 1


def test_four_products_by_hand():
    layer = nn.Linear(2, 2)
    layer.weight.data = torch.tensor([[127.0, -64.0], [1.0, 2.0]])
    layer.bias.data = torch.tensor([0.0, 10.0])
    own = DynamicLinear(layer, granularity=PerTensor())
    assert own.codes.tolist() == [[127, -64], [1, 2]]
    x = torch.tensor([[-55.0, 200.0]])  # a range of 255: S = 1, Z = 55
    assert own(x).tolist() == [[-55 * 127 - 200 * 64, -55 + 400 + 10]]
    by_channel = DynamicLinear(layer, granularity=PerChannel(0))
    assert by_channel.codes.tolist() == [[127, -64], [64, 127]]  # 63.5 goes to the even neighbour
    assert by_channel.scale.tolist() == pytest.approx([1, 2 / 127])


@pytest.mark.parametrize("granularity", [PerTensor(), PerChannel(0)], ids=str)
@pytest.mark.parametrize("shape", [(1, 96), (7, 96), (2, 3, 96), (96,), (0, 96)])
def test_a_layer_is_matmul_integer_and_its_scales_to_the_bit(granularity, shape):
    for seed in range(5):
        torch.manual_seed(seed)
        layer = nn.Linear(96, 13)
        own = DynamicLinear(layer, granularity=granularity, codes=NARROW)
        x = torch.randn(shape) + seed
        nodes = [
            DYNAMIC,
            helper.make_node("MatMulInteger", ["q", "w", "z", "wz"], ["sums"]),
            helper.make_node("Cast", ["sums"], ["float"], to=TensorProto.FLOAT),
            helper.make_node("Mul", ["s", "ws"], ["scale"]),
            helper.make_node("Mul", ["float", "scale"], ["product"]),
            helper.make_node("Add", ["product", "b"], ["y"]),
        ]
        constants = {"w": own.codes.T.numpy(), "wz": np.int8(0), "ws": own.scale.numpy()}
        (theirs,) = run(nodes, {"y": TensorProto.FLOAT}, x, b=layer.bias.detach().numpy(), **constants)
        assert np.array_equal(own(x).detach().numpy(), theirs)


def mlp(seed: int) -> nn.Sequential:
    """Every second weight is small, so that no two neighbouring products overflow 16 bits with ONNX Runtime's 8."""
    torch.manual_seed(seed)
    model = nn.Sequential(nn.Linear(64, 48), nn.ReLU(), nn.Linear(48, 32, bias=False), nn.ReLU(), nn.Linear(32, 10))
    for layer in model:
        if isinstance(layer, nn.Linear):
            layer.weight.data[:, 1::2] /= 128
    return model.eval()


def deployed(model: nn.Module, x: Tensor, folder: Path, per_channel: bool) -> np.ndarray:
    """Logits of ``quantize_dynamic``'s file."""
    plain, small = folder / "plain.onnx", folder / "small.onnx"
    export_onnx(model, plain, input_shape=(1, 64))
    quantize_dynamic(plain, small, weight_type=QuantType.QInt8, per_channel=per_channel)
    operators = [node.op_type for node in onnx.load(small).graph.node]
    assert operators.count("MatMulInteger") == operators.count("DynamicQuantizeLinear") == 3
    session = onnxruntime.InferenceSession(small, providers=["CPUExecutionProvider"])
    return np.asarray(session.run(None, {"images": x.numpy()})[0])


@pytest.mark.parametrize("per_channel", [False, True])
def test_a_network_answers_as_onnx_runtimes_dynamic_one(tmp_path, per_channel):
    granularity = PerChannel(0) if per_channel else PerTensor()
    for seed in range(3):
        model, x = mlp(seed), torch.randn(200, 64)
        ours = quantize_dynamic_linears(model, granularity=granularity)(x).detach().numpy()
        theirs = deployed(model, x, tmp_path, per_channel)
        assert np.array_equal(ours.argmax(1), theirs.argmax(1))
        # A kernel that fuses product and sum differs in last digits; a hidden value at a half then gets the next code.
        step = float(model[:4](x).detach().max()) / 255
        bound = 2 * step * float(model.get_parameter("4.weight").detach().abs().max())
        assert np.abs(ours - theirs).max() <= bound < 0.01 * np.ptp(theirs)
        assert np.median(np.abs(ours - theirs)) <= 1e-6


def test_a_batch_shares_its_scale_and_each_batch_has_its_own():
    torch.manual_seed(0)
    layer = nn.Linear(32, 8)
    own = DynamicLinear(layer, granularity=PerChannel(0))
    quiet, loud = torch.randn(4, 32), 100 * torch.randn(4, 32)

    def noise(x: Tensor, found: Tensor) -> float:
        return sqnr_db(layer(x), found)

    assert noise(quiet, own(quiet)) > 35
    assert noise(loud, own(loud)) > 35
    assert noise(quiet, own(torch.cat([quiet, loud]))[:4]) < 15
    static = min_max(loud, Codes(8, signed=False))  # a range that holds both
    with torch.no_grad():
        assert noise(quiet, layer(dequantize(quantize(quiet, static), static))) < 15


def test_the_model_stays_and_its_copy_has_int8_weights(tmp_path):
    model = mlp(0)
    before = copy.deepcopy(model.state_dict())
    found: Any = quantize_dynamic_linears(model, granularity=PerChannel(0), skip=["4"])
    assert [type(layer) for layer in found][::2] == [DynamicLinear, DynamicLinear, nn.Linear]
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert stored_bytes(found) == (64 * 48 + 2 * 4 * 48) + (48 * 32 + 4 * 32) + 4 * (32 * 10 + 10)
    again = quantize_dynamic_linears(mlp(1), granularity=PerChannel(0), skip=["4"])
    torch.save(found.state_dict(), tmp_path / "state.pt")
    again.load_state_dict(torch.load(tmp_path / "state.pt"))
    x = torch.randn(3, 64)
    assert torch.equal(again(x), found(x))


def test_the_layer_is_a_copy_and_gives_no_gradient():
    layer = nn.Linear(8, 3)
    own = DynamicLinear(layer, granularity=PerTensor())
    x = torch.randn(2, 8, requires_grad=True)
    found = own(x)
    nn.init.zeros_(layer.bias)
    nn.init.zeros_(layer.weight)
    assert torch.equal(own(x), found)
    assert not found.requires_grad


def test_other_float_types_come_back_as_they_came():
    own = DynamicLinear(nn.Linear(8, 3), granularity=PerTensor())
    x = torch.randn(2, 8)
    for dtype in (torch.float16, torch.bfloat16, torch.float64):
        given = x.to(dtype)
        assert torch.equal(own(given), own(given.float()).to(dtype))


def test_in_a_transformer_it_runs_once_the_fast_path_is_off():
    torch.manual_seed(0)
    model = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True).eval()
    found = quantize_dynamic_linears(model, granularity=PerChannel(0))
    x = torch.randn(2, 5, 8)
    with torch.inference_mode():
        with pytest.raises(AttributeError, match="'DynamicLinear' object has no attribute 'weight'"):
            found(x)
        before = torch.backends.mha.get_fastpath_enabled()
        torch.backends.mha.set_fastpath_enabled(False)
        try:
            assert sqnr_db(model(x), found(x)) > 30
        finally:
            torch.backends.mha.set_fastpath_enabled(before)


def test_what_has_no_range_or_no_codes_is_refused():
    own = DynamicLinear(nn.Linear(2, 3), granularity=PerTensor())
    for bad in ([torch.nan, 1.0], [torch.inf, 1.0], [-torch.inf, 0.0], [3e38, -3e38]):
        for function in (dynamic_affine, own):
            with pytest.raises(ValueError, match="the range of x must be finite"):
                function(torch.tensor([bad]))
    granularity: Any
    for granularity in (PerGroup(2), PerChannel(1), "tensor", None):
        with pytest.raises(ValueError, match=r"granularity must be PerTensor\(\) or PerChannel\(0\)"):
            DynamicLinear(nn.Linear(2, 3), granularity=granularity)
    for codes in (Codes(9), Codes(8, signed=False)):
        with pytest.raises(ValueError, match="codes must be signed, of at most 8 bits"):
            DynamicLinear(nn.Linear(2, 3), granularity=PerTensor(), codes=codes)
    with pytest.raises(ValueError, match="no linear layer to replace"):
        quantize_dynamic_linears(nn.ReLU(), granularity=PerTensor())
    broken = nn.Linear(2, 3)
    nn.init.constant_(broken.weight, torch.nan)
    with pytest.raises(ValueError, match="0: x must be finite"):
        quantize_dynamic_linears(nn.Sequential(broken), granularity=PerTensor())
