"""Short names inside an ONNX file: a small network's INT8 file is one tenth names of its tensors and nodes."""

from __future__ import annotations

import contextlib
from pathlib import Path

from course_lib.deploy.onnx.reading import read_model
from course_lib.storage.files import atomic_path


def shorten_names(path: str | Path, *, private: bool = False) -> None:
    """Rewrite an ONNX file in place with short names for inner tensors and nodes, without doc strings.

    Inputs and outputs keep their names; nothing that is computed changes. Source: onnx.proto3 (GraphProto).

    Args: private: the file is a temporary one that nobody else reads, so it need not be replaced as a whole.
    Raises: CourseError: no file, or no ONNX. ValueError: subgraphs (If, Loop), whose scopes this does not handle.
    """
    import onnx

    model = read_model(path)
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
    with contextlib.nullcontext(path) if private else atomic_path(path) as part:
        onnx.save(model, part)
