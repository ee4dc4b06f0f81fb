"""The interactive part of chapter 00: three sliders for a budget, and the variants that keep it."""

from __future__ import annotations

import math
from io import BytesIO
from typing import TYPE_CHECKING, Any

from course_lib.plots.journey import budget_figure, keeps_budget

if TYPE_CHECKING:
    from ipywidgets import VBox

    from course_lib.measure import Ledger


def budget_widget(ledger: Ledger, *, latency_ms: float, size_kb: float, accuracy: float) -> VBox:
    """Sliders for latency (ms), size (kB) and accuracy (%), over ``plots.budget_figure`` and one sentence.

    Args:
        ledger: whose rows are sorted into the budget; the sliders' ends lie around its values.
        latency_ms, size_kb, accuracy: where the sliders start; accuracy in [0, 1].
    Raises: ValueError: a start outside what ``budget_figure`` takes.
    """
    import ipywidgets

    rows = list(ledger)
    times, sizes = [row.latency_ms_p50 for row in rows], [row.size_bytes / 1000 for row in rows]
    lowest = min(100 * row.accuracy.value for row in rows)
    style: dict[str, Any] = {"continuous_update": False, "style": {"description_width": "9em"}}
    latency = _log_slider("latency ≤, ms", times, latency_ms, style)
    size = _log_slider("file ≤, kB", sizes, size_kb, style)
    floor = ipywidgets.FloatSlider(
        100 * accuracy, min=math.floor(min(lowest, 100 * accuracy)) - 1, max=100, step=0.1,
        description="accuracy ≥, %", **style,
    )  # fmt: skip
    sentence, picture = ipywidgets.HTML(), ipywidgets.Image(format="png")

    def show(_: Any = None) -> None:
        budget = {"latency_ms": latency.value, "size_kb": size.value, "accuracy": floor.value / 100}
        stream = BytesIO()
        budget_figure(ledger, **budget).savefig(stream, format="png")
        picture.value = stream.getvalue()
        names = [row.name for row in rows if keeps_budget(row, **budget)]
        sentence.value = f"Within the budget: <b>{', '.join(names) or 'none; give a little on one slider'}</b>."

    for slider in (latency, size, floor):
        slider.observe(show, names="value")
    show()
    return ipywidgets.VBox([latency, size, floor, sentence, picture])


def _log_slider(description: str, values: list[float], start: float, style: dict[str, Any]) -> Any:
    import ipywidgets

    low, high = min(*values, start) / 1.5, max(*values, start) * 1.5
    return ipywidgets.FloatLogSlider(
        start, min=math.log10(low), max=math.log10(high), step=0.02, readout_format=".3g", description=description,
        **style,
    )  # fmt: skip
