"""The file for TensorRT computes what the simulation says, in the form that old parsers read."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import onnx
import pytest
import torch
from onnx import numpy_helper
from torch import Tensor, nn

from course_lib.data.rendered import render_split
from course_lib.deploy.onnx import open_session, optimized_graph, run_session
from course_lib.models import checkpoints, sign_student
from course_lib.models.signs import SignTeacher
from course_lib.quantization import Codes, from_range
from course_lib.quantization.calibrated import quantize_network, simulated_logits
from course_lib.quantization.tensorrt import SIGNED, export_tensorrt, float_bias_logits, quantize_symmetric


class Branches(nn.Module):
    """A depthwise layer, a sum, a concatenation and two linear layers."""

    def __init__(self):
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 4, 3, 2, 1), nn.BatchNorm2d(4), nn.ReLU())
        self.side = nn.Conv2d(4, 4, 3, 1, 1, groups=4)
        self.hidden = nn.Sequential(nn.Linear(8 * 4 * 4, 6), nn.ReLU())
        self.head = nn.Linear(6, 5)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        side = (x + self.side(x)).relu()
        return self.head(self.hidden(torch.cat([side, x], 1).flatten(1)))


NETWORKS = {
    "student": (lambda: sign_student(0.25), (3, 32, 32)),
    "teacher": (lambda: SignTeacher(channels=(8, 12), blocks=(1, 1)), (3, 32, 32)),
    "branches": (Branches, (3, 8, 8)),
}


def noise(shape, count: int = 16) -> Tensor:
    return torch.rand(count, *shape, generator=torch.Generator().manual_seed(1))


@pytest.fixture(params=NETWORKS)
def case(request, tmp_path):
    """(quantized network, its file, images)"""
    torch.manual_seed(0)
    make, shape = NETWORKS[request.param]
    model, images = make().eval(), noise(shape)
    network = quantize_symmetric(model, images)
    return network, export_tensorrt(network, tmp_path / "model.onnx", input_shape=(1, *shape)), images


def test_the_file_computes_what_the_simulation_says_up_to_a_code_in_few_places(case):
    network, path, images = case
    found, expected = run_session(open_session(path), images.numpy()), float_bias_logits(network, images).numpy()
    step = float(network.activations[network.graph.output].scale)
    assert np.abs(found - expected).max() <= 4 * step
    assert np.median(np.abs(found - expected)) <= step / 10  # rounded logits would lie a quarter of a step off


def test_the_shipped_network_gives_the_simulations_classes(tmp_path):
    model, _ = checkpoints.load("final_rendered")
    images = torch.from_numpy(render_split("validation", tracks=86, frames=3).images).float() / 255
    network = quantize_symmetric(model, images[:100])
    found = run_session(open_session(export_tensorrt(network, tmp_path / "m.onnx")), images.numpy()).argmax(1)
    assert (found == simulated_logits(network, images).numpy().argmax(1)).mean() >= 0.99
    assert (found == float_bias_logits(network, images).numpy().argmax(1)).mean() >= 0.99


def test_every_scale_is_around_zero_and_weights_and_biases_stay_floats(case):
    _, path, _ = case
    model = onnx.load(path)
    assert (model.opset_import[0].version, model.ir_version) == (13, 7)
    constants = {tensor.name: numpy_helper.to_array(tensor) for tensor in model.graph.initializer}
    pairs = [node for node in model.graph.node if node.op_type in ("QuantizeLinear", "DequantizeLinear")]
    zeros = {node.input[2] for node in pairs}
    assert all(constants[name].dtype == np.int8 and not constants[name].any() for name in zeros)
    assert {values.dtype for name, values in constants.items() if name not in zeros} == {np.dtype(np.float32)}
    restored = {node.output[0] for node in pairs if node.op_type == "DequantizeLinear"}
    weighted = [node for node in model.graph.node if node.op_type in ("Conv", "Gemm")]
    assert all(node.input[1] in restored and node.input[2] in constants for node in weighted)
    made = {node.output[0] for node in pairs if node.op_type == "QuantizeLinear"}
    assert all(node.input[0] in made for node in pairs if node.op_type == "DequantizeLinear")


def test_the_logits_are_not_rounded_and_a_flatten_has_no_pair(case):
    _, path, _ = case
    model = onnx.load(path)
    assert model.graph.node[-1].output[0] == "logits"
    assert model.graph.node[-1].op_type == "Gemm"
    flat = next(node.output[0] for node in model.graph.node if node.op_type == "Flatten")
    assert [node.op_type for node in model.graph.node if flat in node.input] == ["Gemm"]


def test_codes_are_even_about_zero():
    network = quantize_symmetric(sign_student(0.25).eval(), noise((3, 32, 32)))
    assert Codes(8, signed=True, restricted=True) == SIGNED
    assert all(affine.codes == SIGNED and not affine.zero_point.any() for affine in network.activations.values())
    assert float(network.activations["images"].scale) == pytest.approx(1 / 127)


def test_a_network_with_zero_points_is_refused(tmp_path):
    network = quantize_network(sign_student(0.25).eval(), noise((3, 32, 32)))
    with pytest.raises(ValueError, match="zero point 0, images has"):
        export_tensorrt(network, tmp_path / "model.onnx")
    assert not list(tmp_path.iterdir())


class Capped(nn.Module):
    """A convolution with ReLU6 whose sums reach far beyond 6, and a last layer that ends in one."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.stem, self.head = nn.Conv2d(3, 4, 3), nn.Linear(4 * 6 * 6, 5)
        self.stem.weight.data *= 20
        self.head.weight.data *= 20

    def forward(self, x: Tensor) -> Tensor:
        return nn.functional.relu6(self.head(nn.functional.relu6(self.stem(x)).flatten(1)))


