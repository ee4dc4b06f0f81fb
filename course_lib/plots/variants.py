"""One look for each variant of the main job, in every figure: a colour and a marker of its own.

A hollow point means one thing everywhere: the row carries a mark, see its table.
"""

from __future__ import annotations

from typing import Any

from course_lib.experiments.main_job import ROWS
from course_lib.plots.style import COLOURS, MARKERS

HOLLOW = "hollow: carries a mark"
"""Title of a legend with such points."""


def variant_look(name: str, number: int) -> tuple[str, str]:
    """Colour and marker of a variant: of its own where it belongs to the main job, else by its number in the figure.

    >>> variant_look("teacher FP32", 5) == variant_look("teacher FP32", 0)
    True
    >>> len({variant_look(name, 0) for name in ROWS}) == len(ROWS)
    True
    """
    number = ROWS.index(name) if name in ROWS else number
    return COLOURS[number % 7], MARKERS[number % 8]


def point_style(name: str, number: int, *, marked: bool) -> dict[str, Any]:
    """What ``Axes.scatter`` needs to draw a variant's point."""
    colour, marker = variant_look(name, number)
    return {"marker": marker, "edgecolor": colour, "facecolor": "white" if marked else colour, "linewidth": 1.5}
