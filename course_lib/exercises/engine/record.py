"""What the learner has passed: one small JSON file in their checkout, and the grid that shows it.

The file, ``.course_progress.json``, maps exercise ids to the day they were passed. ``COURSE_PROGRESS`` names another
path, or "off" to keep nothing (tests, CI). Passing stays passed. Two notebooks may pass exercises at the same moment:
each write takes a lock file, reads again, adds, and renames a complete file over the old one. A file that cannot be
read is moved aside, and one that cannot be written costs the record, never the chapter.
"""

from __future__ import annotations

import contextlib
import datetime
import html
import json
import os
import re
import time
from collections.abc import Iterator
from pathlib import Path

from course_lib.errors import CourseError
from course_lib.exercises.engine.display import Note
from course_lib.exercises.engine.exercise import Exercise
from course_lib.exercises.engine.registry import chapter, chapters
from course_lib.storage.files import ROOT, write_json

STALE_LOCK_S = 5.0


def path() -> Path | None:
    """Where progress is kept; None if ``COURSE_PROGRESS`` is "off"."""
    setting = os.environ.get("COURSE_PROGRESS", "").strip()
    if setting.lower() == "off":
        return None
    return Path(setting).expanduser() if setting else ROOT / ".course_progress.json"


def passed() -> tuple[dict[str, str], str]:
    """Exercise id -> day it was passed, and a note if the file was broken and has been moved aside."""
    file = path()
    try:
        if file is None or not file.exists():
            return {}, ""
        kept = json.loads(file.read_text(encoding="utf-8"))["passed"]
        return {id: str(kept[id]) for id in kept if re.fullmatch(r"\d\d\.\d+", id)}, ""
    except OSError as error:
        return {}, f"Your progress could not be read ({error.strerror or error})."
    except (ValueError, KeyError, TypeError):
        aside = file.with_name(file.name + ".broken")
        with contextlib.suppress(OSError):
            os.replace(file, aside)
        return {}, f"The progress file was broken: it is now {aside.name}, and a new one begins."


def remember(id: str) -> str:
    """Write down that this exercise is passed; returns a note for the learner, "" if all went well."""
    file = path()
    if file is None:
        return ""
    try:
        with _locked(file):
            kept, note = passed()
            if id not in kept:
                kept[id] = datetime.date.today().isoformat()
                write_json(file, {"passed": dict(sorted(kept.items()))})
            return note
    except (CourseError, OSError) as error:
        return f"Passed, but your progress could not be saved: {error}"


def progress() -> Note:
    """All chapters that have exercises, what is passed, and the points, as a grid."""
    kept, note = passed()
    rows, total, reached = [], 0, 0
    for number in chapters():
        try:
            title, exercises = chapter(number)
        except Exception as error:  # one broken chapter must not hide the others
            rows.append((number, f"cannot be loaded: {type(error).__name__}: {error}", (), 0, 0))
            continue
        points = sum(exercise.points for exercise in exercises if exercise.id in kept)
        rows.append((number, title, exercises, points, sum(exercise.points for exercise in exercises)))
        reached, total = reached + points, total + rows[-1][4]
    return Note(_text(rows, kept, reached, total, note), html=_html(rows, kept, reached, total, note))


Row = tuple[str, str, tuple[Exercise, ...], int, int]


def _text(rows: list[Row], kept: dict[str, str], reached: int, total: int, note: str) -> str:
    lines = []
    for number, title, exercises, points, most in rows:
        marks = "  ".join(f"{exercise.id} {'✓' if exercise.id in kept else '·'}" for exercise in exercises)
        lines.append(f"{number}  {title[:40]:40}  {points:3d} of {most:3d}  {marks}".rstrip())
    return "\n".join([*lines, f"{reached} of {total} points", *([note] if note else [])])


def _html(rows: list[Row], kept: dict[str, str], reached: int, total: int, note: str) -> str:
    body = ""
    for number, title, exercises, points, most in rows:
        marks = " ".join(
            f'<span title="{html.escape(exercise.title)}" style="opacity:{1 if exercise.id in kept else 0.6};'
            f'white-space:nowrap">{exercise.id} {"✓" if exercise.id in kept else "·"}</span>'
            for exercise in exercises
        )
        cells = (number, html.escape(title), f"{points} of {most}", marks)
        body += "<tr>" + "".join(f'<td style="text-align:left">{cell}</td>' for cell in cells) + "</tr>"
    head = "".join(f'<th style="text-align:left">{name}</th>' for name in ("", "chapter", "points", "exercises"))
    tail = f"<p>{html.escape(note)}</p>" if note else ""
    return f"<table><tr>{head}</tr>{body}</table><p><b>{reached} of {total} points</b></p>{tail}"


@contextlib.contextmanager
def _locked(file: Path) -> Iterator[None]:
    """Hold ``<file>.lock``; a lock older than a few seconds was left by a process that died."""
    file.parent.mkdir(parents=True, exist_ok=True)
    lock, deadline = file.with_name(file.name + ".lock"), time.monotonic() + 2 * STALE_LOCK_S
    while True:
        try:
            os.close(os.open(lock, os.O_CREAT | os.O_EXCL | os.O_WRONLY))
            break
        except FileExistsError:
            with contextlib.suppress(OSError):
                if time.time() - lock.stat().st_mtime > STALE_LOCK_S:
                    lock.unlink()
            if time.monotonic() > deadline:
                raise TimeoutError(f"{lock} stays locked") from None
            time.sleep(0.01)
    try:
        yield
    finally:
        lock.unlink(missing_ok=True)
