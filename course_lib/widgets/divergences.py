"""Interactive parts of the chapter on KL and cross-entropy: the price of a wrong code, and temperature on signs."""

from __future__ import annotations

from collections.abc import Sequence

import ipywidgets
import numpy as np
from numpy.typing import ArrayLike

from course_lib.plots import CourseFigure, code_price_figure, soft_answers_figure
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


def temperature_explorer(
    images: ArrayLike, logits: ArrayLike, labels: Sequence[int], names: Sequence[str]
) -> ipywidgets.VBox:
    """Choose one of the signs and a temperature: the teacher's answer at T beside the one at T = 1.

    Args: images: (N, 3, H, W); logits: (N, C); labels: N classes; names: C names.
    Raises: ValueError: not one image and one label for each row of logits.
    """
    images, labels = np.asarray(images), np.asarray(labels)
    if not len(images) == len(logits) == len(labels) > 0:
        raise ValueError(f"one image and one label a row: got {len(images)}, {len(labels)} and {len(logits)} rows")

    def draw(sign: int, temperature: float) -> CourseFigure:
        some = slice(sign, sign + 1)
        return soft_answers_figure(images[some], logits[some], labels[some], names, temperatures=(1, temperature))

    options = [(f"{i}: {names[label]}", i) for i, label in enumerate(labels)]
    return figure_panel(
        draw,
        sign=ipywidgets.Dropdown(options=options, value=0, description="sign"),
        temperature=ipywidgets.SelectionSlider(
            options=[0.5, 1, 1.5, 2, 3, 4, 6, 8, 10, 15, 20, 50, 100], value=4, description="T"
        ),
    )


def _normalized(name: str, weights: Sequence[float]) -> np.ndarray:
    values = np.asarray(weights, float)
    if not (values >= 0).all():
        raise ValueError(f"{name} must hold weights ≥ 0, got {values.tolist()}")
    return values / values.sum() if values.sum() else np.full(len(values), 1 / len(values))


def _weight(description: str, value: int) -> ipywidgets.IntSlider:
    return ipywidgets.IntSlider(value=value, min=0, max=16, description=description, continuous_update=False)
