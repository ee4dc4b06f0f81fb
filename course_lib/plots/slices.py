"""Where a network errs: accuracy slice by slice, and which class it takes for which."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
from matplotlib.colors import LogNorm
from numpy.typing import ArrayLike

from course_lib.plots.compact import compact_figure
from course_lib.plots.style import COLOURS, MARKERS, CourseFigure, finish, styled

if TYPE_CHECKING:
    from course_lib.evaluation import Estimate


@styled
def slice_figure(slices: Mapping[str, Mapping[str, Estimate]], overall: Estimate) -> CourseFigure:
    """Accuracy with its 95 % interval in every slice of every axis, and the whole set's as a line."""
    rows = [(axis, name, score) for axis, found in slices.items() for name, score in found.items()]
    figure, axes = compact_figure(8.0, 0.9 + 0.2 * (len(rows) + len(slices)))
    y, ticks, labels = 0.0, [], []
    for i, (axis, found) in enumerate(slices.items()):
        axes.text(0.01, y - 0.1, axis, transform=axes.get_yaxis_transform(), weight="bold", fontsize=9)
        for name, score in found.items():
            y += 1
            value, low, high = 100 * score.value, 100 * score.low, 100 * score.high
            axes.errorbar(
                value, y, xerr=[[max(0, value - low)], [max(0, high - value)]], color=COLOURS[i % 7],
                marker=MARKERS[i % 8], capsize=2, markersize=5, linewidth=1.2,
            )  # fmt: skip
            ticks.append(y)
            labels.append(f"{name}  (n = {score.n:,})")
        y += 1.3
    axes.axvline(100 * overall.value, color="black", linewidth=1, linestyle="--")
    axes.set_yticks(ticks, labels, fontsize=8)
    axes.set_ylim(y - 0.5, -1)
    axes.grid(axis="y", visible=False)
    axes.set(xlabel="accuracy, % (bar: 95 % interval over signs; dashed: all test images)", ylabel="slice")
    worst = min(rows, key=lambda row: row[2].value)
    told = "; ".join(f"{axis}, {name}: {100 * score.value:.1f} %" for axis, name, score in rows)
    alt = f"Accuracy by slice. Lowest: {worst[0]}, {worst[1]}. {told}. All: {100 * overall.value:.1f} %."
    return finish(figure, alt=alt)


@styled
def confusion_figure(counts: ArrayLike, names: Sequence[str], *, title: str) -> CourseFigure:
    """Confusion counts, rows true and columns predicted; the colour shows the row's fraction, logarithmically.

    Args:
        counts: (R, C), as ``evaluation.confusion_matrix`` gives them.
        names: C names, the first R of them also of the rows.
        title: what is shown.
    """
    counts = np.asarray(counts)
    fractions = counts / np.maximum(counts.sum(1, keepdims=True), 1)
    figure, axes = compact_figure(1.6 + 0.55 * counts.shape[1], 1.2 + 0.42 * len(counts))
    shown = np.ma.masked_equal(100 * fractions, 0)
    axes.imshow(shown, cmap="cividis", norm=LogNorm(0.1, 100), aspect="auto")
    for (i, j), count in np.ndenumerate(counts):
        if count:
            dark = fractions[i, j] < 0.05
            axes.text(j, i, f"{count}", ha="center", va="center", fontsize=8, color="white" if dark else "black")
    axes.grid(visible=False)
    axes.set_xticks(range(counts.shape[1]), names)
    axes.set_yticks(range(len(counts)), names[: len(counts)])
    axes.set(xlabel="predicted (colour: share of the row, logarithmic)", ylabel="true", title=title)
    wrong = [(counts[i, j], names[i], names[j]) for i, j in np.ndindex(counts.shape) if i != j and counts[i, j]]
    top = ", ".join(f"{a} called {b} {n} times" for n, a, b in sorted(wrong, reverse=True)[:3])
    return finish(figure, alt=f"Confusion matrix of {len(counts)} true classes. Most frequent errors: {top or 'none'}.")
