"""What distillation gained: methods, settings and regimes, each with its interval."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes

from course_lib.evaluation import Estimate
from course_lib.measure import Measurement
from course_lib.plots.style import COLOURS, MARKERS, CourseFigure, finish, new_figure, styled


@styled
def gains_figure(gains: Mapping[str, Estimate]) -> CourseFigure:
    """One row a method: its gain over the student alone (points) with the 95 % interval, and the line of no gain.

    Args:
        gains: what the row is called → its gain.
    """
    figure, axes = new_figure(7.5, 0.42 * len(gains) + 1.2)
    styles = {"helped": (COLOURS[2], "^"), "hurt": (COLOURS[1], "v"), "not shown": ("#777777", "o")}
    for y, gain in enumerate(gains.values()):
        colour, marker = styles[gain.verdict]
        axes.errorbar(gain.value, y, xerr=_reach(gain), color=colour, marker=marker, markersize=8, capsize=3)
        axes.annotate(
            f"{gain.value:+.1f}", (gain.value, y), (0, 8), textcoords="offset points", ha="center", fontsize=9
        )
    for verdict, (colour, marker) in styles.items():
        axes.plot([], [], marker, color=colour, label=verdict)
    axes.axvline(0, color="#000000", linewidth=1)
    axes.set_yticks(range(len(gains)), list(gains))
    axes.set_ylim(len(gains) - 0.4, -0.8)
    axes.set(xlabel="gain over the student alone, points (bar: 95 % interval over seeds)", ylabel="method")
    axes.grid(visible=False, axis="y")
    figure.legend(loc="outside upper right", ncols=3)
    told = "; ".join(f"{name} {g.value:+.1f} [{g.low:+.1f}, {g.high:+.1f}], {g.verdict}" for name, g in gains.items())
    return finish(figure, alt=f"Gain of each method over the student alone, in points. {told}.")


@styled
def sweep_figure(by_temperature: Mapping[float, Measurement], by_alpha: Mapping[float, Measurement]) -> CourseFigure:
    """Gain over the student alone (points, 95 % interval over seeds) over T (left) and over α (right).

    Args:
        by_temperature, by_alpha: setting → recorded gain with its interval, in any order.
    """
    figure, panels = new_figure(9.0, 3.4, columns=2)
    told = []
    for i, (axes, name, rows) in enumerate(
        zip(panels, ("temperature T", "weight α of the teacher"), (by_temperature, by_alpha), strict=True)
    ):
        at = sorted(rows)
        value, reach = [rows[x].value for x in at], np.hstack([_reach(rows[x]) for x in at])
        axes.errorbar(at, value, yerr=reach, color=COLOURS[i], marker=MARKERS[i], capsize=3)
        axes.axhline(0, color="#000000", linewidth=1)
        axes.set(xlabel=name, ylabel="gain over the student alone, points")
        axes.set_xticks(at, [f"{x:g}" for x in at])
        told.append(f"{name}: " + ", ".join(f"{x:g} → {v:+.1f}" for x, v in zip(at, value, strict=True)))
    panels[0].set_xscale("log", base=2)
    panels[0].set_xticks(sorted(by_temperature), [f"{x:g}" for x in sorted(by_temperature)])
    low, high = zip(*(axes.get_ylim() for axes in panels), strict=True)
    for axes in panels:
        axes.set_ylim(min(low), max(high))
    return finish(figure, alt=f"Gain in points with 95 % intervals over seeds. {'; '.join(told)}.")


@styled
def regimes_figure(results: Mapping[str, Mapping[str, Measurement]]) -> CourseFigure:
    """Test accuracy (%) of the student alone and distilled, all labels and a tenth of them, one panel a data set.

    Args:
        results: data → recorded ``alone_accuracy``, ``soft_targets_accuracy``, and both ``…_tenth_accuracy``; the
            gains, which a wide axis hides, are written beside them.
    """
    figure, panels = new_figure(4.2 * len(results) + 0.6, 2.7, columns=len(results))
    told = []
    for axes, (data, recorded) in zip(np.ravel(panels), results.items(), strict=True):
        for y, part in enumerate(("", "_tenth")):
            pair = [recorded[f"{arm}{part}_accuracy"] for arm in ("alone", "soft_targets")]
            _joined_pair(axes, y, pair)
            gain = f"{pair[1].value - pair[0].value:+.2f}".replace("-", "−")
            axes.annotate(gain, (1.02, y), xycoords=("axes fraction", "data"), va="center", fontsize=9)
            told.append(
                f"{data}, {('all', 'a tenth')[y]}: alone {pair[0].value:.1f} %, distilled {pair[1].value:.1f} %, "
                f"{gain} points"
            )
        axes.set_yticks((0, 1), ("all", "a tenth"))
        axes.set(title=data, xlabel="test accuracy, %", ylabel="labels", ylim=(1.6, -0.6))
        axes.grid(visible=False, axis="y")
    figure.legend(*np.ravel(panels)[0].get_legend_handles_labels(), loc="outside upper right", ncols=2)
    return finish(figure, alt=f"Accuracy of the student, means over seeds with intervals. {'; '.join(told)}.")


def _joined_pair(axes: Axes, y: int, pair: Sequence[Measurement]) -> None:
    """Alone and distilled in one row, each with its interval."""
    axes.plot([f.value for f in pair], [y, y], color="#999999", linewidth=2, zorder=1)
    for i, f in enumerate(pair):
        style = {"color": COLOURS[i], "marker": MARKERS[i], "markersize": 8 - 2 * i, "capsize": 3}
        axes.errorbar(f.value, y, xerr=_reach(f), label=("alone", "distilled")[i] if y == 0 else None, **style)
        put = (0, 10) if i else (0, -18)
        axes.annotate(f"{f.value:.1f}", (f.value, y), put, textcoords="offset points", ha="center", fontsize=9)


def _reach(estimate: Estimate | Measurement) -> np.ndarray:
    """How far the interval reaches below and above the value, (2, 1); 0 where there is none."""
    low = estimate.value if estimate.low is None else estimate.low
    high = estimate.value if estimate.high is None else estimate.high
    return np.array([[estimate.value - low], [high - estimate.value]])
