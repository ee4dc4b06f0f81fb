"""The course as a map: its parts, its chapters, and the order in which they are read."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from typing import Protocol

from matplotlib.axes import Axes
from matplotlib.patches import FancyArrowPatch, FancyBboxPatch

from course_lib.plots.style import COLOURS, CourseFigure, finish, new_figure, styled

GREY = "#888888"


class ChapterLike(Protocol):
    """What the map needs to know of a chapter."""

    @property
    def number(self) -> str:
        """Two digits."""
        ...

    @property
    def topic(self) -> str:
        """As in the file's name, with underscores."""
        ...


@styled
def course_map_figure(parts: Mapping[str, Sequence[ChapterLike]], written: Sequence[str]) -> CourseFigure:
    """The course as a map: one column a part, one box a chapter, arrows in the order of reading.

    Args:
        parts: part → chapters (``publishing.curriculum.PARTS``).
        written: numbers of the chapters that exist, drawn filled.
    """
    height = max(len(chapters) for chapters in parts.values())
    figure, axes = new_figure(10.0, 0.52 * height + 0.8)
    axes.set_axis_off()
    axes.set(xlim=(0, len(parts)), ylim=(-height - 0.1, 0.75))
    for column, (part, chapters) in enumerate(parts.items()):
        axes.text(column + 0.46, 0.32, part, ha="center", fontsize=11, fontweight="bold")
        for row, chapter in enumerate(chapters):
            _box(axes, column, row, chapter, filled=chapter.number in written)
            if row + 1 < len(chapters):
                _arrow(axes, (column + 0.46, -row - 0.72), (column + 0.46, -row - 1.06))
        if column + 1 < len(parts):
            _arrow(axes, (column + 0.89, 0.4), (column + 1.05, 0.4))
    words = "; ".join(f"{part}: {', '.join(c.number for c in chapters)}" for part, chapters in parts.items())
    alt = f"Map of the course, part by part. {words}. Written so far: {', '.join(written) or 'none'}."
    return finish(figure, alt=alt)


def _box(axes: Axes, column: int, row: int, chapter: ChapterLike, *, filled: bool) -> None:
    """One chapter: its number and topic."""
    box = FancyBboxPatch(
        (column + 0.04, -row - 0.72), 0.84, 0.66, boxstyle="round,pad=0,rounding_size=0.06",
        facecolor=COLOURS[0] if filled else "white", edgecolor=COLOURS[0] if filled else GREY,
    )  # fmt: skip
    axes.add_patch(box)
    label = "\n".join(textwrap.wrap(f"{chapter.number}  {chapter.topic.replace('_', ' ')}", 20))
    colour = "white" if filled else "#333333"
    axes.text(column + 0.46, -row - 0.39, label, ha="center", va="center", fontsize=8, color=colour)


def _arrow(axes: Axes, start: tuple[float, float], end: tuple[float, float]) -> None:
    axes.add_patch(FancyArrowPatch(start, end, arrowstyle="-|>", mutation_scale=9, color=GREY, shrinkA=0, shrinkB=0))
