"""What ONNX Runtime makes of a file: the graph after its optimisations, and which operators vanished into which.

ONNX Runtime rewrites a graph when it opens a file, in levels: *basic* (fold constants and BatchNorm, drop what does
nothing), *extended* (operators of its own, such as FusedConv with an activation) and *all* (other memory layouts, here
blocks of channels, "nchwc"). It can save the result; this module reads it back.

A saved graph does not say where its nodes come from. What can be said rests on what fusions leave behind:

* a node keeps the name of the first operator, and its output tensor the name that the last one gave it;
* a convolution in blocks of channels is called after the tensor that it gave when it was rewritten, plus "_nchwc";
* a fused activation stands in the attribute "activation", a fused sum is a fourth input of the convolution.

An operator that none of this points to is listed as *not found*, not guessed at: removed, computed in advance, or part
of something else.
"""

from __future__ import annotations

import tempfile
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from course_lib.deploy.onnx.profile import module_of
from course_lib.deploy.onnx.reading import read_model
from course_lib.errors import CourseError
from course_lib.fusion import Fusion
from course_lib.measure.tables import html_table, text_table

if TYPE_CHECKING:
    from onnx import GraphProto, NodeProto

LEVELS = {"disabled": "ORT_DISABLE_ALL", "basic": "ORT_ENABLE_BASIC", "extended": "ORT_ENABLE_EXTENDED"}
LEVELS |= {"all": "ORT_ENABLE_ALL"}
_CONVOLUTIONS = ("Conv", "FusedConv")
_BLOCKED, _LAYOUTS = "_nchwc", ("ReorderInput", "ReorderOutput")
_WORDS = {"BatchNormalization": "BatchNorm", "Add": "sum", "Relu": "relu", "Clip": "relu6", "HardSwish": "hardswish"}


@dataclass(frozen=True)
class OptimizedNode:
    """One operator that ONNX Runtime runs.

    Args:
        name: as ONNX Runtime calls it.
        kind: operator type, with its domain if it is not ONNX's own.
        made_of: names of the file's operators that it computes, in their order; () where none is known.
        kinds: their operator types.
    """

    name: str
    kind: str
    made_of: tuple[str, ...]
    kinds: tuple[str, ...]


@dataclass(frozen=True)
class OptimizedGraph:
    """A file after the optimisations of one level.

    Args:
        level: a key of ``LEVELS``.
        nodes: in the order in which they are stored.
        not_found: operators of the file that no node could be shown to compute.
    """

    level: str
    nodes: tuple[OptimizedNode, ...]
    not_found: tuple[str, ...]

    @property
    def kinds(self) -> Counter[str]:
        """How many operators there are of each kind."""
        return Counter(node.kind for node in self.nodes)


def optimized_graph(path: str | Path, level: str) -> OptimizedGraph:
    """Open a file at one level of optimisation on the CPU, and read back what became of it.

    Args: level: "disabled", "basic", "extended" or "all" (ONNX Runtime's default).
    Raises: ValueError: another level. CourseError: no ONNX file that can be loaded.
    """
    import onnxruntime

    if level not in LEVELS:
        raise ValueError(f"level must be one of {', '.join(LEVELS)}, got {level!r}")
    before = read_model(path).graph
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    options.graph_optimization_level = getattr(onnxruntime.GraphOptimizationLevel, LEVELS[level])
    with tempfile.TemporaryDirectory() as folder:
        saved = Path(folder) / "optimized.onnx"
        options.optimized_model_filepath = str(saved)
        try:
            onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
        except Exception as error:  # onnxruntime's own exception types are not public
            reason = str(error).splitlines()[0][:160]
            raise CourseError(f"not a loadable ONNX model ({reason})", path=path, mend="export it again") from error
        after = read_model(saved).graph
    return _compared(level, before, after)


def _compared(level: str, before: GraphProto, after: GraphProto) -> OptimizedGraph:
    origin = _Origin(before)
    nodes = []
    for node in after.node:
        parts = origin.of(node)
        kind = f"{node.domain}:{node.op_type}" if node.domain else node.op_type
        nodes.append(OptimizedNode(node.name, kind, tuple(p.name for p in parts), tuple(p.op_type for p in parts)))
    found = {name for node in nodes for name in node.made_of}
    return OptimizedGraph(level, tuple(nodes), tuple(n.name for n in before.node if n.name not in found))


