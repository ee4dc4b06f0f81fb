"""Times of calls: how they scatter and drift, and the speed-ups that are made of them."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator
from numpy.typing import ArrayLike

from course_lib.evaluation import Estimate
from course_lib.measure import three_digits
from course_lib.measure.simulation import Session
from course_lib.plots.labels import plain_ticks
from course_lib.plots.style import COLOURS, MARKERS, CourseFigure, finish, new_figure, styled

Interval = tuple[float, float, float]  # value, low, high


@styled
def first_calls_figure(times_ms: Mapping[str, ArrayLike]) -> CourseFigure:
    """Time (ms, logarithmic) over the number of the call, one line a variant: the first calls are slow."""
    figure, axes = new_figure(7.0, 3.2)
    parts = []
    for i, (name, values) in enumerate(times_ms.items()):
        ms = np.asarray(values, float)
        axes.plot(np.arange(1, len(ms) + 1), ms, marker=MARKERS[i], markersize=4, color=COLOURS[i], label=name)
        parts.append(f"{name}: first call {ms[0]:.3g} ms, median of the others {np.median(ms[1:]):.3g} ms")
    axes.set_yscale("log")
    plain_ticks(axes.yaxis)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.set_xlabel("number of the call")
    axes.set_ylabel("time of the call, ms")
    axes.set_title("The first call pays for the set-up")
    axes.legend()
    return finish(figure, alt=f"Time of each call over its number. {'; '.join(parts)}.")


@styled
def distribution_figure(times_ms: ArrayLike) -> CourseFigure:
    """Share of calls (%) that took at most t ms (logarithmic), with median, mean and p95."""
    ms = np.sort(np.asarray(times_ms, float))
    figure, axes = new_figure(7.0, 3.6)
    axes.step(ms, 100 * np.arange(1, len(ms) + 1) / len(ms), where="post", color="#666666")
    marks = {"median (p50)": np.median(ms), "mean": ms.mean(), "p95": np.percentile(ms, 95)}
    for i, (name, value) in enumerate(marks.items()):
        below = 100 * float((ms <= value).mean())
        axes.plot(value, below, MARKERS[i], color=COLOURS[i], markersize=9, label=f"{name}: {value:.3g} ms", zorder=3)
    axes.set_xscale("log")
    plain_ticks(axes.xaxis)
    axes.set_ylim(0, 105)
    axes.set_xlabel("time of one call, ms (logarithmic)")
    axes.set_ylabel("calls at most this slow, %")
    axes.set_title("Most calls agree; a few are much slower")
    axes.legend(loc="lower right")
    shown = ", ".join(f"{name} {value:.3g} ms" for name, value in marks.items())
    return finish(figure, alt=f"Cumulative distribution of {len(ms)} call times: {shown}, slowest {ms[-1]:.3g} ms.")


@styled
def drift_figure(blocks: Session, mixed: Session, truth: float) -> CourseFigure:
    """Times (ms) of two variants over the order of calls while the clock drifts: in blocks, and interleaved."""
    figure, panels = new_figure(8.0, 3.4, columns=2)
    parts = []
    for axes, title, session in zip(panels, ("blocks", "interleaved"), (blocks, mixed), strict=True):
        ratio = float(np.median(session.a_ms) / np.median(session.b_ms))
        for i, (name, at, ms) in enumerate((("A", session.a_at, session.a_ms), ("B", session.b_at, session.b_ms))):
            axes.plot(at, ms, MARKERS[i], markersize=3, color=COLOURS[i], label=name)
        axes.set_title(f"{title}: A / B = {ratio:.2f} (truth {truth:g})")
        axes.set_xlabel("place in the order of calls")
        axes.set_ylabel("time of the call, ms")
        axes.set_ylim(0, 1.1 * max(panel.max() for panel in (blocks.a_ms, mixed.a_ms, blocks.b_ms, mixed.b_ms)))
        axes.legend(loc="lower left")
        parts.append(f"{title}: ratio of medians {ratio:.2f}")
    return finish(figure, alt=f"Times of A and B while the clock slows down. {'; '.join(parts)}; truth {truth:g}.")


@styled
def estimates_figure(estimates: Mapping[str, Estimate], truth: float) -> CourseFigure:
    """One row a method: its estimate of the speed-up with its 95 % interval, beside the true value."""
    rows = {method: (e.value, e.low, e.high) for method, e in estimates.items()}
    figure, axes = new_figure(7.5, 2.8)
    _interval_rows(axes, rows)
    axes.axvline(truth, color="#000000", linestyle="--", linewidth=1)
    axes.text(truth, -0.62, f"truth {truth:g}", ha="center", va="bottom")
    axes.set_xlim(
        min(0.5 * truth, *(0.97 * e.low for e in estimates.values())),
        max(1.5 * truth, *(1.03 * e.high for e in estimates.values())),
    )
    axes.set_xlabel("estimated speed-up A / B, × (bar: 95 % interval)")
    parts = "; ".join(f"{method}: {e.value:.2f} [{e.low:.2f}, {e.high:.2f}]" for method, e in estimates.items())
    return finish(figure, alt=f"Estimates of a speed-up whose truth is {truth:g}. {parts}.")


@styled
def speedups_figure(rows: Mapping[str, Interval]) -> CourseFigure:
    """One row a question: the "speed-up" (×, logarithmic) that answers it; a value without width has no interval.

    Args:
        rows: description → (value, low, high).
    """
    figure, axes = new_figure(8.0, 0.45 * len(rows) + 1.2)
    _interval_rows(axes, rows)
    axes.set_xscale("log")
    plain_ticks(axes.xaxis)
    lows, highs = [low for _, low, _ in rows.values()], [high for _, _, high in rows.values()]
    axes.set_xlim(min(lows) / 1.3, max(highs) * 1.6)
    axes.set_xlabel('"times faster", teacher / student, × (logarithmic)')
    axes.set_title("One pair of models, one machine")
    parts = "; ".join(f"{name}: {v:.3g} [{low:.3g}, {high:.3g}]" for name, (v, low, high) in rows.items())
    return finish(figure, alt=f"Speed-up of the same pair of models, measured in {len(rows)} ways. {parts}.")


def _interval_rows(axes: Axes, rows: Mapping[str, Interval]) -> None:
    """Values with their intervals, the first row on top, names as tick labels, numbers beside the points."""
    for y, (value, low, high) in enumerate(rows.values()):
        width = [[max(0.0, value - low)], [max(0.0, high - value)]]
        style = {"color": COLOURS[y % 7], "marker": MARKERS[y % 8], "markersize": 7, "capsize": 3}
        axes.errorbar(value, y, xerr=width if high > low else None, **style)
        axes.annotate(three_digits(value), (value, y), (0, 7), textcoords="offset points", ha="center", fontsize=9)
    axes.set_yticks(range(len(rows)), list(rows))
    axes.set_ylim(len(rows) - 0.4, -0.7)
    axes.set_ylabel("measured as")
    axes.grid(visible=False, axis="y")
