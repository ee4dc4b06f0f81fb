"""Figures of chapter 00: an answer in bars, temperature, the recorded ladder, a budget, and the map of the course."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.patches import FancyArrowPatch, FancyBboxPatch
from matplotlib.ticker import FuncFormatter

from course_lib.plots.style import COLOURS, MARKERS, CourseFigure, finish, new_figure, styled

if TYPE_CHECKING:
    from course_lib.measure import Ledger, Row

# The rungs that lead from the teacher to what is shipped; all other rows stand beside this path.
LADDER = ("teacher FP32", "student distilled FP32", "student pruned FP32", "student pruned INT8")
DATA_TITLES = {"rendered": "rendered signs", "gtsrb": "real signs (GTSRB)"}
FAR = 4.0
FITS, FAILS, SIDE = COLOURS[0], "#BBBBBB", "#888888"


@styled
def answer_figure(
    image: np.ndarray, answers: Mapping[str, np.ndarray], class_names: Sequence[str], *, top: int = 3
) -> CourseFigure:
    """A sign, and the ``top`` classes that each network gives the most probability, as bars.

    Args:
        image: (3, H, W), uint8. answers: network → probabilities (C,), summing to 1. class_names: C names.
    Raises: ValueError: probabilities that are not (C,) or do not sum to 1.
    """
    for name, p in answers.items():
        if np.shape(p) != (len(class_names),) or not np.isclose(np.sum(p), 1, atol=1e-3):
            raise ValueError(f"{name!r} must give {len(class_names)} probabilities that sum to 1, got {np.shape(p)}")
    figure, axes = new_figure(3.0 + 3.6 * len(answers), 1.9, 1 + len(answers))
    axes[0].imshow(image.transpose(1, 2, 0))
    axes[0].set_axis_off()
    words = []
    for i, (name, p) in enumerate(answers.items()):
        best = np.argsort(p)[::-1][:top]
        panel = axes[i + 1]
        panel.barh(range(top), 100 * p[best], color=COLOURS[i], height=0.6)
        panel.set_yticks(range(top), [_short(class_names[c]) for c in best])
        panel.invert_yaxis()
        panel.set_xlim(0, 118)
        panel.set_xticks((0, 50, 100))
        for y, c in enumerate(best):
            panel.text(100 * p[c] + 2, y, percent(p[c]), va="center", fontsize=9)
        panel.set(xlabel="probability, %", ylabel="class", title=name)
        words.append(f"{name}: " + ", ".join(f"{class_names[c]} {percent(p[c])}" for c in best))
    return finish(figure, alt=f"A traffic sign and the first {top} answers of each network. {'; '.join(words)}.")


@styled
def temperature_figure(logits: Sequence[float], names: Sequence[str], temperatures: Sequence[float]) -> CourseFigure:
    """softmax(z/T) of the same logits at several temperatures, one panel each."""
    z = np.asarray(logits, dtype=float)
    figure, axes = new_figure(3.2 * len(temperatures), 2.5, len(temperatures))
    words = []
    for i, (temperature, panel) in enumerate(zip(temperatures, np.atleast_1d(axes), strict=True)):
        p = np.exp((z - z.max()) / temperature)
        p /= p.sum()
        panel.bar(range(len(z)), 100 * p, color=COLOURS[i], width=0.6)
        panel.set_xticks(range(len(z)), names)
        panel.set_ylim(0, 112)
        for x, value in enumerate(p):
            panel.text(x, 100 * value + 2, percent(value), ha="center", fontsize=9)
        panel.set(xlabel="class", ylabel="probability, %", title=f"T = {temperature:g}")
        words.append(f"T = {temperature:g}: " + ", ".join(f"{n} {percent(v)}" for n, v in zip(names, p, strict=True)))
    return finish(figure, alt=f"The teacher's probabilities soften as the temperature grows. {'; '.join(words)}.")


@styled
def recorded_figure(results: Mapping[str, Mapping[str, Any]]) -> CourseFigure:
    """Accuracy (%) over latency (ms, logarithmic) of recorded main jobs, one panel for each data set.

    A line joins the rungs from the teacher to the final network; hollow points stand beside that path. A rung more
    than ``FAR`` points below that path would squeeze all others: it stands on the lower edge, with its number.
    Args:
        results: "rendered", "gtsrb" → the content of ``journey_<key>.json`` (``measure.load_result``).
    Raises: ValueError: no results, or a result without a ledger's rows.
    """
    if not results or not all(result.get("ledger", {}).get("rows") for result in results.values()):
        raise ValueError(f"results must hold at least one recorded ledger with rows, got {list(results)}")
    figure, panels = new_figure(4.2 * len(results) + 2.6, 3.8, len(results))
    words, names = [], list(dict.fromkeys(row["name"] for r in results.values() for row in r["ledger"]["rows"]))
    edges = _accuracy_limits([row for r in results.values() for row in r["ledger"]["rows"]])
    for (key, result), axes in zip(results.items(), np.atleast_1d(panels), strict=True):
        rows = {row["name"]: row for row in result["ledger"]["rows"]}
        path = [(rows[n]["latency_ms_p50"], 100 * rows[n]["accuracy"]["value"]) for n in LADDER if n in rows]
        axes.plot(*zip(*path, strict=True), color=SIDE, linewidth=1, zorder=1)
        for name, row in rows.items():
            _recorded_point(axes, row, names.index(name), edges[0], on_path=name in LADDER)
        axes.set_xscale("log")
        axes.xaxis.set_major_formatter(FuncFormatter(lambda ms, _: f"{ms:g}"))
        axes.margins(x=0.12)
        axes.set_ylim(*edges)
        title = DATA_TITLES.get(key, key)
        axes.set(xlabel="latency p50, ms (batch 1, one thread)", ylabel="accuracy on test images, %", title=title)
        points = (
            f"{name} {100 * row['accuracy']['value']:.1f} % at {row['latency_ms_p50']:.3g} ms"
            for name, row in rows.items()
        )
        words.append(f"{title}: {', '.join(points)}")
    handles = {handle.get_label(): handle for axes in np.atleast_1d(panels) for handle in axes.collections}
    figure.legend([handles[name] for name in names], names, loc="outside right upper")
    return finish(figure, alt=f"Accuracy over latency, from the teacher to the final network. {'. '.join(words)}.")


@styled
def budget_figure(ledger: Ledger, *, latency_ms: float, size_kb: float, accuracy: float) -> CourseFigure:
    """Which variants keep a budget? Latency, size and accuracy of each row, with the three limits as lines.

    Args:
        latency_ms: p50 allowed, ms. size_kb: bytes allowed, in kB of 1000 bytes. accuracy: floor, in [0, 1].
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
        logarithmic = sign == "≤"
        start = 0 if logarithmic else floor
        colours = [FITS if good else FAILS for good in fits]
        panel.barh(range(len(rows)), [v - start for v in values], left=start, color=colours, height=0.65)
        panel.axvline(limit, color=COLOURS[1], linewidth=2)
        if logarithmic:
            panel.set_xscale("log")
            panel.set_xlim(0.6 * min(*values, limit), 3.5 * max(*values, limit))
            panel.xaxis.set_major_formatter(FuncFormatter(lambda x, _: f"{x:g}"))
        else:
            panel.set_xlim(floor, 100 + 0.25 * (100 - floor))
        for y, value in enumerate(values):
            bad = value > limit if sign == "≤" else value < limit
            text = quantity_text(value) if logarithmic else f"{value:.1f}"
            box = {"facecolor": "white", "alpha": 0.85, "linewidth": 0, "pad": 1}
            panel.annotate(
                text + (" ✗" if bad else ""), (value, y), (4, 0), textcoords="offset points", va="center", fontsize=8,
                bbox=box,
            )  # fmt: skip
        panel.set_yticks(range(len(rows)), [row.name for row in rows] if panel is axes[0] else [""] * len(rows))
        panel.invert_yaxis()
        panel.set(xlabel=f"{label} ({sign} {limit:.3g})", ylabel="variant" if panel is axes[0] else " ")
    axes[0].set_title(f"{sum(fits)} of {len(rows)} variants keep the budget")
    names = ", ".join(row.name for row, good in zip(rows, fits, strict=True) if good) or "none"
    budget = f"{latency_ms:.3g} ms, {size_kb:.3g} kB and {100 * accuracy:.1f} %"
    return finish(figure, alt=f"Latency, size and accuracy of {len(rows)} variants. Within {budget}: {names}.")


