"""Cross-layer equalization: give a channel that is narrow in one layer and wide in the next equal ranges in both.

ReLU lets a positive factor through, relu(s·x) = s·relu(x). So channel i of one layer may be divided by s_i, weights and
bias, and the next layer's weights that read it multiplied by s_i: the network computes the same. With

    s_i = sqrt(r1_i · r2_i) / r2_i,      r1_i = max |W1[i]|,   r2_i = max |W2[:, i]|

both have the range sqrt(r1_i · r2_i) afterwards, and one scale for a whole tensor serves all its channels. That rescues
networks that are quantized per tensor, above all depthwise ones, whose channels differ a hundredfold; with a scale for
each channel it can only help the activations.

Nagel et al. 2019, arXiv:1906.04721, section 4.1, eq. 9 to 12. The means over positions and flattening also let factors
through; a sum with another branch does not.

ReLU6 lets no factor through: its 6 stays where it is. Such layers are left as they are. ``without_ceilings`` makes them
plain ReLUs first, as the paper does; that changes what the network computes wherever 6 was reached, and the ranges of
its activations grow.
"""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from course_lib.quantization.graph import Add, Convolution, Flatten, GlobalAverage, LayerGraph, Weighted

ROUNDS = 20
"""Of passes over all pairs, at most: in a chain every pair disturbs its neighbours a little less each time."""


def equalize(graph: LayerGraph, *, rounds: int = ROUNDS) -> LayerGraph:
    """The same network with the ranges of neighbouring layers' channels made equal.

    Args: rounds: ≥ 1; it stops when no factor moves by more than a thousandth.
    Raises: ValueError: rounds < 1.

    >>> from course_lib.models import sign_student
    >>> from course_lib.quantization.graph import layer_graph
    >>> graph = layer_graph(sign_student(0.5))
    >>> [len(pair) for pair in equalized_pairs(graph)], len(equalize(graph).layers) == len(graph.layers)
    ([2, 2, 2, 2, 2], True)
    """
    if rounds < 1:
        raise ValueError(f"rounds must be at least 1, got {rounds}")
    layers = {layer.name: layer for layer in graph.layers}
    pairs = equalized_pairs(graph)
    for _ in range(rounds):
        most = 1.0
        for first, second in pairs:
            one, other = layers[first], layers[second]
            assert isinstance(one, Weighted)
            assert isinstance(other, Weighted)
            factors = _factors(one, other)
            layers[first], layers[second] = _divided(one, factors), _multiplied(other, factors)
            most = max(most, float(factors.max()), float(1 / factors.min()))
        if most < 1.001:
            break
    return graph.changed(layers)


def equalized_pairs(graph: LayerGraph) -> list[tuple[str, str]]:
    """Names of the layers between whose channels factors can be moved, in the order of execution.

    >>> from course_lib.models import sign_teacher
    >>> from course_lib.quantization.graph import layer_graph
    >>> equalized_pairs(layer_graph(sign_teacher()))[:2]  # within a residual block; the stem is added to
    [('stages.0.first.0', 'stages.0.second.0'), ('stages.1.first.0', 'stages.1.second.0')]
    """
    return [
        (layer.name, reader.name)
        for layer in graph.layers
        if isinstance(layer, Weighted)
        and layer.ceiling is None
        and (reader := _next_weighted(graph, layer)) is not None
    ]


def without_ceilings(graph: LayerGraph) -> LayerGraph:
    """The graph with a plain ReLU in place of each ReLU6: another function where a sum exceeds 6."""
    capped = [layer for layer in graph.layers if isinstance(layer, Weighted | Add) and layer.ceiling is not None]
    return graph.changed({layer.name: replace(layer, ceiling=None) for layer in capped})


def _next_weighted(graph: LayerGraph, layer: Weighted) -> Weighted | None:
    """The only layer with weights that reads this one, through means and flattening."""
    name, channels = layer.name, len(layer.bias)
    while name != graph.output:
        readers = graph.readers(name)
        if len(readers) != 1:
            return None
        reader = readers[0]
        if isinstance(reader, Weighted):
            return reader if _reads(reader, channels) else None
        if not isinstance(reader, GlobalAverage | Flatten):
            return None
        name = reader.name
    return None


def _reads(layer: Weighted, channels: int) -> bool:
    """Whether each of the channels has weights of its own in the layer."""
    if isinstance(layer, Convolution):
        return layer.groups == 1 or layer.groups == channels == len(layer.weight)
    return layer.weight.shape[1] % channels == 0


def _by_input(layer: Weighted, channels: int) -> Tensor:
    """A view (channels, …) of the weights by the input channel that they multiply."""
    if isinstance(layer, Convolution) and layer.groups > 1:
        return layer.weight  # depthwise: input channel i is output channel i
    if isinstance(layer, Convolution):
        return layer.weight.transpose(0, 1)
    return layer.weight.unflatten(1, (channels, -1)).transpose(0, 1)  # behind flatten: some inputs a channel


def _factors(one: Weighted, other: Weighted) -> Tensor:
    """s_i, 1 where a channel has no weights on one of the sides."""
    channels = len(one.bias)
    first = one.weight.flatten(1).abs().amax(1)
    second = _by_input(other, channels).flatten(1).abs().amax(1)
    usable = (first > 0) & (second > 0)
    return torch.where(usable, (first / second).sqrt(), torch.ones_like(first))


def _divided(layer: Weighted, factors: Tensor) -> Weighted:
    shape = (-1, *[1] * (layer.weight.ndim - 1))
    told = {name: value / factors for name in ("mean", "spread") if (value := getattr(layer, name)) is not None}
    return replace(layer, weight=layer.weight / factors.view(shape), bias=layer.bias / factors, **told)


def _multiplied(layer: Weighted, factors: Tensor) -> Weighted:
    weight = layer.weight.clone()
    changed = replace(layer, weight=weight)
    view = _by_input(changed, len(factors))
    view *= factors.view(-1, *[1] * (view.ndim - 1))
    return changed
