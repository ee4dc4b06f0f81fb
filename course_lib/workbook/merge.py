"""Three versions of a chapter become one: the base, the learner's copy made from it, and the chapter as it is now.

nbdime's three-way merge of notebooks marks conflicts and waits for a person (and would bring GitPython, which a
course that is downloaded as a ZIP does not need). A learner who types ``make lab`` wants a chapter that runs, so every
case has an answer here:

    the learner's cell    the chapter's cell    the copy gets
    ------------------    ------------------    -------------
    as in the base        any                   the chapter's, or nothing where the chapter dropped it
    edited                as in the base        the learner's
    edited                changed, an exercise  the learner's answer; above it a note that shows the exercise's new text
    edited                changed, no exercise  the chapter's; below it the learner's, marked, not run
    edited                dropped               the learner's, marked, not run, beside its neighbours
    added                 –                     the learner's, after the cell that it stood after
    deleted               as in the base        nothing
    deleted               changed               the chapter's: it is a text that the learner has not seen
    –                     new                   the chapter's

A cell that the learner moved stays after the cell that they put it after. Outputs are the learner's where the source
is the same and they ran it, the chapter's where it changed. Counters, time stamps and other metadata count for nothing.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from course_lib.workbook.base import chapter_view
from course_lib.workbook.cells import CALL, Cell, cells_of
from course_lib.workbook.marks import is_written_here, kept, note, without_old_notes
from course_lib.workbook.matching import match, unmoved

Raw = dict[str, Any]


@dataclass(frozen=True)
class Merged:
    """A merged notebook's cells and what happened on the way.

    Args:
        cells: raw cells in order.
        counts: how many cells of the learner's were "kept" in their places or "beside" them, how many of the chapter's
            were "changed", "new", "dropped" or "back" (deleted by the learner, changed since).
    """

    cells: list[Raw]
    counts: Counter[str]


@dataclass
class _Slot:
    """What stands at one place of the result.

    Args:
        cells: raw cells; a note and an answer stay together.
        ours: the position, in the copy, of the cell that they come from; None for the chapter's own.
    """

    cells: list[Raw]
    ours: int | None = None


@dataclass
class _Versions:
    """The three versions and which cell of one is which of another.

    Args:
        base: the chapter as the copy was made from it.
        ours: the copy's cells.
        theirs: the chapter's cells.
        our_cells: the copy's cells as they are written.
        their_cells: the chapter's cells as they are written.
        counts: see ``Merged``.
        noted: the notes on changed exercises that this merge has written.
        to_ours: position in the base -> position in the copy.
        to_theirs: position in the base -> position in the chapter.
        from_ours: ``to_ours`` backwards.
        from_theirs: ``to_theirs`` backwards.
    """

    base: Sequence[Cell]
    ours: Sequence[Cell]
    theirs: Sequence[Cell]
    our_cells: Sequence[Raw]
    their_cells: Sequence[Raw]
    counts: Counter[str] = field(default_factory=Counter)
    noted: list[Raw] = field(default_factory=list)
    to_ours: dict[int, int] = field(default_factory=dict)
    to_theirs: dict[int, int] = field(default_factory=dict)
    from_ours: dict[int, int] = field(default_factory=dict)
    from_theirs: dict[int, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.to_ours = match(self.base, self.ours)
        self.to_theirs = match(self.base, self.theirs)
        self.from_ours = {k: i for i, k in self.to_ours.items()}
        self.from_theirs = {j: i for i, j in self.to_theirs.items()}


def merge(base: Sequence[Cell], our_cells: Sequence[Raw], their_cells: Sequence[Raw]) -> Merged:
    """The learner's cells ``our_cells``, made from ``base``, in the chapter ``their_cells``, by the table above."""
    v = _Versions(base, cells_of(our_cells), chapter_view(their_cells), our_cells, their_cells)
    order = [i for k in range(len(v.ours)) if (i := v.from_ours.get(k)) is not None]
    stayed = unmoved(order)
    slots: list[_Slot] = []
    floating: dict[int, _Slot] = {}
    for j in range(len(v.theirs)):
        slot = _slot(v, j)
        if slot.ours is not None and v.from_ours[slot.ours] not in stayed:
            floating[slot.ours] = slot
        elif slot.cells:
            slots.append(slot)
    for k in range(len(v.ours)):
        if (slot := _loose(v, k)) is not None:
            floating[k] = slot
    _insert(slots, floating)
    return Merged(without_old_notes([cell for slot in slots for cell in slot.cells], v.noted), v.counts)


