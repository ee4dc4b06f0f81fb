"""From a trained network to one that trains with rounding, and from there to the network that is deployed.

``prepare`` reads the layers of a network (``layer_graph``), gives each weight and each tensor a quantizer, and takes
the scales to begin with from some images. What comes out is a module that ``training.fit`` trains like any other, with
whatever loss. ``converted`` makes it a ``QuantizedNetwork``, whose codes are those that training had: ``simulate``,
``export_qdq`` and ``integer_network`` take it from there.

Which tensor gets how many bits is a decision, and most comparisons of methods differ in it. Here (``BitWidths``):

* The *first* layer (images in) and the *last* (logits out) keep 8 bits, weights as well as what they read; so do the
  images, with the scale 1/255, and the logits. Most papers do so: LSQ, PACT, DoReFa.
* What only a *sum* reads, the branches of a residual block, keeps 8 bits: it enters no multiplication.
* Whatever "8 bits" a weight gets are 7 (``WEIGHT_CODES``), as everywhere in the course, unless ``reduced`` is False:
  x86 without 8-bit dot products adds two products in 16 bits.

Zero points are fixed by the calibration: 0 for what a ReLU gives, else where the range puts it. Dropout is not taken
over.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Literal, Self

import torch
from torch import Tensor, nn
from torch.fx import symbolic_trace

from course_lib.models.modes import eval_mode
from course_lib.quantization.affine import Affine, Codes, from_range
from course_lib.quantization.aware.layers import QuantizedLayer
from course_lib.quantization.aware.learned_clip import LearnedClip
from course_lib.quantization.aware.learned_step import LearnedStep, starting_step
from course_lib.quantization.aware.quantizer import FixedScale, Quantizer
from course_lib.quantization.calibrated import WEIGHT_CODES, QuantizedNetwork, observe
from course_lib.quantization.graph import INPUT, Add, Flatten, Layer, LayerGraph, Weighted, layer_graph
from course_lib.quantization.layers import activated
from course_lib.quantization.observers import MinMax

Method = Literal["step", "clip"]
_Norm = nn.BatchNorm1d | nn.BatchNorm2d


@dataclass(frozen=True)
class BitWidths:
    """How many bits weights and tensors get.

    Args:
        weights: of the layers between the first and the last, 2 … 8.
        activations: of the tensors between them, 2 … 8.
        ends: of the first and the last layer's weights, of what the last one reads, and of the logits.
        sums: of tensors that only sums read.
        reduced: weights of 8 bits use 7 of them.
    Raises: ValueError: a number outside 2 … 8.

    >>> BitWidths(4, 4).of_weights(4), BitWidths(4, 4).of_weights(8)
    (Codes(bits=4, signed=True, restricted=False), Codes(bits=7, signed=True, restricted=True))
    """

    weights: int
    activations: int
    ends: int = 8
    sums: int = 8
    reduced: bool = True

    def __post_init__(self) -> None:
        for name in ("weights", "activations", "ends", "sums"):
            bits = getattr(self, name)
            if isinstance(bits, bool) or not isinstance(bits, int) or not 2 <= bits <= 8:
                raise ValueError(f"{name} must be an integer in 2 … 8, got {bits!r}")

    def of_weights(self, bits: int) -> Codes:
        """The codes of weights with so many bits."""
        return WEIGHT_CODES if bits == 8 and self.reduced else Codes(bits)


class Magnitudes(MinMax):
    """The smallest and the largest value, and the mean magnitude.

    >>> seen = Magnitudes()
    >>> seen.update(torch.tensor([1.0, -3.0]))
    >>> seen.mean().item()
    2.0
    """

    def __init__(self) -> None:
        super().__init__()
        self.total, self.count = 0.0, 0

    def update(self, x: Tensor) -> None:
        super().update(x)
        self.total += float(x.abs().sum(dtype=torch.float64))
        self.count += x.numel()

    def merge(self, other: Self) -> None:
        super().merge(other)
        self.total, self.count = self.total + other.total, self.count + other.count

    def mean(self) -> Tensor:
        """mean|x|, float32, ()."""
        return torch.tensor(self.total / max(self.count, 1))


class AwareNetwork(nn.Module):
    """A network on codes that can be trained: images (B, C, H, W), float in [0, 1] → logits (B, classes).

    Args:
        graph: says which layer reads what.
        layers: of each weighted layer by name.
        quantizers: of each tensor by name, the images among them; none for what ``Flatten`` gives.
    """

    def __init__(self, graph: LayerGraph, layers: Mapping[str, QuantizedLayer], quantizers: Mapping[str, Quantizer]):
        super().__init__()
        self.graph = graph
        self.layers = nn.ModuleDict({_key(name): layer for name, layer in layers.items()})
        self.quantizers = nn.ModuleDict({_key(name): quantizer for name, quantizer in quantizers.items()})
        flat = {layer.name: layer.inputs[0] for layer in graph.layers if isinstance(layer, Flatten)}
        self._source = {name: _root(name, flat) for name in (INPUT, *(layer.name for layer in graph.layers))}

    def quantizer(self, tensor: str) -> Quantizer:
        """The quantizer of a tensor, by the tensor's name; what is flattened has its source's.

        Raises: KeyError: there is no such tensor.
        """
        found = self.quantizers[_key(self._source[tensor])]
        assert isinstance(found, Quantizer)
        return found

    def layer(self, name: str) -> QuantizedLayer:
        """The weighted layer of that name. Raises: KeyError: there is none."""
        found = self.layers[_key(name)]
        assert isinstance(found, QuantizedLayer)
        return found

    def forward(self, images: Tensor) -> Tensor:
        found = {INPUT: self.quantizer(INPUT)(images)}
        for layer in self.graph.layers:
            inputs = [found[name] for name in layer.inputs]
            if isinstance(layer, Weighted):
                sums = self.layer(layer.name)(*inputs, self.quantizer(layer.inputs[0]).scale())
                result = activated(layer, sums)
            else:
                result = layer(*inputs)
            found[layer.name] = result if isinstance(layer, Flatten) else self.quantizer(layer.name)(result)
        return found[self.graph.output]

    def converted(self) -> QuantizedNetwork:
        """The network that is deployed: folded weights, their codes and all scales as they are now."""
        activations = {name: self.quantizer(name).affine() for name in self._source}
        changed, weights, codes = {}, {}, {}
        for layer in self.graph.layers:
            if isinstance(layer, Weighted):
                own, scale = self.layer(layer.name), activations[layer.inputs[0]].scale
                weight, bias, weights[layer.name], codes[layer.name] = own.deployed(scale)
                changed[layer.name] = replace(layer, weight=weight, bias=bias, **_statistics(own.norm))
        return QuantizedNetwork(self.graph.changed(changed), activations, weights, codes)


def prepare(
    model: nn.Module,
    images: Tensor,
    bits: BitWidths,
    *,
    activations: Method = "step",
    per_channel: bool = True,
    relative: bool = True,
) -> AwareNetwork:
    """A copy of a trained network that trains with rounding, in eval mode; ``fit`` then trains all of it.

    Args:
        model: any that ``layer_graph`` reads; unchanged.
        images: (N, C, H, W), float32 in [0, 1], N ≥ 1, from the training part: the first scales come from them.
        bits: of weights and tensors.
        activations: what is learned of tensors that a ReLU gives: "step" (LSQ) or "clip" (PACT); all others, and the
            weights, learn their step.
        per_channel: a weight step for each output channel, else one a layer.
        relative: of the steps; see ``learned_step``. False: to be trained by SGD, as in the paper.
    Raises: ValueError: an operator that ``layer_graph`` does not know, two BatchNorms behind one another, no image,
        images outside [0, 1], activations that are not finite, or another method.
    Warns: ImageRangeWarning: images that can hardly be what the network sees.
    """
    if activations not in ("step", "clip"):
        raise ValueError(f"activations must be 'step' or 'clip', got {activations!r}")
    graph = layer_graph(model)
    layers = _quantized_layers(model, graph, bits, per_channel=per_channel, relative=relative)
    seen = observe(graph, images, Magnitudes)
    images_affine = from_range(torch.tensor(0.0), torch.tensor(1.0), Codes(8, signed=False))
    quantizers: dict[str, Quantizer] = {INPUT: FixedScale(images_affine)}
    for layer in graph.layers:
        if not isinstance(layer, Flatten):  # the same numbers in another shape
            affine = _tensor_affine(seen[layer.name], _tensor_bits(graph, layer, bits))
            clipped = activations == "clip" and getattr(layer, "relu", False)
            own = LearnedClip(affine) if clipped else LearnedStep(affine, batched=True, relative=relative)
            quantizers[layer.name] = own
    return AwareNetwork(graph, layers, quantizers).eval()


def _quantized_layers(
    model: nn.Module, graph: LayerGraph, bits: BitWidths, *, per_channel: bool, relative: bool
) -> dict[str, QuantizedLayer]:
    """The weighted layers by name, with the model's weights and the BatchNorms behind them."""
    norms, weighted, found = _norms(model), _weighted(graph), {}
    for layer in weighted:
        end = INPUT in layer.inputs or layer is weighted[-1]
        codes = bits.of_weights(bits.ends if end else bits.weights)
        module = model.get_submodule(layer.name)
        assert isinstance(module, nn.Conv2d | nn.Linear)
        found[layer.name] = QuantizedLayer(
            module, norms.get(layer.name), codes, per_channel=per_channel, relative=relative
        )
    return found


