"""Codes equal ONNX's, fake quantization PyTorch's, and no range, however odd, divides by zero or moves 0."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from onnx import TensorProto, helper

from course_lib.quantization import Affine, Codes, dequantize, fake_quantize, from_range, min_max, quantize, sqnr_db

KINDS = [Codes(8), Codes(8, signed=False), Codes(8, restricted=True), Codes(4), Codes(2, signed=False), Codes(16)]


def draw(seed: int, *shape: int) -> torch.Tensor:
    rng = np.random.default_rng(seed)
    return torch.tensor(rng.normal(0.3, 2.0, shape) * rng.choice([0.01, 1.0, 50.0]), dtype=torch.float32)


def halves(affine: Affine) -> torch.Tensor:
    """Values whose quotient with S lies at, and just beside, a half."""
    steps = torch.arange(-20, 20, dtype=torch.float32) + 0.5
    middle = steps * affine.scale
    return torch.cat([middle, torch.nextafter(middle, middle + 1), torch.nextafter(middle, middle - 1)])


def test_two_bits_by_hand():
    # −1 … 2 in the four codes 0 … 3: S = 3/3 = 1, Z = round(0 + 1/1) = 1.
    affine = min_max(torch.tensor([-1.0, 2.0]), Codes(2, signed=False))
    assert (affine.scale.item(), affine.zero_point.item()) == (1.0, 1)
    codes = quantize(torch.tensor([-5.0, -1.0, 0.0, 0.5, 1.5, 2.0, 9.0]), affine)
    assert codes.tolist() == [0, 0, 1, 1, 3, 3, 3]  # 0.5 and 1.5 go to the even neighbours 0 and 2
    assert dequantize(codes, affine).tolist() == [-1, -1, 0, 0, 2, 2, 2]


@pytest.mark.parametrize("codes", KINDS, ids=str)
@pytest.mark.parametrize("symmetric", [False, True])
def test_fake_quantization_is_pytorchs_to_the_bit_with_its_gradient(codes, symmetric):
    for seed in range(10):
        x = draw(seed, 5, 7, 3)
        affine = min_max(x * 0.7, codes, symmetric=symmetric)
        x = torch.cat([x.flatten(), halves(affine)]).requires_grad_()
        weights = torch.linspace(1, 2, len(x))
        ours = fake_quantize(x, affine)
        theirs = torch.fake_quantize_per_tensor_affine(
            x, affine.scale, affine.zero_point, codes.low, codes.high
        )  # fmt: skip
        assert torch.equal(ours, theirs)
        gradients = [torch.autograd.grad((value * weights).sum(), x)[0] for value in (ours, theirs)]
        assert torch.equal(*gradients)
        assert 0 < (gradients[0] == 0).sum() < len(x)


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_fake_quantization_by_channel_is_pytorchs_to_the_bit(axis):
    for codes in KINDS:
        x = draw(axis, 4, 5, 6).requires_grad_()
        affine = min_max(0.8 * x, codes, axis=axis)
        ours = fake_quantize(x, affine)
        theirs = torch.fake_quantize_per_channel_affine(x, affine.scale, affine.zero_point, axis, codes.low, codes.high)
        assert torch.equal(ours, theirs)
        gradients = [torch.autograd.grad((value**2).sum(), x)[0] for value in (ours, theirs)]
        assert torch.equal(*gradients)


def runtime_codes(x: torch.Tensor, affine: Affine, kind: int) -> tuple[np.ndarray, np.ndarray]:
    """Codes and restored values as ONNX Runtime computes them."""
    numpy_kind = helper.tensor_dtype_to_np_dtype(kind)
    constants = [
        onnx.numpy_helper.from_array(affine.scale.numpy(), "s"),
        onnx.numpy_helper.from_array(affine.zero_point.numpy().astype(numpy_kind), "z"),
    ]
    more: dict[str, Any] = {} if affine.axis is None else {"axis": affine.axis}
    if affine.block is not None:
        more["block_size"] = affine.block
    nodes = [
        helper.make_node("QuantizeLinear", ["x", "s", "z"], ["q"], **more),
        helper.make_node("DequantizeLinear", ["q", "s", "z"], ["y"], **more),
    ]
    shape = list(x.shape)
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info("q", kind, shape), helper.make_tensor_value_info("y", TensorProto.FLOAT, shape)],
        constants,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21 if affine.block else 13)], ir_version=10)
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    codes, restored = session.run(None, {"x": x.numpy()})
    return np.asarray(codes), np.asarray(restored)


@pytest.mark.parametrize(
    ("codes", "kind"), [(Codes(8), TensorProto.INT8), (Codes(8, signed=False), TensorProto.UINT8)], ids=["s8", "u8"]
)
@pytest.mark.parametrize("axis", [None, 1])
def test_codes_are_onnx_runtimes(codes, kind, axis):
    for seed in range(10):
        x = draw(seed, 3, 4, 50)
        affine = min_max(0.9 * x, codes, axis=axis)
        if axis is None:
            x = torch.cat([x.flatten(), halves(affine), torch.tensor([torch.inf, -torch.inf])])
        found, restored = runtime_codes(x, affine, kind)
        assert np.array_equal(quantize(x, affine).numpy(), found)
        assert np.array_equal(dequantize(quantize(x, affine), affine).numpy(), restored)


@pytest.mark.parametrize("codes", KINDS, ids=str)
@pytest.mark.parametrize("symmetric", [False, True])
@pytest.mark.parametrize(
    "values",
    [[], [0.0], [0.0, 0.0], [5.0], [-5.0], [3.0, 3.0], [1e-45, -1e-45], [1e30, -1e30], [1.0, 1e-20], [2.0, 7.0]],
    ids=str,
)
def test_zero_stays_zero_and_no_range_divides_by_zero(codes, symmetric, values):
    x = torch.tensor(values)
    affine = min_max(x, codes, symmetric=symmetric)
    assert dequantize(quantize(torch.zeros(3), affine), affine).tolist() == [0, 0, 0]
    assert fake_quantize(torch.zeros(3), affine).tolist() == [0, 0, 0]
    restored = dequantize(quantize(x, affine), affine)
    assert restored.isfinite().all()
    if len(x) and float(x.abs().max()) > 1e-30:
        half_step = affine.scale.item() * (0.5 + 1e-3)
        edge = affine.scale.item() if symmetric and not codes.signed else half_step  # the highest code is one short
        assert float((restored - x).abs().max()) <= edge


def test_a_symmetric_range_has_its_zero_in_the_middle_and_reaches_equally_far():
    x = torch.tensor([-1.0, 4.0])
    for codes in KINDS:
        affine = min_max(x, codes, symmetric=True)
        assert affine.zero_point.item() == codes.middle
        assert affine.scale.item() == pytest.approx(4 / (codes.high - codes.middle))
    restricted = min_max(x, Codes(8, restricted=True), symmetric=True)
    values = draw(3, 100)
    assert torch.equal(quantize(-values, restricted), -quantize(values, restricted))


def test_the_range_is_that_of_the_values_extended_to_hold_zero():
    for values, width in (([-4.0, 1.0], 5), ([2.0, 3.0], 3), ([-3.0, -2.0], 3)):
        affine = min_max(torch.tensor(values), Codes(8, signed=False))
        assert affine.scale.item() == pytest.approx(width / 255)
        assert affine.zero_point.item() == round(-min(0.0, *values) / (width / 255))


def test_slices_are_quantized_as_if_alone():
    x = draw(5, 6, 3, 2)
    by_channel = min_max(x, Codes(8), axis=0)
    codes = quantize(x, by_channel)
    for index, part in enumerate(x):
        alone = min_max(part, Codes(8))
        assert torch.equal(codes[index], quantize(part, alone))
    assert torch.equal(quantize(x, min_max(x, Codes(8), axis=-3)), codes)


def test_noise_falls_by_six_decibels_a_bit_on_uniform_values():
    x = torch.tensor(np.random.default_rng(0).uniform(0, 1, 200_000), dtype=torch.float32)
    found = []
    for bits in range(3, 13):
        affine = min_max(x, Codes(bits, signed=False))
        found.append(sqnr_db(x, dequantize(quantize(x, affine), affine)))
    # Power 1/3 over noise S²/12 with S = 1 / (2^b − 1): 20·log10(2·(2^b − 1)).
    assert found == pytest.approx([20 * np.log10(2 * (2**bits - 1)) for bits in range(3, 13)], abs=0.05)
    assert np.diff(found)[-4:] == pytest.approx(20 * np.log10(2), abs=0.05)


@pytest.mark.parametrize("bits", [1, 17, 0, -3, 8.0, True, "8"])
def test_bits_out_of_range_are_refused(bits):
    with pytest.raises(ValueError, match="bits must be an integer in 2 … 16"):
        Codes(bits)


def test_what_has_no_code_is_refused():
    affine = min_max(torch.tensor([-1.0, 1.0]), Codes(8))
    with pytest.raises(ValueError, match="x holds NaN"):
        quantize(torch.tensor([0.0, torch.nan]), affine)
    for bad in (torch.nan, torch.inf):
        with pytest.raises(ValueError, match="must be finite"):
            min_max(torch.tensor([0.0, bad]), Codes(8))
    with pytest.raises(ValueError, match="low ≤ high"):
        from_range(torch.tensor(2.0), torch.tensor(1.0), Codes(8))
    with pytest.raises(ValueError, match=r"axis must be in -2 … 1, got 2"):
        min_max(torch.zeros(2, 2), Codes(8), axis=2)
    by_channel = min_max(torch.ones(3, 2), Codes(8), axis=0)
    for function in (quantize, fake_quantize, dequantize):
        with pytest.raises(ValueError, match=r"x must have 3 entries along axis 0, got \[2, 3\]"):
            function(torch.zeros(2, 3), by_channel)
    with pytest.raises(ValueError, match="only signed codes can be restricted"):
        Codes(8, signed=False, restricted=True)


@pytest.mark.parametrize(
    ("scale", "zero_point", "axis", "match"),
    [
        (torch.tensor(0.0), torch.tensor(0, dtype=torch.int32), None, "every scale must be > 0"),
        (torch.tensor(torch.nan), torch.tensor(0, dtype=torch.int32), None, "every scale must be > 0"),
        (torch.tensor(1.0), torch.tensor(200, dtype=torch.int32), None, "zero points must lie in -128 … 127"),
        (torch.tensor(1.0), torch.tensor(0), None, "zero_point int32"),
        (torch.ones(2), torch.zeros(2, dtype=torch.int32), None, "must both have 0 axes"),
        (torch.ones(2), torch.zeros(3, dtype=torch.int32), 0, "must both have 1 axes"),
    ],
)
def test_a_scale_and_zero_point_that_do_not_fit_are_refused(scale, zero_point, axis, match):
    with pytest.raises(ValueError, match=match):
        Affine(Codes(8), scale, zero_point, axis)


def test_noise_needs_a_signal():
    assert sqnr_db(torch.ones(3), torch.ones(3)) == float("inf")
    with pytest.raises(ValueError, match="no power"):
        sqnr_db(torch.zeros(3), torch.ones(3))
    with pytest.raises(ValueError, match="one shape"):
        sqnr_db(torch.zeros(3), torch.ones(2))


@pytest.mark.parametrize(
    ("codes", "kind"), [(Codes(8), TensorProto.INT8), (Codes(8, signed=False), TensorProto.UINT8)], ids=["s8", "u8"]
)
@pytest.mark.parametrize(("axis", "block"), [(0, 3), (1, 2), (1, 1), (2, 16), (-1, 8), (-3, 6)])
def test_codes_in_blocks_are_onnx_runtimes(codes, kind, axis, block):
    for seed in range(5):
        x = draw(seed, 6, 4, 48)
        affine = min_max(0.9 * x, codes, axis=axis, block=block)
        if axis == -1:  # values at, and just beside, the halves of their own block's scale
            steps = torch.tensor(np.random.default_rng(seed).integers(-20, 20, x.shape)) + 0.5
            middle = steps * affine.along(x)[0]
            x = torch.cat([middle, torch.nextafter(middle, middle + 1), torch.nextafter(middle, middle - 1)])
            affine = Affine(codes, affine.scale.repeat(3, 1, 1), affine.zero_point.repeat(3, 1, 1), axis, block)
        found, restored = runtime_codes(x, affine, kind)
        assert np.array_equal(quantize(x, affine).numpy(), found)
        assert np.array_equal(dequantize(quantize(x, affine), affine).numpy(), restored)


@pytest.mark.parametrize("axis", [0, 1, 2, -1, -2])
def test_blocks_are_quantized_as_if_alone_and_a_block_of_the_whole_axis_is_one_slice(axis):
    x = draw(7, 4, 6, 8)
    affine = min_max(x, Codes(5), axis=axis, block=2)
    shape = list(x.shape)
    shape[axis] //= 2
    assert list(affine.scale.shape) == shape
    at: list[Any] = [0, 0, 0]
    for start in range(0, x.shape[axis], 2):
        at[axis] = slice(start, start + 2)
        part = x[tuple(at)]
        assert torch.equal(quantize(x, affine)[tuple(at)], quantize(part, min_max(part, Codes(5))))
    flat = x.reshape(4, 48)
    whole = min_max(flat, Codes(5), axis=1, block=48)
    assert torch.equal(whole.scale[:, 0], min_max(flat, Codes(5), axis=0).scale)


def test_fake_quantization_in_blocks_is_pytorchs_of_each_block_with_its_gradient():
    x = draw(9, 4, 12).requires_grad_()
    affine = min_max(0.8 * x, Codes(4), axis=1, block=3)
    ours = fake_quantize(x, affine)
    scale, zero_point = affine.scale.flatten(), affine.zero_point.flatten()
    theirs = torch.fake_quantize_per_channel_affine(x.reshape(16, 3), scale, zero_point, 0, -8, 7).reshape(4, 12)
    assert torch.equal(ours, theirs)
    assert torch.equal(*(torch.autograd.grad((value**2).sum(), x)[0] for value in (ours, theirs)))


def test_blocks_that_do_not_fit_are_refused():
    x = torch.ones(3, 10)
    with pytest.raises(ValueError, match="block must divide the 10 entries along axis 1, got 4"):
        min_max(x, Codes(8), axis=1, block=4)
    bad: Any
    for bad in (0, -1, 2.0, True):
        with pytest.raises(ValueError, match="block must be an integer ≥ 1"):
            min_max(x, Codes(8), axis=1, block=bad)
    with pytest.raises(ValueError, match="a block needs the axis"):
        min_max(x, Codes(8), block=5)
    affine = min_max(x, Codes(8), axis=1, block=5)
    for function in (quantize, fake_quantize, dequantize):
        with pytest.raises(ValueError, match=r"shape \[3, 10\] for these blocks, got \[2, 10\]"):
            function(torch.zeros(2, 10), affine)
    with pytest.raises(ValueError, match="axis must be in -2 … 1, got 2"):
        Affine(Codes(8), torch.ones(2, 2), torch.zeros(2, 2).int(), axis=2, block=1)
    with pytest.raises(ValueError, match="must both have 2 axes"):
        Affine(Codes(8), torch.ones(2, 2), torch.zeros(2).int(), axis=0, block=1)
    with pytest.raises(ValueError, match="must be finite"):
        min_max(torch.full((2, 4), torch.nan), Codes(8), axis=1, block=2)
