"""The interactive part on divergences: two distributions, and the price of the wrong code for each."""

from __future__ import annotations

from collections.abc import Sequence

import ipywidgets
import numpy as np

from course_lib.plots import CourseFigure, code_price_figure
from course_lib.widgets.panel import figure_panel

SIGNS = ("30", "50", "80", "stop")
HAPPENS, EXPECTED = (4, 2, 1, 1), (1, 1, 2, 4)


def weights_figure(happens: Sequence[float], expected: Sequence[float], names: Sequence[str]) -> CourseFigure:
    """``code_price_figure`` of weights that need not sum to 1; all zero counts as all alike."""
    return code_price_figure(_normalized("happens", happens), _normalized("expected", expected), names)


def divergence_explorer(names: Sequence[str] = SIGNS) -> ipywidgets.VBox:
    """Eight sliders, a weight for each outcome in p and in q: watch H, KL and CE of the two in bits."""
    sliders = {f"p{i}": _weight(f"p: {name}", HAPPENS[i % 4]) for i, name in enumerate(names)}
    sliders |= {f"q{i}": _weight(f"q: {name}", EXPECTED[i % 4]) for i, name in enumerate(names)}

    def draw(**weights: float) -> CourseFigure:
        values = list(weights.values())
        return weights_figure(values[: len(names)], values[len(names) :], names)

    return figure_panel(draw, **sliders)


def _normalized(name: str, weights: Sequence[float]) -> np.ndarray:
    values = np.asarray(weights, float)
    if not (values >= 0).all():
        raise ValueError(f"{name} must hold weights ≥ 0, got {values.tolist()}")
    return values / values.sum() if values.sum() else np.full(len(values), 1 / len(values))


def _weight(description: str, value: int) -> ipywidgets.IntSlider:
    return ipywidgets.IntSlider(value=value, min=0, max=16, description=description, continuous_update=False)
