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

from course_lib.quantization.affine import Affine, dequantize
from course_lib.quantization.calibrated import QuantizedNetwork
from course_lib.quantization.graph import INPUT, Flatten, Layer, Weighted
from course_lib.quantization.qdq_nodes import NodeWriter, float_output, save

if TYPE_CHECKING:
    from onnx import ModelProto


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
    return save(_model(network, input_shape, show_codes), path, short_names=short_names)


def _model(network: QuantizedNetwork, input_shape: Sequence[int], show_codes: bool) -> ModelProto:
    from onnx import helper

    writer = _Writer(network)
    for layer in network.graph.layers:
        writer.layer(layer)
    outputs = [float_output("logits")]
    if show_codes:
        names = [INPUT, *(layer.name for layer in network.graph.layers if not isinstance(layer, Flatten))]
        types = [_code_type(network.activations[name]) for name in names]
        outputs += [helper.make_tensor_value_info(f"{n}:codes", t, None) for n, t in zip(names, types, strict=True)]
    return writer.model(input_shape, outputs)


def _code_type(affine: Affine) -> int:
    from onnx import TensorProto

    return TensorProto.INT8 if affine.codes.signed else TensorProto.UINT8


class _Writer(NodeWriter):
    """Layer x gives "x" in float, "x:codes", and "x:float", what the codes stand for."""

    def __init__(self, network: QuantizedNetwork):
        super().__init__(network)
        self._scales(INPUT, network.activations[INPUT])
        self._round_trip(INPUT, INPUT)

    def layer(self, layer: Layer) -> None:
        """One operator, its ReLU, and the round trip of its output through codes."""
        name, inputs = layer.name, [f"{source}:float" for source in layer.inputs]
        if isinstance(layer, Weighted):
            self._weights(layer)
            inputs += [f"{name}:weight:float", f"{name}:bias:float"]
        result = f"{name}:flat" if isinstance(layer, Flatten) else name
        self.operator(layer, inputs, result)
        self._scales(name, self.network.activations[name])
        self._round_trip(result, name)

    def _scales(self, name: str, affine: Affine) -> None:
        if affine.codes.bits > 8:
            raise ValueError(f"ONNX's 8-bit types cannot hold the codes of {name}: {affine.codes}")
        self.constant(f"{name}:scale", affine.scale.numpy())
        self.constant(f"{name}:zero_point", affine.zero_point.numpy().astype(_dtype(affine)))

    def _round_trip(self, source: str, name: str) -> None:
        """source → name:codes → name:float; what the last layer gives is called "logits"."""
        scales = [f"{name}:scale", f"{name}:zero_point"]
        affine = self.network.activations[name]
        limits = np.iinfo(_dtype(affine))
        if (affine.codes.low, affine.codes.high) != (limits.min, limits.max):
            # QuantizeLinear clamps to what 8 bits hold. Fewer codes need a clamp of their own.
            ends = torch.tensor([affine.codes.low, affine.codes.high])
            for end, value in zip(("low", "high"), dequantize(ends, affine), strict=True):
                self.constant(f"{name}:{end}", value.numpy())
            self.node("Clip", [source, f"{name}:low", f"{name}:high"], [f"{name}:clipped"])
            source = f"{name}:clipped"
        self.node("QuantizeLinear", [source, *scales], [f"{name}:codes"])
        restored = "logits" if name == self.network.graph.output else f"{name}:float"
        self.node("DequantizeLinear", [f"{name}:codes", *scales], [restored])

    def _weights(self, layer: Weighted) -> None:
        affine = self.network.weights[layer.name]
        axis = {} if affine.axis is None else {"axis": affine.axis}
        name = f"{layer.name}:weight"
        self._scales(name, affine)
        self.constant(name, self.network.weight_codes(layer).numpy().astype(np.int8))
        self.node("DequantizeLinear", [name, f"{name}:scale", f"{name}:zero_point"], [f"{name}:float"], **axis)
        name, scale = f"{layer.name}:bias", self.network.bias_scale(layer)
        self.constant(name, self.network.bias_codes(layer).numpy())
        self.constant(f"{name}:scale", _array(scale))
        self.constant(f"{name}:zero_point", np.zeros(len(scale), np.int32))
        self.node("DequantizeLinear", [name, f"{name}:scale", f"{name}:zero_point"], [f"{name}:float"], axis=0)


def _dtype(affine: Affine) -> type[np.int8 | np.uint8]:
    return np.int8 if affine.codes.signed else np.uint8


def _array(tensor: Tensor) -> np.ndarray:
    return tensor.contiguous().numpy()
