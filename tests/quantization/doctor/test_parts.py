"""Files as lists of parts, and parts executed alone: what they give together is what ONNX Runtime gives."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import onnx.parser
import pytest
import torch
from onnx import helper, numpy_helper
from torch import nn

from course_lib.deploy.onnx import export_onnx, open_session, run_session
from course_lib.quantization import quantize_static_int8
from course_lib.quantization.affine import Codes, dequantize
from course_lib.quantization.calibrated import quantize_network, simulate
from course_lib.quantization.doctor.constants import read_constants
from course_lib.quantization.doctor.matching import aligned
from course_lib.quantization.doctor.parts import Unreadable, layer_name, read_parts
from course_lib.quantization.doctor.walk import Walk
from course_lib.quantization.qdq import export_qdq


def parsed(text: str, path: Path) -> Path:
    onnx.save(onnx.parser.parse_model(f'<ir_version: 7, opset_import: ["" : 13]> {text}'), path)
    return path


@pytest.fixture(params=["Branches", "Residual"])
def files(request, small, tmp_path):
    """The same network as a float file, as ours, and as ONNX Runtime's quantizer writes it."""
    model, images = getattr(small, request.param)(), small.as_images(small.image_bytes(8))
    network, shape = quantize_network(model, images), (1, *small.SHAPE)
    plain = export_onnx(model, tmp_path / "float.onnx", input_shape=shape)
    ours = export_qdq(network, tmp_path / "ours.onnx", input_shape=shape, short_names=False)
    theirs = quantize_static_int8(plain, tmp_path / "theirs.onnx", images.numpy())
    return network, images.numpy(), plain, ours, theirs


def test_all_three_files_have_the_same_parts(files):
    plain, ours, theirs = (Walk(path).parts for path in files[2:])
    for parts in (ours, theirs):
        matched = aligned(plain, parts)
        assert [part.kind for part in matched] == [part.kind for part in plain]
        assert [set(part.sources) for part in matched] == [set(part.sources) for part in plain]
        for one, other in zip(plain, matched, strict=True):
            if one.weight is not None and other.weight is not None:
                assert np.abs(one.weight.values - other.weight.values).max() < 0.02 * np.abs(one.weight.values).max()
        assert all(part.rounding for part in parts)
    assert not any(part.rounding for part in plain)


def test_names_are_the_layer_graph_s(files):
    network, ours = files[0], Walk(files[3]).parts
    known = {layer.name for layer in network.graph.layers}
    assert {part.name for part in ours[1:]} <= known
    assert {part.name for part in Walk(files[2]).parts if part.weight} <= known


def test_weights_and_scales_are_the_network_s(files):
    network, ours = files[0], Walk(files[3]).parts
    for part in ours[1:]:
        affine = network.activations[part.name]
        assert part.rounding is not None
        assert part.rounding.scale == pytest.approx(float(affine.scale))
        assert (part.rounding.zero_point, part.rounding.low, part.rounding.high) == (int(affine.zero_point), 0, 255)
        if part.weight is not None:
            layer = next(layer for layer in network.graph.layers if layer.name == part.name)
            expected = dequantize(network.weight_codes(layer), network.weights[part.name]).numpy()
            assert np.array_equal(part.weight.values, expected)
            assert part.weight.codes is not None
            assert np.array_equal(part.weight.codes, network.weight_codes(layer).numpy())
            assert part.bias == pytest.approx((network.bias_codes(layer) * network.bias_scale(layer)).numpy())
            assert part.reads_codes


@pytest.mark.parametrize("which", [2, 3, 4])
def test_parts_one_after_the_other_give_the_file_s_logits(which, files):
    path, images = files[which], files[1]
    logits = Walk(path).tensors(images)[-1][1]
    expected = run_session(open_session(path), images)
    step = 1e-5 if which == 2 else 1.01 * float(files[0].activations[files[0].graph.output].scale)
    assert np.abs(logits - expected).max() <= step


