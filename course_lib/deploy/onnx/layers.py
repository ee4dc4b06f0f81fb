"""An ONNX file layer by layer: MACs and the bytes that must move, as ``measure.count_layers`` tells of a PyTorch model.

Bytes are those of FP32, four an element, whatever the file stores: in which width a runtime moves them is its own
choice, and whoever asks scales. Counted are convolutions and matrix products; adding, pooling and activations move
memory too, so what is computed from these counts is the least.
"""

from __future__ import annotations

from math import prod
from pathlib import Path
from typing import TYPE_CHECKING

from course_lib.deploy.onnx.counts import node_macs, tensor_shapes
from course_lib.deploy.onnx.reading import MEND, read_model
from course_lib.errors import CourseError
from course_lib.measure import LayerCount

if TYPE_CHECKING:
    from onnx import NodeProto

_KINDS = ("Conv", "ConvTranspose", "Gemm", "MatMul")
Shapes = dict[str, tuple[int, ...]]


def onnx_layers(path: str | Path) -> dict[str, LayerCount]:
    """Node name -> cost for one image, in the order of the graph.

    Raises: CourseError: no such file, not ONNX, or a shape that cannot be inferred.

    >>> import tempfile, onnx.parser
    >>> text = '''<ir_version: 7, opset_import: ["" : 13]>
    ...     g (float[B, 4] x, float[4, 2] w) => (float[B, 2] y) { y = MatMul(x, w) }'''
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     onnx.save(onnx.parser.parse_model(text), Path(folder, "tiny.onnx"))
    ...     (row,) = onnx_layers(Path(folder, "tiny.onnx")).values()
    >>> row.macs, row.weight_bytes, row.activation_bytes
    (8, 32, 24)
    """
    model, rows = read_model(path), {}
    shapes = tensor_shapes(model)
    for number, node in enumerate(model.graph.node):
        if node.op_type in _KINDS:
            name = node.name or f"{node.op_type}_{number}"
            try:
                rows[name] = _count(name, node, shapes)
            except KeyError as error:
                raise CourseError(f"the shape of {error} is not known ({name})", path=path, mend=MEND) from error
    return rows


def _count(name: str, node: NodeProto, shapes: Shapes) -> LayerCount:
    x, w, y = shapes[node.input[0]], shapes[node.input[1]], shapes[node.output[0]]
    bias = prod(shapes[node.input[2]]) if len(node.input) > 2 else 0
    weights, macs = prod(w) + bias, node_macs(node, x, w, y)
    return LayerCount(name, node.op_type, weights, macs, y, 4 * weights, 4 * (prod(x) + prod(y)))
