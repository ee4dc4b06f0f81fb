"""INT8 for TensorRT: what its parser wants of a QDQ file, from version 8.2 to 10.

TensorRT's integer kernels know no zero points. So activations get signed codes around 0 (S8S8), which costs the tensors
behind a ReLU half of their codes: one bit. The file says so in the only form that all these versions parse:

* **Weights stay FP32**, with a QuantizeLinear and a DequantizeLinear behind them; weights stored as integers are read
  by later versions only. TensorRT does the rounding when it builds the engine. The file is as large as the FP32 one.
* **The bias stays FP32** and has no scale: a DequantizeLinear of 32-bit integers is refused.
* **The logits are not rounded**: the last layer's sums leave the engine in floats.
* A Flatten changes no number, so it gets no pair of its own.

Weights have 8 bits here, not 7: a GPU adds products in 32 bits.

On a CPU, ONNX Runtime computes this file's convolutions in floats. Not because weights and biases are stored so: with
codes around 0, rounding does not cut off what is negative, a ReLU therefore stays between convolution and
QuantizeLinear, and the rule for integer convolutions wants these two side by side. Without its ReLUs, or with 0 as the
lowest code, the same file becomes integer convolutions (chapter 17 shows it).

Source: TensorRT developer guide, "Working with Quantized Types"; Wu et al. 2020, arXiv:2004.09602, section 3.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from course_lib.quantization.affine import Affine, Codes, dequantize, from_range, quantize
from course_lib.quantization.calibrated import QuantizedNetwork, observe, quantize_network
from course_lib.quantization.graph import INPUT, Flatten, Layer, LayerGraph, Weighted, layer_graph
from course_lib.quantization.observers import MinMax, Observer
from course_lib.quantization.qdq_nodes import NodeWriter, float_output, save

SIGNED = Codes(8, restricted=True)
"""−127 … 127: of weights and activations."""


def quantize_symmetric(
    model: nn.Module | LayerGraph, images: Tensor, *, observer: Callable[[], Observer] = MinMax
) -> QuantizedNetwork:
    """The network with signed codes around 0 for weights (one scale an output channel) and activations (one a tensor).

    Args:
        model: in float32; a module is read by ``layer_graph``.
        images: (N, 3, H, W), float32 in [0, 1], from the training part.
        observer: makes a fresh one for each activation.
    Raises: ValueError: as ``quantize_network``.
    """
    graph = model if isinstance(model, LayerGraph) else layer_graph(model)
    seen = observe(graph, images, observer)
    activations = {name: one.affine(SIGNED, symmetric=True) for name, one in seen.items()}
    activations[INPUT] = from_range(torch.tensor(0.0), torch.tensor(1.0), SIGNED, symmetric=True)
    for layer in graph.layers:
        if isinstance(layer, Flatten):
            activations[layer.name] = activations[layer.inputs[0]]
    weights = quantize_network(graph, images[:1], weight_codes=SIGNED).weights
    return QuantizedNetwork(graph, activations, weights)


def float_bias_logits(network: QuantizedNetwork, images: Tensor) -> Tensor:
    """Logits (N, classes), float32, as the file of ``export_tensorrt`` has them: exact bias, logits not rounded.

    Args: images: (N, C, H, W), float32 in [0, 1].

    >>> images = torch.tensor([[[[0.0, 1.0]]]])
    >>> network = quantize_symmetric(nn.Sequential(nn.Flatten(), nn.Linear(2, 3)), images)
    >>> float_bias_logits(network, images).shape
    torch.Size([1, 3])
    """
    found = {INPUT: _round_trip(images, network.activations[INPUT])}
    with torch.inference_mode():
        for layer in network.graph.layers:
            value = _with_rounded_weights(network, layer)(*(found[name] for name in layer.inputs))
            kept = isinstance(layer, Flatten) or layer.name == network.graph.output
            found[layer.name] = value if kept else _round_trip(value, network.activations[layer.name])
    return found[network.graph.output]


def _round_trip(x: Tensor, affine: Affine) -> Tensor:
    return dequantize(quantize(x, affine), affine)


def _with_rounded_weights(network: QuantizedNetwork, layer: Layer) -> Layer:
    if not isinstance(layer, Weighted):
        return layer
    return replace(layer, weight=dequantize(network.weight_codes(layer), network.weights[layer.name]))


def export_tensorrt(
    network: QuantizedNetwork, path: str | Path, *, input_shape: Sequence[int] = (1, 3, 32, 32)
) -> Path:
    """Write the QDQ file (input "images", output "logits", opset 13, IR 7).

    Args:
        network: from ``quantize_symmetric``.
        input_shape: (B, C, H, W); B is dynamic in the file.
    Returns: the path written.
    Raises:
        ValueError: a scale with a zero point or unsigned codes, or a layer that has no form here.
        CourseError: the folder cannot be written.
    """
    writer = _Writer(network)
    for layer in network.graph.layers:
        writer.layer(layer)
    return save(writer.model(input_shape, [float_output("logits")]), path)


class _Writer(NodeWriter):
    """``ready`` names the tensor that readers of a layer take."""

    def __init__(self, network: QuantizedNetwork):
        super().__init__(network)
        self.ready = {INPUT: self._pair(INPUT, INPUT, network.activations[INPUT])}

    def layer(self, layer: Layer) -> None:
        """One operator, its ReLU, and the pair behind it."""
        name, last = layer.name, layer.name == self.network.graph.output
        inputs = [self.ready[source] for source in layer.inputs]
        if isinstance(layer, Weighted):
            self.constant(f"{name}:weight", layer.weight.numpy())
            self.constant(f"{name}:bias", layer.bias.numpy())
            inputs += [self._pair(f"{name}:weight", f"{name}:weight", self.network.weights[name]), f"{name}:bias"]
        result = "logits" if last else name
        self.operator(layer, inputs, result, rounded=not last)
        if last or isinstance(layer, Flatten):
            self.ready[name] = result
        else:
            self.ready[name] = self._pair(result, name, self.network.activations[name])

    def _pair(self, source: str, name: str, affine: Affine) -> str:
        """source → codes → floats; gives the name of the floats."""
        if not affine.codes.signed or affine.codes.bits != 8 or bool(affine.zero_point.any()):
            raise ValueError(f"TensorRT wants signed 8-bit codes with the zero point 0, {name} has {affine.codes}")
        axis = {} if affine.axis is None else {"axis": affine.axis}
        self.constant(f"{name}:scale", affine.scale.numpy())
        self.constant(f"{name}:zero", np.zeros(tuple(affine.scale.shape), np.int8))
        scales = [f"{name}:scale", f"{name}:zero"]
        self.node("QuantizeLinear", [source, *scales], [f"{name}:codes"], **axis)
        self.node("DequantizeLinear", [f"{name}:codes", *scales], [f"{name}:float"], **axis)
        return f"{name}:float"
