"""Relations within a batch: points with their distances, and tables of similarities."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from numpy.typing import ArrayLike

from course_lib.distillation import relative_distances, similarity_table, within_class_ratio
from course_lib.plots.arrays import floats
from course_lib.plots.style import COLOURS, MARKERS, CourseFigure, finish, new_figure, styled


@styled
def points_figure(teacher: ArrayLike, student: ArrayLike, losses: Mapping[str, float]) -> CourseFigure:
    """Points in the plane as teacher and student place them, with all distances in units of their mean.

    Args:
        teacher, student: (B, 2), 3 ≤ B ≤ 6.
        losses: name → value, shown in the title.
    """
    shown = ", ".join(f"{name} {value:.4f}" for name, value in losses.items())
    figure, panels = new_figure(8.0, 3.9, columns=2)
    told = []
    for axes, name, points in zip(panels, ("teacher", "student"), (teacher, student), strict=True):
        points = floats(points)
        ratios = relative_distances(torch.from_numpy(points)).numpy()  # (B, B)
        pairs = [(i, j) for i in range(len(points)) for j in range(i)]
        for i, j in pairs:
            axes.plot(*points[[i, j]].T, color="#AAAAAA", linewidth=1)
            # Not at the middle, where the diagonals of a square would write over each other.
            x, y = 0.6 * points[i] + 0.4 * points[j]
            axes.text(x, y, f"{ratios[i, j]:.2f}", fontsize=8, ha="center", va="center", backgroundcolor="white")
        for i, (x, y) in enumerate(points):
            axes.plot(x, y, MARKERS[i], color=COLOURS[i], markersize=10, zorder=3)
            axes.annotate(f"{i + 1}", (x, y), (8, 6), textcoords="offset points", weight="bold")
        axes.set(title=name, xlabel="feature 1", ylabel="feature 2")
        axes.margins(0.2)
        axes.set_aspect("equal", adjustable="datalim")
        shortest, longest = min(ratios[i, j] for i, j in pairs), max(ratios[i, j] for i, j in pairs)
        told.append(f"{name} from {shortest:.2f} to {longest:.2f}")
    figure.suptitle(f"Distances in units of their mean. {shown}", x=0.01, ha="left", fontsize=11)
    return finish(figure, alt=f"Points of teacher and student; distances over their mean: {'; '.join(told)}. {shown}.")


@styled
def similarity_figure(features: Mapping[str, ArrayLike], boundaries: Sequence[int]) -> CourseFigure:
    """Which images of a batch excite a layer alike: the table G of each network, row by row of unit length.

    Args:
        features: network → (B, …), images sorted by class.
        boundaries: where a new class begins.
    """
    figure, panels = new_figure(2.9 * len(features), 3.1, columns=len(features))
    told = []
    for axes, (name, values) in zip(np.ravel(panels), features.items(), strict=True):
        table = similarity_table(torch.from_numpy(floats(values))).numpy()
        contrast = within_class_ratio(table, np.searchsorted(np.asarray(boundaries), np.arange(len(table)), "right"))
        axes.imshow(table, cmap="viridis", vmin=0, vmax=np.quantile(table, 0.995), interpolation="nearest")
        for at in boundaries:
            axes.axhline(at - 0.5, color="white", linewidth=0.4)
            axes.axvline(at - 0.5, color="white", linewidth=0.4)
        axes.set(title=name, xlabel="image, sorted by class", ylabel="image")
        axes.grid(visible=False)
        told.append(f"{name}: {contrast:.1f}")
    words = "mean similarity within a class over that between classes"
    return finish(figure, alt=f"Tables of similarities within one batch; {words}: {'; '.join(told)}.")
