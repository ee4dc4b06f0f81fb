"""The workbook: one copy of each chapter in which the learner works, while ``notebooks/`` stays as it was published.

    workbook/04_topic.ipynb                      the learner's copy, made on first use, ignored by git
    workbook/kept/04_topic.reset-DATE.ipynb      what was there before a reset; .broken-DATE: what was no notebook
    workbook/.course/base/                       the bases of the copies (``base``)
    workbook/.course/before/04_topic.ipynb       the copy as it was before the last update

``COURSE_WORKBOOK`` moves the folder, for a checkout that nobody may write; the links of its chapters to the course's
documents then lead nowhere.

Whatever stops a command, every file is whole and the learner's cells are in the copy: a new copy is written beside the
old one and renamed over it, last of all, and only if nobody has saved the old one since it was read. Two commands at
once take turns. JupyterLab takes no lock: a copy that is open in it is updated all the same, and JupyterLab asks before
it saves over a file that has changed. If its old version is saved then, it still names its own base, and the next
update carries it over again.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from course_lib.errors import CourseError
from course_lib.workbook import base as bases
from course_lib.workbook import rescue
from course_lib.workbook.cells import Cell, cells_of, text
from course_lib.workbook.marks import kept_code
from course_lib.workbook.matching import match
from course_lib.workbook.merge import merge
from course_lib.workbook.notebook import NotANotebook, parse
from course_lib.workbook.places import SavedMeanwhileError, Workbook, failing_disk, place, read, shown, write

ATTEMPTS = 5
"""How often an update begins again because the copy was saved meanwhile."""


@dataclass(frozen=True)
class Change:
    """What became of one chapter's copy, or how it stands.

    Args:
        chapter: the name of its file, without ending.
        what: "made", "updated", "rescued", "renamed", "reset"; "current", "behind", "missing"; "orphan" for a copy
            without a chapter; "unread" if the copy or the chapter could not be read and all was left as it is.
        text: one line for the learner.
    """

    chapter: str
    what: str
    text: str

    def __str__(self) -> str:
        return f"{self.chapter}: {self.text}"


def update(only: Sequence[str] = (), *, book: Workbook | None = None) -> list[Change]:
    """Make the copies that are missing and bring the others up to date; what has changed, [] if nothing had to.

    Args: only: the first characters of the chapters' names, such as "04"; all without. book: default: the learner's.
    Raises: CourseError: the workbook cannot be written; ValueError: there is no such chapter.
    """
    book = book or Workbook(place())
    with failing_disk(book.folder):
        names = book.names(only)
        if all(_is_current(book, name) for name in names):
            return []  # also where nobody may write
    with failing_disk(book.folder), book.locked():
        return [change for name in names if (change := _update(book, name)).what != "current"]


def status(only: Sequence[str] = (), *, book: Workbook | None = None) -> list[Change]:
    """How each copy stands; changes nothing. Raises: ValueError: there is no such chapter."""
    book = book or Workbook(place())
    with failing_disk(book.folder):
        orphans = [] if only else book.orphans()
        left = [Change(name, "orphan", "no chapter of this name is left; it stays as it is") for name in orphans]
        return [_state(book, name) for name in book.names(only)] + left


def reset(chapter: str, *, book: Workbook | None = None) -> Change:
    """A fresh copy of one chapter; the old one is kept.

    Args: chapter: the first characters of its name, such as "04". book: default: the learner's.
    Raises: CourseError: the workbook cannot be written, or the copy or chapter not read; ValueError: not one chapter.
    """
    book = book or Workbook(place())
    with failing_disk(book.folder):
        names = book.names([chapter])
    if len(names) > 1:
        raise ValueError(f"chapter must name one chapter, got {chapter!r}, which names {', '.join(names)}")
    (name,) = names
    fresh, path = book.chapter(name), book.copy(name)
    with failing_disk(book.folder), book.locked():
        earlier = book.same_number(name)
        old = name if path.exists() or len(earlier) != 1 else earlier[0]  # the chapter may have got another name
        for _ in range(ATTEMPTS):
            with contextlib.suppress(SavedMeanwhileError):
                content, unchanged = read(book.copy(old)) if book.copy(old).exists() else (None, None)
                aside = None if content is None else book.keep(old, "reset", content)
                write(path, _new_copy(book, name, fresh), unchanged)
                if old != name:
                    book.remove(old)
                return Change(name, "reset", f"new; the old copy is {shown(aside)}" if aside else "new")
    raise CourseError("it is being saved all the time", path=path, mend="close it and run the command again")


def _is_current(book: Workbook, name: str) -> bool:
    try:
        ours = parse(book.copy(name).read_bytes())
        chapter = bases.chapter_view(book.chapter(name)["cells"])
    except (OSError, CourseError, NotANotebook):
        return False
    return _base_name(ours) == bases.checksum(bases.base_of(chapter))


def _state(book: Workbook, name: str) -> Change:
    try:
        ours = parse(book.copy(name).read_bytes())
        chapter = bases.chapter_view(book.chapter(name)["cells"])
    except FileNotFoundError:
        return Change(name, "missing", "no copy yet; course workbook makes it")
    except NotANotebook as error:
        return Change(name, "behind", f"your copy is {error}; course workbook mends it and keeps the old file")
    except (OSError, CourseError) as error:
        return _unread(name, error)
    own = _count_own(_base(book, name, ours, chapter), cells_of(ours["cells"]))
    cells = f"{own} {'cell' if own == 1 else 'cells'} of yours"
    if _base_name(ours) == bases.checksum(bases.base_of(chapter)):
        return Change(name, "current", f"up to date, {cells}")
    return Change(name, "behind", f"the chapter has changed, {cells}; course workbook brings your copy up to date")


def _count_own(base: Sequence[Cell], cells: Sequence[Cell]) -> int:
    pairs = {k: base[i] for i, k in match(base, cells).items()}
    return sum(k not in pairs or not cell.says(pairs[k]) for k, cell in enumerate(cells))


def _update(book: Workbook, name: str) -> Change:
    """One chapter's copy, under the lock; begun again if it is saved meanwhile."""
    try:
        chapter = book.chapter(name)
    except CourseError as error:
        return _unread(name, error)
    path = book.copy(name)
    for _ in range(ATTEMPTS):
        with contextlib.suppress(SavedMeanwhileError):
            try:
                content, unchanged = read(path)
            except FileNotFoundError:
                return _make(book, name, chapter)
            except OSError as error:
                return _unread(name, error)
            return _from_content(book, name, chapter, content, unchanged)
    return Change(name, "unread", "your copy is being saved all the time; close it and run course workbook again")


