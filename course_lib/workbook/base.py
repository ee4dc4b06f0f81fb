"""The base of a copy: the chapter as it was when the copy was last brought up to date.

A ZIP download has no git, so the base is kept beside the copies, without outputs, in a file that is named by its own
content (``04_topic-<16 digits>.json``); the copy names its base in its metadata. Bringing a copy up to date therefore
ends with one rename: until then the old copy stands beside the old base, from then on the new beside the new. It also
tells what JupyterLab wrote back from memory over a newer copy: that file still names the base it was made from.

A base that is missing, broken or of another format is done without (``guessed``): a published cell certifies itself.
"""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from course_lib.storage.files import write_json
from course_lib.workbook.cells import Cell, cells_of, digest_id, is_published

FORMAT = 1
KEPT = 4
"""How many bases of a chapter stay on the disk; a copy that names an older one is brought up to date without."""


def chapter_view(raw_cells: Sequence[dict[str, Any]]) -> list[Cell]:
    """A chapter's cells; where a learner has typed into the chapter itself, with an unknown source.

    If most cells are not what was published under their ids, the ids are somebody else's and say nothing.
    """
    cells = cells_of(raw_cells)
    published = [is_published(raw) for raw in raw_cells]
    if 2 * sum(published) < len(published):
        return cells
    unknown = (dataclasses.replace(cell, source=None, outputs="") for cell in cells)
    return [cell if true else other for cell, other, true in zip(cells, unknown, published, strict=True)]


def base_of(chapter: Sequence[Cell]) -> list[Cell]:
    """The base that a chapter's view makes: without the cells that a learner has added to the chapter itself."""
    return [cell for cell in chapter if cell.source is not None or cell.names_published_text]


def guessed(ours: Sequence[Cell], theirs: Sequence[Cell]) -> list[Cell]:
    """A base where none is known: what the copy's cells were before the learner touched them, as far as they tell.

    Only cells that the copy holds are in it, so that no cell of the chapter counts as deleted by the learner.
    """
    by_exercise = {(cell.exercise, cell.name): cell for cell in theirs if cell.exercise}
    by_source = {(cell.kind, cell.source): cell for cell in theirs}
    found: dict[str, Cell] = {}
    for number, cell in enumerate(ours):
        published = cell.source is not None and cell.id.partition("-")[0] == digest_id(cell.kind, cell.source)
        was = cell if published else by_source.get((cell.kind, cell.source))
        if was is None and cell.names_published_text:
            was = dataclasses.replace(cell, source=None)  # edited: the id alone tells what was published
        elif was is None:
            was = by_exercise.get((cell.exercise, cell.name)) if cell.exercise else None
        if was is not None:
            found.setdefault(was.id or f"without-{number}", was)
    return list(found.values())


def checksum(base: Sequence[Cell]) -> str:
    """SHA-256 of a base, as 64 hexadecimal digits."""
    return hashlib.sha256(json.dumps([dataclasses.asdict(cell) for cell in base], sort_keys=True).encode()).hexdigest()


def save(folder: Path, chapter: str, base: Sequence[Cell]) -> str:
    """Write a base, unless it is there; its checksum. Raises: CourseError: it cannot be written."""
    name = checksum(base)
    if load(folder, chapter, name) is None:
        content = {"format": FORMAT, "sha256": name, "cells": [dataclasses.asdict(cell) for cell in base]}
        write_json(_path(folder, chapter, name), content)
    return name


def load(folder: Path, chapter: str, name: str) -> list[Cell] | None:
    """The base of this checksum; None if it is missing, broken, or of another format."""
    try:
        content = json.loads(_path(folder, chapter, name).read_text(encoding="utf-8"))
        base = [Cell(**cell) for cell in content["cells"]] if content["format"] == FORMAT else None
    except (OSError, ValueError, TypeError, KeyError, RecursionError):
        return None
    return base if base is not None and checksum(base) == name else None


def prune(folder: Path, chapter: str, name: str) -> None:
    """Remove the bases of a chapter but ``name`` and the newest ``KEPT`` - 1 others."""
    with contextlib.suppress(OSError):  # too many bases are no reason to fail
        others = [path for path in folder.glob(f"{chapter}-*.json") if path != _path(folder, chapter, name)]
        for path in sorted(others, key=lambda path: path.stat().st_mtime)[: -(KEPT - 1)]:
            path.unlink()


def _path(folder: Path, chapter: str, name: str) -> Path:
    return folder / f"{chapter}-{name[:16]}.json"
