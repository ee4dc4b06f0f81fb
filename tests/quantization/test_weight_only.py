"""Codes and their packing are ONNX's, no weight is off by more than half a step, and the bytes are those of a file."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from onnx import TensorProto, helper
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.nn import functional as F

from course_lib.quantization import (
    Codes,
    PerGroup,
    WeightOnlyLinear,
    dequantize,
    pack_int4,
    quantize,
    quantize_linears,
    sqnr_db,
    stored_bytes,
    unpack_int4,
)

KINDS = [(bits, dtype) for bits in (4, 8) for dtype in (torch.float16, torch.float32)]


def linear(inputs: int = 48, outputs: int = 10, *, bias: bool = True, seed: int = 0) -> nn.Linear:
    torch.manual_seed(seed)
    return nn.Linear(inputs, outputs, bias=bias)


def with_weight(weight: Tensor) -> nn.Linear:
    layer = nn.Linear(weight.shape[1], weight.shape[0])
    layer.weight.data = weight
    return layer


def integers(layer: WeightOnlyLinear) -> Tensor:
    """The codes, (out, in), whatever way they are stored."""
    shape = layer.out_features, layer.in_features
    return unpack_int4(layer.codes, shape[0] * shape[1]).view(shape) if layer.bits == 4 else layer.codes


def test_four_weights_by_hand():
    layer = WeightOnlyLinear(with_weight(torch.tensor([[3.5, -1.2, 14.0, 5.0]])), bits=4, size=2)
    assert layer.scale.tolist() == [[0.5, 2.0]]  # 3.5 / 7 and 14 / 7
    assert integers(layer).tolist() == [[7, -2, 7, 2]]  # −2.4 and 2.5 (to even)
    assert layer.codes.tolist() == [0xE7, 0x27]
    assert layer.weight.tolist() == [[3.5, -1.0, 14.0, 4.0]]


@pytest.mark.parametrize("count", [0, 1, 2, 7, 16, 33])
def test_packing_is_onnxs_and_reversible(count):
    codes = torch.tensor(np.random.default_rng(count).integers(-8, 8, count), dtype=torch.int32)
    packed = pack_int4(codes)
    tensor = helper.make_tensor("codes", TensorProto.INT4, [count], codes.tolist())
    assert packed.tolist() == list(tensor.int32_data)
    assert torch.equal(unpack_int4(packed, count), codes.to(torch.int8))


def test_every_pair_of_codes_survives_packing():
    pairs = torch.cartesian_prod(torch.arange(-8, 8), torch.arange(-8, 8))
    assert torch.equal(unpack_int4(pack_int4(pairs), 512).view(256, 2), pairs.to(torch.int8))
    assert pack_int4(pairs).unique().numel() == 256


def runtime_codes(weight: Tensor, scale: Tensor, size: int, kind: int) -> np.ndarray:
    """What ONNX Runtime's QuantizeLinear gives, in blocks along axis 1."""
    zeros = helper.make_tensor("z", kind, scale.shape, np.zeros(scale.numel(), int))
    nodes = [
        helper.make_node("QuantizeLinear", ["x", "s", "z"], ["q"], axis=1, block_size=size),
        helper.make_node("Cast", ["q"], ["wide"], to=TensorProto.INT8),  # NumPy has no INT4
    ]
    shape = list(weight.shape)
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info("wide", TensorProto.INT8, shape)],
        [onnx.numpy_helper.from_array(scale.float().numpy(), "s"), zeros],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10)
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    return np.asarray(session.run(None, {"x": weight.numpy()})[0])


@pytest.mark.parametrize(("bits", "dtype"), KINDS, ids=str)
@pytest.mark.parametrize("size", [2, 16, 48])
def test_codes_are_onnx_runtimes(bits, dtype, size):
    layer = linear()
    layer.weight.data[0, :4] *= 50
    own = WeightOnlyLinear(layer, bits=bits, size=size, scale_dtype=dtype)
    kind = {4: TensorProto.INT4, 8: TensorProto.INT8}[bits]
    assert np.array_equal(integers(own).numpy(), runtime_codes(layer.weight.detach(), own.scale, size, kind))


