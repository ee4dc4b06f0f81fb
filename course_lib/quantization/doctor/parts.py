"""An ONNX file as a list of parts, so that two files of one network can be laid side by side.

A part is a convolution, a matrix product, a sum, a concatenation or a pooling, with all that belongs to it: BatchNorm,
ReLU, and the QuantizeLinear/DequantizeLinear pair behind it. What only moves numbers (Flatten, Reshape, Transpose)
belongs to the part that reads it. A quantized file and a float file then have the same parts, whoever wrote them and
whatever their tensors are called.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from course_lib.quantization.doctor.constants import Constant, attribute, read_constants

if TYPE_CHECKING:
    from onnx import ModelProto, NodeProto

IMAGES, ANSWER = "images", "logits"
_KINDS = {"Conv": "convolution", "Gemm": "linear", "MatMul": "linear", "Add": "sum", "Concat": "concatenation"}
_KINDS |= dict.fromkeys(("GlobalAveragePool", "ReduceMean", "AveragePool", "MaxPool"), "pooling")
_QUANTIZE, _DEQUANTIZE = "QuantizeLinear", "DequantizeLinear"
_FOLLOWERS = {"BatchNormalization", "Relu", "Clip", "LeakyRelu", "Sigmoid", "HardSigmoid", "HardSwish", "Identity"}
_FOLLOWERS |= {"Mul", "Add", "Sub", "Div", "Dropout", _QUANTIZE, _DEQUANTIZE}


class Unreadable(ValueError):
    """A file cannot be read, or executed, as a list of parts; the message says why."""


@dataclass(frozen=True, eq=False)
class Rounding:
    """The QuantizeLinear/DequantizeLinear pair of an activation.

    Args:
        scale: > 0, in units of x for a step.
        zero_point: the code of 0.
        low: the smallest code that is used.
        high: the largest.
        signed: whether the codes are int8.
    """

    scale: float
    zero_point: int
    low: int
    high: int
    signed: bool

    @property
    def ends(self) -> tuple[float, float]:
        """The smallest and the largest number that a code stands for."""
        return (self.low - self.zero_point) * self.scale, (self.high - self.zero_point) * self.scale

    def __call__(self, x: np.ndarray) -> np.ndarray:
        """x through the codes and back."""
        codes = np.clip(np.rint(x / np.float32(self.scale)) + self.zero_point, self.low, self.high)
        return ((codes - self.zero_point) * np.float32(self.scale)).astype(np.float32)


@dataclass(frozen=True, eq=False)
class Part:
    """One layer of a file.

    Args:
        name: of the layer, as far as the file tells.
        node: name of its operator in the file.
        kind: images, convolution, linear, sum, concatenation, pooling or logits.
        sources: places in the list of the parts that it reads.
        reads: names of their tensors, in the same order.
        raw: name of its tensor before it is rounded to codes.
        out: name of the tensor that others read.
        weight: (C_out, …); None for a kind without.
        bias: (C_out,); None for a kind without.
        rounding: of its tensor; None if it stays in float.
        reads_codes: whether all that it reads, weights included, was rounded to codes.
        relu: whether one follows.
    """

    name: str
    node: str
    kind: str
    sources: tuple[int, ...]
    reads: tuple[str, ...]
    raw: str
    out: str
    weight: Constant | None = None
    bias: np.ndarray | None = None
    rounding: Rounding | None = None
    reads_codes: bool = False
    relu: bool = False


def read_parts(model: ModelProto) -> list[Part]:
    """The parts in the order of execution: first the images, last the logits if something follows the last layer."""
    return _Reader(model).parts


class _Reader:
    def __init__(self, model: ModelProto):
        graph = model.graph
        self.constants = read_constants(graph)
        self.producer = {name: node for node in graph.node for name in node.output}
        self.readers: dict[str, list[NodeProto]] = defaultdict(list)
        for node in graph.node:
            for name in dict.fromkeys(node.input):
                self.readers[name].append(node)
        self.parts: list[Part] = []
        self.place: dict[str, int] = {}  # which part's tensor this is
        self.taken: set[str] = set()  # outputs of nodes that belong to a part already
        self.shapes: set[str] = set()  # tensors computed from shapes, which are no activations
        initial = {tensor.name for tensor in graph.initializer}
        images = next(value.name for value in graph.input if value.name not in initial)
        self._add(images, "", IMAGES, (), images)
        for node in graph.node:
            self._read(node)
        answer = graph.output[0].name
        if answer not in self.place:
            self._add(answer, "", ANSWER, self._sources([answer]), answer)

    def _read(self, node: NodeProto) -> None:
        dynamic = [name for name in node.input if name and name not in self.constants]
        if node.op_type == "Shape" or (dynamic and all(name in self.shapes for name in dynamic)):
            self.shapes.update(node.output)
        kind = _KINDS.get(node.op_type)
        if kind is None or not dynamic or node.output[0] in self.taken | self.shapes | self.constants.keys():
            return
        if kind == "sum" and len(dynamic) < 2:
            return
        if kind == "linear" and len(dynamic) > 1:
            raise Unreadable(f"{node.name or node.op_type} multiplies two activations: such layers cannot be compared")
        self._add(
            node.output[0], node.name, kind, self._sources(dynamic), layer_name(node.name or node.output[0]), node
        )

    def _add(
        self,
        tensor: str,
        node_name: str,
        kind: str,
        sources: list[int] | tuple,
        name: str,
        node: NodeProto | None = None,
    ) -> None:
        raw, out, rounding, relu, followed = self._follow(tensor)
        weight, bias = self._weights(node, followed) if node is not None else (None, None)
        reads = tuple(self.parts[place].out for place in sources)
        rounded = bool(sources) and all(self.parts[place].rounding for place in sources)
        rounded = rounded and (weight is None or weight.codes is not None)
        self.place[out] = len(self.parts)
        self.parts.append(
            Part(name, node_name, kind, tuple(sources), reads, raw, out, weight, bias, rounding, rounded, relu)
        )

    def _follow(self, tensor: str) -> tuple[str, str, Rounding | None, bool, list[NodeProto]]:
        """Down the operators that belong to the part whose first one gives this tensor."""
        raw, rounding, relu, followed = tensor, None, False, []
        while len(self.readers[tensor]) == 1:
            node = self.readers[tensor][0]
            others = [name for name in node.input if name and name != tensor]
            if node.op_type not in _FOLLOWERS or not all(name in self.constants for name in others):
                break
            if node.op_type == _QUANTIZE:
                after = self.readers[node.output[0]]
                if len(after) != 1 or after[0].op_type != _DEQUANTIZE:
                    break  # codes that something else reads, too, such as a Pad: they belong to that
                raw, rounding = tensor, self._rounding(node, followed)
            relu = relu or node.op_type == "Relu"
            followed.append(node)
            tensor = node.output[0]
            self.taken.add(tensor)
        return (raw if rounding else tensor), tensor, rounding, relu, followed

    def _rounding(self, node: NodeProto, followed: list[NodeProto]) -> Rounding | None:
        scale = self.constants[node.input[1]].values
        zero = self.constants[node.input[2]].values if len(node.input) > 2 else np.zeros((), np.uint8)
        if scale.size != 1:
            return None
        limits, step, middle = np.iinfo(zero.dtype), float(scale.reshape(())), int(zero.reshape(()))
        low, high = int(limits.min), int(limits.max)
        if followed and followed[-1].op_type == "Clip" and len(followed[-1].input) > 2:  # fewer codes than 8 bits have
            ends = [float(self.constants[name].values) for name in followed[-1].input[1:3] if name]
            if len(ends) == 2:
                codes = [round(end / step) + middle for end in ends]
                low, high = max(low, codes[0]), min(high, codes[1])
        return Rounding(step, middle, low, high, bool(limits.min < 0))

    def _weights(self, node: NodeProto, followed: list[NodeProto]) -> tuple[Constant | None, np.ndarray | None]:
        if _KINDS[node.op_type] not in ("convolution", "linear") or node.input[1] not in self.constants:
            return None, None
        weight = self.constants[node.input[1]]
        if node.op_type == "MatMul" or (node.op_type == "Gemm" and not attribute(node, "transB", 0)):
            weight = weight.transposed()
        bias = np.zeros(len(weight.values), np.float32)
        named = [node.input[2]] if len(node.input) > 2 else []
        if node.op_type == "MatMul" and followed and followed[0].op_type == "Add":
            named = [name for name in followed[0].input if name in self.constants]
        if named and self.constants[named[0]].values.size == len(bias):
            bias = self.constants[named[0]].values.reshape(-1)
        return weight, bias

    def _sources(self, tensors: list[str]) -> list[int]:
        """Parts that these tensors come from, through operators that belong to none."""
        found: list[int] = []
        waiting = list(reversed(tensors))
        while waiting:
            tensor = waiting.pop()
            if tensor in self.place:
                found.append(self.place[tensor])
            elif tensor in self.producer and tensor not in self.constants:
                waiting += [name for name in reversed(self.producer[tensor].input) if name not in self.constants]
        return list(dict.fromkeys(found))


def layer_name(node: str) -> str:
    """A layer's name from its operator's, as this course's and PyTorch's exporters write them.

    >>> layer_name("/features/features.0/features.0.0/Conv"), layer_name("features.0.0:sum"), layer_name("n12")
    ('features.0.0', 'features.0.0', 'n12')
    """
    if not node.startswith("/"):
        return node.removesuffix(":sum").removesuffix(":flat")
    found: list[str] = []
    *modules, operator = node.strip("/").split("/")
    for part in modules:
        if found and part.startswith(found[-1] + "."):
            found[-1] = part
        else:
            found.append(part)
    if operator.split("_")[0] in ("Conv", "Gemm", "MatMul") and found:
        return ".".join(found)
    return ".".join([*found, operator])
