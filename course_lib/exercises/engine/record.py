"""What the learner has passed and guessed: one small JSON file in their checkout.

The file, ``.course_progress.json``, holds ``passed`` (exercise -> the day it was passed) and ``predictions``.
``COURSE_PROGRESS`` names another path, or "off" to keep nothing (tests, CI). Passing stays passed.

* Two notebooks may write at the same moment: each takes the operating system's lock on a file beside it, reads again,
  changes, and renames a complete file over the old one. The lock goes with its process, so none is ever stale, and a
  writer that stalls is waited for.
* A file that is *broken* is moved aside under a name of its own, and a new one begins. A file that *cannot be read* (no
  permission, a disk that fails) is left alone: nothing is written over it.
* What a newer version of the course wrote beside these two fields is kept.

A record that cannot be kept costs the record, never the chapter.
"""

from __future__ import annotations

import contextlib
import datetime
import json
import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

from course_lib.errors import CourseError
from course_lib.storage import locks
from course_lib.storage.files import ROOT, atomic_path, user_path

PATIENCE_S = 15.0
"""How long a writer waits for another one."""
_ID = re.compile(r"\d\d\.\d+")


def path() -> Path | None:
    """Where progress is kept; None if ``COURSE_PROGRESS`` is "off".

    Raises: CourseError: the setting names a home that is not known.
    """
    setting = os.environ.get("COURSE_PROGRESS", "").strip()
    if setting.lower() == "off":
        return None
    return user_path(setting) if setting else ROOT / ".course_progress.json"


def passed() -> tuple[dict[str, str], str]:
    """Exercise id -> day it was passed, and a note if the file is broken or cannot be read."""
    content, note = read()
    return {i: str(day) for i, day in part(content, "passed").items() if _ID.fullmatch(str(i))}, note


def remember(id: str) -> str:
    """Write down that this exercise is passed; returns a note for the learner, "" if all went well."""

    def add(content: dict[str, Any]) -> None:
        content["passed"] = {id: datetime.date.today().isoformat(), **part(content, "passed")}

    return change(add, "Passed, but your progress could not be saved")


def read() -> tuple[dict[str, Any], str]:
    """The whole record, {} if there is none, and a note for the learner."""
    try:
        file = path()
        return ({}, "") if file is None else _content(file)
    except OSError as error:
        return {}, f"Your progress could not be read ({error.strerror or error})."
    except CourseError as error:
        return {}, f"Your progress could not be read ({error.problem})."


def change(update: Callable[[dict[str, Any]], None], failed: str) -> str:
    """Let ``update`` change the record in place; returns a note, which begins with ``failed`` if nothing was kept."""
    try:
        file = path()
        if file is None:
            return f"{failed}: COURSE_PROGRESS is off."
        file = file.resolve()  # a link stays one: what it points to is replaced
        file.parent.mkdir(parents=True, exist_ok=True)
        with _locked(file):
            content, note = _content(file)
            before = json.dumps(content, sort_keys=True)
            update(content)
            if json.dumps(content, sort_keys=True) != before:
                with atomic_path(file) as written:
                    written.write_text(json.dumps(content, indent=2, sort_keys=True) + "\n", encoding="utf-8")
        return note
    except (CourseError, OSError, ValueError, RuntimeError) as error:  # RuntimeError: a link to itself
        return f"{failed}: {error}"


def part(content: dict[str, Any], name: str) -> dict[str, Any]:
    """A field of the record that holds a dict; {} if it is not there or holds something else."""
    found = content.get(name)
    return found if isinstance(found, dict) else {}


def _content(file: Path) -> tuple[dict[str, Any], str]:
    """The parsed file; a broken one is moved aside. Raises: OSError: it is there and cannot be read."""
    if not file.exists():
        return {}, ""
    text = file.read_bytes()
    try:
        content = json.loads(text.decode("utf-8-sig"))
        if not isinstance(content, dict) or not isinstance(content.get("passed", {}), dict):
            raise TypeError("not a record")
        json.dumps(content).encode()
        return content, ""
    except (ValueError, TypeError, RecursionError):
        aside = _free_name(file)
        os.replace(file, aside)
        return {}, f"The progress file was broken: it is now {aside.name}, and a new one begins."


def _free_name(file: Path) -> Path:
    """A name for a broken file that no earlier one has."""
    names = (file.with_name(f"{file.name}.broken{f'.{n}' if n > 1 else ''}") for n in range(1, 1000))
    return next((name for name in names if not name.exists()), file.with_name(f"{file.name}.broken"))


def _locked(file: Path) -> contextlib.AbstractContextManager[None]:
    """The operating system's lock on ``<file>.lock``. Entering it raises TimeoutError: another process keeps it."""
    busy = f"{file.name} is being written by another process; run the cell again"
    return locks.held(file.with_name(f"{file.name}.lock"), PATIENCE_S, busy)
