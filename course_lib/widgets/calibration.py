"""The interactive part on confidence: a threshold below which the network refuses to answer."""

from __future__ import annotations

import ipywidgets
import numpy as np
from numpy.typing import ArrayLike

from course_lib.evaluation import coverage_curve
from course_lib.plots import coverage_figure
from course_lib.widgets.panel import figure_panel, slider


def threshold_explorer(confidence: ArrayLike, right: ArrayLike) -> ipywidgets.VBox:
    """A slider for the confidence below which the network refuses to answer; coverage and accuracy follow.

    Args:
        confidence: (N,), in [0, 1].
        right: (N,), 1 where the answer is right.
    """
    grid = np.linspace(0, 0.995, 200).tolist()
    curve = coverage_curve(confidence, right, grid)
    return figure_panel(
        lambda threshold: coverage_figure(grid, *curve, chosen=threshold),
        threshold=slider("threshold", 0.5, 0.0, 0.995, 0.005),
    )
