"""The interactive part on the roofline: the shape of one convolution, and how fast it could run at best."""

from __future__ import annotations

import ipywidgets

from course_lib.measure.roofline import RooflinePoint, attainable_gflops, convolution_intensity
from course_lib.plots import CourseFigure, roofline_figure
from course_lib.widgets.panel import figure_panel


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


def _choice(description: str, options: tuple, value) -> ipywidgets.SelectionSlider:
    return ipywidgets.SelectionSlider(options=options, value=value, description=description)
