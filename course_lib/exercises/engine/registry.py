"""Where exercises are found: ``course_lib/exercises/chapter_NN``, one file an exercise.

A chapter is a package whose docstring's first line is its title. It is imported when one of its exercises is first
asked for, so that a slip in one chapter never reaches another.
"""

from __future__ import annotations

import importlib
import pkgutil
import re
from types import ModuleType

from course_lib.exercises.engine.exercise import Exercise
from course_lib.exercises.engine.state import random_kept


def chapters() -> tuple[str, ...]:
    """The chapters that have exercises, as two digits, in order."""
    package = importlib.import_module("course_lib.exercises")
    names = (module.name for module in pkgutil.iter_modules(package.__path__))
    return tuple(sorted(name[-2:] for name in names if re.fullmatch(r"chapter_\d\d", name)))


@random_kept()  # a module or a case that draws numbers must not shift the notebook's
def chapter(number: str) -> tuple[str, tuple[Exercise, ...]]:
    """A chapter's title (its package's first line) and its exercises, in order of their numbers.

    Raises: ValueError: an id belongs to another chapter or is used twice, or an exercise breaks the contract.
    """
    package = importlib.import_module(f"course_lib.exercises.chapter_{number}")
    found: list[Exercise] = []
    for module in _modules(package):
        found += [value for value in vars(module).values() if isinstance(value, Exercise) and value not in found]
    ids = [exercise.id for exercise in found]
    if any(not id.startswith(f"{number}.") for id in ids) or len(set(ids)) < len(ids):
        raise ValueError(f"{package.__name__}: ids must be unique and start with '{number}.', got {ids}")
    for exercise in found:
        if problems := exercise.problems():
            raise ValueError("; ".join(problems))
    title = (package.__doc__ or "").strip().split("\n")[0].rstrip(".")
    return title, tuple(sorted(found, key=lambda exercise: int(exercise.id[3:])))


def find(id: str | float) -> Exercise:
    """The exercise with this id ("01.1", or "1.1" for short).

    Raises: ValueError: there is none; the message lists that chapter's, or the first of each chapter.
    """
    match = re.fullmatch(r"(\d{1,2})\.(\d+)", str(id).strip())
    wanted = f"{int(match[1]):02d}.{int(match[2])}" if match else str(id).strip()
    near = list(chapters())
    if match and wanted[:2] in near:
        exercises = {exercise.id: exercise for exercise in chapter(wanted[:2])[1]}
        if wanted in exercises:
            return exercises[wanted]
        near = list(exercises)
    elif near:
        near = [chapter(number)[1][0].id for number in near]  # no such chapter: the first exercise of each
    raise ValueError(f"id must name an exercise, got {id!r}; near it: {', '.join(near) or 'none'}")


def _modules(package: ModuleType) -> list[ModuleType]:
    names = (module.name for module in pkgutil.iter_modules(getattr(package, "__path__", ())))
    return [package, *(importlib.import_module(f"{package.__name__}.{name}") for name in names)]
