"""Confidence against accuracy: reliability diagrams, and refusing to answer."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike

from course_lib.plots.compact import compact_figure
from course_lib.plots.style import COLOURS, CourseFigure, finish, styled

if TYPE_CHECKING:
    from course_lib.evaluation import Calibration


@styled
def reliability_figure(calibrations: Mapping[str, Calibration]) -> CourseFigure:
    """Reliability diagrams side by side: accuracy over confidence in each bin; below, how many images lie in it."""
    figure, panels = compact_figure(3.2 * len(calibrations), 3.4, columns=len(calibrations))
    told = []
    for axes, (name, calibration), colour in zip(np.ravel(panels), calibrations.items(), COLOURS, strict=False):
        bins = [b for b in calibration.bins if b.count]
        axes.plot([0, 100], [0, 100], color="#888888", linestyle="--", linewidth=1)
        for b in bins:
            axes.plot([100 * b.confidence] * 2, [100 * b.confidence, 100 * b.accuracy], color=colour, linewidth=1.5)
        total = sum(b.count for b in bins)
        sizes = [12 + 300 * b.count / total for b in bins]
        x, y = [100 * b.confidence for b in bins], [100 * b.accuracy for b in bins]
        # Not clipped: the dot of a network that is sure and right lies on the corner.
        axes.scatter(x, y, sizes, color=colour, zorder=3, clip_on=False)
        for b in bins:
            axes.annotate(
                f"{b.count:,}",
                (100 * b.confidence, 1),
                rotation=90,
                ha="center",
                va="bottom",
                fontsize=7,
                color="#555555",
            )
        axes.set(xlim=(0, 104), ylim=(0, 106), xlabel="mean confidence in the bin, %", ylabel="accuracy in the bin, %")
        axes.set_title(f"{name}: ECE {100 * calibration.ece:.1f} points", fontsize=10)
        told.append(f"{name}: expected calibration error {100 * calibration.ece:.2f} points over {len(bins)} bins")
    return finish(figure, alt=f"Accuracy against confidence; the dashed diagonal is honest. {'; '.join(told)}.")


@styled
def coverage_figure(
    thresholds: ArrayLike, coverage: ArrayLike, accuracy: ArrayLike, chosen: float | None = None
) -> CourseFigure:
    """Coverage and accuracy of the answers whose confidence reaches a threshold; ``chosen`` marks one of them.

    Args:
        thresholds, coverage, accuracy: (K,), fractions.
        chosen: a threshold, or None to mark none.
    """
    thresholds, coverage, accuracy = (100 * np.asarray(values, float) for values in (thresholds, coverage, accuracy))
    figure, axes = compact_figure(7.0, 3.2)
    axes.plot(thresholds, coverage, color=COLOURS[0], label="coverage: images answered")
    axes.plot(thresholds, accuracy, color=COLOURS[1], linestyle="--", label="accuracy of these answers")
    if chosen is not None:
        axes.axvline(100 * chosen, color="black", linewidth=1, linestyle=":")
    axes.set(xlabel="threshold on the confidence, %", ylabel="%")
    axes.legend(loc="lower left")
    shown = [0, len(thresholds) - 1]
    if chosen is not None:
        shown.insert(1, int(np.argmin(np.abs(thresholds - 100 * chosen))))
    told = [
        f"at {thresholds[i]:.1f} %, {coverage[i]:.1f} % answered and {accuracy[i]:.2f} % of them right" for i in shown
    ]
    return finish(figure, alt=f"Coverage and accuracy against the threshold: {'; '.join(told)}.")
