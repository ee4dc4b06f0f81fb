"""Bias correction: rounding the weights moves the mean of each channel; the bias can take that back.

Replace W by Ŵ and every sum moves by (Ŵ − W)·x. Over many images that is a constant, (Ŵ − W)·E[x], and noise around
it. The constant goes into the bias. Two ways to know it:

* **Empirical** (``correct_biases``): run both networks on some training images and compare the means, layer by layer;
  each layer is corrected before the next one is looked at, so the codes of the activations count, too.
* **Analytic** (``correct_biases_without_data``): BatchNorm knew the mean β and the spread |γ| of what it gave. Taken
  for a Gaussian and cut by the ReLU, its mean is β·Φ(β/|γ|) + |γ|·φ(β/|γ|), with the Gaussian's Φ and φ. A ReLU6
  takes from that what lies above 6: min(max(x, 0), 6) = max(x, 0) − max(x − 6, 0). No image is needed; layers that
  read something else (the image, a sum) are left as they are, and named.

Nagel et al. 2019, arXiv:1906.04721, section 4.2 and appendices B, C; Finkelstein et al. 2019, arXiv:1906.03193.
"""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from course_lib.quantization.affine import dequantize, quantize
from course_lib.quantization.calibrated import QuantizedNetwork
from course_lib.quantization.graph import INPUT, Convolution, Flatten, GlobalAverage, LayerGraph, Weighted


def correct_biases(network: QuantizedNetwork, images: Tensor) -> QuantizedNetwork:
    """The network with biases that give every channel the mean that it has in float32.

    Args: images: (N, C, H, W), float32 in [0, 1], N ≥ 1, from the training part; run as one batch.
    Raises: ValueError: no image.
    """
    if len(images) == 0:
        raise ValueError("there must be at least one image")
    wanted = network.graph.tensors(images)
    codes = {INPUT: quantize(images, network.activations[INPUT])}
    corrected = network
    with torch.inference_mode():
        for layer in network.graph.layers:
            if isinstance(layer, Weighted):
                linear = replace(layer, relu=False, ceiling=None)
                source = layer.inputs[0]
                x = dequantize(codes[source], network.activations[source])
                shift = _mean(linear(wanted[source])) - _mean(corrected.on_codes(linear)(x))
                layer = replace(layer, bias=(layer.bias + shift).clone())
                corrected = replace(corrected, graph=corrected.graph.changed({layer.name: layer}))
            inputs = [dequantize(codes[name], network.activations[name]) for name in layer.inputs]
            found = corrected.on_codes(layer)(*inputs)
            codes[layer.name] = quantize(found, network.activations[layer.name])
    return corrected


def correct_biases_without_data(network: QuantizedNetwork) -> tuple[QuantizedNetwork, list[str]]:
    """The network with biases corrected from BatchNorm's statistics, and the names of the layers that were not.

    A layer can be corrected where all that it reads comes from a layer with a folded BatchNorm.
    """
    changed, left = {}, []
    for layer in network.graph.layers:
        if not isinstance(layer, Weighted):
            continue
        mean = expected_input(network.graph, layer)
        if mean is None:
            left.append(layer.name)
            continue
        error = dequantize(network.weight_codes(layer), network.weights[layer.name]) - layer.weight
        changed[layer.name] = replace(layer, bias=layer.bias - _response(layer, error, mean))
    return replace(network, graph=network.graph.changed(changed)), left


def expected_input(graph: LayerGraph, layer: Weighted) -> Tensor | None:
    """E[x] by channel (C_in,) of what a layer reads, from BatchNorm's statistics; None where these do not tell.

    >>> from course_lib.models import sign_student
    >>> from course_lib.quantization.graph import layer_graph
    >>> graph = layer_graph(sign_student(0.5))  # untrained: β = 0, γ = 1, so the mean of a cut standard Gaussian
    >>> second = graph.layers[1]
    >>> assert isinstance(second, Weighted)
    >>> expected_input(graph, second)[:2]
    tensor([0.3989, 0.3989])
    """
    by_name = {one.name: one for one in graph.layers}
    name = layer.inputs[0]
    while isinstance(by_name.get(name), GlobalAverage | Flatten):
        name = by_name[name].inputs[0]
    source = by_name.get(name)
    if not isinstance(source, Weighted) or source.mean is None or source.spread is None:
        return None
    if not source.relu:
        return source.mean
    spread = source.spread.clamp(min=1e-12)
    kept = _mean_above(source.mean, spread)
    return kept if source.ceiling is None else kept - _mean_above(source.mean - source.ceiling, spread)


def _mean_above(mean: Tensor, spread: Tensor) -> Tensor:
    """E[max(x, 0)] of a Gaussian."""
    normal = torch.distributions.Normal(0.0, 1.0)
    at = mean / spread
    return mean * normal.cdf(at) + spread * normal.log_prob(at).exp()


def _mean(x: Tensor) -> Tensor:
    """By channel: over images and positions."""
    return x.double().mean((0, 2, 3) if x.ndim == 4 else 0).float()


def _response(layer: Weighted, weight: Tensor, mean: Tensor) -> Tensor:
    """What weights (C_out, …) give by output channel when each input channel is its mean everywhere (inside)."""
    if isinstance(layer, Convolution):
        kernel = weight.sum((2, 3))  # (C_out, C_in / groups)
        inputs = mean.view(layer.groups, -1).repeat_interleave(len(weight) // layer.groups, 0)
        return (kernel * inputs).sum(1)
    return weight @ mean.repeat_interleave(weight.shape[1] // len(mean))
