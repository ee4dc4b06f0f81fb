"""A network with a scale and a zero point for each of its tensors, and what it computes in floats with them.

Weights get symmetric codes, one scale an output channel; activations asymmetric unsigned ones, one scale a tensor, from
the smallest and largest value on some training images. The bias has the accumulator's scale, S_x · S_w, in 32 bits.

**Seven bits for weights** is the default, as in ``quantize_static_int8``: x86 without 8-bit dot products adds two
products in 16 bits, and 2 · 255 · 127 would not fit.

``simulate`` computes each layer in float32 on numbers that codes stand for, and rounds its output to codes: what
quantization does to a network, without integer arithmetic. ``export_qdq`` writes the same scales into an ONNX file,
and ``course_lib.quantization.integer`` computes with integers only.

Jacob et al. 2018, arXiv:1712.05877, sections 2.1 and 2.4 (the bias).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property

import torch
from torch import Tensor, nn

from course_lib.quantization.affine import Affine, Codes, dequantize, from_range, min_max, quantize
from course_lib.quantization.graph import INPUT, Flatten, Layer, LayerGraph, Weighted, layer_graph
from course_lib.quantization.image_range import require_images
from course_lib.quantization.observers import MinMax, Observer

WEIGHT_CODES = Codes(7, restricted=True)
ACTIVATION_CODES = Codes(8, signed=False)
LARGEST_BIAS = 2**24
"""A bias code is kept this small, so that float32 holds it exactly and the accumulator has room."""


@dataclass(frozen=True, eq=False)
class QuantizedNetwork:
    """Layers, and the scales of all their tensors.

    Args:
        graph: float32 layers.
        activations: of each tensor by name, the images among them; one scale a tensor.
        weights: of each weighted layer by name; along axis 0 or one for all; zero point 0.
        rounded: codes of weights that were not rounded to nearest, by layer, int32; see ``adaround.py``.
    Raises: ValueError: a tensor or a layer has no scale (the network was not calibrated), or weights have a zero
        point other than 0.
    """

    graph: LayerGraph
    activations: Mapping[str, Affine]
    weights: Mapping[str, Affine]
    rounded: Mapping[str, Tensor] = field(default_factory=dict)

    def __post_init__(self) -> None:
        tensors = [INPUT, *(layer.name for layer in self.graph.layers)]
        weighted = [layer.name for layer in self.graph.layers if isinstance(layer, Weighted)]
        missing = [name for name in tensors if name not in self.activations]
        missing += [f"{name} (weights)" for name in weighted if name not in self.weights]
        if missing:
            raise ValueError(f"not calibrated: no scale for {', '.join(missing)}; see quantize_network")
        for name in weighted:
            if bool(self.weights[name].zero_point.any()):
                raise ValueError(f"the weights of {name} must be symmetric (zero point 0)")

    def weight_codes(self, layer: Weighted) -> Tensor:
        """int32, of the weight's shape."""
        if layer.name in self.rounded:
            return self.rounded[layer.name]
        return quantize(layer.weight, self.weights[layer.name])

    def bias_scale(self, layer: Weighted) -> Tensor:
        """float32 (C_out,): the accumulator's scale S_x · S_w."""
        scale = self.activations[layer.inputs[0]].scale * self.weights[layer.name].scale
        return scale.expand(len(layer.bias))

    def bias_codes(self, layer: Weighted) -> Tensor:
        """int32 (C_out,): round(bias / (S_x · S_w))."""
        return (layer.bias.double() / self.bias_scale(layer).double()).round().to(torch.int32)

    @cached_property
    def layers_on_codes(self) -> tuple[Layer, ...]:
        """``on_codes`` of every layer, in the order of execution, made once."""
        return tuple(self.on_codes(layer) for layer in self.graph.layers)

    def on_codes(self, layer: Layer) -> Layer:
        """The layer in float32, with weights and bias that their codes stand for."""
        if not isinstance(layer, Weighted):
            return layer
        weight = dequantize(self.weight_codes(layer), self.weights[layer.name])
        return replace(layer, weight=weight, bias=self.bias_codes(layer) * self.bias_scale(layer))


def observe(
    graph: LayerGraph, images: Tensor, observer: Callable[[], Observer], *, batch_size: int = 256
) -> dict[str, Observer]:
    """One observer a tensor, by name, that saw its values on some images.

    Args:
        images: (N, C, H, W), float32 in [0, 1], N ≥ 1, from the training part; see ``require_images``.
        observer: makes a fresh one.
    Raises: ValueError: no image, or images outside [0, 1].
    Warns: ImageRangeWarning: images that can hardly be what the network sees.

    >>> graph = layer_graph(nn.Sequential(nn.Conv2d(1, 1, 1), nn.ReLU()))
    >>> observe(graph, torch.tensor([[[[0.25, 1.0]]]]), MinMax)["images"].ends()
    (tensor(0.2500), tensor(1.))
    """
    require_images(images)
    found = {name: observer() for name in (INPUT, *(layer.name for layer in graph.layers))}
    for batch in images.split(batch_size):
        for name, tensor in graph.tensors(batch).items():
            found[name].update(tensor)
    return found


