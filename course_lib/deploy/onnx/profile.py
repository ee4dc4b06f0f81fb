"""Which layer of an ONNX file takes how long? ONNX Runtime's own profile, reduced to medians per layer.

ONNX Runtime can write down when each operator of each call began and ended, in whole microseconds. What has to be
known to read it:

* Operators are not layers. Conv, BatchNorm and ReLU of the PyTorch model are one ``Conv`` here, named after its last
  part; new operators appear that reorder memory for vector instructions (``ReorderInput``, ``ReorderOutput``).
  A conv is found again by its place: the exporter names nodes after modules, "/features/features.0/features.0.2/Relu".
* Writing the profile costs time itself, about a microsecond an operator, so the sum of the operators of a small network
  exceeds its latency without the profile. Use it to compare layers, never to state a latency.
* Times of a few microseconds are rounded to one: layers that take less than 5 µs are known to 20 %.

Industry uses the same profile (or perf, VTune, Nsight Systems) and looks at it in Perfetto.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterable
from pathlib import Path

import numpy as np

from course_lib.errors import CourseError

_SUFFIXES = ("_kernel_time", "_nchwc")
OTHER = "other"


def node_times_ms(
    path: str | Path, images: np.ndarray, *, threads: int, warmup: int, repeats: int
) -> dict[str, tuple[str, float]]:
    """Operator's name in the optimized graph -> (operator type, median ms), in the order of execution.

    Args: images: (B, 3, H, W) float32, one call's input; warmup: calls that are dropped; repeats: calls that count.
    Raises: ValueError: threads, warmup or repeats below 1. CourseError: no ONNX model that can be loaded.

    >>> import tempfile, onnx.parser
    >>> text = '''<ir_version: 7, opset_import: ["" : 13]>
    ...     g (float[B, 2] images) => (float[B, 2] logits) <float[2, 2] w = {1, 0, 0, 2}>
    ...     { ["/classifier/MatMul"] logits = MatMul(images, w) }'''
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     onnx.save(onnx.parser.parse_model(text), Path(folder, "tiny.onnx"))
    ...     times = node_times_ms(
    ...         Path(folder, "tiny.onnx"), np.ones((1, 2), np.float32), threads=1, warmup=1, repeats=3
    ...     )
    >>> {name: kind for name, (kind, ms) in times.items() if ms >= 0}
    {'/classifier/MatMul': 'MatMul'}
    """
    if min(threads, warmup, repeats) < 1:
        raise ValueError(f"threads, warmup and repeats must be at least 1, got {threads}, {warmup}, {repeats}")
    durations: dict[str, tuple[str, list[float]]] = {}
    for event in _profile(Path(path), images, threads, warmup + repeats):
        if event.get("cat") == "Node" and event["name"].endswith(_SUFFIXES[0]):
            durations.setdefault(event["name"], (event["args"]["op_name"], []))[1].append(event["dur"] / 1000)
    return {_node(name): (kind, float(np.median(ms[warmup:]))) for name, (kind, ms) in durations.items()}


def layer_times_ms(
    path: str | Path, images: np.ndarray, layers: Iterable[str], *, threads: int, warmup: int, repeats: int
) -> dict[str, float]:
    """Median ms of every layer in ``layers``, and of all other operators together under "other".

    Args: layers: module names as in ``count_layers``; an operator belongs to the layer of that name, or else to the
        one layer that shares its parent (features.0.2, the ReLU, was fused into features.0.0).
    Raises: as ``node_times_ms``. Layers without an operator are absent.

    >>> import tempfile, onnx.parser
    >>> text = '''<ir_version: 7, opset_import: ["" : 13]>
    ...     g (float[B, 2] images) => (float[B, 2] logits) <float[2, 2] w = {1, 0, 0, 2}>
    ...     { ["/classifier/MatMul"] logits = MatMul(images, w) }'''
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     onnx.save(onnx.parser.parse_model(text), Path(folder, "tiny.onnx"))
    ...     times = layer_times_ms(
    ...         Path(folder, "tiny.onnx"), np.ones((1, 2), np.float32), ["classifier"], threads=1, warmup=1, repeats=3
    ...     )
    >>> all(name == "classifier" for name in times)
    True
    """
    names = list(layers)
    times = {name: 0.0 for name in names} | {OTHER: 0.0}
    for node, (kind, ms) in node_times_ms(path, images, threads=threads, warmup=warmup, repeats=repeats).items():
        owner = (
            _owner(module_of(node), names) if kind in ("Conv", "FusedConv", "Gemm", "MatMul", "QLinearConv") else None
        )
        times[owner or OTHER] += ms
    return {name: ms for name, ms in times.items() if ms > 0}


def _profile(path: Path, images: np.ndarray, threads: int, calls: int) -> list[dict]:
    import onnxruntime

    if not path.is_file():
        raise CourseError("no such ONNX file", path=path, mend="export it first")
    with tempfile.TemporaryDirectory() as folder:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
        options.log_severity_level = 3
        options.enable_profiling, options.profile_file_prefix = True, str(Path(folder) / "profile")
        try:
            session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
        except Exception as error:  # onnxruntime's own exception types are not public
            reason = str(error).splitlines()[0][:160]
            raise CourseError(f"not a loadable ONNX model ({reason})", path=path, mend="export it again") from error
        feed = {session.get_inputs()[0].name: images}
        for _ in range(calls):
            session.run(None, feed)
        return json.loads(Path(session.end_profiling()).read_text(encoding="utf-8"))


def _node(name: str) -> str:
    for suffix in _SUFFIXES:
        name = name.removesuffix(suffix)
    return name


def module_of(node: str) -> str:
    """The module that an exported operator belongs to: "/stages/stages.0/first/first.2/Relu" → "stages.0.first.2".

    >>> module_of("/stages/stages.0/first/first.2/Relu_output_0")
    'stages.0.first.2'
    """
    found: list[str] = []
    for part in node.strip("/").split("/")[:-1]:
        if found and part.startswith(found[-1] + "."):
            found[-1] = part
        else:
            found.append(part)
    return ".".join(found)


def _owner(module: str, layers: list[str]) -> str | None:
    if module in layers:
        return module
    parent = module.rpartition(".")[0]
    siblings = [name for name in layers if parent and name.rpartition(".")[0] == parent]
    return siblings[0] if len(siblings) == 1 else None