def test_inner_tensors_are_the_simulation_s(files):
    network, images, ours = files[0], files[1], Walk(files[3])
    codes = simulate(network, torch.from_numpy(images))
    for part, (_, out) in zip(ours.parts, ours.tensors(images), strict=True):
        expected = dequantize(codes[part.name], network.activations[part.name]).numpy()
        assert np.abs(out - expected).max() <= 1.01 * float(network.activations[part.name].scale)


def test_the_rounding_of_a_part_is_onnx_runtime_s(files):
    ours, images = Walk(files[3]), files[1]
    for part, (raw, out) in zip(ours.parts, ours.tensors(images), strict=True):
        assert part.rounding is not None
        assert part.rounding(raw) == pytest.approx(out, abs=1e-6)


def test_given_tensors_are_not_computed(files):
    walk, images = Walk(files[2]), files[1]
    right = walk.tensors(images)
    zero = (np.zeros_like(right[1][0]), np.zeros_like(right[1][1]))
    found = walk.tensors(images, given={0: right[0], 1: zero}, first=1)
    assert not found[1][1].any()
    assert np.abs(found[-1][1] - right[-1][1]).max() > 0
    same = walk.tensors(images, given=dict(enumerate(right[:-1])), first=len(right) - 1)
    assert np.array_equal(same[-1][1], right[-1][1])


def test_fewer_codes_than_eight_bits_are_read_from_the_clip(small, tmp_path):
    images = small.as_images(small.image_bytes(4))
    network = quantize_network(small.Branches(), images, activation_codes=Codes(4, signed=False))
    path = export_qdq(network, tmp_path / "four.onnx", input_shape=(1, *small.SHAPE), short_names=False)
    for part in Walk(path).parts:
        assert part.rounding is not None
        assert (part.rounding.low, part.rounding.high) == (0, 15)


def test_a_batchnorm_that_was_not_folded_belongs_to_its_convolution(tmp_path):
    text = """g (float[B, 1, 2, 2] images) => (float[B, 1, 2, 2] logits)
        <float[1, 1, 1, 1] w = {2}, float[1] one = {1}, float[1] half = {0.5}>
        { c = Conv (images, w)
          n = BatchNormalization (c, one, half, half, one)
          logits = Relu (n) }"""
    walk = Walk(parsed(text, tmp_path / "norm.onnx"))
    assert [(part.kind, part.relu) for part in walk.parts] == [("images", False), ("convolution", True)]
    raw, out = walk.tensors(np.ones((1, 1, 2, 2), np.float32))[1]
    assert out == pytest.approx(2.0, abs=1e-4)
    assert np.array_equal(raw, out)


def test_a_product_and_the_sum_behind_it_are_one_linear_layer(tmp_path):
    text = """g (float[B, 3] images) => (float[B, 2] logits) <float[3, 2] w = {1, 2, 3, 4, 5, 6}, float[2] b = {7, 8}>
        { p = MatMul (images, w) logits = Add (p, b) }"""
    _, part = Walk(parsed(text, tmp_path / "product.onnx")).parts
    assert part.kind == "linear"
    assert part.weight is not None
    assert part.weight.values.tolist() == [[1, 3, 5], [2, 4, 6]]
    assert part.bias is not None
    assert part.bias.tolist() == [7, 8]


def test_what_follows_the_last_layer_is_a_part_of_its_own(tmp_path):
    text = """g (float[B, 2] images) => (float[B, 2] logits) <float[2, 2] w = {1, 0, 0, 1}>
        { p = MatMul (images, w) logits = Softmax (p) }"""
    walk = Walk(parsed(text, tmp_path / "softmax.onnx"))
    assert [part.kind for part in walk.parts] == ["images", "linear", "logits"]
    assert walk.tensors(np.zeros((3, 2), np.float32))[-1][1].tolist() == [[0.5, 0.5]] * 3


def test_a_product_of_two_activations_is_refused(tmp_path):
    text = """g (float[2, 2] images) => (float[2, 2] logits) <float[2, 2] w = {1, 0, 0, 1}>
        { p = MatMul (images, w) logits = MatMul (p, images) }"""
    model = onnx.parser.parse_model(f'<ir_version: 7, opset_import: ["" : 13]> {text}')
    with pytest.raises(Unreadable, match="two activations"):
        read_parts(model)