@pytest.mark.parametrize(("bits", "dtype"), KINDS, ids=str)
@pytest.mark.parametrize(
    "factor", [1.0, 1e-3, 1e-5, 1e-7, 1e-20, 1e5, 0.0], ids=lambda factor: f"weights_up_to_{factor:g}"
)
def test_no_weight_is_off_by_more_than_half_a_step(bits, dtype, factor):
    weight = (torch.rand(40, 64, generator=torch.Generator().manual_seed(1)) * 2 - 1) * factor
    own = WeightOnlyLinear(with_weight(weight), bits=bits, size=8, scale_dtype=dtype)
    steps = own.scale.double().repeat_interleave(8, 1)
    error = (own.weight.double() - weight.double()).abs()
    assert bool((error <= 0.5 * (1 + 1e-5) * steps).all())  # the quotient is rounded to float32 before it is to a code
    assert bool((own.scale > 0).all())
    if dtype == torch.float32 and factor > 0:
        largest = weight.view(40, 8, 8).abs().amax(-1)
        assert torch.allclose(own.scale, largest / (2 ** (bits - 1) - 1), rtol=1e-6, atol=0)


def test_scales_of_16_bits_are_the_exact_ones_rounded_up_by_less_than_one_step_of_float16():
    layer = linear()
    exact = PerGroup(8, axis=1).min_max(layer.weight, Codes(4), symmetric=True)
    scale = WeightOnlyLinear(layer, bits=4, size=8).scale
    assert scale.dtype == torch.float16
    assert bool((scale.float() >= exact.scale).all())
    assert bool((torch.nextafter(scale, torch.zeros_like(scale)).float() < exact.scale).all())


@pytest.mark.parametrize(("bits", "dtype"), KINDS, ids=str)
def test_the_weight_is_what_dequantize_says_and_the_layer_multiplies_by_it(bits, dtype):
    for bias, shape in ((True, (5, 48)), (False, (2, 3, 48)), (True, (48,)), (True, (0, 48))):
        layer = linear(bias=bias)
        own = WeightOnlyLinear(layer, bits=bits, size=16, scale_dtype=dtype)
        assert torch.equal(own.weight, dequantize(integers(own), own.affine()))
        assert torch.equal(integers(own).int(), quantize(layer.weight.detach(), own.affine()))
        x = torch.randn(shape)
        assert torch.equal(own(x), F.linear(x, own.weight, layer.bias))
    half = WeightOnlyLinear(linear(), bits=bits, size=16, scale_dtype=dtype).to(torch.bfloat16)
    assert half(torch.randn(2, 48).bfloat16()).dtype == torch.bfloat16


def test_the_layer_is_a_copy():
    layer = linear()
    own = WeightOnlyLinear(layer, bits=8, size=16)
    x = torch.randn(2, 48)
    before = own(x)
    nn.init.zeros_(layer.bias)
    nn.init.zeros_(layer.weight)
    assert torch.equal(own(x), before)


def test_the_gradient_reaches_what_lies_before():
    own = WeightOnlyLinear(linear(), bits=4, size=16)
    x = torch.randn(5, 48, requires_grad=True)
    own(x).sum().backward()
    assert x.grad is not None
    assert torch.allclose(x.grad, own.weight.sum(0).expand(5, 48), atol=1e-6)


def test_more_bits_and_smaller_groups_lose_less():
    layer = linear(256, 64)
    layer.weight.data[:, ::64] *= 10

    def noise(**options: Any) -> float:
        return sqnr_db(layer.weight, WeightOnlyLinear(layer, **options).weight)

    assert noise(bits=4, size=128) + 3 < noise(bits=4, size=16)
    assert noise(bits=4, size=16) + 20 < noise(bits=8, size=16)


