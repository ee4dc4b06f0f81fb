"""A file's parts, each executed alone by ONNX Runtime without any optimization: in float, on what the codes stand for.

So a part can be fed with the tensors of *another* model. That tells a cause from the places where its damage
shows: behind a broken layer every layer is wrong, but only the broken one is wrong when what it reads is right.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from course_lib.deploy.onnx import read_model
from course_lib.quantization.doctor.parts import Part, Unreadable, read_parts

if TYPE_CHECKING:
    import onnxruntime
    from onnx import ModelProto

Tensors = tuple[np.ndarray, np.ndarray]
"""Of a part: before it is rounded to codes, and after."""
BATCH = 32


class Walk:
    """A file, executed part by part.

    Args: path: of the ONNX file.
    Raises: CourseError: the file cannot be read.
    """

    def __init__(self, path: str | Path):
        self.model: ModelProto = read_model(path)
        one_pair_for_all_(self.model)
        self._parts: list[Part] | None = None
        self._sessions: dict[int, onnxruntime.InferenceSession] = {}

    @property
    def parts(self) -> list[Part]:
        """As ``read_parts`` gives them; may be set, in another order that can be executed.

        Raises: Unreadable: the file's layers cannot be told apart.
        """
        if self._parts is None:
            self._parts = read_parts(self.model)
        return self._parts

    @parts.setter
    def parts(self, parts: list[Part]) -> None:
        self._parts = parts
        self._sessions.clear()

    def alone(self, place: int, inputs: list[np.ndarray]) -> Tensors:
        """One part's tensors, of the inputs that it is given.

        Args: place: of the part. inputs: in the order of its ``sources``; for the images themselves, the images.
        """
        part = self.parts[place]
        names = list(part.reads) or [self._images]
        if part.raw == part.out == names[0]:
            return inputs[0], inputs[0]
        if place not in self._sessions:
            self._sessions[place] = _session(self.model, names, list(dict.fromkeys((part.raw, part.out))))
        session = self._sessions[place]
        found = []
        for start in range(0, len(inputs[0]), BATCH):
            feed = {name: np.ascontiguousarray(x[start : start + BATCH]) for name, x in zip(names, inputs, strict=True)}
            found.append(session.run(None, feed))
        columns = [np.concatenate(column) for column in zip(*found, strict=True)]
        return columns[0], columns[-1]

    def tensors(
        self, images: np.ndarray, *, given: Mapping[int, Tensors] | None = None, first: int = 0
    ) -> list[Tensors]:
        """Every part's tensors.

        Args: images: (N, C, H, W). given: tensors of parts that are not computed, by place; of all parts before
            ``first``, which is the first that is computed.
        """
        known = dict(given or {})
        for place in range(first, len(self.parts)):
            if place not in known:
                sources = self.parts[place].sources
                known[place] = self.alone(place, [known[source][1] for source in sources] or [images])
        return [known[place] for place in range(len(self.parts))]

    @property
    def _images(self) -> str:
        constants = {tensor.name for tensor in self.model.graph.initializer}
        return next(value.name for value in self.model.graph.input if value.name not in constants)


def one_pair_for_all_(model: ModelProto) -> None:
    """Merge DequantizeLinear nodes that do the same, in place: some tools write one for each reader of a tensor."""
    seen: dict[tuple[str, ...], str] = {}
    renamed: dict[str, str] = {}
    kept = []
    outputs = {value.name for value in model.graph.output}
    for node in model.graph.node:
        node.input[:] = [renamed.get(name, name) for name in node.input]
        if node.op_type == "DequantizeLinear" and node.output[0] not in outputs:
            key = (*node.input, *(attribute.SerializeToString().hex() for attribute in node.attribute))
            if key in seen:
                renamed[node.output[0]] = seen[key]
                continue
            seen[key] = node.output[0]
        kept.append(node)
    del model.graph.node[:]
    model.graph.node.extend(kept)


def _session(model: ModelProto, inputs: list[str], outputs: list[str]) -> onnxruntime.InferenceSession:
    """The operators between these tensors, as a model of its own."""
    import onnxruntime
    from onnx import TensorProto, helper

    producer = {name: node for node in model.graph.node for name in node.output}
    wanted, waiting = set(), list(outputs)
    while waiting:
        name = waiting.pop()
        if name not in inputs and name in producer and id(producer[name]) not in wanted:
            wanted.add(id(producer[name]))
            waiting += producer[name].input
    nodes = [node for node in model.graph.node if id(producer[node.output[0]]) in wanted]
    used = {name for node in nodes for name in node.input}
    graph = helper.make_graph(
        nodes,
        "part",
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in inputs],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in outputs],
        [tensor for tensor in model.graph.initializer if tensor.name in used],
    )
    part = helper.make_model(graph, opset_imports=list(model.opset_import), ir_version=model.ir_version)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads, options.log_severity_level = 1, 1, 3
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    try:
        return onnxruntime.InferenceSession(part.SerializeToString(), options, providers=["CPUExecutionProvider"])
    except Exception as error:  # onnxruntime's own exception types are not public
        reason = str(error).splitlines()[0][:160]
        raise Unreadable(f"the layer that gives {outputs[-1]} cannot be executed alone ({reason})") from error
