"""Why a quantized file is not faster here: what the runtime really executes, and on which processor.

A runtime replaces *dequantize → operator → quantize* by one integer kernel, where it has one and where all pairs are in
place. What it did is seen in the optimized model that ONNX Runtime saves. Where the time goes is seen in its profile.
"""

from __future__ import annotations

import re
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from course_lib.deploy.onnx import node_times_ms
from course_lib.measure.machine import cpu_features, has_dot_product
from course_lib.quantization.doctor.constants import read_constants
from course_lib.quantization.doctor.finding import Finding, finding
from course_lib.quantization.doctor.parts import Part

FLOAT_OPERATORS = {"Conv", "FusedConv", "Gemm", "FusedGemm", "MatMul", "FusedMatMul", "Add", "Sum", "Mul", "ReduceMean"}
FLOAT_OPERATORS |= {"GlobalAveragePool", "AveragePool", "Relu", "Clip", "BatchNormalization", "Sigmoid", "HardSwish"}
MOVERS = {"Transpose", "ReorderInput", "ReorderOutput"}
SMALL_MS = 0.005
"""An operator that takes less is mostly the call itself."""


@dataclass(frozen=True)
class Executed:
    """What the runtime executes.

    Args:
        float_layers: layers, or operators, that were left in float.
        pairs: QuantizeLinear and DequantizeLinear of activations, the images' and the logits' not counted.
        movers: operators that only reorder memory.
        operators: in all.
    """

    float_layers: tuple[str, ...]
    pairs: int
    movers: int
    operators: int


def executed(path: str | Path, parts: Sequence[Part]) -> Executed:
    """Read the model that ONNX Runtime makes of a file. Args: parts: of the file, for the layers' names."""
    import onnx
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    with tempfile.TemporaryDirectory() as folder:
        options.optimized_model_filepath = str(Path(folder) / "optimized.onnx")
        onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
        graph = onnx.load(options.optimized_model_filepath).graph
    constants, names = read_constants(graph), {part.node: part.name for part in parts if part.node}
    moving = [node for node in graph.node if not all(name in constants for name in node.input if name)]
    left = [base_name(node.name) for node in moving if node.op_type in FLOAT_OPERATORS]
    pairs = [node.op_type for node in moving if node.op_type in ("QuantizeLinear", "DequantizeLinear")]
    ends = min(1, pairs.count("QuantizeLinear")) + min(1, pairs.count("DequantizeLinear"))
    return Executed(
        tuple(dict.fromkeys(names.get(name, name) for name in left)),
        len(pairs) - ends,
        sum(node.op_type in MOVERS for node in moving),
        len(moving),
    )


def base_name(node: str) -> str:
    """A node's name before the optimizers added to it.

    >>> base_name("features.0.0:sum_token_2"), base_name("n14_nchwc")
    ('features.0.0:sum', 'n14')
    """
    return re.sub(r"(_token_\d+|_nchwc)+$", "", node)


def speed_findings(path: str | Path, parts: Sequence[Part], image: np.ndarray) -> list[Finding]:
    """Why it is not faster here; nothing for a file without codes.

    Args: path: of the file. parts: of it. image: (1, C, H, W), for the profile.
    """
    rounded = [part for part in parts if part.rounding]
    if not rounded:
        return []
    found, seen = [], executed(path, parts)
    signed = [part for part in rounded if part.rounding and part.rounding.signed]
    share = len(seen.float_layers) / max(1, seen.operators)
    blamed = bool(signed) and re.match("x86|amd64|i.86", str(cpu_features()["architecture"])) is not None
    if blamed:
        left = f"{len(signed)} of {len(rounded)} tensors have int8 codes; "
        left += _few(seen.float_layers) if seen.float_layers else "the runtime shifts them to uint8 here"
        severity = "slow" if seen.float_layers or seen.pairs else "note"
        found.append(finding("signed activations", severity, "", left, 1 + share))
    of_name = {part.name: part for part in parts}
    for name in seen.float_layers:
        missing = _missing(of_name.get(name), parts)
        if missing or not blamed:
            left = f"{missing or 'the runtime has no integer kernel for it'}; {seen.pairs} Quantize/Dequantize "
            found.append(finding("operator in float", "slow", name, left + "operators are executed around such", 1.0))
    if seen.pairs and not seen.float_layers:
        left = f"{seen.pairs} Quantize/Dequantize operators remain in what is executed"
        found.append(finding("pairs not merged", "slow", "", left, seen.pairs / max(1, seen.operators)))
    if not has_dot_product(cpu_features()["isa"]):
        found.append(finding("no 8-bit dot product", "note", "", f"{cpu_features()['model']} has none", 1.0))
    return found + _profile_notes(path, image)


def _few(names: Sequence[str]) -> str:
    told = ", ".join(names[:3]) + (", …" if len(names) > 3 else "")
    return f"{len(names)} operators stay in float ({told})"


def _missing(part: Part | None, parts: Sequence[Part]) -> str:
    """What of a layer is not rounded to codes; "" if nothing is missing."""
    if part is None:
        return "no layer of the file"
    missing = [f"what it reads from {parts[source].name}" for source in part.sources if not parts[source].rounding]
    missing += ["its weights"] if part.weight is not None and part.weight.codes is None else []
    missing += [] if part.rounding else ["its result"]
    if missing:
        return f"not rounded to codes: {', '.join(missing)}"
    if part.relu and part.rounding and part.rounding.ends[0] < 0 and not part.rounding.signed:
        return "its ReLU cannot become the clamp of its codes, whose range begins below 0"
    return ""


def _profile_notes(path: str | Path, image: np.ndarray) -> list[Finding]:
    times = node_times_ms(path, image, threads=1, warmup=5, repeats=20)
    total = sum(ms for _, ms in times.values())
    if total <= 0:
        return []
    found = []
    small = [ms for _, ms in times.values() if ms < SMALL_MS]
    if len(small) > len(times) / 2:
        text = f"{len(small)} of {len(times)} operators take less than {1000 * SMALL_MS:.0f} µs"
        found.append(finding("small layers", "note", "", text, sum(small) / total))
    moved = sum(ms for kind, ms in times.values() if kind in MOVERS) / total
    if moved > 0.02:
        found.append(finding("reordering", "note", "", f"{moved:.0%} of the profile's time only moves numbers", moved))
    return found
