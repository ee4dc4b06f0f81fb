"""PyTorch → one ONNX file at opset 13 and IR 7 → ONNX Runtime, each step checked.

Opset 13 and IR 7 are old on purpose: TensorRT 8.2 and ONNX Runtime 1.10, the last ones for a Jetson Nano, read them,
and so does everything newer. PyTorch's new exporter cannot go below opset 18; asked for 13 it warns and writes 18. So
the tracing exporter is used, and ``export_onnx`` reads the file back and refuses anything but what it promised.

In eval mode the exporter folds each BatchNorm into its convolution; the exported network is compared with PyTorch's
on random images before the file gets its name. The batch is the one dynamic axis.

Names count: a small network's INT8 file is one tenth names such as "/features/features.0/features.0.2/Relu_output_0".
``shorten_names`` replaces them; the graph computes the same.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import nn

from course_lib.errors import CourseError
from course_lib.files import atomic_path

if TYPE_CHECKING:
    import onnxruntime

OPSET, IR_VERSION = 13, 7


def export_onnx(
    model: nn.Module,
    path: str | Path,
    *,
    input_shape: Sequence[int] = (1, 3, 32, 32),
    tolerance: float = 1e-4,
) -> Path:
    """Write ``model`` as one ONNX file (input "images", output "logits", opset 13, IR 7) that computes the same.

    Args:
        input_shape: (B, 3, H, W); B is dynamic in the file, the rest is fixed.
        tolerance: largest allowed |ONNX Runtime − PyTorch|, relative to the largest logit. Single precision and
            another order of summation give about 1e-6.
    Returns: the path written. The model's train/eval mode is restored.
    Raises:
        ValueError: the two disagree by more than ``tolerance``.
        CourseError: the folder cannot be written.
    """
    import onnx

    path, was_training = Path(path), model.training
    model.eval()
    try:
        with atomic_path(path) as part:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", DeprecationWarning)  # dynamo=False is deprecated, and needed
                torch.onnx.export(
                    model,
                    (torch.zeros(*input_shape),),
                    str(part),
                    opset_version=OPSET,
                    dynamo=False,
                    input_names=["images"],
                    output_names=["logits"],
                    dynamic_axes={"images": {0: "batch"}, "logits": {0: "batch"}},
                )
            graph = onnx.load(part)
            written = graph.opset_import[0].version, graph.ir_version
            if written != (OPSET, IR_VERSION):
                raise ValueError(f"the exporter wrote opset and IR {written} instead of {(OPSET, IR_VERSION)}")
            onnx.checker.check_model(graph)
            error = _disagreement(model, part, input_shape)
            if not error <= tolerance:
                raise ValueError(f"ONNX Runtime and PyTorch differ by {error:.2e}, more than {tolerance:.2e}")
    finally:
        model.train(was_training)
    return path


def open_session(
    path: str | Path, *, threads: int = 1, providers: Sequence[str] = ("CPUExecutionProvider",)
) -> onnxruntime.InferenceSession:
    """An ONNX Runtime session with a stated number of threads and all graph optimizations on.

    Raises:
        ValueError: threads < 1.
        CourseError: the file is missing or is no model that ONNX Runtime can load.
    """
    import onnxruntime

    path = Path(path)
    if threads < 1:
        raise ValueError(f"threads must be at least 1, got {threads}")
    if not path.is_file():
        raise CourseError("no such ONNX file", path=path, mend="export it first (course_lib.deploy.onnx.export_onnx)")
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
    options.log_severity_level = 3
    try:
        return onnxruntime.InferenceSession(str(path), options, providers=list(providers))
    except Exception as error:  # onnxruntime's own exception types are not public
        reason = str(error).splitlines()[0][:160]
        raise CourseError(f"not a loadable ONNX model ({reason})", path=path, mend="export it again") from error


def run_session(session: onnxruntime.InferenceSession, images: np.ndarray, *, batch_size: int = 256) -> np.ndarray:
    """Logits (N, C), float32, of images (N, 3, H, W), float32 in [0, 1], in batches."""
    name = session.get_inputs()[0].name
    parts = [
        session.run(None, {name: np.ascontiguousarray(images[start : start + batch_size])})[0]
        for start in range(0, len(images), batch_size)
    ]
    return np.concatenate(parts)


def shorten_names(path: str | Path) -> None:
    """Rewrite an ONNX file in place with short names for inner tensors and nodes, without doc strings.

    Inputs and outputs keep their names; nothing that is computed changes. Source: onnx.proto3 (GraphProto).
    Raises: ValueError for a graph with subgraphs (If, Loop), whose scopes this does not handle.
    """
    import onnx

    model = onnx.load(path)
    graph = model.graph
    if any(attribute.HasField("g") or attribute.graphs for node in graph.node for attribute in node.attribute):
        raise ValueError(f"{path} holds subgraphs; their names cannot be shortened one by one")
    kept = {value.name for value in (*graph.input, *graph.output)} | {""}
    short: dict[str, str] = {}

    def rename(name: str) -> str:
        return name if name in kept else short.setdefault(name, f"t{len(short)}")

    for tensor in graph.initializer:
        tensor.name = rename(tensor.name)
    for number, node in enumerate(graph.node):
        node.name, node.doc_string = f"n{number}", ""
        node.input[:], node.output[:] = map(rename, node.input), map(rename, node.output)
    del graph.value_info[:]  # shapes of inner tensors: every runtime infers them again
    del model.metadata_props[:]
    used = {node.domain for node in graph.node}
    imports = [entry for entry in model.opset_import if entry.domain in used | {""}]
    del model.opset_import[:]
    model.opset_import.extend(imports)
    with atomic_path(path) as part:
        onnx.save(model, part)


def _disagreement(model: nn.Module, path: Path, input_shape: Sequence[int]) -> float:
    """Largest |difference| on random images, relative to the largest |output|."""
    generator = torch.Generator().manual_seed(0)
    images = torch.rand(4, *input_shape[1:], generator=generator)
    with torch.inference_mode():
        expected = model(images).numpy()
    found = run_session(open_session(path), images.numpy())
    return float(np.abs(found - expected).max() / max(1e-12, np.abs(expected).max()))
