"""What every QDQ file has in common: nodes and constants, each layer's operator, and what its ReLU becomes.

How numbers are rounded between the operators differs by target: ``qdq`` writes codes that are stored, ``tensorrt``
pairs that an engine's builder rounds by. Both collect here.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch

from course_lib.deploy.onnx import IR_VERSION, OPSET, open_session, shorten_names
from course_lib.quantization.affine import quantize
from course_lib.quantization.calibrated import QuantizedNetwork
from course_lib.quantization.graph import INPUT, Add, Concat, Convolution, Flatten, GlobalAverage, Layer, Linear
from course_lib.storage.files import atomic_path

if TYPE_CHECKING:
    from onnx import ModelProto, NodeProto, TensorProto, ValueInfoProto

_KINDS: dict[type[Layer], tuple[str, dict[str, object]]] = {
    Linear: ("Gemm", {"transB": 1}),
    Add: ("Add", {}),
    Concat: ("Concat", {"axis": 1}),
    GlobalAverage: ("GlobalAveragePool", {}),
    Flatten: ("Flatten", {"axis": 1}),
}


class NodeWriter:
    """Collects the nodes and constants of one file.

    Args: network: whose layers are written.
    """

    def __init__(self, network: QuantizedNetwork):
        self.network = network
        self.nodes: list[NodeProto] = []
        self.tensors: list[TensorProto] = []

    def node(self, operator: str, inputs: Sequence[str], outputs: Sequence[str], **attributes: object) -> None:
        """Append a node, named after its first output."""
        from onnx import helper

        node = helper.make_node(operator, inputs, outputs, name=outputs[0])
        node.attribute.extend(helper.make_attribute(key, value) for key, value in attributes.items())
        self.nodes.append(node)

    def constant(self, name: str, values: np.ndarray) -> None:
        """Append a constant tensor."""
        from onnx import numpy_helper

        self.tensors.append(numpy_helper.from_array(np.array(values, order="C"), name))

    def operator(self, layer: Layer, inputs: Sequence[str], result: str, *, rounded: bool = True) -> None:
        """A layer's operator and its ReLU, from tensors in float to the tensor ``result``.

        Args: rounded: whether ``result`` goes through the codes of ``network.activations``.
        Raises: ValueError: the layer has no ONNX form here.
        """
        kind, attributes = _operator(layer)
        relu, ceiling = getattr(layer, "relu", False), getattr(layer, "ceiling", None)
        sums = f"{layer.name}:sum" if relu else result
        self.node(kind, inputs, [sums], **attributes)
        if relu and ceiling is not None and not (rounded and self._ends_below(layer.name, ceiling)):
            ends = [f"{layer.name}:least", f"{layer.name}:most"]
            for end, value in zip(ends, (0.0, ceiling), strict=True):
                self.constant(end, np.array(value, np.float32))
            self.node("Clip", [sums, *ends], [result])
        elif relu:
            self.node("Relu", [sums], [result])

    def _ends_below(self, name: str, value: float) -> bool:
        """Whether no code of a tensor is above the value's: rounding then clamps there by itself."""
        affine = self.network.activations[name]
        return int(quantize(torch.tensor(value), affine)) >= affine.codes.high

    def model(self, input_shape: Sequence[int], outputs: Sequence[ValueInfoProto]) -> ModelProto:
        """The checked model, opset 13 and IR 7, from the input "images" to these outputs; B is dynamic."""
        import onnx
        from onnx import TensorProto, helper

        images = helper.make_tensor_value_info(INPUT, TensorProto.FLOAT, ["batch", *input_shape[1:]])
        graph = helper.make_graph(self.nodes, "quantized", [images], outputs, self.tensors)
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=IR_VERSION)
        model = onnx.shape_inference.infer_shapes(model)
        onnx.checker.check_model(model)
        return model


def float_output(name: str) -> ValueInfoProto:
    """An output of floats, whose shape is inferred."""
    from onnx import TensorProto, helper

    return helper.make_tensor_value_info(name, TensorProto.FLOAT, None)


def save(model: ModelProto, path: str | Path, *, short_names: bool = True) -> Path:
    """Write the file once ONNX Runtime has opened it. Raises: CourseError: the folder cannot be written."""
    import onnx

    with atomic_path(path) as part:
        onnx.save(model, part)
        if short_names:
            shorten_names(part, private=True)
        open_session(part)
    return Path(path)


def _operator(layer: Layer) -> tuple[str, dict[str, object]]:
    """A layer's ONNX operator and its attributes."""
    if isinstance(layer, Convolution):
        return "Conv", {"strides": layer.stride, "pads": [*layer.padding, *layer.padding], "group": layer.groups}
    if type(layer) not in _KINDS:
        raise ValueError(f"no ONNX form is known for {type(layer).__name__} ({layer.name})")
    return _KINDS[type(layer)]
