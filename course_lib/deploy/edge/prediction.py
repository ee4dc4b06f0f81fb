"""How long could it take at least? A roofline over a board's documented peaks, before anyone has measured.

A layer of W operations that moves Q bytes takes, on a board of peak P and bandwidth B,

    compute  W/P        nothing computes faster: the sum over layers is a bound that every measurement respects
    roofline max(W/P, Q/B)   with each tensor moved once from main memory

The roofline's sum is no strict bound: weights that stay in a cache between two calls need not come from main memory,
and a small network fits in one. Neither contains what a real program adds: starting each layer (``overhead_us``, 0
unless stated, since no vendor documents it), layers that only move memory, kernels that reach half of the peak. So a
measured time lies above the first, mostly far above the second, and how far is what is learnt from measuring.

Source: Williams, Waterman and Patterson 2009, "Roofline"; ``measure.roofline``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from course_lib.deploy.edge.boards import PROCESSOR, Board
from course_lib.deploy.edge.kit_files import read_kit
from course_lib.deploy.edge.manifest import KitModel
from course_lib.deploy.edge.results import Results, row_name
from course_lib.deploy.onnx import onnx_layers
from course_lib.errors import CourseError
from course_lib.measure import LayerCount, three_digits
from course_lib.measure.tables import text_table

WIDTH = {"fp32": 4, "fp16": 2, "int8": 1}
"""Bytes of an element."""
_ROUNDED = 0.97
"""A data sheet rounds: a time this far below the bound is no contradiction yet."""


@dataclass(frozen=True)
class LayerPrediction:
    """One layer under the board's roof.

    Args:
        name: the layer's.
        compute_ms: operations over the peak.
        memory_ms: bytes, each tensor once, over the bandwidth.
    """

    name: str
    compute_ms: float
    memory_ms: float

    @property
    def ms(self) -> float:
        """The slower of the two."""
        return max(self.compute_ms, self.memory_ms)


@dataclass(frozen=True)
class Prediction:
    """Predicted, not measured: what the board's documented peaks allow.

    Args:
        board: whose peaks.
        runtime: that would run it.
        precision: of its arithmetic.
        threads: CPU cores used.
        layers: one each.
        overhead_us: assumed for starting a layer, µs.
    """

    board: Board
    runtime: str
    precision: str
    threads: int
    layers: tuple[LayerPrediction, ...]
    overhead_us: float

    @property
    def compute_ms(self) -> float:
        """The bound: all operations at the peak, and nothing else."""
        return sum(layer.compute_ms for layer in self.layers)

    @property
    def ms(self) -> float:
        """The roofline's sum, with the assumed overhead."""
        return sum(layer.ms for layer in self.layers) + self.overhead_us * len(self.layers) / 1000

    @property
    def memory_bound(self) -> int:
        """Layers whose bytes take longer than their operations."""
        return sum(layer.memory_ms > layer.compute_ms for layer in self.layers)

    def __str__(self) -> str:
        peak = self.board.peak(self.runtime, self.precision, self.threads)
        bandwidth, assumed = self.board.bandwidth, f"{self.overhead_us:g} µs a layer assumed for starting it"
        what = f"{self.runtime} {self.precision}, {self.threads} thread(s)"
        return "\n".join(
            [
                f"predicted, not measured: {self.board.title}, {what}",
                f"  at least {three_digits(self.compute_ms)} ms to compute; {three_digits(self.ms)} ms by the roofline "
                f"({self.memory_bound} of {len(self.layers)} layers bound by memory; "
                f"{assumed if self.overhead_us else 'nothing assumed for starting a layer'})",
                f"  peak {three_digits(peak.value)} {peak.unit}: {peak.source}",
                f"  bandwidth {bandwidth.value:g} {bandwidth.unit}: {bandwidth.source}",
            ]
        )


def predict(
    counts: Mapping[str, LayerCount],
    board: Board,
    runtime: str,
    *,
    precision: str = "fp32",
    threads: int = 1,
    overhead_us: float = 0.0,
) -> Prediction:
    """The roofline of a network on a board, from documented peaks.

    Args:
        counts: of one call, with the bytes of FP32: ``count_layers`` of a model, ``onnx_layers`` of a file.
        board: of ``BOARDS``.
        runtime: "onnxruntime", "c" or "tensorrt".
        precision: "fp32", "fp16" or "int8".
        threads: CPU cores used, in 1..cores.
        overhead_us: an assumption, for starting each layer, ≥ 0.
    Raises: ValueError: no layers, or arguments outside their ranges. CourseError: the board cannot compute so, and why.

    >>> from course_lib.deploy.edge import BOARDS
    >>> layer = LayerCount("fc", "Linear", 0, macs=10**6, output_shape=(1, 1), weight_bytes=10**6, activation_bytes=0)
    >>> found = predict({"fc": layer}, BOARDS["nano"], "tensorrt", precision="fp16")
    >>> round(found.compute_ms, 4), round(found.ms, 4)
    (0.0042, 0.0195)
    """
    if not counts:
        raise ValueError("counts must hold at least one layer, got none")
    if precision not in WIDTH or not overhead_us >= 0:
        raise ValueError(
            f"precision must be one of {', '.join(WIDTH)} and overhead_us ≥ 0, got {precision!r}, {overhead_us}"
        )
    peak = board.peak(runtime, precision, threads).value
    memory = board.bandwidth.value * 4 / WIDTH[precision]  # counts hold the bytes of FP32
    layers = tuple(
        LayerPrediction(name, 2 * row.macs / (peak * 1e6), row.bytes_moved / (memory * 1e6))
        for name, row in counts.items()
    )
    return Prediction(board, runtime, precision, threads, layers, overhead_us)


