"""A network as a list of layers, each with its weights and its ReLU: what is quantized, exported and run in integers.

An integer runtime has no BatchNorm: it is folded into the convolution before it (one factor and one shift a channel).
It has no ReLU: a clamp of the codes does it, from below, and for ReLU6 from above, too. What is left is short:
convolution, linear layer, sum, concatenation, global mean and flattening (``layers``). ``layer_graph`` reads these from
a module by torch.fx, and names what it does not know.

Folding: Jacob et al. 2018, arXiv:1712.05877, eq. 14; it is done by ``torch.nn.utils.fusion``.
"""

from __future__ import annotations

import operator
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.fx import GraphModule, Node, symbolic_trace
from torch.nn import functional as F
from torch.nn.utils.fusion import fuse_conv_bn_weights, fuse_linear_bn_weights

from course_lib.models.modes import eval_mode
from course_lib.quantization.layers import (
    Add,
    Concat,
    Convolution,
    Flatten,
    GlobalAverage,
    Layer,
    Linear,
    Weighted,
)

__all__ = [
    "INPUT",
    "Add",
    "Concat",
    "Convolution",
    "Flatten",
    "GlobalAverage",
    "Layer",
    "LayerGraph",
    "Linear",
    "Weighted",
    "layer_graph",
]

INPUT = "images"


@dataclass(frozen=True, eq=False)
class LayerGraph:
    """Layers in an order in which they can run; the last one gives the logits.

    Args:
        layers: each reads ``INPUT`` or tensors of layers before it.
    """

    layers: tuple[Layer, ...]

    @property
    def output(self) -> str:
        """The name of the logits."""
        return self.layers[-1].name

    def tensors(self, images: Tensor) -> dict[str, Tensor]:
        """All tensors by name, the images among them, in float32.

        Args: images: (B, C, H, W), float32.
        """
        found = {INPUT: images}
        with torch.inference_mode():
            for layer in self.layers:
                found[layer.name] = layer(*(found[name] for name in layer.inputs))
        return found

    def readers(self, name: str) -> list[Layer]:
        """The layers that read a tensor."""
        return [layer for layer in self.layers if name in layer.inputs]

    def changed(self, layers: Mapping[str, Layer]) -> LayerGraph:
        """The graph with some layers replaced, by name."""
        return LayerGraph(tuple(layers.get(layer.name, layer) for layer in self.layers))

    def __call__(self, images: Tensor) -> Tensor:
        """The logits (B, classes)."""
        return self.tensors(images)[self.output]


def layer_graph(model: nn.Module) -> LayerGraph:
    """The layers of a network in eval mode, BatchNorm folded, ReLU with the layer before it. The model is unchanged.

    Raises: ValueError: an operator that is not known here, or one that stands where it cannot be merged; it is named.

    >>> from course_lib.models import sign_student
    >>> [type(layer).__name__ for layer in layer_graph(sign_student(0.5)).layers]
    ['Convolution', 'Convolution', 'Convolution', 'Convolution', 'Convolution', 'GlobalAverage', 'Flatten', 'Linear']
    """
    with eval_mode(model):
        traced = symbolic_trace(model)
    reader = _Reader(traced)
    for node in traced.graph.nodes:
        reader.read(node)
    return LayerGraph(tuple(reader.layers.values()))


_RELU = (nn.ReLU, F.relu, torch.relu, "relu", "relu_")
_RELU6 = (nn.ReLU6, F.relu6)
_ADD = (operator.add, operator.iadd, torch.add)
_FLATTEN = (nn.Flatten, torch.flatten, "flatten")
_SKIP = (nn.Identity, nn.Dropout, nn.Dropout2d)