def require_budget(latency_ms: float, size_kb: float, accuracy: float) -> None:
    """Raise ValueError unless latency and size are positive and the accuracy is a fraction."""
    if not (latency_ms > 0 and size_kb > 0 and 0 <= accuracy <= 1):
        raise ValueError(
            "latency_ms and size_kb must be positive and accuracy in [0, 1], "
            f"got {latency_ms}, {size_kb} and {accuracy}"
        )


def keeps_budget(row: Row, *, latency_ms: float, size_kb: float, accuracy: float) -> bool:
    """Whether a ledger's row is fast, small (kB of 1000 bytes) and right enough, each limit included."""
    return row.latency_ms_p50 <= latency_ms and row.size_bytes <= 1000 * size_kb and row.accuracy.value >= accuracy


@styled
def course_map_figure(parts: Mapping[str, Sequence[Any]], written: Sequence[str]) -> CourseFigure:
    """The course as a map: one column a part, one box a chapter, arrows in the order of reading.

    Args:
        parts: part → chapters (``curriculum.PARTS``). written: numbers of the chapters that exist, drawn filled.
    """
    height = max(len(chapters) for chapters in parts.values())
    figure, axes = new_figure(10.0, 0.52 * height + 0.8)
    axes.set_axis_off()
    axes.set(xlim=(0, len(parts)), ylim=(-height - 0.1, 0.75))
    for column, (part, chapters) in enumerate(parts.items()):
        axes.text(column + 0.46, 0.32, part, ha="center", fontsize=11, fontweight="bold")
        for row, chapter in enumerate(chapters):
            there = chapter.number in written
            box = FancyBboxPatch(
                (column + 0.04, -row - 0.72), 0.84, 0.66, boxstyle="round,pad=0,rounding_size=0.06",
                facecolor=COLOURS[0] if there else "white", edgecolor=COLOURS[0] if there else SIDE,
            )  # fmt: skip
            axes.add_patch(box)
            label = f"{chapter.number}  {chapter.topic.replace('_', ' ')}"
            colour = "white" if there else "#333333"
            axes.text(column + 0.46, -row - 0.39, _wrapped(label), ha="center", va="center", fontsize=8, color=colour)
            if row + 1 < len(chapters):
                _arrow(axes, (column + 0.46, -row - 0.72), (column + 0.46, -row - 1.06))
        if column + 1 < len(parts):
            _arrow(axes, (column + 0.89, 0.4), (column + 1.05, 0.4))
    words = "; ".join(f"{part}: {', '.join(c.number for c in chapters)}" for part, chapters in parts.items())
    alt = f"Map of the course, part by part. {words}. Written so far: {', '.join(written) or 'none'}."
    return finish(figure, alt=alt)


