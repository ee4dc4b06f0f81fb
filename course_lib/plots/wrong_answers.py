"""Where a teacher's wrong probability goes: sign by sign, and as a table of all classes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from numpy.typing import ArrayLike

from course_lib.distillation import same_group_share
from course_lib.plots.arrays import floats, picture
from course_lib.plots.compact import compact_figure
from course_lib.plots.style import COLOURS, CourseFigure, finish, styled


@styled
def wrong_answers_figure(
    images: ArrayLike, shares: ArrayLike, classes: Sequence[int], names: Sequence[str], groups: Sequence[str]
) -> CourseFigure:
    """One column a true class: an image of it, and the five classes with the largest share of its wrong answers.

    Args:
        images: (N, 3, H, W), one for each of ``classes``.
        shares: (C, C), as ``distillation.wrong_answer_shares`` gives them.
        classes: N true classes.
        names, groups: one for each of C classes; bars of the true class's own group are filled, others hatched.
    """
    images, shares, told = np.asarray(images), floats(shares), []
    figure, grid = compact_figure(2.3 * len(classes), 3.3, len(classes), 2, squeeze=False, height_ratios=[1, 1.5])
    for column, (image, true) in enumerate(zip(images, classes, strict=True)):
        top, bottom = grid[:, column]
        top.imshow(picture(image), interpolation="nearest")
        top.set_title(names[true], loc="center")
        top.set_axis_off()
        best: list[int] = np.argsort(-shares[true])[:5].tolist()
        own = [groups[k] == groups[true] for k in best]
        _share_bars(bottom, 100 * shares[true, best], [names[k] for k in best], own)
        bottom.set(xlim=(0, 100), xlabel="share, %", ylabel="taken for" if column == 0 else " ")
        told.append(f"{names[true]}: " + ", ".join(f"{names[k]} {100 * shares[true, k]:.0f} %" for k in best[:3]))
    figure.suptitle("Where the wrong probability goes (filled: same group of signs)", x=0.01, ha="left", fontsize=11)
    return finish(figure, alt=f"Share of the teacher's wrong probability. {'; '.join(told)}.")


def _share_bars(axes: Axes, values: np.ndarray, names: Sequence[str], own: Sequence[bool]) -> None:
    """Filled bars for the true class's own group, hatched ones for others."""
    solid: dict[str, Any] = {"color": COLOURS[0]}
    hatched: dict[str, Any] = {"color": "white", "edgecolor": COLOURS[1], "hatch": "///"}
    for y, (value, filled) in enumerate(zip(values, own, strict=True)):
        axes.barh(y, value, height=0.7, **(solid if filled else hatched))
    axes.set_yticks(range(len(names)), names, fontsize=8)
    axes.invert_yaxis()
    axes.grid(axis="y", visible=False)


@styled
def likeness_figure(shares: Mapping[str, ArrayLike], groups: Sequence[str]) -> CourseFigure:
    """The whole table of shares, one panel a network, classes sorted by group; white lines part the groups.

    Args:
        shares: network → (C, C), as ``distillation.wrong_answer_shares`` gives them.
        groups: the group of each class.
    """
    order = np.argsort(groups, kind="stable")
    kinds = np.asarray(groups)[order]
    edges = [i for i in range(1, len(kinds)) if kinds[i] != kinds[i - 1]]
    middles = [(a + b - 1) / 2 for a, b in zip([0, *edges], [*edges, len(kinds)], strict=True)]
    figure, panels = compact_figure(4.3 * len(shares) + 1.2, 4.2, len(shares))
    panels, told = np.ravel(panels), []
    for i, (axes, (name, table)) in enumerate(zip(panels, shares.items(), strict=True)):
        table = floats(table)
        drawn = axes.imshow(100 * table[np.ix_(order, order)], cmap="viridis", vmin=0, vmax=30)
        for at in edges:
            axes.axhline(at - 0.5, color="white", linewidth=0.8)
            axes.axvline(at - 0.5, color="white", linewidth=0.8)
        axes.set_xticks(middles, [""] * len(middles))
        axes.set_yticks(middles, dict.fromkeys(kinds) if i == 0 else [""] * len(middles))
        axes.set(title=name, xlabel="taken for (same order)", ylabel="true class, by group" if i == 0 else " ")
        axes.grid(visible=False)
        told.append(f"{name}: {100 * same_group_share(table, groups):.0f} % of it stays in the group")
    bar = figure.colorbar(drawn, ax=panels, label="share of the wrong probability, %", extend="max", shrink=0.8)
    bar.ax.set_xlabel(" ")
    return finish(figure, alt=f"Tables of where wrong probability goes, classes sorted by group. {'; '.join(told)}.")
