"""The figures of "Can the student learn how the teacher sees?": attention on signs, points, tables, terms, gains."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator
from numpy.typing import ArrayLike

from course_lib.experiments.method_comparison import Gain
from course_lib.plots.style import COLOURS, MARKERS, CourseFigure, finish, new_figure, styled
from course_lib.plots.teacher import CompactFigure


@styled
def attention_figure(
    images: ArrayLike, maps: Mapping[str, ArrayLike], captions: Sequence[str], *, inch: float = 1.15
) -> CourseFigure:
    """Each image and, beside it, where each layer is active: bright is active, the darkened picture shines through.

    Args:
        images: (N, 3, S, S) in [0, 1] or uint8.
        maps: layer → (N, h, h) ≥ 0; drawn at their own resolution, each from 0 to its own maximum, where the places
            of convolutions with odd kernels and half of that as padding are centred.
        captions: one an image.
    Raises: ValueError: no image or no map, or not one caption and one map an image.
    """
    images = np.asarray(images)
    images = images / 255 if images.dtype == np.uint8 else images
    count, side = len(images), images.shape[-1]
    if count == 0 or not maps or len(captions) != count or any(len(m) != count for m in maps.values()):
        raise ValueError(
            f"one caption and one map a layer for each image, at least one: got {count} images, {len(captions)} "
            f"captions, maps {[len(m) for m in maps.values()]}"
        )
    figure = CompactFigure(figsize=(inch * (1 + len(maps)), (inch + 0.12) * count + 0.25), layout="constrained")
    FigureCanvasAgg(figure)
    grid, told = figure.subplots(count, 1 + len(maps), squeeze=False), []
    for row, image, caption in zip(range(count), images, captions, strict=True):
        picture = np.moveaxis(image, 0, -1)
        grid[row, 0].imshow(picture, interpolation="nearest")
        grid[row, 0].set_title(caption, fontsize=8, loc="center", pad=2)
        for axis, (name, values) in zip(grid[row, 1:], maps.items(), strict=True):
            q = np.asarray(values[row], float)
            axis.imshow(0.5 * picture.mean(-1), cmap="gray", vmin=0, vmax=1, interpolation="nearest")
            # Odd kernels, padded by half: place i is centred on pixel i·S/h, so a map sits half a cell up and left.
            low, high = -0.5 * side / len(q), side - 0.5 * side / len(q)
            axis.imshow(
                q,
                cmap="inferno",
                vmin=0,
                vmax=q.max() or 1,
                alpha=0.75,
                extent=(low, high, high, low),
                interpolation="nearest",
            )
            if row == 0:
                axis.set_title(name, fontsize=8, loc="center", pad=2)
    for axis in grid.flat:
        axis.set_axis_off()
        axis.set(xlim=(-0.5, side - 0.5), ylim=(side - 0.5, -0.5))
    for name, values in maps.items():
        told.append(f"{name} ({len(values[0])}×{len(values[0][0])}): {_where(np.asarray(values, float))}")
    return finish(figure, alt=f"Signs ({', '.join(captions)}) and where each layer is active. {'; '.join(told)}.")


def _where(maps: np.ndarray) -> str:
    """The share of a map's sum that lies in the middle quarter of the picture, in words."""
    h, w = maps.shape[1:]
    centre = maps[:, h // 4 : h - h // 4, w // 4 : w - w // 4].sum() / max(maps.sum(), 1e-30)
    return f"{100 * centre:.0f} % in the middle quarter of the picture"


@styled
def points_figure(teacher: ArrayLike, student: ArrayLike, losses: Mapping[str, float]) -> CourseFigure:
    """Points in the plane as teacher and student place them, with all distances in units of their mean.

    Args: teacher, student: (B, 2), 3 ≤ B ≤ 6; losses: name → value, shown in the title.
    """
    shown = ", ".join(f"{name} {value:.4f}" for name, value in losses.items())
    figure, panels = new_figure(8.0, 3.9, columns=2)
    told = []
    for axes, name, points in zip(panels, ("teacher", "student"), (teacher, student), strict=True):
        points = np.asarray(points, float)
        pairs = [(i, j) for i in range(len(points)) for j in range(i)]
        lengths = np.array([np.linalg.norm(points[i] - points[j]) for i, j in pairs])
        ratios = lengths / (lengths.mean() or 1)
        for (i, j), ratio in zip(pairs, ratios, strict=True):
            axes.plot(*points[[i, j]].T, color="#AAAAAA", linewidth=1)
            # Not at the middle, where the diagonals of a square would write over each other.
            x, y = 0.6 * points[i] + 0.4 * points[j]
            axes.text(x, y, f"{ratio:.2f}", fontsize=8, ha="center", va="center", backgroundcolor="white")
        for i, (x, y) in enumerate(points):
            axes.plot(x, y, MARKERS[i], color=COLOURS[i], markersize=10, zorder=3)
            axes.annotate(f"{i + 1}", (x, y), (8, 6), textcoords="offset points", weight="bold")
        axes.set(title=name, xlabel="feature 1", ylabel="feature 2")
        axes.margins(0.2)
        axes.set_aspect("equal", adjustable="datalim")
        told.append(f"{name} from {ratios.min():.2f} to {ratios.max():.2f}")
    figure.suptitle(f"Distances in units of their mean. {shown}", x=0.01, ha="left", fontsize=11)
    return finish(figure, alt=f"Points of teacher and student; distances over their mean: {'; '.join(told)}. {shown}.")


@styled
def similarity_figure(features: Mapping[str, ArrayLike], boundaries: Sequence[int]) -> CourseFigure:
    """Which images of a batch excite a layer alike: the table G of each network, row by row of unit length.

    Args: features: network → (B, …), images sorted by class. boundaries: where a new class begins.
    """
    figure, panels = new_figure(2.9 * len(features), 3.1, columns=len(features))
    told = []
    for axes, (name, values) in zip(np.ravel(panels), features.items(), strict=True):
        rows = torch.as_tensor(np.asarray(values)).flatten(1).double()
        table = torch.nn.functional.normalize(rows @ rows.T).numpy()
        axes.imshow(table, cmap="viridis", vmin=0, vmax=np.quantile(table, 0.995), interpolation="nearest")
        for at in boundaries:
            axes.axhline(at - 0.5, color="white", linewidth=0.4)
            axes.axvline(at - 0.5, color="white", linewidth=0.4)
        axes.set(title=name, xlabel="image, sorted by class", ylabel="image")
        axes.grid(visible=False)
        told.append(f"{name}: {_same_over_other(table, boundaries):.1f}")
    words = "mean similarity within a class over that between classes"
    return finish(figure, alt=f"Tables of similarities within one batch; {words}: {'; '.join(told)}.")


def _same_over_other(table: np.ndarray, boundaries: Sequence[int]) -> float:
    group = np.searchsorted(np.asarray(boundaries), np.arange(len(table)), side="right")
    same = group[:, None] == group[None]
    other = table[~same].mean() if (~same).any() else 1.0
    return float(table[same & ~np.eye(len(table), dtype=bool)].mean() / max(other, 1e-12))


@styled
def agreement_figure(rows: Mapping[str, Mapping[str, float]]) -> CourseFigure:
    """One panel a measure, one bar a network: how far its features are from the teacher's.

    Args: rows: measure (with its direction) → network → value ≥ 0.
    """
    figure, panels = new_figure(9.0, 2.7, columns=len(rows))
    told = []
    for axes, (measure, values) in zip(np.ravel(panels), rows.items(), strict=True):
        for i, value in enumerate(values.values()):
            axes.barh(i, value, color=COLOURS[i], height=0.65)
            axes.annotate(f"{value:.3g}", (value, i), (3, 0), textcoords="offset points", va="center", fontsize=9)
        axes.set_yticks(range(len(values)), list(values) if axes is np.ravel(panels)[0] else [""] * len(values))
        axes.invert_yaxis()
        axes.set(title=measure, xlabel="value", ylabel="network" if axes is np.ravel(panels)[0] else " ")
        axes.set_xlim(0, 1.3 * max(*values.values(), 1e-12))
        axes.grid(visible=False, axis="y")
        told.append(f"{measure}: " + ", ".join(f"{name} {value:.3g}" for name, value in values.items()))
    return finish(figure, alt=f"Distance from the teacher's features. {'; '.join(told)}.")


@styled
def terms_figure(histories: Mapping[str, Sequence[Mapping[str, float]]], terms: Sequence[str]) -> CourseFigure:
    """One panel a term, its mean in each epoch before weighting, one line a training.

    Args: histories: training → ``Distiller.history``; terms: which of them.
    """
    figure, panels = new_figure(2.6 * len(terms) + 0.6, 3.0, columns=len(terms))
    told = []
    for axes, term in zip(np.ravel(panels), terms, strict=True):
        for i, (name, epochs) in enumerate(histories.items()):
            values = [epoch[term] for epoch in epochs]
            axes.plot(range(1, len(values) + 1), values, color=COLOURS[i], marker=MARKERS[i], label=name)
            told.append(f"{term}, {name}: {values[0]:.3g} to {values[-1]:.3g}")
        axes.set(title=term, xlabel="epoch", ylabel="mean of the term")
        axes.set_xticks(range(1, len(values) + 1))
        axes.set_ylim(bottom=0)
    figure.legend(*np.ravel(panels)[0].get_legend_handles_labels(), loc="outside lower center", ncols=len(histories))
    return finish(figure, alt=f"Terms from the first epoch to the last. {'; '.join(told)}.")


@styled
def gains_figure(gains: Sequence[Gain]) -> CourseFigure:
    """One row a method: its gain over the student alone (points) with the 95 % interval, and the line of no gain."""
    figure, axes = new_figure(7.5, 0.42 * len(gains) + 1.2)
    styles = {"helped": (COLOURS[2], "^"), "hurt": (COLOURS[1], "v"), "not shown": ("#777777", "o")}
    for y, gain in enumerate(gains):
        colour, marker = styles[gain.verdict]
        width = [[gain.value - gain.low], [gain.high - gain.value]]
        axes.errorbar(gain.value, y, xerr=width, color=colour, marker=marker, markersize=8, capsize=3)
        axes.annotate(
            f"{gain.value:+.1f}", (gain.value, y), (0, 8), textcoords="offset points", ha="center", fontsize=9
        )
    for verdict, (colour, marker) in styles.items():
        axes.plot([], [], marker, color=colour, label=verdict)
    axes.axvline(0, color="#000000", linewidth=1)
    axes.set_yticks(range(len(gains)), [gain.label for gain in gains])
    axes.set_ylim(len(gains) - 0.4, -0.8)
    axes.set(xlabel="gain over the student alone, points (bar: 95 % interval over seeds)", ylabel="method")
    axes.grid(visible=False, axis="y")
    figure.legend(loc="outside upper right", ncols=3)
    told = "; ".join(f"{g.label} {g.value:+.1f} [{g.low:+.1f}, {g.high:+.1f}], {g.verdict}" for g in gains)
    return finish(figure, alt=f"Gain of each method over the student alone, in points. {told}.")


@styled
def shrinkage_figure(rounds: ArrayLike, errors: Mapping[str, ArrayLike]) -> CourseFigure:
    """Error over the number of self-distillation rounds, one line a curve, the lowest point marked."""
    figure, axes = new_figure(6.5, 3.0)
    told = []
    for i, (name, values) in enumerate(errors.items()):
        values = np.asarray(values, float)
        best = int(values.argmin())
        axes.plot(rounds, values, color=COLOURS[i], marker=MARKERS[i], markersize=4, label=name)
        axes.plot(np.asarray(rounds)[best], values[best], "*", color=COLOURS[i], markersize=15)
        told.append(f"{name}: {values[0]:.3g} at first, lowest {values[best]:.3g} in round {np.asarray(rounds)[best]}")
    axes.set(xlabel="round (0: trained on the labels)", ylabel="mean squared error (logarithmic)")
    axes.set_yscale("log")
    axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes.yaxis.set_minor_locator(NullLocator())
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.legend()
    return finish(figure, alt=f"Mean squared error after each round of self-distillation. {'; '.join(told)}.")