def quantity_text(value: float) -> str:
    """Three significant digits without an exponent: 0.115, 88.4, 5,710."""
    return f"{float(f'{value:.3g}'):,.0f}" if value >= 100 else f"{value:.3g}"


def percent(p: float) -> str:
    """A probability for a label: "97 %", "<1 %" and ">99 %" where rounding would claim certainty."""
    if 0 < p < 0.005:
        return "<1 %"
    return ">99 %" if 0.995 <= p < 1 else f"{100 * p:.0f} %"


def _accuracy_limits(rows: Sequence[Mapping[str, Any]]) -> tuple[float, float]:
    """Lower and upper end of the accuracy axis in %: all rows, but none that lies far below the ladder's."""
    ladder = [row for row in rows if row["name"] in LADDER] or rows
    lowest = min(100 * row["accuracy"]["value"] for row in ladder)
    near = [row for row in rows if 100 * row["accuracy"]["value"] >= lowest - FAR]
    low = min(100 * row["accuracy"]["low"] for row in near)
    high = max(100 * row["accuracy"]["high"] for row in near)
    return low - 0.15 * (high - low) - 0.1, high + 0.05 * (high - low) + 0.1


def _recorded_point(axes: Any, row: Mapping[str, Any], index: int, edge: float, *, on_path: bool) -> None:
    x, accuracy, colour = row["latency_ms_p50"], row["accuracy"], COLOURS[index % 7]
    y = 100 * accuracy["value"]
    style = {"marker": MARKERS[index % 8], "edgecolor": colour, "facecolor": colour if on_path else "white"}
    if y < edge:
        text = f"{y:.0f} % ↓"
        axes.annotate(text, (x, edge), (8, 2), textcoords="offset points", va="bottom", color=colour, fontsize=9)
        axes.scatter(x, edge, 60, linewidth=1.5, zorder=3, label=row["name"], clip_on=False, **style)
        return
    bars = [[y - 100 * accuracy["low"]], [100 * accuracy["high"] - y]]
    axes.errorbar(x, y, bars, color=colour, linewidth=1, capsize=2, zorder=2)
    axes.scatter(x, y, 60, linewidth=1.5, zorder=3, label=row["name"], **style)


def _arrow(axes: Any, start: tuple[float, float], end: tuple[float, float]) -> None:
    axes.add_patch(FancyArrowPatch(start, end, arrowstyle="-|>", mutation_scale=9, color=SIDE, shrinkA=0, shrinkB=0))


def _short(name: str, longest: int = 26) -> str:
    return name if len(name) <= longest else name[: longest - 1] + "…"


def _wrapped(label: str, longest: int = 20) -> str:
    import textwrap

    return "\n".join(textwrap.wrap(label, longest))