def test_one_dequantize_a_reader_is_read_like_one_for_all(small, tmp_path):
    images = small.as_images(small.image_bytes(4))
    network = quantize_network(small.Residual(), images)
    path = export_qdq(network, tmp_path / "one.onnx", input_shape=(1, *small.SHAPE), short_names=False)
    model = onnx.load(path)
    pair = next(node for node in model.graph.node if node.output[0] == "first.0:float")
    reader = next(node for node in model.graph.node if node.input[0] == "first.0:float" and node.op_type == "Conv")
    copy = helper.make_node("DequantizeLinear", list(pair.input), ["copy:float"], name="copy")
    reader.input[0] = "copy:float"
    model.graph.node.insert(list(model.graph.node).index(pair), copy)
    onnx.save(model, tmp_path / "two.onnx")
    one, two = Walk(path), Walk(tmp_path / "two.onnx")
    assert [part.sources for part in one.parts] == [part.sources for part in two.parts]
    assert np.array_equal(one.tensors(images.numpy())[-1][1], two.tensors(images.numpy())[-1][1])


@pytest.mark.parametrize("operator", ["Transpose", "Identity"])
def test_constants_are_followed_through_operators(operator):
    values = np.array([[1, 2], [3, 5]], np.int8)
    scale = np.array([0.5, 0.25], np.float32)
    graph = helper.make_graph(
        [
            helper.make_node("DequantizeLinear", ["q", "s", "z"], ["w"], axis=1),
            helper.make_node(operator, ["w"], ["v"]),
        ],
        "g",
        [],
        [],
        [
            numpy_helper.from_array(array, name)
            for name, array in {"q": values, "s": scale, "z": np.array([1, 0], np.int8)}.items()
        ],
    )
    found = read_constants(graph)["v"]
    expected = (values - [1, 0]) * scale
    assert np.array_equal(found.values, expected.T if operator == "Transpose" else expected)
    assert found.axis == (0 if operator == "Transpose" else 1)


@pytest.mark.parametrize(
    ("node", "name"),
    [
        ("/stages/stages.0/first/first.0/Conv", "stages.0.first.0"),
        ("/stages/stages.0/Add", "stages.0.Add"),
        ("/classifier/Gemm", "classifier"),
        ("classifier", "classifier"),
        ("features.0.0:sum", "features.0.0"),
    ],
)
def test_names_of_both_exporters(node, name):
    assert layer_name(node) == name


def test_images_in_odd_batches_come_out_whole(small, tmp_path):
    model = nn.Sequential(nn.Conv2d(1, 2, 1), nn.Flatten(), nn.Linear(8, 3)).eval()
    path = export_onnx(model, tmp_path / "odd.onnx", input_shape=(1, 1, 2, 2))
    images = torch.rand(71, 1, 2, 2)
    assert Walk(path).tensors(images.numpy())[-1][1] == pytest.approx(model(images).detach().numpy(), abs=1e-5)


def test_codes_that_something_else_reads_stay_with_their_reader(small, tmp_path):
    images = small.as_images(small.image_bytes(4))
    network = quantize_network(small.Branches(), images)
    changed = replace(network, activations=dict(network.activations))
    path = export_qdq(changed, tmp_path / "codes.onnx", input_shape=(1, *small.SHAPE), show_codes=True)
    parts = Walk(path).parts
    assert all(part.rounding for part in parts)
    model = onnx.load(path)
    codes = next(node for node in model.graph.node if node.output[0] == "first:codes")
    model.graph.node.append(helper.make_node("Identity", [codes.output[0]], ["seen"]))
    onnx.save(model, tmp_path / "read.onnx")
    walk = Walk(tmp_path / "read.onnx")
    first = next(part for part in walk.parts if part.name == parts[1].name)
    assert first.rounding is None
    assert run_session(open_session(path), images.numpy()) == pytest.approx(
        walk.tensors(images.numpy())[-1][1], abs=1.01 * float(network.activations[network.graph.output].scale)
    )
