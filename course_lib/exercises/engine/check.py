"""check, hint, arguments: what a notebook calls."""

from __future__ import annotations

from typing import Any

from course_lib.exercises.engine.cases import numbered
from course_lib.exercises.engine.display import Note, Verdict
from course_lib.exercises.engine.exercise import Arguments
from course_lib.exercises.engine.judge import judge
from course_lib.exercises.engine.record import remember
from course_lib.exercises.engine.registry import find
from course_lib.exercises.engine.sandbox import BrokenExercise

_hints_shown: dict[str, int] = {}


def check(id: str, answer: Any) -> Verdict:
    """Judge an answer; show what is wrong and why, or mark the exercise as passed.

    Args:
        id: the exercise, "01.1".
        answer: your function itself (without calling it), or a value where the exercise asks for one.
    Returns: a Verdict: shows itself in a notebook, is true only if passed.
    Raises: ValueError: there is no such exercise.
    """
    exercise = find(id)
    try:
        verdict = judge(exercise, answer)
    except BrokenExercise as error:
        return Verdict(exercise.id, exercise.title, "broken", 0, str(error))
    if not verdict:
        return verdict
    note = remember(exercise.id)
    message = f"{verdict.message}\n{note}" if note else verdict.message
    return Verdict(exercise.id, exercise.title, "right", verdict.points, message, verdict.printed)


def hint(id: str) -> Note:
    """One more hint at each call, and in the end the way to the solution."""
    exercise = find(id)
    shown = min(_hints_shown.get(exercise.id, 0) + 1, len(exercise.hints))
    _hints_shown[exercise.id] = shown
    lines = [f"Hint {i + 1} of {len(exercise.hints)}: {text}" for i, text in enumerate(exercise.hints[:shown])]
    if shown == len(exercise.hints):
        lines.append(f'That was the last one. solution("{exercise.id}") shows the answer.')
    return Note("\n".join(lines), markdown="\n\n".join(lines))


def arguments(id: str, case: int) -> Arguments:
    """The arguments of one case, as a message of ``check`` numbers it: to call your function on them.

    Raises: ValueError: there is no such exercise, or it has no such case.
    """
    return numbered(find(id), case).fresh()
