"""One look for each variant of the main job, in every figure: a colour and a marker of its own.

A hollow point means one thing everywhere: the row carries a mark, see its table.
"""

from __future__ import annotations

from typing import Any

from course_lib.plots.style import COLOURS, MARKERS

NAMES = (
    "teacher FP32",
    "teacher INT8",
    "student alone FP32",
    "student distilled FP32",
    "… with 50 % zeros",
    "student pruned FP32",
    "student pruned INT8",
    "small student FP32",
    "small student INT8",
)


def variant_look(name: str, number: int) -> tuple[str, str]:
    """Colour and marker of a variant: of its own where it belongs to the main job, else by its number in the figure.

    >>> variant_look("teacher FP32", 5) == variant_look("teacher FP32", 0)
    True
    >>> len({variant_look(name, 0) for name in NAMES}) == len(NAMES)
    True
    """
    number = NAMES.index(name) if name in NAMES else number
    return COLOURS[number % 7], MARKERS[number % 8]


def point_style(name: str, number: int, *, marked: bool) -> dict[str, Any]:
    """What ``Axes.scatter`` needs to draw a variant's point."""
    colour, marker = variant_look(name, number)
    return {"marker": marker, "edgecolor": colour, "facecolor": "white" if marked else colour, "linewidth": 1.5}
