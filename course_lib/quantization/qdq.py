"""Write a quantized network as a QDQ file: float operators between QuantizeLinear and DequantizeLinear pairs.

The pairs carry *our* scales and zero points. A runtime replaces each group, dequantize → operator → quantize, by one
integer kernel: ONNX Runtime by QLinearConv, QGemm, QLinearAdd, …; what it cannot replace it computes in float, and
the answers are nearly the same. So a QDQ file is at once the deployed network and the simulation of it.

Opset 13 and IR 7, as ``export_onnx`` writes, so that old runtimes read it. The Relu node stays in the graph; a runtime
drops it where the output's codes begin at 0. A ReLU6 is written as a Relu where no code stands for more than 6, which
is the rule, since no value exceeds 6; else as a Clip. Activations with fewer than 256 codes get a Clip, which keeps
ONNX Runtime from merging that layer: it is computed in float, with the same answers but for near-ties, and saves no
time.

Source: onnxruntime's QDQ format, https://onnxruntime.ai/docs/performance/model-optimizations/quantization.html.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from course_lib.deploy.onnx import IR_VERSION, OPSET, open_session, shorten_names
from course_lib.quantization.affine import Affine, dequantize, quantize
from course_lib.quantization.calibrated import QuantizedNetwork
from course_lib.quantization.graph import (
    INPUT,
    Add,
    Concat,
    Convolution,
    Flatten,
    GlobalAverage,
    Layer,
    Linear,
    Weighted,
)
from course_lib.storage.files import atomic_path

if TYPE_CHECKING:
    from onnx import ModelProto, NodeProto, TensorProto


def export_qdq(
    network: QuantizedNetwork,
    path: str | Path,
    *,
    input_shape: Sequence[int] = (1, 3, 32, 32),
    show_codes: bool = False,
    short_names: bool = True,
) -> Path:
    """Write the network with its own scales and zero points (input "images", output "logits", opset 13, IR 7).

    Args:
        input_shape: (B, C, H, W); B is dynamic in the file.
        show_codes: make the codes of every tensor outputs, too, under "<layer>:codes", to look into a runtime.
        short_names: for tensors inside, which make a small file smaller; else they tell their layer.
    Returns: the path written.
    Raises:
        ValueError: codes that ONNX's 8-bit types cannot hold, or a layer that has no ONNX form here.
        CourseError: the folder cannot be written.
    """
    import onnx

    path, model = Path(path), _model(network, input_shape, show_codes)
    with atomic_path(path) as part:
        onnx.save(model, part)
        if short_names:
            shorten_names(part)
        open_session(part)
    return path


def _model(network: QuantizedNetwork, input_shape: Sequence[int], show_codes: bool) -> ModelProto:
    import onnx
    from onnx import TensorProto, helper

    writer = _Writer(network)
    for layer in network.graph.layers:
        writer.layer(layer)
    outputs = [helper.make_tensor_value_info("logits", TensorProto.FLOAT, None)]
    if show_codes:
        names = [INPUT, *(layer.name for layer in network.graph.layers if not isinstance(layer, Flatten))]
        types = [_code_type(network.activations[name]) for name in names]
        outputs += [helper.make_tensor_value_info(f"{n}:codes", t, None) for n, t in zip(names, types, strict=True)]
    images = helper.make_tensor_value_info(INPUT, TensorProto.FLOAT, ["batch", *input_shape[1:]])
    graph = helper.make_graph(writer.nodes, "quantized", [images], outputs, writer.tensors)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=IR_VERSION)
    model = onnx.shape_inference.infer_shapes(model)
    onnx.checker.check_model(model)
    return model


def _code_type(affine: Affine) -> int:
    from onnx import TensorProto

    return TensorProto.INT8 if affine.codes.signed else TensorProto.UINT8


class _Writer:
    """Collects nodes and constants. Layer x gives "x" in float, "x:codes", and "x:float", what the codes stand for."""

    def __init__(self, network: QuantizedNetwork):
        self.network = network
        self.nodes: list[NodeProto] = []
        self.tensors: list[TensorProto] = []
        self._scales(INPUT, network.activations[INPUT])
        self._round_trip(INPUT, INPUT)

    def layer(self, layer: Layer) -> None:
        """One operator, its ReLU, and the round trip of its output through codes."""
        name = layer.name
        inputs = [f"{source}:float" for source in layer.inputs]
        if isinstance(layer, Flatten):
            self._node("Flatten", inputs, [f"{name}:flat"], axis=1)
            self._scales(name, self.network.activations[name])
            self._round_trip(f"{name}:flat", name)
            return
        relu, ceiling = getattr(layer, "relu", False), getattr(layer, "ceiling", None)
        result = f"{name}:sum" if relu else name
        if isinstance(layer, Weighted):
            self._weights(layer)
            inputs += [f"{name}:weight:float", f"{name}:bias:float"]
        if isinstance(layer, Convolution):
            pads = [*layer.padding, *layer.padding]
            self._node("Conv", inputs, [result], strides=layer.stride, pads=pads, group=layer.groups)
        elif isinstance(layer, Linear):
            self._node("Gemm", inputs, [result], transB=1)
        elif isinstance(layer, Add):
            self._node("Add", inputs, [result])
        elif isinstance(layer, Concat):
            self._node("Concat", inputs, [result], axis=1)
        elif isinstance(layer, GlobalAverage):
            self._node("GlobalAveragePool", inputs, [result])
        else:
            raise ValueError(f"no ONNX form is known for {type(layer).__name__} ({name})")
        if relu and ceiling is not None and self._within_codes(name, ceiling):
            self._node("Clip", [result, *self._ends(name, 0.0, ceiling)], [name])
        elif relu:
            self._node("Relu", [result], [name])
        self._scales(name, self.network.activations[name])
        self._round_trip(name, name)

    def _within_codes(self, name: str, value: float) -> bool:
        """Whether a tensor has a code above the value's: a clamp at the value then shows in the codes."""
        affine = self.network.activations[name]
        return int(quantize(torch.tensor(value), affine)) < affine.codes.high

    def _ends(self, name: str, low: float, high: float) -> list[str]:
        """Names of two constants for a Clip."""
        names = [f"{name}:least", f"{name}:most"]
        for end, value in zip(names, (low, high), strict=True):
            self._constant(end, np.array(value, np.float32))
        return names

    def _node(self, operator: str, inputs: Sequence[str], outputs: Sequence[str], **attributes: object) -> None:
        from onnx import helper

        node = helper.make_node(operator, inputs, outputs, name=outputs[0])
        node.attribute.extend(helper.make_attribute(key, value) for key, value in attributes.items())
        self.nodes.append(node)

    def _constant(self, name: str, values: np.ndarray) -> None:
        from onnx import numpy_helper

        self.tensors.append(numpy_helper.from_array(np.array(values, order="C"), name))

    def _scales(self, name: str, affine: Affine) -> None:
        if affine.codes.bits > 8:
            raise ValueError(f"ONNX's 8-bit types cannot hold the codes of {name}: {affine.codes}")
        self._constant(f"{name}:scale", affine.scale.numpy())
        self._constant(f"{name}:zero_point", affine.zero_point.numpy().astype(_dtype(affine)))

    def _round_trip(self, source: str, name: str) -> None:
        """source → name:codes → name:float; what the last layer gives is called "logits"."""
        scales = [f"{name}:scale", f"{name}:zero_point"]
        affine = self.network.activations[name]
        limits = np.iinfo(_dtype(affine))
        if (affine.codes.low, affine.codes.high) != (limits.min, limits.max):
            # QuantizeLinear clamps to what 8 bits hold. Fewer codes need a clamp of their own.
            ends = torch.tensor([affine.codes.low, affine.codes.high])
            for end, value in zip(("low", "high"), dequantize(ends, affine), strict=True):
                self._constant(f"{name}:{end}", value.numpy())
            self._node("Clip", [source, f"{name}:low", f"{name}:high"], [f"{name}:clipped"])
            source = f"{name}:clipped"
        self._node("QuantizeLinear", [source, *scales], [f"{name}:codes"])
        restored = "logits" if name == self.network.graph.output else f"{name}:float"
        self._node("DequantizeLinear", [f"{name}:codes", *scales], [restored])

    def _weights(self, layer: Weighted) -> None:
        affine = self.network.weights[layer.name]
        axis = {} if affine.axis is None else {"axis": affine.axis}
        name = f"{layer.name}:weight"
        self._scales(name, affine)
        self._constant(name, self.network.weight_codes(layer).numpy().astype(np.int8))
        self._node("DequantizeLinear", [name, f"{name}:scale", f"{name}:zero_point"], [f"{name}:float"], **axis)
        name, scale = f"{layer.name}:bias", self.network.bias_scale(layer)
        self._constant(name, self.network.bias_codes(layer).numpy())
        self._constant(f"{name}:scale", _array(scale))
        self._constant(f"{name}:zero_point", np.zeros(len(scale), np.int32))
        self._node("DequantizeLinear", [name, f"{name}:scale", f"{name}:zero_point"], [f"{name}:float"], axis=0)


def _dtype(affine: Affine) -> type[np.int8 | np.uint8]:
    return np.int8 if affine.codes.signed else np.uint8


def _array(tensor: Tensor) -> np.ndarray:
    return tensor.contiguous().numpy()
