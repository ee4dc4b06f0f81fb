"""The interactive part on the main job: three sliders for a budget, and the variants that keep it."""

from __future__ import annotations

import math
from functools import partial
from typing import TYPE_CHECKING

import ipywidgets

from course_lib.measure.budget import require_budget
from course_lib.plots import budget_figure
from course_lib.widgets.panel import figure_panel

if TYPE_CHECKING:
    from course_lib.measure import Ledger

WIDE = {"continuous_update": False, "style": {"description_width": "9em"}, "layout": {"width": "32em"}}


def budget_explorer(ledger: Ledger, *, latency_ms: float, size_kb: float, accuracy: float) -> ipywidgets.VBox:
    """``plots.budget_figure`` with a slider for each limit; the sliders' ends lie around the ledger's values.

    Args:
        latency_ms, size_kb, accuracy: where the sliders start; accuracy in [0, 1].
    Raises: ValueError: a start that ``budget_figure`` does not take.
    """
    require_budget(latency_ms, size_kb, accuracy)  # sliders would move such a start without a word
    rows = list(ledger)
    lowest = min(accuracy, *(row.accuracy.value for row in rows))
    floor = math.floor(100 * lowest) / 100
    return figure_panel(
        partial(budget_figure, ledger),
        latency_ms=_limit("latency ≤, ms", [row.latency_ms_p50 for row in rows], latency_ms),
        size_kb=_limit("file ≤, kB", [row.size_bytes / 1000 for row in rows], size_kb),
        accuracy=ipywidgets.FloatSlider(
            accuracy, min=floor, max=1.0, step=0.001, readout_format=".1%", description="accuracy ≥", **WIDE
        ),
    )


def _limit(description: str, values: list[float], start: float) -> ipywidgets.FloatLogSlider:
    ends = (min(values) / 1.5, max(values) * 1.5, start)
    low, high = math.log10(min(ends)), math.log10(max(ends))
    return ipywidgets.FloatLogSlider(
        start, min=low, max=high, step=0.02, readout_format=".3g", description=description, **WIDE
    )