def predict_kit(
    kit: str | Path, board: Board, runtime: str = "onnxruntime", *, threads: int = 1, overhead_us: float = 0.0
) -> dict[str, Prediction | str]:
    """Row name (as in the results) -> prediction, or why there is none, for each network that this runtime runs.

    Args: kit: its folder; the others as in ``predict``. The C network's threads are 1.
    Raises: CourseError: the kit is broken, or has no network for this runtime. ValueError: as ``predict``.
    """
    if runtime not in PROCESSOR:
        raise ValueError(f"runtime must be one of {', '.join(PROCESSOR)}, got {runtime!r}")
    built, found = read_kit(kit), {}
    for model in built.manifest.models:
        for precision in _precisions(model, runtime):
            name = row_name({"name": model.name, "runtime": runtime, "precision": precision})
            cores = threads if runtime == "onnxruntime" else 1
            options = {"precision": precision, "threads": cores, "overhead_us": overhead_us}
            try:
                found[name] = predict(_counts(built.path, model), board, runtime, **options)
            except CourseError as error:
                found[name] = error.problem
    if not found:
        raise CourseError(f"the kit has no network for {runtime}", path=built.path, mend="predict another --runtime")
    return found


def _precisions(model: KitModel, runtime: str) -> tuple[str, ...]:
    if runtime not in model.runtimes:
        return ()
    return (model.precision, "fp16") if runtime == "tensorrt" and model.fp16 else (model.precision,)


def _counts(folder: Path, model: KitModel) -> dict[str, LayerCount]:
    """Of an ONNX file its layers; of a C file one layer that holds all, without activations."""
    if model.file.endswith(".onnx"):
        return onnx_layers(folder / model.file)
    if model.macs is None:
        raise CourseError("its MACs are not known", path=folder / model.file)
    parameters = model.parameters or 0
    return {model.name: LayerCount(model.name, "C", parameters, model.macs, (), 4 * parameters, 0)}


def sources(predictions: Mapping[str, Prediction | str]) -> str:
    """Where the numbers behind these predictions are written, one line each."""
    found = [p for p in predictions.values() if isinstance(p, Prediction)]
    peaks = [(p, p.board.peak(p.runtime, p.precision, p.threads)) for p in found]
    lines = [f"{p.precision} peak {three_digits(peak.value)} {peak.unit}: {peak.source}" for p, peak in peaks]
    for p in found:
        memory, cache = p.board.bandwidth, p.board.cache
        lines.append(f"bandwidth {memory.value:g} {memory.unit}: {memory.source}")
        if PROCESSOR[p.runtime] == "cpu":
            lines.append(f"what fits in {cache.value:g} {cache.unit} may stay in the cache: {cache.source}")
    return "\n".join(dict.fromkeys(lines))


def compare(predictions: Mapping[str, Prediction | str], results: Results | None = None) -> str:
    """A table: predicted, and beside it measured where results have come back.

    Args: predictions: row name -> prediction, as ``predict_kit`` gives. results: None: nobody has measured yet.
    Returns: text; a row whose times mean nothing shows why instead. Times of a machine that does not name itself as the
        predicted board stand there without a ratio: it would compare two machines.
    """
    rows = {row_name(row): row for row in results.rows} if results else {}
    other = _other_machine(predictions, results)
    table, notes = [], [other] if other else []
    for name, prediction in predictions.items():
        if isinstance(prediction, str):
            table.append([name, "–", "–", "–", "–"])
            notes.append(f"{name}: no prediction: {prediction}")
            continue
        measured, ratio = "–", "–"
        if results and name in rows and (refused := results.refusals(rows[name])):
            notes.append(f"{name}: not compared: {', '.join(refused)}")
        elif name in rows:
            ms = float(np.median(rows[name]["times_ms"]))
            measured, ratio = three_digits(ms), "–" if other else three_digits(ms / prediction.ms)
            if not other and ms < _ROUNDED * prediction.compute_ms:
                notes.append(f"{name}: faster than the board's peak allows: another network, power mode or board")
        table.append([name, three_digits(prediction.compute_ms), three_digits(prediction.ms), measured, ratio])
    header = ["network", "at least, ms", "roofline, ms", "measured p50, ms", "measured / roofline"]
    where = f"Measured on {results.board}." if results else "Nobody has measured yet: these are predictions."
    return "\n".join([text_table(header, table), "", where, *notes])


def _other_machine(predictions: Mapping[str, Prediction | str], results: Results | None) -> str:
    """Why the results are not the predicted board's, "" if they may be."""
    board = next((p.board for p in predictions.values() if isinstance(p, Prediction)), None)
    model = results.content["device"].get("model") if results else None
    if results is None or board is None or (isinstance(model, str) and board.model in model):
        return ""
    return f"That machine does not name itself {board.model}: no ratio to what is predicted for {board.title}."
