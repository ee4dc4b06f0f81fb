"""README's tables of fusion, of runtimes side by side, and the line on the kit for a board."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from course_lib.evaluation import Estimate
from course_lib.measure import Measurement, load_result
from course_lib.measure.tables import markdown_table
from course_lib.publishing.numbers import number_and_target, number_text, shortfall
from course_lib.storage.files import RESULTS

STEPS = {
    "aa": "A/A: the untouched network again",
    "channels_last": "channels last, nothing fused",
    "folded": "BatchNorm folded",
    "one_kernel_not_packed": "… and activations in the convolution's kernel",
    "packed": "weights packed once, nothing fused",
    "packed_folded": "packed and folded",
    "fused": "packed and all fused",
    "fusion_alone": "all fused beside packed",
}
NETWORKS = {"teacher": "teacher", "student": "student", "resnet18": "ResNet-18, 64 px"}
BATCHES = (1, 32)
CADENCES = ("back to back", "30 a second")


def fusion_table(folder: str | Path = RESULTS) -> str:
    """One row a step of the fusion, one column a network and batch: times faster than untouched eager PyTorch.

    Raises: CourseError: the recorded file is missing or broken.
    """
    figures = load_result("fusion", folder)["figures"]
    columns = [(name, batch) for name in NETWORKS for batch in BATCHES]
    header = ["times faster in eager mode", *(f"{NETWORKS[name]}, batch {batch}" for name, batch in columns)]
    rows = []
    for step, words in STEPS.items():
        cells = [_fusion_figure(figures, name, batch, step) for name, batch in columns]
        rows.append([words, *("–" if cell is None else number_and_target(cell) for cell in cells)])
    error = figures["traffic_prediction_error"]
    line = f"Predicted saving of calls and bytes, teacher, batch 1: off by {number_text(error, 0)} of what was measured"
    if short := shortfall(error):
        line += f" (target {error.target}: {short})"
    return "\n".join([markdown_table(header, rows), "", f"{line}."])


def _fusion_figure(figures: Mapping[str, Measurement], network: str, batch: int, step: str) -> Measurement | None:
    if (network, batch, step) == ("teacher", 1, "fused"):
        return figures.get("fusion_speedup")
    return figures.get(f"{network}_{batch}_{step}")


def runtimes_table(folder: str | Path = RESULTS) -> str:
    """One row a network and runtime: version, ms and times faster than eager in both cadences, agreement.

    Raises: CourseError: the recorded file is missing or broken.
    """
    result = load_result("runtimes", folder)
    header = ["network", "runtime", "version"]
    for cadence in CADENCES:
        header += [f"ms, {cadence}", f"× faster, {cadence}"]
    rows = [_runtime_row(row) for row in result["rows"]]
    best = {name[len("best_over_eager_") :]: f for name, f in result["figures"].items() if name.startswith("best_over")}
    told = "; ".join(f"{name} {number_and_target(figure)}" for name, figure in best.items())
    overhead = number_and_target(result["figures"]["session_overhead"])
    absent = ", ".join(result["absent"]) or "none"
    lines = [
        f"Fastest row of those that agree on at least 99.5 % of the images, beside eager: {told}.",
        f"Our callable adds {overhead} per cent to ONNX Runtime's own call. Absent where this was recorded: {absent}.",
    ]
    return "\n".join([markdown_table([*header, "same class as eager, %"], rows), "", *lines])


def _runtime_row(row: Mapping[str, Any]) -> list[str]:
    cells = [row["network"], row["row"], row["version"]]
    for cadence in CADENCES:
        times = row["times"][cadence]
        faster = times["faster_than_eager"]
        cells.append(f"{times['ms']:.3f}")
        cells.append("–" if faster is None else _interval(Estimate(**faster)))
    return [*cells, f"{100 * row['agreement']['value']:.2f}"]


def _interval(ratio: Estimate) -> str:
    return f"{ratio.value:.2f} [{ratio.low:.2f}, {ratio.high:.2f}]"


def kit_line(folder: str | Path = RESULTS) -> str:
    """One sentence: bytes of the kit, seconds to build it, networks right on the emulated board, the old Python.

    Raises: CourseError: the recorded file is missing or broken.
    """
    result = load_result("edge_kit", folder)
    figures = result["figures"]
    size, seconds = figures["kit_mb"].value, figures["build_seconds"].value
    right, total = figures["models_correct_emulated"].value, figures["models_total"].value
    return (
        f"The kit has {size:.1f} MB and was built in {seconds:.0f} s; {right:g} of its {total:g} networks give the "
        "reference's outputs on an emulated Cortex-A57 with ONNX Runtime 1.10; on Python 3.6: "
        f"{result['python36']}. No board has measured it yet."
    )
