"""The interactive part on pruning: drag the threshold, and watch zeros and accuracy."""

from __future__ import annotations

from collections.abc import Mapping

import ipywidgets
from numpy.typing import ArrayLike

from course_lib.plots import CourseFigure, threshold_figure
from course_lib.plots.arrays import floats
from course_lib.widgets.panel import figure_panel


def pruning_explorer(
    magnitudes: ArrayLike, thresholds: ArrayLike, zeros: Mapping[str, ArrayLike], accuracies: ArrayLike
) -> ipywidgets.VBox:
    """Choose one of the thresholds: the histogram that it cuts, the zeros of each layer, the accuracy that is left.

    Args:
        magnitudes: (N,), |w| of all weights.
        thresholds: (K,), rising.
        zeros: layer → (K,), its fraction below each threshold; "all" for all layers together.
        accuracies: (K,), fractions.
    Raises: ValueError: not one accuracy and one fraction of each layer for every threshold.
    """
    count = len(floats(thresholds))
    lengths = {"accuracies": len(floats(accuracies)), **{name: len(floats(values)) for name, values in zeros.items()}}
    if wrong := [name for name, length in lengths.items() if length != count]:
        raise ValueError(f"{wrong[0]} must have one value a threshold, got {lengths[wrong[0]]} and {count} thresholds")

    def draw(threshold: int) -> CourseFigure:
        return threshold_figure(magnitudes, thresholds, zeros, accuracies, threshold)

    options = [(f"{value:.3f}", i) for i, value in enumerate(floats(thresholds))]
    chosen = ipywidgets.SelectionSlider(
        options=options, value=count // 2, description="threshold", continuous_update=False, layout={"width": "28em"}
    )
    return figure_panel(draw, threshold=chosen)
