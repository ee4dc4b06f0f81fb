"""Interactive parts of the chapter on measuring: a benchmark with a known truth, and a layer under the roofline."""

from __future__ import annotations

import ipywidgets
import torch
from torch import nn

from course_lib.measure import count_layers
from course_lib.measure.roofline import RooflinePoint, attainable_gflops
from course_lib.measure.simulation import speedup_estimates
from course_lib.plots import CourseFigure, estimates_figure, roofline_figure
from course_lib.widgets.panel import figure_panel

TRUTH = 2.0


def benchmark_figure(rounds: int, drift: int, interruptions: int, seed: int) -> CourseFigure:
    """Four ways to sum up a simulated benchmark whose true speed-up is 2.

    Args: rounds: calls of each variant; drift: slow-down over the session, %; interruptions: share of calls that are
        interrupted, %; seed: another session of the same kind.
    """
    estimates = speedup_estimates(TRUTH, rounds, drift=drift / 100, interruptions=interruptions / 100, seed=seed)
    return estimates_figure(estimates, TRUTH)


def benchmark_explorer() -> ipywidgets.VBox:
    """``benchmark_figure`` with sliders for rounds, drift, interruptions and seed."""
    return figure_panel(
        benchmark_figure,
        rounds=_slider("rounds", 40, 5, 300, 5),
        drift=_slider("drift, %", 50, 0, 100, 5),
        interruptions=_slider("interrupted, %", 5, 0, 40, 1),
        seed=_slider("seed", 0, 0, 20, 1),
    )


def convolution_intensity(channels: int, size: int, kernel: int, groups: int, batch: int) -> float:
    """FLOP per byte of a same-size convolution without bias: channels → channels, size × size pixels, stride 1.

    Raises: ValueError: groups does not divide channels.
    """
    # On the "meta" device a layer has shapes and no numbers: nothing is computed.
    conv = nn.Conv2d(
        channels, channels, kernel, padding=kernel // 2, groups=groups, bias=False, device=torch.device("meta")
    )
    (row,) = count_layers(conv, (batch, channels, size, size)).values()
    return row.arithmetic_intensity


def layer_roofline_figure(
    peak_gflops: float, bandwidth_gbs: float, channels: int, size: int, kernel: int, kind: str, batch: int
) -> CourseFigure:
    """The roof, and the highest point that one convolution could reach; ``kind`` is "dense" or "depthwise"."""
    groups = channels if kind == "depthwise" else 1
    intensity = convolution_intensity(channels, size, kernel, groups, batch)
    attainable = attainable_gflops(intensity, peak_gflops, bandwidth_gbs)
    point = RooflinePoint(f"{intensity:.3g} FLOP/byte → at most {attainable:.3g} GFLOP/s", intensity, attainable)
    name = f"{kind} {kernel}×{kernel}, {channels} channels, {size}×{size} pixels, batch {batch}"
    return roofline_figure(peak_gflops, bandwidth_gbs, {name: [point]})


def roofline_explorer(peak_gflops: float, bandwidth_gbs: float) -> ipywidgets.VBox:
    """``layer_roofline_figure`` with controls for the convolution's shape, under this machine's two roofs."""
    return figure_panel(
        lambda **shape: layer_roofline_figure(peak_gflops, bandwidth_gbs, **shape),
        channels=_choice("channels", (4, 8, 16, 32, 64, 128, 256), 32),
        size=_choice("pixels", (1, 2, 4, 8, 16, 32, 64), 16),
        kernel=_choice("kernel", (1, 3, 5, 7), 3),
        kind=_choice("kind", ("dense", "depthwise"), "dense"),
        batch=_choice("batch", (1, 4, 16, 64), 1),
    )


def _slider(description: str, value: int, low: int, high: int, step: int) -> ipywidgets.IntSlider:
    return ipywidgets.IntSlider(
        value=value, min=low, max=high, step=step, description=description, continuous_update=False
    )


def _choice(description: str, options: tuple, value) -> ipywidgets.SelectionSlider:
    return ipywidgets.SelectionSlider(options=options, value=value, description=description)
