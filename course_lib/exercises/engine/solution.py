"""solution: the answer, shown with its explanation."""

from __future__ import annotations

import inspect
import textwrap

from course_lib.exercises.engine.display import Note
from course_lib.exercises.engine.registry import find


def solution(id: str) -> Note:
    """The reference's source, with its explanation."""
    exercise = find(id)
    source = textwrap.dedent(inspect.getsource(exercise.solution_fn or exercise.reference_fn)).rstrip()
    title = f"Solution of {exercise.id} {exercise.title}"
    explanation = inspect.cleandoc(exercise.explanation)
    text = "\n\n".join(part for part in (title, explanation, source) if part)
    return Note(text, markdown=f"**{title}**\n\n{explanation}\n\n```python\n{source}\n```")
