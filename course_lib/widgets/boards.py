"""The interactive part on boards: a network, where it would run, and an assumption about starting a layer."""

from __future__ import annotations

from collections.abc import Mapping

import ipywidgets

from course_lib.deploy.edge import BOARDS, predict
from course_lib.measure import LayerCount, three_digits
from course_lib.plots import CourseFigure, least_times_figure
from course_lib.widgets.panel import figure_panel, slider

Place = tuple[str, str, str, int]
PLACES: dict[str, Place] = {
    "Nano, one core, FP32": ("nano", "onnxruntime", "fp32", 1),
    "Nano, four cores, FP32": ("nano", "onnxruntime", "fp32", 4),
    "Nano, GPU, FP32": ("nano", "tensorrt", "fp32", 1),
    "Nano, GPU, FP16": ("nano", "tensorrt", "fp16", 1),
    "Orin Nano, one core, FP32": ("orin_nano", "onnxruntime", "fp32", 1),
    "Orin Nano, one core, INT8": ("orin_nano", "onnxruntime", "int8", 1),
    "Orin Nano, GPU, FP16": ("orin_nano", "tensorrt", "fp16", 1),
    "Orin Nano, GPU, INT8": ("orin_nano", "tensorrt", "int8", 1),
}
"""Where a network can run -> board, runtime, precision, threads."""


def board_prediction_figure(
    network: str, layers: Mapping[str, LayerCount], place: str, overhead_us: float
) -> CourseFigure:
    """A network's layers on a board, by its documented peaks: predicted, not measured.

    Args:
        network: its name.
        layers: as ``onnx_layers`` gives them.
        place: a key of ``PLACES``.
        overhead_us: assumed for starting each layer, ≥ 0.
    Raises: ValueError: an unknown place, no layers, or a negative overhead.
    """
    if place not in PLACES:
        raise ValueError(f"place must be one of {', '.join(PLACES)}, got {place!r}")
    board, runtime, precision, threads = PLACES[place]
    found = predict(layers, BOARDS[board], runtime, precision=precision, threads=threads, overhead_us=overhead_us)
    times = {one.name: (1000 * one.compute_ms, 1000 * one.memory_ms, overhead_us) for one in found.layers}
    title = f"{network}, {place}: {three_digits(found.ms)} ms predicted"
    return least_times_figure(times, title)


def board_explorer(networks: Mapping[str, Mapping[str, LayerCount]]) -> ipywidgets.VBox:
    """Choose network and place, and drag what starting a layer may take; see ``board_prediction_figure``.

    Args: networks: name → layers, as ``onnx_layers`` gives them.
    Raises: ValueError: no network, or one without layers.
    """
    if not networks or not all(networks.values()):
        raise ValueError("networks must hold at least one, each with layers")
    return figure_panel(
        lambda network, place, overhead_us: board_prediction_figure(network, networks[network], place, overhead_us),
        network=_dropdown("network", networks),
        place=_dropdown("runs on", PLACES),
        overhead_us=slider("µs to start", 0.0, 0.0, 20.0, 1.0),
    )


def _dropdown(description: str, options: Mapping) -> ipywidgets.Dropdown:
    return ipywidgets.Dropdown(
        options=list(options), description=description,
        style={"description_width": "8em"}, layout={"width": "28em"},
    )  # fmt: skip
