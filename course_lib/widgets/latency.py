"""The interactive part on latency: a simulated benchmark whose truth is known, and four ways to sum it up."""

from __future__ import annotations

import ipywidgets

from course_lib.measure.simulation import speedup_estimates
from course_lib.plots import CourseFigure, estimates_figure
from course_lib.widgets.panel import figure_panel

TRUTH = 2.0


def benchmark_figure(rounds: int, drift: int, interruptions: int, seed: int) -> CourseFigure:
    """Four ways to sum up a simulated benchmark whose true speed-up is 2.

    Args:
        rounds: calls of each variant.
        drift: slow-down over the session, %.
        interruptions: share of calls that are interrupted, %.
        seed: another session of the same kind.
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


def _slider(description: str, value: int, low: int, high: int, step: int) -> ipywidgets.IntSlider:
    return ipywidgets.IntSlider(
        value=value, min=low, max=high, step=step, description=description, continuous_update=False
    )