def _from_content(
    book: Workbook, name: str, chapter: dict[str, Any], content: bytes, unchanged: Callable[[], None]
) -> Change:
    try:
        ours = parse(content)
    except NotANotebook as error:
        return _rescue(book, name, chapter, content, str(error), unchanged)
    return _carry_over(book, name, chapter, ours, unchanged)


def _unread(name: str, error: OSError | CourseError) -> Change:
    reason = str(error) if isinstance(error, CourseError) else f"it cannot be read ({error.strerror or error})"
    return Change(name, "unread", f"your copy is left as it is: {reason}")


def _make(book: Workbook, name: str, chapter: dict[str, Any]) -> Change:
    """The first copy, or that of a chapter which has got another name."""
    earlier = book.same_number(name)
    if len(earlier) == 1:
        with contextlib.suppress(NotANotebook):  # then it stays where it is
            return _rename(book, earlier[0], name, chapter)
    write(book.copy(name), _new_copy(book, name, chapter))
    return Change(name, "made", f"your copy is {shown(book.folder / f'{name}.ipynb')}")


def _rename(book: Workbook, old: str, name: str, chapter: dict[str, Any]) -> Change:
    """The copy of the chapter that was ``old``: carried over under the new name, then put aside."""
    content, unchanged = read(book.copy(old))
    _carry_over(book, name, chapter, parse(content), unchanged, was=old)
    aside = book.keep(old, "renamed", content)
    unchanged()
    book.remove(old)
    return Change(
        name, "renamed", f"the chapter was {old}; your cells are carried over, the old copy is {shown(aside)}"
    )