def _weighted(graph: LayerGraph) -> list[Weighted]:
    return [layer for layer in graph.layers if isinstance(layer, Weighted)]


def _key(name: str) -> str:
    """A name that a module may be registered under."""
    return name.replace(".", "/")


def _root(name: str, flat: Mapping[str, str]) -> str:
    """The tensor that a flattened one was before."""
    while name in flat:
        name = flat[name]
    return name


def _tensor_bits(graph: LayerGraph, layer: Layer, bits: BitWidths) -> int:
    """Of what the layer gives."""
    readers, waiting = [], [layer.name]
    while waiting:
        found = graph.readers(waiting.pop())
        readers += [reader for reader in found if not isinstance(reader, Flatten)]
        waiting += [reader.name for reader in found if isinstance(reader, Flatten)]
    if not readers or _weighted(graph)[-1] in readers:  # the logits, or what makes them
        return bits.ends
    return bits.sums if all(isinstance(reader, Add) for reader in readers) else bits.activations


def _tensor_affine(seen: object, bits: int) -> Affine:
    """The zero point of the range, and the step to begin with."""
    assert isinstance(seen, Magnitudes)
    codes = Codes(bits, signed=False)
    affine = seen.affine(codes)
    low, high = codes.low - int(affine.zero_point), codes.high - int(affine.zero_point)
    return replace(affine, scale=starting_step(seen.mean(), affine.scale, low, high))


def _norms(model: nn.Module) -> dict[str, _Norm]:
    """The BatchNorm behind each weighted layer, by the layer's name."""
    with eval_mode(model):
        traced = symbolic_trace(model)
    modules, found = dict(traced.named_modules()), {}
    for node in traced.graph.nodes:
        module = modules.get(str(node.target)) if node.op == "call_module" else None
        if isinstance(module, _Norm):
            source = node.all_input_nodes[0]
            while isinstance(modules.get(str(source.target)), nn.Identity | nn.Dropout | nn.Dropout2d):
                source = source.all_input_nodes[0]
            name = str(source.target)
            if name in found or isinstance(modules.get(name), _Norm):
                raise ValueError(f"{node.target} is a second BatchNorm behind one layer: fold one of them first")
            found[name] = module
    return found


def _statistics(norm: nn.BatchNorm1d | nn.BatchNorm2d | None) -> dict[str, Tensor]:
    """What a folded layer tells of its BatchNorm: mean and spread of its sums."""
    if norm is None:
        return {}
    zeros = torch.zeros(norm.num_features)
    mean = zeros if norm.bias is None else norm.bias.detach().clone()
    return {"mean": mean, "spread": zeros + 1 if norm.weight is None else norm.weight.detach().abs()}