@pytest.mark.parametrize(("bits", "dtype"), KINDS, ids=str)
@pytest.mark.parametrize(("inputs", "size"), [(48, 16), (15, 5)])
def test_the_bytes_are_those_of_a_safetensors_file_which_gives_the_layer_back(tmp_path, bits, dtype, inputs, size):
    own = WeightOnlyLinear(linear(inputs, 7), bits=bits, size=size, scale_dtype=dtype)
    path = tmp_path / "layer.safetensors"
    save_file(own.state_dict(), path)
    header = 8 + int.from_bytes(path.read_bytes()[:8], "little")
    codes = -(-7 * inputs * bits // 8)
    scales = PerGroup(size).scale_bytes((7, inputs), dtype)
    assert stored_bytes(own) == path.stat().st_size - header == codes + scales + 4 * 7
    other = WeightOnlyLinear(linear(inputs, 7, seed=1), bits=bits, size=size, scale_dtype=dtype)
    other.load_state_dict(load_file(path))
    x = torch.randn(3, inputs)
    assert torch.equal(other(x), own(x))


def test_a_tensor_under_two_names_counts_once():
    model = nn.Sequential(nn.Linear(4, 4, bias=False), nn.Linear(4, 4, bias=False))
    assert stored_bytes(model) == 128
    model[1].weight = model[0].weight
    assert stored_bytes(model) == 64
    assert stored_bytes(nn.BatchNorm1d(3)) == 4 * 4 * 3 + 8


class Shared(nn.Module):
    """One linear layer under two names, one inside, and one that is more than a linear layer."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.first = nn.Linear(8, 8)
        self.again = self.first
        self.inner = nn.Sequential(nn.ReLU(), nn.Linear(8, 8))
        self.attention = nn.MultiheadAttention(8, 2, batch_first=True)
        self.last = nn.Linear(8, 3).eval()

    def forward(self, x: Tensor) -> Tensor:
        x = self.inner(self.again(self.first(x)))
        return self.last(self.attention(x, x, x)[0])


def test_all_linear_layers_of_a_copy_are_replaced_and_the_model_stays_as_it_is():
    model = Shared()
    before = copy.deepcopy(model.state_dict())
    found: Any = quantize_linears(model, bits=4, size=4, skip=["last"])
    replaced = {name for name, module in found.named_modules() if isinstance(module, WeightOnlyLinear)}
    assert replaced == {"first", "inner.1"}
    assert found.again is found.first
    assert type(found.last) is nn.Linear
    assert found.last is not model.last
    assert type(found.attention.out_proj) is type(model.attention.out_proj)
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert type(model.first) is nn.Linear
    plain = copy.deepcopy(model)
    plain.first.weight.data = found.first.weight
    plain.inner[1].weight.data = found.inner[1].weight
    x = torch.randn(2, 5, 8)
    assert torch.equal(found(x), plain(x))
    assert quantize_linears(model, bits=8, size=8).get_submodule("last").training is False
    assert found.first.training


def test_a_network_that_is_a_linear_layer_is_replaced_itself():
    assert isinstance(quantize_linears(linear(), bits=8, size=8), WeightOnlyLinear)


def test_an_owner_that_reads_the_weight_gets_the_restored_one():
    torch.manual_seed(0)
    model = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True).eval()
    found: Any = quantize_linears(model, bits=4, size=8)
    model.linear1.weight.data, model.linear2.weight.data = found.linear1.weight, found.linear2.weight
    x = torch.randn(2, 5, 8)
    with torch.inference_mode():  # the fast path, which reads linear1.weight
        assert torch.allclose(found(x), model(x), atol=1e-6)


def test_what_cannot_be_quantized_is_refused():
    bad: Any
    for bad in (2, 16, "4", True):
        with pytest.raises(ValueError, match="bits must be 4 or 8"):
            WeightOnlyLinear(linear(), bits=bad, size=8)
    with pytest.raises(ValueError, match="size must divide the 48 entries along axis 1, got 32"):
        WeightOnlyLinear(linear(), bits=4, size=32)
    for bad in (torch.float64, torch.int8):
        with pytest.raises(ValueError, match="scale_dtype must be"):
            WeightOnlyLinear(linear(), bits=4, size=8, scale_dtype=bad)
    with pytest.raises(ValueError, match="weights must be float32, got torch"):
        WeightOnlyLinear(linear().double(), bits=4, size=8)
    with pytest.raises(ValueError, match="must be finite"):
        WeightOnlyLinear(with_weight(torch.full((1, 2), torch.nan)), bits=4, size=2)
    with pytest.raises(ValueError, match=r"torch.float16 cannot hold a scale of 1.429e\+05; use torch.float32"):
        WeightOnlyLinear(with_weight(torch.full((1, 2), 1e6)), bits=4, size=2)
    for bad in ([8], [-9], [-9, 8]):
        with pytest.raises(ValueError, match="codes must lie in -8 … 7"):
            pack_int4(torch.tensor(bad))
    for packed, count in ((torch.zeros(2, dtype=torch.uint8), 5), (torch.zeros(2, dtype=torch.int8), 4)):
        with pytest.raises(ValueError, match=rf"packed must be uint8 \[{(count + 1) // 2}\] for {count} codes"):
            unpack_int4(packed, count)


def test_a_network_that_cannot_be_quantized_names_the_layer():
    model = nn.Sequential(nn.Linear(8, 6), nn.Linear(6, 2))
    with pytest.raises(ValueError, match="1: size must divide the 6 entries along axis 1, got 8"):
        quantize_linears(model, bits=4, size=8)
    with pytest.raises(ValueError, match=r"skip must name linear layers \(0, 1\), got \['head'\]"):
        quantize_linears(model, bits=4, size=2, skip=["head"])
    for network, skip in ((model, ["0", "1"]), (nn.ReLU(), [])):
        with pytest.raises(ValueError, match="no linear layer to replace"):
            quantize_linears(network, bits=4, size=2, skip=skip)
    assert all(type(layer) is nn.Linear for layer in model)
