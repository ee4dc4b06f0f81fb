"""Constants of an ONNX graph, and what their codes stand for: weights and biases behind DequantizeLinear."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from course_lib.quantization.affine import along

if TYPE_CHECKING:
    from onnx import GraphProto, NodeProto


@dataclass(frozen=True, eq=False)
class Constant:
    """An array that does not depend on the images.

    Args:
        values: as the operators read it; codes are replaced by what they stand for.
        codes: integers of the same shape, their zero point subtracted; None where the file holds floats.
        scale: float32, () or (C,), of the codes; None where the file holds floats.
        axis: along which the scales lie.
    """

    values: np.ndarray
    codes: np.ndarray | None = None
    scale: np.ndarray | None = None
    axis: int = 0

    def transposed(self) -> Constant:
        """With the two axes of a matrix exchanged."""
        codes = None if self.codes is None else self.codes.T
        return Constant(self.values.T, codes, self.scale, 1 - self.axis % 2)


def attribute(node: NodeProto, name: str, default: object = None) -> object:
    """The value of a node's attribute."""
    from onnx import helper

    return next((helper.get_attribute_value(found) for found in node.attribute if found.name == name), default)


def read_constants(graph: GraphProto) -> dict[str, Constant]:
    """Every constant by its name: initializers, Constant nodes, and what is computed from these alone by Identity,
    Transpose, QuantizeLinear and DequantizeLinear."""
    from onnx import numpy_helper

    found = {tensor.name: Constant(numpy_helper.to_array(tensor)) for tensor in graph.initializer}
    for node in graph.node:
        if node.op_type == "Constant":
            value = attribute(node, "value")
            if value is not None:
                found[node.output[0]] = Constant(numpy_helper.to_array(value))  # pyright: ignore[reportArgumentType]
        elif node.input and all(name in found for name in node.input if name):
            computed = _computed(node, [found[name] for name in node.input if name])
            if computed is not None:
                found[node.output[0]] = computed
    return found


def _computed(node: NodeProto, inputs: list[Constant]) -> Constant | None:
    if node.op_type == "Identity":
        return inputs[0]
    if node.op_type == "Transpose" and inputs[0].values.ndim == 2:
        return inputs[0].transposed()
    if node.op_type not in ("QuantizeLinear", "DequantizeLinear") or attribute(node, "block_size", 0):
        return None
    axis = int(attribute(node, "axis", 1))  # pyright: ignore[reportArgumentType]
    values, scale = inputs[0].values, inputs[1].values
    zero = inputs[2].values if len(inputs) > 2 else np.zeros((), np.uint8)
    wide, middle = _wide(scale, values, axis), _wide(zero.astype(np.int64), values, axis)
    if node.op_type == "QuantizeLinear":
        limits = np.iinfo(zero.dtype)
        return Constant(np.clip(np.rint(values / wide) + middle, limits.min, limits.max).astype(zero.dtype))
    codes = values.astype(np.int64) - middle
    return Constant((codes * wide).astype(np.float32), codes, scale, axis)


def _wide(scale: np.ndarray, values: np.ndarray, axis: int) -> np.ndarray:
    """The scale in a shape that broadcasts with values; one for all as it is."""
    return scale.reshape(()) if scale.size == 1 else along(scale, values.ndim, axis)
