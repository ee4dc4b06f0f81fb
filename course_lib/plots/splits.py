"""What a split promises and what a choice on the test part costs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike

from course_lib.plots.compact import compact_figure
from course_lib.plots.style import COLOURS, MARKERS, CourseFigure, finish, styled

if TYPE_CHECKING:
    from course_lib.experiments.split_discipline import SplitScore


@styled
def split_figure(scores: Sequence[SplitScore]) -> CourseFigure:
    """Each student's score on its own test part joined to its score on unseen signs, one panel a kind of split."""
    kinds = list(dict.fromkeys(score.split for score in scores))
    figure, panels = compact_figure(7.5, 3.4, columns=len(kinds))
    told = []
    for axes, kind, colour in zip(np.ravel(panels), kinds, COLOURS, strict=False):
        pairs = np.array([(100 * s.test, 100 * s.unseen) for s in scores if s.split == kind])  # (seeds, 2)
        for pair in pairs:
            axes.plot([0, 1], pair, color=colour, alpha=0.35, marker="o", markersize=4)
        mean = pairs.mean(0)
        axes.plot([0, 1], mean, color=colour, linewidth=3, marker="s", markersize=8)
        for x, value in enumerate(mean):
            axes.annotate(f"{value:.0f} %", (x, value), (0, 10), textcoords="offset points", ha="center", weight="bold")
        axes.set_xticks([0, 1], ["its own\ntest part", "signs that\nnobody split"])
        axes.set(xlim=(-0.4, 1.4), ylim=(0, 105), xlabel="measured on", ylabel="accuracy, %", title=f"split {kind}")
        told.append(f"Split {kind}: {mean[0]:.0f} % on its own test part, {mean[1]:.0f} % on unseen signs")
    return finish(figure, alt=f"Scores of {len(pairs)} students a split, and their means. {'; '.join(told)}.")


@styled
def selection_figure(
    inflation: Mapping[int, tuple[ArrayLike, ArrayLike]], curves: Mapping[int, ArrayLike]
) -> CourseFigure:
    """How far the best of k equal models' test score lies above the truth: simulated points, derived lines.

    Args:
        inflation: test images n → (k, points simulated); one list of k for all n.
        curves: n → points derived for each of the same k.
    """
    figure, axes = compact_figure(7.0, 3.4)
    told, counts = [], []
    for i, (n, (k, points)) in enumerate(inflation.items()):
        counts = np.asarray(k).tolist()
        axes.plot(k, curves[n], color=COLOURS[i], linewidth=1.2)
        axes.plot(k, points, color=COLOURS[i], marker=MARKERS[i], linestyle="none", label=f"{n:,} test images")
        told.append(f"{n} images: {np.asarray(points)[-1]:.2f} points with {counts[-1]} candidates")
    axes.set_xscale("log")
    axes.set_xticks(counts, [f"{count}" for count in counts])
    axes.minorticks_off()
    axes.set_xlabel("candidates k among which the test set chose")
    axes.set_ylabel("winner's score − its truth, points")
    axes.legend(title="points simulated, lines derived")
    return finish(figure, alt=f"Inflation of the best test score against the number of candidates. {'; '.join(told)}.")