def quantize_network(
    model: nn.Module | LayerGraph,
    images: Tensor,
    *,
    weight_codes: Codes = WEIGHT_CODES,
    activation_codes: Codes = ACTIVATION_CODES,
    per_channel: bool = True,
    observer: Callable[[], Observer] = MinMax,
) -> QuantizedNetwork:
    """Scales: of the weights by their own min-max, of the activations by what an observer says on training images.

    Args:
        model: in float32; a module is read by ``layer_graph``.
        images: (N, 3, H, W), float32 in [0, 1], from the training part. Their own scale is 1/255: a camera's byte is
            its code.
        weight_codes: signed.
        activation_codes: of every tensor.
        per_channel: one weight scale an output channel, else one a layer.
        observer: makes a fresh one for each activation; see ``course_lib.quantization.observers``.
    Raises: ValueError: an unknown operator, no image, images outside [0, 1], unsigned codes for weights, or
        activations that are not finite.
    Warns: ImageRangeWarning: images that can hardly be what the network sees.
    """
    if not weight_codes.signed:
        raise ValueError("weight_codes must be signed: weights lie on both sides of 0")
    graph = model if isinstance(model, LayerGraph) else layer_graph(model)
    seen = observe(graph, images, observer)
    activations = {name: one.affine(activation_codes) for name, one in seen.items()}
    activations[INPUT] = from_range(torch.tensor(0.0), torch.tensor(1.0), activation_codes)
    for layer in graph.layers:
        if isinstance(layer, Flatten):  # the same numbers in another shape
            activations[layer.name] = activations[layer.inputs[0]]
    weights = {
        layer.name: _weight_affine(layer, activations[layer.inputs[0]].scale, weight_codes, per_channel)
        for layer in graph.layers
        if isinstance(layer, Weighted)
    }
    return QuantizedNetwork(graph, activations, weights)


def _weight_affine(layer: Weighted, input_scale: Tensor, codes: Codes, per_channel: bool) -> Affine:
    """Min-max, with a scale large enough for the bias to fit."""
    found = min_max(layer.weight, codes, symmetric=True, axis=0 if per_channel else None)
    rows = layer.weight.flatten(1).abs().amax(1) if per_channel else layer.weight.abs().amax()
    bias = layer.bias.abs() if per_channel else layer.bias.abs().amax()
    least = bias / (input_scale * LARGEST_BIAS)
    # A channel without weights has any scale; the bias's own is then the finest that fits.
    scale = torch.where((rows == 0) & (least > 0), least, torch.maximum(found.scale, least))
    return replace(found, scale=scale)


def simulate(network: QuantizedNetwork, images: Tensor) -> dict[str, Tensor]:
    """Codes of every tensor by name, int32, computed in float32 layer by layer.

    A layer's sum is rounded in float32 here, and is exact in an integer accumulator: a value that lies within that
    error of a half may get the neighbouring code.

    Args: images: (B, C, H, W), float32 in [0, 1].

    >>> network = _half_of_an_image()
    >>> simulate(network, torch.tensor([[[[0.0, 51 / 255, 1.0]]]]))["0"].tolist()
    [[[[0, 51, 255]]]]
    """
    codes = {INPUT: quantize(images, network.activations[INPUT])}
    with torch.inference_mode():
        for layer in network.layers_on_codes:
            inputs = [dequantize(codes[name], network.activations[name]) for name in layer.inputs]
            codes[layer.name] = quantize(layer(*inputs), network.activations[layer.name])
    return codes


def simulated_logits(network: QuantizedNetwork, images: Tensor, *, batch_size: int = 256) -> Tensor:
    """Logits (N, classes), float32, of the simulation.

    Args: images: (N, C, H, W), float32 in [0, 1].

    >>> simulated_logits(_half_of_an_image(), torch.tensor([[[[0.0, 51 / 255, 1.0]]]]))
    tensor([[[[0.0000, 0.1000, 0.5000]]]])
    """
    output = network.graph.output
    parts = [dequantize(simulate(network, b)[output], network.activations[output]) for b in images.split(batch_size)]
    return torch.cat(parts)


def _half_of_an_image() -> QuantizedNetwork:
    """A network for the examples: one weight, 0.5, calibrated on an image that reaches 1."""
    convolution = nn.Conv2d(1, 1, 1, bias=False)
    nn.init.constant_(convolution.weight, 0.5)
    return quantize_network(nn.Sequential(convolution), torch.tensor([[[[0.0, 1.0]]]]))