def _carry_over(
    book: Workbook,
    name: str,
    chapter: dict[str, Any],
    ours: dict[str, Any],
    unchanged: Callable[[], None],
    was: str | None = None,
) -> Change:
    """Merge and write; ``was``: the name under which the copy's base was saved, if it is another one."""
    theirs = _without_known(chapter, ours)
    view = bases.chapter_view(theirs["cells"])
    new_base = bases.base_of(view)
    if was is None and _base_name(ours) == bases.checksum(new_base):
        return Change(name, "current", "up to date")
    merged = merge(_base(book, was or name, ours, view), ours["cells"], theirs["cells"])
    base_name = bases.save(book.bases, name, new_base)
    write(book.before(name), ours)
    write(book.copy(name), _notebook(theirs, ours, merged.cells, base_name), unchanged)
    bases.prune(book.bases, name, base_name)
    return Change(name, "updated", _told(merged.counts))


def _told(counts: Mapping[str, int]) -> str:
    chapter = [f"{counts[what]} {what}" for what in ("changed", "new", "dropped") if counts[what]]
    told = f"up to date again; the chapter's cells: {', '.join(chapter) or 'none changed'}"
    own = [f"{counts['kept']} of your cells stand in their places"] if counts["kept"] else []
    if counts["beside"]:
        own.append(f"{counts['beside']} beside them, marked 'Yours, from the earlier version'")
    if counts["back"]:
        own.append(f"{counts['back']} that you had deleted have changed and are back")
    return "; ".join([told, *own])


def _rescue(
    book: Workbook, name: str, chapter: dict[str, Any], content: bytes, reason: str, unchanged: Callable[[], None]
) -> Change:
    """A new copy with what can be read of a broken one, which is kept."""
    view = bases.chapter_view(chapter["cells"])
    saved = rescue.without_cut(rescue.salvage(content), chapter["cells"])
    if saved:
        cells, found = merge(bases.guessed(cells_of(saved), view), saved, chapter["cells"]).cells, len(saved)
    else:
        answers = rescue.functions(content, [cell.name for cell in view if cell.name])
        cells, found = [*chapter["cells"], *map(kept_code, answers)], len(answers)
    new = _notebook(chapter, {}, cells, bases.save(book.bases, name, bases.base_of(view)))
    aside = book.keep(name, "broken", content)
    write(book.copy(name), new, unchanged)
    read_from = f"{found} cells were read from it" if found else "nothing could be read from it"
    return Change(name, "rescued", f"your copy was {reason}; it is now {shown(aside)}, and {read_from}")


def _without_known(chapter: dict[str, Any], ours: dict[str, Any]) -> dict[str, Any]:
    """The chapter without those cells that a learner has added to it and that the copy holds already."""
    view = bases.chapter_view(chapter["cells"])
    known = {str(cell.get("id")) for cell in ours["cells"]} | {text(cell["source"]) for cell in ours["cells"]}
    cells = [
        raw
        for raw, cell in zip(chapter["cells"], view, strict=True)
        if cell.source is not None or cell.names_published_text or not {cell.id, text(raw["source"])} & known
    ]
    return {**chapter, "cells": cells}


def _new_copy(book: Workbook, name: str, chapter: dict[str, Any]) -> dict[str, Any]:
    """A copy as it is made first: with everything that the chapter holds, outputs too."""
    base = bases.base_of(bases.chapter_view(chapter["cells"]))
    return _notebook(chapter, {}, chapter["cells"], bases.save(book.bases, name, base))


def _notebook(theirs: dict[str, Any], ours: dict[str, Any], cells: list[Any], base: str) -> dict[str, Any]:
    """The copy's dict: kernel and widgets as the learner has them, the rest the chapter's, with the base's name."""
    course = {**theirs.get("metadata", {}).get("course", {}), "workbook": {"base": base}}
    metadata = {**theirs.get("metadata", {}), **ours.get("metadata", {}), "course": course}
    return {**theirs, "metadata": metadata, "cells": cells}


def _base(book: Workbook, name: str, ours: dict[str, Any], chapter: Sequence[Cell]) -> list[Cell]:
    """The base that the copy names, or what can be guessed without it."""
    found = bases.load(book.bases, name, _base_name(ours))
    return bases.guessed(cells_of(ours["cells"]), chapter) if found is None else found


def _base_name(ours: dict[str, Any]) -> str:
    course = ours.get("metadata", {}).get("course")
    inner = course.get("workbook") if isinstance(course, dict) else None
    return str(inner.get("base", "")) if isinstance(inner, dict) else ""
