"""What the oldest runtimes that the kit serves can read: asked of a file before it is copied to a board.

A Jetson Nano ends at ONNX Runtime 1.10 and TensorRT 8.2. They read opset 13 and IR 7, ONNX's own operators, and one
file without external data. TensorRT knows fewer operators than ONNX has, and no zero points. A file that it cannot
parse fails on the board, after an hour of copying and setting up; so ``require_portable`` refuses it here, by the
operator's name and with what may replace it.

Source: onnx-tensorrt, docs/operators.md of releases 8.2 and 8.4; TensorRT developer guide, "Working with Quantized
Types".
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from course_lib.deploy.onnx import IR_VERSION, OPSET, read_model
from course_lib.errors import CourseError

if TYPE_CHECKING:
    from onnx import ModelProto, NodeProto

TENSORRT = frozenset(
    "Abs Acos Acosh Add And ArgMax ArgMin Asin Asinh Atan Atanh AveragePool BatchNormalization Cast Ceil Celu "
    "Clip Concat Constant ConstantOfShape Conv ConvTranspose Cos Cosh CumSum DepthToSpace DequantizeLinear Div "
    "Dropout Einsum Elu Equal Erf Exp Expand EyeLike Flatten Floor Gather GatherElements GatherND Gemm "
    "GlobalAveragePool GlobalLpPool GlobalMaxPool Greater GreaterOrEqual GRU HardSigmoid Identity If "
    "InstanceNormalization LeakyRelu Less LessOrEqual Log LogSoftmax Loop LRN LSTM LpNormalization LpPool MatMul "
    "Max MaxPool Mean Min Mul Neg Not Or Pad Pow PRelu QuantizeLinear Range ReduceL1 ReduceL2 ReduceLogSum "
    "ReduceLogSumExp ReduceMax ReduceMean ReduceMin ReduceProd ReduceSum ReduceSumSquare Relu Reshape Resize RNN "
    "Round ScatterElements ScatterND Selu Shape Sigmoid Sign Sin Sinh Size Slice Softmax Softplus Softsign "
    "SpaceToDepth Split Sqrt Squeeze Sub Sum Tan Tanh ThresholdedRelu Tile TopK Transpose Unsqueeze Where".split()
)
"""Operators that TensorRT 8.2 parses."""
MENDS = {
    "HardSwish": "write it as x · HardSigmoid(x, alpha=1/6, beta=0.5)",
    "Mod": "write it as a − b · Floor(a / b)",
    "NonZero": "select with a mask and Where, whose shape is known beforehand",
    "OneHot": "compare a range with the index (Equal) and Cast",
    "Reciprocal": "write it as Div(1, x)",
    "QLinearConv": "export QDQ nodes: course_lib.quantization.tensorrt.export_tensorrt",
    "QLinearMatMul": "export QDQ nodes: course_lib.quantization.tensorrt.export_tensorrt",
    "ConvInteger": "export QDQ nodes: course_lib.quantization.tensorrt.export_tensorrt",
    "MatMulInteger": "export QDQ nodes: course_lib.quantization.tensorrt.export_tensorrt",
    "DynamicQuantizeLinear": "calibrate, and export QDQ nodes: course_lib.quantization.tensorrt.export_tensorrt",
}
_OTHERWISE = "replace it in the network by operators that TensorRT knows, or keep the model to ONNX Runtime"
_SYMMETRIC = "quantize it for TensorRT: course_lib.quantization.tensorrt.quantize_symmetric and export_tensorrt"
_AGAIN = "export it again: course_lib.deploy.onnx.export_onnx writes what old runtimes read"


def require_portable(path: str | Path, *, tensorrt: bool) -> None:
    """Raise unless ONNX Runtime 1.10, and if asked TensorRT 8.2, can read the file.

    Args:
        path: of an ONNX file.
        tensorrt: whether TensorRT is to read it, too.
    Raises: CourseError: the first thing that an old runtime would stumble over, with its mend.
    """
    model = read_model(path, external=False)
    for problem, mend in _problems(model, tensorrt):
        raise CourseError(problem, path=path, mend=mend)


def _problems(model: ModelProto, tensorrt: bool) -> Iterator[tuple[str, str]]:
    opset = next((entry.version for entry in model.opset_import if entry.domain in ("", "ai.onnx")), 0)
    if opset > OPSET or model.ir_version > IR_VERSION:
        yield f"opset {opset} and IR {model.ir_version} are newer than {OPSET} and {IR_VERSION}", _AGAIN
    if any(tensor.external_data for tensor in _tensors(model)):
        yield "its weights lie in another file", "save it as one file (onnx.save without save_as_external_data)"
    for node in _nodes(model.graph.node):
        if node.domain not in ("", "ai.onnx"):
            yield (
                f"the operator {node.op_type} ({node.name}) is of the domain {node.domain}, not ONNX's own",
                _OTHERWISE,
            )
        elif tensorrt and node.op_type not in TENSORRT:
            words = f"TensorRT 8.2 cannot parse the operator {node.op_type} ({node.name})"
            yield words, MENDS.get(node.op_type, _OTHERWISE)
    if tensorrt:
        yield from ((problem, _SYMMETRIC) for problem in _quantization_problems(model))


def _nodes(nodes) -> Iterator[NodeProto]:
    """Nodes, also those inside If and Loop."""
    for node in nodes:
        yield node
        for attribute in node.attribute:
            for graph in (*([attribute.g] if attribute.HasField("g") else []), *attribute.graphs):
                yield from _nodes(graph.node)


def _tensors(model: ModelProto) -> Iterator:
    yield from model.graph.initializer
    for node in _nodes(model.graph.node):
        yield from (attribute.t for attribute in node.attribute if attribute.HasField("t"))


def _quantization_problems(model: ModelProto) -> Iterator[str]:
    """What TensorRT refuses of QuantizeLinear and DequantizeLinear nodes."""
    from onnx import numpy_helper

    constants = {tensor.name: tensor for tensor in model.graph.initializer}
    for node in _nodes(model.graph.node):
        if node.op_type not in ("QuantizeLinear", "DequantizeLinear"):
            continue
        zero = constants.get(node.input[2]) if len(node.input) > 2 else None
        if zero is None:
            yield f"{node.op_type} ({node.name}) has no constant zero point: its codes are unsigned"
        else:
            values = numpy_helper.to_array(zero)
            if values.dtype != np.int8:
                yield f"{node.op_type} ({node.name}) has codes of type {values.dtype}, TensorRT reads int8 only"
            elif values.any():
                yield f"{node.op_type} ({node.name}) has a zero point other than 0"
        if node.op_type == "DequantizeLinear" and node.input[0] in constants:
            yield f"{node.op_type} ({node.name}) reads stored integers, which TensorRT before version 9 refuses"