def _insert(slots: list[_Slot], floating: dict[int, _Slot]) -> None:
    """Put each floating cell after the nearest cell above it, in the copy, that is still there."""
    for k in sorted(floating):
        places = {slot.ours: place for place, slot in enumerate(slots) if slot.ours is not None and slot.ours < k}
        slots.insert(places[max(places)] + 1 if places else 0, floating[k])


def _slot(v: _Versions, j: int) -> _Slot:
    """What stands for the chapter's cell ``j``."""
    new, i = v.theirs[j], v.from_theirs.get(j)
    if i is None:
        v.counts["new"] += 1
        return _Slot([v.their_cells[j]])
    was, k = v.base[i], v.to_ours.get(i)
    same = _same(was, new)
    v.counts["changed"] += not same
    if k is None:
        v.counts["back"] += not same
        return _Slot([] if same else [v.their_cells[j]])
    own = v.ours[k]
    if own.says(was) or (_is_blank(own) and not same):
        return _Slot([_refreshed(v, k, j, was)], k)
    if own.says(new):
        return _Slot([_placed(v, k, j)], k)
    if same or new.exercise:
        v.counts["kept"] += 1
        return _Slot([_placed(v, k, j)] if same else _answer(v, k, j, was), k)
    v.counts["beside"] += 1
    return _Slot([v.their_cells[j], kept(v.our_cells[k])], k)


def _is_blank(cell: Cell) -> bool:
    return cell.source is not None and not cell.source.strip()


def _same(was: Cell, new: Cell) -> bool:
    """Whether the chapter's cell is still the base's; a published id stands for its text."""
    return was.says(new) or (was.id == new.id and None in (was.source, new.source))


def _answer(v: _Versions, k: int, j: int, was: Cell) -> list[Raw]:
    """The answer to an exercise that changed, below a note that shows the new text if more than a call did."""
    own, new, cell = v.ours[k], v.theirs[j], _placed(v, k, j)
    adapted = _with_new_calls(own.source or "", was.source or "", new.source or "")
    if adapted is not None:
        return [{**cell, "source": adapted}]
    v.noted.append(note(new))
    return [v.noted[-1], cell]


def _with_new_calls(own: str, was: str, new: str) -> str | None:
    """The answer with the exercise's new calls of check or predict, if they alone changed and stand in it untouched."""
    old_lines, new_lines = was.split("\n"), new.split("\n")
    if len(old_lines) != len(new_lines):
        return None
    changes = {a: b for a, b in zip(old_lines, new_lines, strict=True) if a != b}
    lines = own.split("\n")
    if not all(CALL.search(a) and CALL.search(b) and lines.count(a) == 1 for a, b in changes.items()):
        return None
    return "\n".join(changes.get(line, line) for line in lines)


def _loose(v: _Versions, k: int) -> _Slot | None:
    """The slot of a cell that has no place in the chapter: added, or edited where the chapter dropped it."""
    i = v.from_ours.get(k)
    if i in v.to_theirs:
        return None
    own, was = v.ours[k], None if i is None else v.base[i]
    if was is None or was.source is None:  # of an unknown base: it may be an added one
        v.counts["kept"] += not is_written_here(v.our_cells[k])
        return _Slot([v.our_cells[k]], k)
    if own.says(was) or _is_blank(own):
        v.counts["dropped"] += 1
        return None
    v.counts["beside"] += 1
    return _Slot([kept(v.our_cells[k])], k)


def _refreshed(v: _Versions, k: int, j: int, was: Cell) -> Raw:
    """The chapter's cell, with the learner's outputs if they ran it and it has not changed."""
    own, new = v.our_cells[k], v.their_cells[j]
    if not v.ours[k].says(v.theirs[j]) or v.ours[k].outputs == was.outputs:
        return {**new, "metadata": _metadata(own, new)}
    return _placed(v, k, j)


def _placed(v: _Versions, k: int, j: int) -> Raw:
    """The learner's cell in the place of the chapter's, under the chapter's id."""
    own, new = v.our_cells[k], v.their_cells[j]
    return {**own, "id": new.get("id", ""), "metadata": _metadata(own, new)}


def _metadata(own: Raw, new: Raw) -> Raw:
    kept = {key: value for key, value in own.get("metadata", {}).items() if key not in ("execution", "course")}
    return {**kept, **new.get("metadata", {})}