@pytest.mark.parametrize("highest", [6.0, 9.0])
def test_relu6_ends_at_six_also_where_codes_go_further_and_where_nothing_is_rounded(tmp_path, highest):
    images = noise((3, 8, 8))
    network = quantize_symmetric(Capped().eval(), images)
    wide = from_range(torch.tensor(0.0), torch.tensor(highest), SIGNED, symmetric=True)
    names = [layer.name for layer in network.graph.layers if getattr(layer, "ceiling", None) or "flatten" in layer.name]
    assert len(names) == 3
    network = replace(network, activations={**network.activations, **dict.fromkeys(names, wide)})
    expected = float_bias_logits(network, images).numpy()
    path = export_tensorrt(network, tmp_path / "m.onnx", input_shape=(1, 3, 8, 8))
    found = run_session(open_session(path), images.numpy())
    assert expected.max() == 6
    assert found.max() == 6
    assert np.abs(found - expected).max() < 0.5


def _without_relus(model: onnx.ModelProto) -> onnx.ModelProto:
    """Another network in the same types: what a ReLU read is read past it."""
    for relu in [node for node in model.graph.node if node.op_type == "Relu"]:
        for node in model.graph.node:
            node.input[:] = [relu.input[0] if name == relu.output[0] else name for name in node.input]
        model.graph.node.remove(relu)
    return model


def _with_zero_as_the_lowest_code(model: onnx.ModelProto) -> onnx.ModelProto:
    """Another network in the same types: the activations' zero point is −128."""
    constants = {constant.name for constant in model.graph.initializer}
    for node in model.graph.node:
        if node.op_type == "QuantizeLinear" and node.input[0] not in constants:
            node.input[2] = "lowest"
        if node.op_type == "DequantizeLinear" and not _reads_a_weight(node, model, constants):
            node.input[2] = "lowest"
    model.graph.initializer.append(numpy_helper.from_array(np.array(-128, dtype=np.int8), "lowest"))
    return model


def _reads_a_weight(node: onnx.NodeProto, model: onnx.ModelProto, constants: set[str]) -> bool:
    makers = {output: other for other in model.graph.node for output in other.output}
    return makers[node.input[0]].input[0] in constants


@pytest.mark.parametrize(
    ("change", "integers"),
    [(lambda model: model, False), (_without_relus, True), (_with_zero_as_the_lowest_code, True)],
    ids=["as it is", "without ReLUs", "zero as the lowest code"],
)
def test_it_is_the_relu_that_keeps_a_cpu_from_integer_convolutions(tmp_path, change, integers):
    torch.manual_seed(0)
    network = quantize_symmetric(sign_student(0.25).eval(), noise((3, 32, 32)))
    path = export_tensorrt(network, tmp_path / "t.onnx")
    onnx.save(change(onnx.load(path)), path)
    kinds = optimized_graph(path, "all").kinds
    convolutions = sum(node.op_type == "Conv" for node in onnx.load(path).graph.node)
    assert convolutions > 2
    assert sum(n for kind, n in kinds.items() if kind.endswith("QLinearConv")) == convolutions * integers