class _Origin:
    """Finds the operators of a file that an optimised node computes."""

    def __init__(self, graph: GraphProto):
        self.position = {node.name: number for number, node in enumerate(graph.node)}
        self.by_name = {node.name: node for node in graph.node}
        self.producer = {name: node for node in graph.node for name in node.output}
        self.readers: dict[str, list[NodeProto]] = {}
        for node in graph.node:
            for name in node.input:
                self.readers.setdefault(name, []).append(node)

    def of(self, node: NodeProto) -> list[NodeProto]:
        """In the order of the file; nothing for a change of layout, which gives a tensor that another one computed."""
        if node.op_type in _LAYOUTS:
            return []
        known = [self.by_name.get(node.name), *(self.producer.get(name) for name in node.output)]
        known.append(self.producer.get(node.name.removesuffix(_BLOCKED)) if node.name.endswith(_BLOCKED) else None)
        parts = {part.name: part for part in known if part is not None}
        if node.op_type in _CONVOLUTIONS:
            for part in list(parts.values()):
                parts |= {one.name: one for one in self._back_to_convolution(part)}
            self._add_following(node, parts)
        return sorted(parts.values(), key=lambda part: self.position[part.name])

    def _back_to_convolution(self, part: NodeProto) -> list[NodeProto]:
        """What lies between a convolution and this operator, both included; [] if a chain does not lead to one."""
        chain = [part]
        while part.op_type != "Conv":
            source = self.producer.get(part.input[0])
            if part.op_type == "Add" or source is None or len(self.readers[part.input[0]]) > 1:
                return []
            chain.append(source)
            part = source
        return chain

    def _add_following(self, node: NodeProto, parts: dict[str, NodeProto]) -> None:
        """The sum that a fourth input shows, and the activation that an attribute names."""
        activation = next((a.s.decode() for a in node.attribute if a.name == "activation"), None)
        sums = len(node.input) > 3 and bool(node.input[3])
        for kind in [*(["Add"] if sums else []), *([activation] if activation else [])]:
            if not parts or kind in {part.op_type for part in parts.values()}:
                continue
            last = max(parts.values(), key=lambda part: self.position[part.name])
            readers = self.readers.get(last.output[0], [])
            if len(readers) == 1 and readers[0].op_type == kind:
                parts[readers[0].name] = readers[0]


@dataclass(frozen=True)
class FusionTable:
    """Which operators became part of each layer, by our fusion and by ONNX Runtime's levels.

    Args:
        levels: of ONNX Runtime, in the order of the columns.
        rows: layer, what ours took in, what each level's operator took in.
    """

    levels: tuple[str, ...]
    rows: tuple[tuple[str, tuple[str, ...], tuple[tuple[str, ...], ...]], ...]

    @property
    def agree(self) -> int:
        """Layers into which ours and the last level put the same."""
        return sum(sorted(ours) == sorted(theirs[-1]) for _, ours, theirs in self.rows)

    def _cells(self) -> tuple[list[str], list[list[str]]]:
        header = ["layer", "ours", *(f"ONNX Runtime, {level}" for level in self.levels)]
        return header, [[name, *(" + ".join(w) or "–" for w in (ours, *theirs))] for name, ours, theirs in self.rows]

    def __str__(self) -> str:
        return text_table(*self._cells())

    def _repr_html_(self) -> str:
        return html_table(*self._cells(), notes=[])


def fusion_table(fusion: Fusion, path: str | Path, levels: Sequence[str] = ("basic", "extended", "all")) -> FusionTable:
    """Our fusion beside ONNX Runtime's, for each convolution and linear layer of the file.

    Args:
        fusion: of the network.
        path: the same network exported with ``export_onnx(…, folded=False)``: else there is nothing left to fuse.
        levels: of ONNX Runtime.
    Raises: as ``optimized_graph``.
    """
    layers = [node for node in read_model(path).graph.node if node.op_type in ("Conv", "Gemm", "MatMul")]
    by_level = []
    for level in levels:
        made = {first: node for node in optimized_graph(path, level).nodes for first in node.made_of}
        by_level.append(made)
    rows = []
    for layer in layers:
        theirs = tuple(_taken(layer, made.get(layer.name)) for made in by_level)
        name = module_of(layer.name)
        rows.append((name, fusion.took.get(name, ()), theirs))
    return FusionTable(tuple(levels), tuple(rows))


def _taken(layer: NodeProto, node: OptimizedNode | None) -> tuple[str, ...]:
    """What else an optimised operator computes, in the words of ``Fusion.took``."""
    if node is None:
        return ()
    pairs = zip(node.made_of, node.kinds, strict=True)
    return tuple(_WORDS.get(kind, kind) for name, kind in pairs if name != layer.name)
