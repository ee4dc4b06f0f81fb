"""The main job as it was recorded, and which of its variants keep a budget."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter

from course_lib.experiments.main_job import MAIN_ROWS
from course_lib.measure.budget import keeps_budget, require_budget
from course_lib.plots.labels import quantity_text
from course_lib.plots.style import COLOURS, CourseFigure, finish, new_figure, styled
from course_lib.plots.variants import HOLLOW, point_style, variant_look

if TYPE_CHECKING:
    from course_lib.measure import Ledger


DATA_TITLES = {"rendered": "rendered signs", "gtsrb": "real signs (GTSRB)"}
FAR = 4.0  # points
FITS, FAILS, SIDE = COLOURS[0], "#BBBBBB", "#888888"


@styled
def recorded_figure(results: Mapping[str, Mapping[str, Any]]) -> CourseFigure:
    """Accuracy (%) over latency (ms, logarithmic) of recorded main jobs, one panel for each data set.

    A line joins the variants from the teacher to the final network (``MAIN_ROWS``); the others stand beside it. Hollow
    points carry a mark, see the record. A variant more than ``FAR`` points below these would squeeze all others: it
    stands on the lower edge, with its number.

    Args:
        results: "rendered", "gtsrb" → a recorded main job, as ``measure.load_result`` gives it.
    Raises: ValueError: no results, or a result without a ledger's rows.
    """
    if not results or not all(result.get("ledger", {}).get("rows") for result in results.values()):
        raise ValueError(f"results must hold at least one recorded ledger with rows, got {list(results)}")
    figure, panels = new_figure(4.2 * len(results) + 2.6, 3.8, len(results))
    words, names = [], list(dict.fromkeys(row["name"] for r in results.values() for row in r["ledger"]["rows"]))
    edges = _accuracy_limits([row for r in results.values() for row in r["ledger"]["rows"]])
    for (key, result), axes in zip(results.items(), np.atleast_1d(panels), strict=True):
        rows = {row["name"]: row for row in result["ledger"]["rows"]}
        line = [(_ms(rows[n]), 100 * rows[n]["accuracy"]["value"]) for n in MAIN_ROWS if n in rows]
        axes.plot(*zip(*line, strict=True), color=SIDE, linewidth=1, zorder=1)
        for name, row in rows.items():
            _recorded_point(axes, row, names.index(name), edges[0])
        axes.set_xscale("log")
        axes.xaxis.set_major_formatter(FuncFormatter(lambda ms, _: f"{ms:g}"))
        axes.margins(x=0.12)
        axes.set_ylim(*edges)
        title, cpu = DATA_TITLES.get(key, key), result.get("machine", {}).get("cpu")
        pace = next(iter(rows.values()))["times"][0]["cadence"]
        axes.set(
            xlabel=f"latency p50, ms (batch 1, one thread, {pace})",
            ylabel="accuracy on test images, %",
            title=f"{title}\n{cpu}" if cpu else title,
        )
        points = (f"{name} {100 * row['accuracy']['value']:.1f} % at {_ms(row):.3g} ms" for name, row in rows.items())
        words.append(f"{title}: {', '.join(points)}")
    handles = {handle.get_label(): handle for axes in np.atleast_1d(panels) for handle in axes.collections}
    marked = any(row.get("marks") for r in results.values() for row in r["ledger"]["rows"])
    title = HOLLOW if marked else None
    figure.legend([handles[name] for name in names], names, loc="outside right upper", title=title, alignment="left")
    return finish(figure, alt=f"Accuracy over latency, from the teacher to the final network. {'. '.join(words)}.")


def _ms(row: Mapping[str, Any]) -> float:
    """Median latency in the first cadence of a recorded row, ms."""
    return row["times"][0]["p50_ms"]


def _accuracy_limits(rows: Sequence[Mapping[str, Any]]) -> tuple[float, float]:
    """Lower and upper end of the accuracy axis in %: all rows, but none that lies far below the main ones."""
    main = [row for row in rows if row["name"] in MAIN_ROWS] or rows
    lowest = min(100 * row["accuracy"]["value"] for row in main)
    near = [row for row in rows if 100 * row["accuracy"]["value"] >= lowest - FAR]
    low = min(100 * row["accuracy"]["low"] for row in near)
    high = max(100 * row["accuracy"]["high"] for row in near)
    return low - 0.15 * (high - low) - 0.1, high + 0.05 * (high - low) + 0.1


def _recorded_point(axes: Axes, row: Mapping[str, Any], index: int, edge: float) -> None:
    """One variant with its interval; on the lower edge, with its number, where it lies below."""
    x, accuracy, colour = _ms(row), row["accuracy"], variant_look(row["name"], index)[0]
    y = 100 * accuracy["value"]
    style = point_style(row["name"], index, marked=bool(row.get("marks")))
    if y < edge:
        text = f"{y:.0f} % ↓"
        axes.annotate(text, (x, edge), (8, 2), textcoords="offset points", va="bottom", color=colour, fontsize=9)
        axes.scatter(x, edge, 60, zorder=3, label=row["name"], clip_on=False, **style)
        return
    bars = [[y - 100 * accuracy["low"]], [100 * accuracy["high"] - y]]
    axes.errorbar(x, y, bars, color=colour, linewidth=1, capsize=2, zorder=2)
    axes.scatter(x, y, 60, zorder=3, label=row["name"], **style)


@styled
def budget_figure(ledger: Ledger, *, latency_ms: float, size_kb: float, accuracy: float) -> CourseFigure:
    """Which variants keep a budget? Latency, size and accuracy of each row, with the three limits as lines.

    Args:
        latency_ms, size_kb, accuracy: the limits, as in ``measure.budget``.
    Raises: ValueError: a limit that is not positive, or an accuracy above 1.
    """
    require_budget(latency_ms, size_kb, accuracy)
    rows = list(ledger)
    fits = [keeps_budget(row, latency_ms=latency_ms, size_kb=size_kb, accuracy=accuracy) for row in rows]
    figure, axes = new_figure(10.0, 0.6 + 0.36 * len(rows) + 0.8, 3)
    floor = min(100 * accuracy, *(100 * row.accuracy.low for row in rows)) - 0.3
    columns = (
        ("latency p50, ms", [row.latency_ms_p50 for row in rows], latency_ms, "≤"),
        ("file, kB", [row.size_bytes / 1000 for row in rows], size_kb, "≤"),
        ("accuracy, %", [100 * row.accuracy.value for row in rows], 100 * accuracy, "≥"),
    )
    for panel, (label, values, limit, sign) in zip(axes, columns, strict=True):
        start = 0 if sign == "≤" else floor
        colours = [FITS if good else FAILS for good in fits]
        panel.barh(range(len(rows)), [v - start for v in values], left=start, color=colours, height=0.65)
        _mark_limit(panel, values, limit, sign)
        if sign == "≥":
            panel.set_xlim(floor, 100 + 0.25 * (100 - floor))
        panel.set_yticks(range(len(rows)), [row.name for row in rows] if panel is axes[0] else [""] * len(rows))
        panel.invert_yaxis()
        panel.set(xlabel=f"{label} ({sign} {limit:.3g})", ylabel="variant" if panel is axes[0] else " ")
    axes[0].set_title(f"Variants within the budget: {sum(fits)} of {len(rows)}")
    names = ", ".join(row.name for row, good in zip(rows, fits, strict=True) if good) or "none"
    budget = f"{latency_ms:.3g} ms, {size_kb:.3g} kB and {100 * accuracy:.1f} %"
    return finish(figure, alt=f"Latency, size and accuracy of {len(rows)} variants. Within {budget}: {names}.")


def _mark_limit(panel: Axes, values: Sequence[float], limit: float, sign: str) -> None:
    """A line at the limit, and each value beside its bar, with a ✗ where it breaks the limit; "≤" is logarithmic."""
    panel.axvline(limit, color=COLOURS[1], linewidth=2)
    if sign == "≤":
        panel.set_xscale("log")
        panel.set_xlim(0.6 * min(*values, limit), 3.5 * max(*values, limit))
        panel.xaxis.set_major_formatter(FuncFormatter(lambda x, _: f"{x:g}"))
    for y, value in enumerate(values):
        bad = value > limit if sign == "≤" else value < limit
        text = quantity_text(value) if sign == "≤" else f"{value:.1f}"
        box = {"facecolor": "white", "alpha": 1.0, "linewidth": 0, "pad": 1}
        panel.annotate(
            text + (" ✗" if bad else ""), (value, y), (4, 0), textcoords="offset points", va="center", fontsize=8,
            bbox=box,
        )  # fmt: skip