class _Reader:
    """Turns the nodes of a traced graph into layers, one after the other."""

    def __init__(self, traced: GraphModule):
        self.traced = traced
        self.modules = dict(traced.named_modules())
        self.layers: dict[str, Layer] = {}
        self.tensor_of: dict[Node, str] = {}  # which tensor a node stands for; merged nodes share one

    def read(self, node: Node) -> None:
        if node.op == "placeholder":
            if self.tensor_of:
                raise ValueError(f"the network must have one input, got another one: {node.name}")
            self.tensor_of[node] = INPUT
            return
        if node.op == "output":
            if not self.layers or self.tensor_of.get(node.args[0]) != list(self.layers)[-1]:  # pyright: ignore
                raise ValueError("the network must return one tensor, that of its last layer")
            return
        module = self.modules[str(node.target)] if node.op == "call_module" else None
        kind: Any = type(module) if module is not None else node.target
        if kind in _SKIP:
            self.tensor_of[node] = self._inputs(node)[0]
        elif kind in _RELU:
            self._merge(node, "a ReLU", lambda layer: replace(layer, relu=True), (Weighted, Add))
        elif kind in _RELU6:
            self._merge(node, "a ReLU6", lambda layer: replace(layer, relu=True, ceiling=6.0), (Weighted, Add))
        elif isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d):
            self._merge(node, "a BatchNorm", lambda layer: _folded(layer, module), (Weighted,))
        else:
            layer = self._layer(node, kind, module)
            if layer.name in self.layers:
                raise ValueError(f"{layer.name} is called more than once: give each call a module of its own")
            self.layers[layer.name] = layer
            self.tensor_of[node] = layer.name

    def _inputs(self, node: Node) -> tuple[str, ...]:
        listed = node.args[0] if node.args and isinstance(node.args[0], list | tuple) else node.all_input_nodes
        if not listed or not all(isinstance(source, Node) and source in self.tensor_of for source in listed):
            raise ValueError(f"{node.format_node()} reads something that is no tensor of a layer")
        return tuple(self.tensor_of[source] for source in listed)  # pyright: ignore

    def _merge(self, node: Node, what: str, change: Any, kinds: tuple[type[Layer], ...]) -> None:
        """Make the node part of the layer before it."""
        name = self._inputs(node)[0]
        layer = self.layers.get(name)
        users = len(node.all_input_nodes[0].users)
        if not isinstance(layer, kinds) or users != 1 or getattr(layer, "relu", False):
            raise ValueError(
                f"{what} ({node.target}) must directly follow a layer that it can be merged with, and be the only one "
                f"that reads it; it follows {name} ({type(layer).__name__}), which {users} read"
            )
        self.layers[name] = change(layer)
        self.tensor_of[node] = name

    def _layer(self, node: Node, kind: Any, module: nn.Module | None) -> Layer:
        name, inputs = str(node.target) if module is not None else node.name, self._inputs(node)
        if isinstance(module, nn.Conv2d):
            return _convolution(name, inputs, module)
        if isinstance(module, nn.Linear):
            bias = torch.zeros(module.out_features) if module.bias is None else module.bias.detach().clone()
            return Linear(name, inputs, module.weight.detach().clone(), bias, relu=False)
        if kind in _ADD and len(inputs) == 2 and not node.kwargs:
            return Add(name, inputs, relu=False)
        if kind is torch.cat and (node.kwargs.get("dim", (*node.args, 0)[1]) == 1):
            return Concat(name, inputs)
        if _is_global_average(node, kind, module):
            return GlobalAverage(name, inputs)
        if kind in _FLATTEN and _start(node, module) == 1:
            return Flatten(name, inputs)
        called = type(module).__name__ if module is not None else getattr(kind, "__name__", str(kind))
        raise ValueError(
            f"no integer form is known for {called} ({node.format_node()}); known are Conv2d, Linear, BatchNorm, ReLU, "
            "ReLU6, sums of two tensors, torch.cat along the channels, the global mean, flatten(1), Dropout, Identity"
        )


def _is_global_average(node: Node, kind: Any, module: nn.Module | None) -> bool:
    if isinstance(module, nn.AdaptiveAvgPool2d):
        return module.output_size in (1, (1, 1))
    return kind is F.adaptive_avg_pool2d and (*node.args, node.kwargs.get("output_size"))[1] in (1, (1, 1))


def _start(node: Node, module: nn.Module | None) -> Any:
    """The first axis that is flattened; None if the last one is not."""
    if isinstance(module, nn.Flatten):
        return module.start_dim if module.end_dim == -1 else None
    given = (*node.args[1:], *node.kwargs.values())
    return given[0] if len(given) == 1 else None


def _convolution(name: str, inputs: tuple[str, ...], module: nn.Conv2d) -> Convolution:
    if module.padding_mode != "zeros" or isinstance(module.padding, str) or set(module.dilation) != {1}:
        raise ValueError(f"{name} must be padded with a number of zeros and not dilated, got {module}")
    bias = torch.zeros(module.out_channels) if module.bias is None else module.bias.detach().clone()
    stride, padding = (module.stride[0], module.stride[1]), (module.padding[0], module.padding[1])
    return Convolution(name, inputs, module.weight.detach().clone(), bias, False, stride, padding, module.groups)


def _folded(layer: Weighted, norm: nn.BatchNorm1d | nn.BatchNorm2d) -> Weighted:
    if norm.running_mean is None or norm.running_var is None:
        raise ValueError(f"the BatchNorm after {layer.name} keeps no statistics: it cannot be folded")
    fold = fuse_conv_bn_weights if isinstance(layer, Convolution) else fuse_linear_bn_weights
    arguments = (norm.running_mean, norm.running_var, norm.eps, norm.weight, norm.bias)
    weight, bias = fold(layer.weight, layer.bias, *arguments)  # pyright: ignore[reportArgumentType]
    mean = torch.zeros(norm.num_features) if norm.bias is None else norm.bias.detach().clone()
    spread = torch.ones(norm.num_features) if norm.weight is None else norm.weight.detach().abs()
    return replace(layer, weight=weight.detach(), bias=bias.detach(), mean=mean, spread=spread)
