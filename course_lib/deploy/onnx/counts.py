"""What an ONNX file costs on paper: parameters, non-zeros, MACs and bytes, read from the graph that is deployed.

Counting the PyTorch model and timing the ONNX file compares two different things: export folds BatchNorm into the
convolutions, and quantization adds scales and zero points. So the ledger reads the file.

* Parameters: elements of the weights and biases. Not counted: scales and zero points (arguments of the quantization
  operators) and integer shape constants (arguments of Reshape and the like), which are bookkeeping.
* Non-zeros: an integer weight is zero where its code equals its zero point.
* MACs: as in ``measure.counting``, for one image: a dynamic batch is taken as 1.
* Bytes: the file, plus the external data files that it refers to; shipping means shipping both.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from course_lib.deploy.onnx.reading import MEND, read_model
from course_lib.errors import CourseError

if TYPE_CHECKING:
    from onnx import GraphProto, ModelProto, NodeProto, TensorProto, ValueInfoProto

_WEIGHT_INPUT = {"Conv": 1, "ConvInteger": 1, "ConvTranspose": 1, "Gemm": 1, "MatMul": 1, "MatMulInteger": 1}
_WEIGHT_INPUT |= {"QLinearConv": 3, "QLinearMatMul": 3, "QGemm": 3}
# Which inputs of a quantized operator are data; the others are scales and zero points.
_QUANTIZERS = ("QuantizeLinear", "DequantizeLinear")
_DATA_INPUTS = {"QLinearConv": (0, 3, 8), "QLinearMatMul": (0, 3), "QGemm": (0, 3, 6), "QLinearAdd": (0, 3)}
# Operators that multiply and are not counted: a total without them would be too small, so it is given as unknown.
_UNCOUNTED = {"Einsum", "LSTM", "GRU", "RNN", "Attention", "MultiHeadAttention", "FusedConv", "FusedMatMul", "Loop"}


@dataclass(frozen=True)
class OnnxCounts:
    """What a file costs before it runs."""

    parameters: int  # elements of weights and biases
    nonzeros: int  # of these, in 0..parameters
    macs: int | None  # of one image; None if an operator or a shape in the graph is unknown
    deployable_bytes: int  # of the file and of the data files it refers to


def deployable_bytes(path: str | Path) -> int:
    """Bytes that must be copied to the device: the file and, for .onnx, its external data files.

    Raises: CourseError: the file or one that it refers to is missing, or a .onnx file is not ONNX.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     _ = Path(folder, "weights.bin").write_bytes(b"1234")
    ...     deployable_bytes(Path(folder, "weights.bin"))
    4
    """
    path = Path(path)
    if not path.is_file():
        raise CourseError("the file is missing", path=path, mend=MEND)
    if path.suffix != ".onnx":
        return path.stat().st_size
    return _files_bytes(path, read_model(path, external=False))


def onnx_counts(path: str | Path) -> OnnxCounts:
    """Read parameters, non-zeros, MACs and bytes from an ONNX file.

    Raises: CourseError: the file is missing, is not ONNX, or its external data is missing.

    >>> import tempfile, onnx.parser
    >>> text = '''<ir_version: 7, opset_import: ["" : 13]>
    ...     g (float[B, 3] images) => (float[B, 2] logits) <float[3, 2] w = {1, 0, 0, 2, 0, 0}>
    ...     { logits = MatMul(images, w) }'''
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     onnx.save(onnx.parser.parse_model(text), Path(folder, "tiny.onnx"))
    ...     counts = onnx_counts(Path(folder, "tiny.onnx"))
    >>> counts.parameters, counts.nonzeros, counts.macs
    (6, 2, 6)
    """
    path = Path(path)
    size = deployable_bytes(path)
    model = read_model(path)
    parameters = nonzeros = 0
    for tensor, zero_point in _weights(model.graph):
        values = _array(tensor)
        parameters += values.size
        nonzeros += int(np.count_nonzero(values if zero_point is None else values != zero_point))
    return OnnxCounts(parameters, nonzeros, _macs(model), size)


def _files_bytes(path: Path, model: ModelProto) -> int:
    attributes = (a.t for node in model.graph.node for a in node.attribute if a.HasField("t"))
    names = {e.value for t in (*model.graph.initializer, *attributes) for e in t.external_data if e.key == "location"}
    total = path.stat().st_size
    for name in sorted(names):
        data = path.parent / name
        if not data.is_file():
            raise CourseError(f"its external data file {name} is missing", path=path, mend=MEND)
        total += data.stat().st_size
    return total


def _tensors(graph: GraphProto) -> dict[str, TensorProto]:
    """Name -> constant tensor, from initializers and Constant nodes."""
    tensors = {tensor.name: tensor for tensor in graph.initializer}
    for node in graph.node:
        if node.op_type == "Constant" and node.attribute and node.attribute[0].HasField("t"):
            tensors[node.output[0]] = node.attribute[0].t
    return tensors


def _weights(graph: GraphProto) -> Iterator[tuple[TensorProto, np.ndarray | None]]:
    """Each weight or bias once, with the zero point that broadcasts against its codes (None for floats)."""
    from onnx import TensorProto as T

    tensors, bookkeeping, zero_points = _tensors(graph), set(), {}
    for node in graph.node:
        if node.op_type in _QUANTIZERS or node.op_type.startswith("QLinear") or node.op_type == "QGemm":
            data = _DATA_INPUTS.get(node.op_type, (0,))
            bookkeeping.update(name for i, name in enumerate(node.input) if i not in data)
        if node.op_type in _QUANTIZERS and len(node.input) > 2 and {node.input[0], node.input[2]} <= set(tensors):
            zero_points[node.input[0]] = _broadcast(node, tensors)
    for name, tensor in tensors.items():
        if name not in bookkeeping and tensor.data_type not in (T.INT64, T.BOOL, T.STRING):
            yield tensor, zero_points.get(name)


def _broadcast(node: NodeProto, tensors: dict[str, TensorProto]) -> np.ndarray:
    """The zero point reshaped so that it lies along the quantization axis of the weight."""
    zero_point, dims = _array(tensors[node.input[2]]), tensors[node.input[0]].dims
    if zero_point.size == 1:
        return zero_point.reshape(())
    axis = next((a.i for a in node.attribute if a.name == "axis"), 1) % len(dims)
    return zero_point.reshape([-1 if i == axis else 1 for i in range(len(dims))])


def _array(tensor: TensorProto) -> np.ndarray:
    from onnx import numpy_helper

    return numpy_helper.to_array(tensor)


def _macs(model: ModelProto) -> int | None:
    """Sum over convolutions and matrix products for one image; None if an operator or a shape is not known."""
    shapes, total = tensor_shapes(model), 0
    for node in model.graph.node:
        if node.op_type in _UNCOUNTED:
            return None
        if node.op_type not in _WEIGHT_INPUT:
            continue
        weight = shapes.get(node.input[_WEIGHT_INPUT[node.op_type]])
        x, y = shapes.get(node.input[0]), shapes.get(node.output[0])
        if not (weight and x and y):
            return None
        total += node_macs(node, x, weight, y)
    images = shapes.get(images_input(model.graph).name, (1,))[0]
    return total // images


def node_macs(node: NodeProto, x: tuple[int, ...], weight: tuple[int, ...], y: tuple[int, ...]) -> int:
    """MACs of a convolution or matrix product from the shapes of its input, its weight and its output.

    >>> import onnx.helper
    >>> node_macs(onnx.helper.make_node("Conv", ["x", "w"], ["y"]), (1, 3, 8, 8), (16, 3, 3, 3), (1, 16, 8, 8))
    27648
    """
    if "Conv" in node.op_type:  # weight (C_out, C_in/groups, k…), transposed (C_in, C_out/groups, k…)
        return prod(x if node.op_type == "ConvTranspose" else y) * prod(weight[1:])
    transposed = any(a.name == "transA" and a.i for a in node.attribute)
    return prod(y) * (x[0] if transposed else x[-1])


def images_input(graph: GraphProto) -> ValueInfoProto:
    """The first input that is not a constant: the images."""
    constants = {tensor.name for tensor in graph.initializer}
    return next(value for value in graph.input if value.name not in constants)


def tensor_shapes(model: ModelProto) -> dict[str, tuple[int, ...]]:
    """Tensor name -> shape, for all that ONNX's shape inference can tell with a batch of 1.

    >>> import onnx.parser
    >>> text = '''<ir_version: 7, opset_import: ["" : 13]>
    ...     g (float[B, 4] x, float[4, 2] w) => (float[B, 2] y) { y = MatMul(x, w) }'''
    >>> tensor_shapes(onnx.parser.parse_model(text))["y"]
    (1, 2)
    """
    import onnx

    single = onnx.ModelProto()
    single.CopyFrom(model)
    for value in single.graph.input:
        dims = value.type.tensor_type.shape.dim
        if dims and not dims[0].dim_value:
            dims[0].dim_value = 1
    for value in single.graph.output:
        value.type.tensor_type.ClearField("shape")
    del single.graph.value_info[:]
    graph = onnx.shape_inference.infer_shapes(single, data_prop=True).graph
    shapes = {tensor.name: tuple(tensor.dims) for tensor in graph.initializer}
    for value in (*graph.input, *graph.value_info, *graph.output):
        dims = value.type.tensor_type.shape.dim
        if value.type.tensor_type.HasField("shape") and all(d.HasField("dim_value") for d in dims):
            shapes[value.name] = tuple(d.dim_value for d in dims)
    return shapes
