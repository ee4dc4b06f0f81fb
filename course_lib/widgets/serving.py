"""The interactive part on batches: how many images a call may have before its first one is late."""

from __future__ import annotations

from collections.abc import Mapping
from math import inf

import ipywidgets

from course_lib.plots import CourseFigure, deadline_figure
from course_lib.widgets.panel import figure_panel, slider

RATES = {"all are there": inf, "30 a second": 30.0, "300 a second": 300.0, "3000 a second": 3000.0}


def deadline_explorer(
    lines: Mapping[str, tuple[float, float]], deadline_ms: int = 40, rate: str = "300 a second"
) -> ipywidgets.VBox:
    """``deadline_figure`` over measured lines, with controls for arrivals, deadline and a slower processor.

    Args: lines: name → (a, b) in ms; deadline_ms, rate: what the controls show first, rate a key of ``RATES``.
    """

    def draw(arrivals: str, deadline: int, slower: float) -> CourseFigure:
        scaled = {name: (slower * a, slower * b) for name, (a, b) in lines.items()}
        return deadline_figure(scaled, RATES[arrivals], deadline)

    return figure_panel(
        draw,
        arrivals=ipywidgets.SelectionSlider(options=list(RATES), value=rate, description="arrivals"),
        deadline=slider("deadline, ms", deadline_ms, 5, 200, 5),
        slower=slider("times slower", 1.0, 1.0, 50.0, 0.5),
    )
