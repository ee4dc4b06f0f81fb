"""The interactive part on fusion: which overhead and which bandwidth would explain the time that was saved."""

from __future__ import annotations

import ipywidgets

from course_lib.plots import CourseFigure, saving_figure
from course_lib.widgets.panel import figure_panel, slider


def saving_explorer(
    calls: int, megabytes: float, measured_ms: float, *, overhead_us: float, bandwidth_gbs: float
) -> ipywidgets.VBox:
    """``saving_figure`` with sliders for the overhead of a call (0 … 40 µs) and the bandwidth (1 … 200 GB/s).

    Args: calls, megabytes, measured_ms: as there; overhead_us, bandwidth_gbs: to begin with, moved into the range.
    Raises: ValueError: bandwidth_gbs is not positive.
    """
    if not bandwidth_gbs > 0:
        raise ValueError(f"bandwidth_gbs must be positive, got {bandwidth_gbs}")

    def draw(overhead_us: float, bandwidth_gbs: float) -> CourseFigure:
        return saving_figure(calls, megabytes, overhead_us, bandwidth_gbs, measured_ms)

    return figure_panel(
        draw,
        overhead_us=slider("µs a call", round(min(max(overhead_us, 0.0), 40.0), 1), 0.0, 40.0, 0.1),
        bandwidth_gbs=slider("GB/s", round(min(max(bandwidth_gbs, 1.0), 200.0), 1), 1.0, 200.0, 0.1),
    )
