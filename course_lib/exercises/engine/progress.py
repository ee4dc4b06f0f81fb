"""progress(): all chapters that have exercises, what is passed, the points, and how good the guesses were."""

from __future__ import annotations

import html

from course_lib.exercises.engine.display import Note
from course_lib.exercises.engine.exercise import Exercise
from course_lib.exercises.engine.predict import scored
from course_lib.exercises.engine.record import passed
from course_lib.exercises.engine.registry import chapter, chapters

Row = tuple[str, str, tuple[Exercise, ...], int, int]


def progress() -> Note:
    """All chapters that have exercises, what is passed, and the points, as a grid; below, how the guesses did."""
    kept, note = passed()
    rows: list[Row] = []
    total = reached = 0
    for number in chapters():
        try:
            title, exercises = chapter(number)
        except Exception as error:  # one broken chapter must not hide the others
            rows.append((number, f"cannot be loaded: {type(error).__name__}: {error}", (), 0, 0))
            continue
        points = sum(exercise.points for exercise in exercises if exercise.id in kept)
        rows.append((number, title, exercises, points, sum(exercise.points for exercise in exercises)))
        reached, total = reached + points, total + rows[-1][4]
    below = [f"{reached} of {total} points", _guesses(), note]
    below = [line for line in below if line]
    return Note(_text(rows, kept, below), html=_html(rows, kept, below))


def _guesses() -> str:
    """How many predictions were right, and how sure the learner was: calibration, not points."""
    score = scored()
    if not score.answered:
        return ""
    told = f"Predictions: right in {score.right} of {score.answered}"
    if score.sure is None:
        return told + "."
    where = (
        ""
        if score.told_sure == score.answered
        else f" (where you said how sure: {score.right_of_sure} of {score.told_sure})"
    )
    return f"{told}; you were {score.sure:.0f} % sure on average{where}."


def _text(rows: list[Row], kept: dict[str, str], below: list[str]) -> str:
    lines = []
    for number, title, exercises, points, most in rows:
        marks = "  ".join(f"{exercise.id} {'✓' if exercise.id in kept else '·'}" for exercise in exercises)
        lines.append(f"{number}  {title[:40]:40}  {points:3d} of {most:3d}  {marks}".rstrip())
    return "\n".join([*lines, *below])


def _html(rows: list[Row], kept: dict[str, str], below: list[str]) -> str:
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
    tail = "".join(f"<p>{html.escape(line)}</p>" for line in below[1:])
    return f"<table><tr>{head}</tr>{body}</table><p><b>{html.escape(below[0])}</b></p>{tail}"
