"""One case on one chapter: the copy is made, a learner edits it, an author edits the chapter, the copy is updated.

What is counted afterwards:

* *lines*: every line that the learner typed (a line of a cell that is not the published cell's) stands in the new
  copy, as often as before;
* *answers*: every answered exercise stands whole, in one cell, but for its call of ``check``;
* *wrong*: a cell of the chapter's that is missing although nobody touched it, or there although the learner deleted it.
"""

from __future__ import annotations

import copy
import json
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from random import Random

from course_lib.workbook import Workbook, update
from course_lib.workbook.cells import CALL, is_marked
from course_lib.workbook.marks import is_written_here
from course_lib.workbook.notebook import dump, parse
from workbook_trial.edits import Edit, Raw, leave, lines, published, source

Damage = Callable[[Workbook, str], None]


@dataclass(frozen=True)
class Case:
    """What is done between two updates.

    Args:
        learner: edits the copy.
        author: edits the chapter.
        damage: done to the workbook's files after the learner's edit, or None.
        ids: whether the copy's ids are those that the course gave.
        first: whether the learner's edit is done to the chapter itself, before the first copy is made.
        rename: whether the author gives the chapter another name.
    """

    learner: Edit
    author: Edit
    damage: Damage | None = None
    ids: bool = True
    first: bool = False
    rename: bool = False


@dataclass(frozen=True)
class Outcome:
    """What one case came to.

    Args:
        lines: lines that the learner had typed.
        lost_lines: those that the new copy lacks.
        answers: exercises that the learner had answered.
        lost_answers: those that the new copy lacks.
        wrong: the chapter's cells that are missing or should be, in words.
    """

    lines: int
    lost_lines: list[str] = field(default_factory=list)
    answers: int = 0
    lost_answers: list[str] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)


def try_case(case: Case, chapter: Path, folder: Path, seed: int = 0) -> Outcome:
    """Run the case in the empty ``folder`` and look for what is lost."""
    rng, name = Random(seed), chapter.stem
    book = Workbook(folder / "workbook", folder / "notebooks")
    book.notebooks.mkdir()
    before = parse(chapter.read_bytes())
    place = book.notebooks / chapter.name
    own = _learner(case, book, place, before, rng)
    on_disk = book.copy(name).read_bytes()
    after_author = copy.deepcopy(before)
    case.author(after_author, rng)
    if case.rename:
        place.unlink()
        place, name = place.with_name(f"{name}_renamed.ipynb"), f"{name}_renamed"
    place.write_bytes(dump(published(after_author)))
    update(book=book)
    result = parse(book.copy(name).read_bytes())
    return compare(before, own, after_author, result, on_disk=on_disk if case.damage else None, ids=case.ids)


def _learner(case: Case, book: Workbook, place: Path, before: Raw, rng: Random) -> Raw:
    """Let the learner edit; the notebook as they left it."""
    place.write_bytes(dump(before))
    if not case.first:
        update(book=book)
    where = place if case.first else book.copy(place.stem)
    own = parse(where.read_bytes())
    case.learner(own, rng)
    if case.learner is not leave:
        where.write_bytes(dump(own) if case.ids else json.dumps(own).encode())
    if case.first:
        update(book=book)
    if case.damage is not None:
        case.damage(book, place.stem)
    return own


def compare(
    before: Raw, own: Raw, chapter: Raw, result: Raw, *, on_disk: bytes | None = None, ids: bool = True
) -> Outcome:
    """What of the learner's notebook ``own``, made from ``before``, is lost in ``result``, and what is wrong there.

    Args:
        before: the chapter from which the learner's was made.
        own: the learner's, as they left it.
        chapter: as it is now.
        result: the copy after the update.
        on_disk: what was left of the damaged file: a line that is not in it cannot be read by anybody.
        ids: see ``Case``.
    """
    typed = {id(cell): _typed(cell, before) for cell in own["cells"] if not _is_note(cell)}
    mine = [cell for cell in own["cells"] if typed.get(id(cell)) and _is_left(typed[id(cell)], on_disk)]
    wanted = sum((Counter(typed[id(cell)]) for cell in mine), Counter())
    there = Counter(line for cell in result["cells"] for line in lines(source(cell)))
    answers = [_without_call(source(cell)) for cell in mine if CALL.search(source(cell))]
    bodies = [_without_call(source(cell)) for cell in result["cells"]]
    return Outcome(
        wanted.total(),
        list((wanted - there).elements()),
        len(answers),
        [answer for answer in answers if not any(answer in body for body in bodies)],
        list(_wrong(before, own, chapter, result)) if ids else [],
    )


def _is_note(cell: Raw) -> bool:
    """A note that an update wrote and nobody has typed into: the next update may replace it."""
    return is_written_here(cell) and cell["metadata"]["course"]["workbook"] == "changed exercise"


def _typed(cell: Raw, before: Raw) -> list[str]:
    """The lines of a cell that the chapter's cell of the same id has not; of one without, all that no cell has."""
    same = [other for other in before["cells"] if other["id"] == cell.get("id")] or before["cells"]
    known = Counter(line for other in same for line in lines(source(other)))
    return list((Counter(lines(source(cell))) - known).elements())


def _is_left(typed: list[str], on_disk: bytes | None) -> bool:
    return on_disk is None or all(
        any(json.dumps(line, ensure_ascii=way)[1:-1].encode("utf-8", "replace") in on_disk for way in (False, True))
        for line in typed
    )


def _without_call(content: str) -> str:
    return "\n".join(line for line in lines(content) if not CALL.search(line))


def _wrong(before: Raw, own: Raw, chapter: Raw, result: Raw) -> Iterator[str]:
    """The chapter's cells that nobody touched must be there, once; those that the learner deleted must not."""
    was, held = ({cell.get("id"): cell for cell in one["cells"]} for one in (before, own))
    there = Counter(_text(cell) for cell in result["cells"] if not is_marked(cell))
    everything = [source(cell) for cell in result["cells"]]
    twice = Counter(map(_text, chapter["cells"]))
    pasted = {_text(cell) for cell in own["cells"] if cell.get("id") not in was}
    for cell in chapter["cells"]:
        key, what, count = cell["id"], _text(cell), there[_text(cell)]
        if not what[1].strip() or twice[what] > 1 or what in pasted:
            continue
        if key in was and key not in held and count:
            yield f"deleted and there: {what[1][:60]!r}"
        if key in was and key in held and _text(held[key]) == what and count != 1:
            yield f"untouched and there {count} times: {what[1][:60]!r}"
        if key not in was and not CALL.search(what[1]) and not any(what[1] in content for content in everything):
            yield f"new and not there: {what[1][:60]!r}"


def _text(cell: Raw) -> tuple[str, str]:
    return cell["cell_type"], source(cell)
