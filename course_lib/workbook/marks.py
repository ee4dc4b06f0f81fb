"""The cells that an update writes itself: the learner's cells that have no place, and notes on changed exercises.

Each says in words what it is, and holds the digest of what was written, so that a later update can tell an untouched
one from one that the learner has typed into.
"""

from __future__ import annotations

import hashlib
import re
from typing import Any

from course_lib.workbook.cells import Cell, digest_id, text

Raw = dict[str, Any]
KEPT_CODE = "# Yours, from the earlier version of this chapter. Not run; to run it, make it a code cell (key Y).\n"
KEPT_TEXT = "*Yours, from the earlier version of this chapter:*\n\n"
CHANGED = (
    "*This exercise has changed since you answered it. Your answer stands below, as you wrote it. The exercise is now:*"
)


def kept(raw: Raw) -> Raw:
    """A cell of the learner's that has no place, with its source whole, and the pictures that were pasted into it."""
    source = text(raw["source"])
    pictures = {"attachments": raw["attachments"]} if "attachments" in raw else {}
    if raw["cell_type"] == "markdown":
        return {**_own_cell("markdown", KEPT_TEXT + source, {"workbook": "kept"}), **pictures}
    return {**kept_code(source), **pictures}


def kept_code(source: str) -> Raw:
    """A raw cell with a learner's code that has no place in the chapter: marked, whole and not run."""
    return _own_cell("raw", KEPT_CODE + source, {"workbook": "kept"})


def note(new: Cell) -> Raw:
    """A text cell that shows an exercise as it is now, above the answer to what it was."""
    source = new.source or ""
    fence = "`" * max(3, 1 + max(map(len, re.findall("`+", source)), default=0))
    shown = f"{CHANGED}\n\n{fence}python\n{source}\n{fence}"
    return _own_cell("markdown", shown, {"workbook": "changed exercise", "exercise": new.exercise})


def _own_cell(kind: str, source: str, course: dict[str, str]) -> Raw:
    """A cell that this module writes; its digest tells later whether the learner has typed into it."""
    whole = {**course, "sha256": _digest(source)}
    return {"cell_type": kind, "id": f"w{digest_id(kind, source)}", "metadata": {"course": whole}, "source": source}


def _digest(source: str) -> str:
    return hashlib.sha256(source.encode("utf-8", "surrogatepass")).hexdigest()[:16]


def is_written_here(raw: Raw) -> bool:
    """Whether this module wrote the cell and nobody has typed into it since."""
    course = raw.get("metadata", {}).get("course")
    return isinstance(course, dict) and course.get("sha256") == _digest(text(raw["source"]))


def without_old_notes(cells: list[Raw], noted: list[Raw]) -> list[Raw]:
    """Without the earlier notes, if nobody typed into them, on exercises that have got a new one."""
    again = {note["metadata"]["course"]["exercise"] for note in noted}
    new = set(map(id, noted))
    return [
        cell
        for cell in cells
        if id(cell) in new or not is_written_here(cell) or cell["metadata"]["course"].get("exercise") not in again
    ]
