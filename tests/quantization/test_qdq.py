"""The exported file holds our own scales, is merged into integer kernels, and answers what the simulation answers."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from onnx import numpy_helper

from course_lib.data import load
from course_lib.deploy.onnx import IR_VERSION, OPSET, onnx_counts, open_session, run_session
from course_lib.models import checkpoints
from course_lib.quantization import calibration_images
from course_lib.quantization.affine import Codes, dequantize
from course_lib.quantization.calibrated import QuantizedNetwork, quantize_network, simulated_logits
from course_lib.quantization.graph import Layer, LayerGraph, Weighted
from course_lib.quantization.qdq import export_qdq


@pytest.fixture(scope="module", params=["student_rendered", "teacher_rendered"])
def deployed(request, tmp_path_factory) -> tuple[str, QuantizedNetwork, Path]:
    model, _ = checkpoints.load(request.param)
    network = quantize_network(model, torch.tensor(calibration_images(load("rendered").train, 64)))
    return request.param, network, export_qdq(network, tmp_path_factory.mktemp("qdq") / "network.onnx")


def kernels(path: Path) -> Counter[str]:
    """What ONNX Runtime really executes."""
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    options.optimized_model_filepath = str(path.with_suffix(".optimized.onnx"))
    onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    return Counter(node.op_type for node in onnx.load(options.optimized_model_filepath).graph.node)


def test_every_layer_is_an_integer_kernel(deployed):
    name, network, path = deployed
    found = kernels(path)
    convolutions = sum(layer.__class__.__name__ == "Convolution" for layer in network.graph.layers)
    assert found["QLinearConv"] == convolutions
    assert found["QGemm"] == found["QLinearGlobalAveragePool"] == 1
    assert found["QLinearAdd"] == (6 if name.startswith("teacher") else 0)
    assert found["QuantizeLinear"] == found["DequantizeLinear"] == 1  # the images, and the logits
    assert not {"Conv", "Gemm", "Relu", "Add", "GlobalAveragePool"} & found.keys()


def test_what_is_deployed_answers_what_was_simulated(deployed):
    _, network, path = deployed
    test = load("rendered").test
    images = test.batch(np.arange(0, len(test), 12))[0]
    simulated = simulated_logits(network, images).numpy()
    found = run_session(open_session(path), images.numpy())
    assert (found.argmax(1) == simulated.argmax(1)).mean() >= 0.995
    steps = np.abs(found - simulated) / network.activations[network.graph.output].scale.item()
    assert steps.max() <= 3.01
    assert (steps < 0.5).mean() > 0.9


def test_the_file_holds_our_scales_zero_points_and_codes(deployed, tmp_path):
    _, network, short = deployed
    path = export_qdq(network, tmp_path / "long.onnx", short_names=False)
    assert short.stat().st_size < path.stat().st_size
    tensors = {tensor.name: numpy_helper.to_array(tensor) for tensor in onnx.load(path).graph.initializer}
    for name, affine in network.activations.items():
        assert tensors[f"{name}:scale"] == affine.scale.numpy()
        assert tensors[f"{name}:zero_point"] == affine.zero_point.numpy()
    for layer in network.graph.layers:
        if isinstance(layer, Weighted):
            assert np.array_equal(tensors[f"{layer.name}:weight"], network.weight_codes(layer).numpy())
            assert np.array_equal(tensors[f"{layer.name}:weight:scale"], network.weights[layer.name].scale.numpy())
            assert np.array_equal(tensors[f"{layer.name}:bias"], network.bias_codes(layer).numpy())


def test_it_is_written_for_old_runtimes_with_a_dynamic_batch(deployed):
    _, _, path = deployed
    model = onnx.load(path)
    assert (model.opset_import[0].version, model.ir_version) == (OPSET, IR_VERSION)
    for batch in (1, 3):
        assert run_session(open_session(path), np.zeros((batch, 3, 32, 32), np.float32)).shape == (batch, 43)


def test_weights_count_once_and_take_a_byte_each(deployed):
    _, network, path = deployed
    counts = onnx_counts(path)
    weights = sum(layer.weight.numel() for layer in network.graph.layers if isinstance(layer, Weighted))
    biases = sum(layer.bias.numel() for layer in network.graph.layers if isinstance(layer, Weighted))
    assert counts.parameters == weights + biases
    assert weights + 4 * biases < counts.deployable_bytes < 1.05 * weights + 12 * biases + 16_000


@pytest.mark.parametrize("name", ["Branches", "Residual"])
@pytest.mark.parametrize("codes", [Codes(8), Codes(5, signed=False), Codes(8, restricted=True), Codes(4)], ids=str)
def test_fewer_codes_are_clamped_in_the_file(small, tmp_path, name, codes):
    inputs = small.image_bytes(24, 3)
    network = quantize_network(
        getattr(small, name)(3), small.as_images(inputs[:2]) * 0.5, activation_codes=codes
    )  # most images lie outside what was calibrated
    path = export_qdq(network, tmp_path / "few.onnx", input_shape=(1, *small.SHAPE))
    images = small.as_images(inputs)
    found = run_session(open_session(path), images.numpy())
    simulated = simulated_logits(network, images).numpy()
    step = network.activations[network.graph.output].scale.item()
    assert np.isin(np.rint(found / step), np.rint(_values(network) / step)).all()
    assert (np.abs(found - simulated) > 0.5 * step).mean() < 0.02


def _values(network: QuantizedNetwork) -> np.ndarray:
    affine = network.activations[network.graph.output]
    return dequantize(torch.arange(affine.codes.low, affine.codes.high + 1), affine).numpy()


def test_codes_can_be_looked_at(small, tmp_path):
    inputs = small.image_bytes(3)
    network = quantize_network(small.Branches(), small.as_images(inputs))
    path = export_qdq(network, tmp_path / "codes.onnx", input_shape=(1, *small.SHAPE), show_codes=True)
    session = open_session(path)
    names = [value.name for value in session.get_outputs()]
    shown = ("images", "first", "left", "right", "cat", "hidden", "last")
    assert names == ["logits", *(f"{name}:codes" for name in shown)]
    codes = session.run(["images:codes"], {"images": small.as_images(inputs).numpy()})[0]
    assert np.array_equal(np.asarray(codes), inputs)


def test_codes_beyond_8_bits_are_refused_and_nothing_is_written(small, tmp_path):
    network = quantize_network(
        small.Branches(), small.as_images(small.image_bytes(3)), activation_codes=Codes(12, signed=False)
    )
    with pytest.raises(ValueError, match="8-bit types cannot hold the codes of images"):
        export_qdq(network, tmp_path / "wide.onnx", input_shape=(1, *small.SHAPE))
    assert list(tmp_path.iterdir()) == []


def test_a_layer_without_an_onnx_form_is_named(small, tmp_path):
    class Strange(Layer):
        def __call__(self, *inputs: torch.Tensor) -> torch.Tensor:
            return inputs[0]

    network = quantize_network(small.Branches(), small.as_images(small.image_bytes(3)))
    graph = LayerGraph((*network.graph.layers, Strange("odd", ("last",))))
    changed = QuantizedNetwork(graph, {**network.activations, "odd": network.activations["last"]}, network.weights)
    with pytest.raises(ValueError, match=r"Strange \(odd\)"):
        export_qdq(changed, tmp_path / "odd.onnx", input_shape=(1, *small.SHAPE))
