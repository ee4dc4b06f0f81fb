"""Wrong answers that honest learners write, and none of which is planted: is one of them called right?

Each table ``answers_NN`` holds, for each exercise of its chapter, wrong answers by name: slips of formula, sign, axis,
rounding and edge; and what once earned points without the skill: a loss that cannot train, an argument changed, a
branch that is never tried, a constant. Each breaks the task's words.
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable
from typing import Any

from course_lib.exercises.engine.judge import judge
from course_lib.exercises.engine.registry import find
from course_lib.measure import Measurement

Answers = dict[str, Callable[..., Any]]
LEAST = 5
"""Wrong answers that each exercise has at least."""


def load() -> dict[str, Answers]:
    """Exercise -> its wrong answers by name. Raises: ValueError: an exercise has fewer than LEAST."""
    package = importlib.import_module("engine_trial")
    found: dict[str, Answers] = {}
    for module in sorted(module.name for module in pkgutil.iter_modules(package.__path__)):
        if module.startswith("answers_"):
            found |= importlib.import_module(f"engine_trial.{module}").WRONG
    if few := [id for id, answers in found.items() if len(answers) < LEAST]:
        raise ValueError(f"fewer than {LEAST} wrong answers: {', '.join(few)}")
    return found


def try_all(tables: dict[str, Answers], said: Callable[[str], None] = print) -> dict[str, str]:
    """The state of the verdict on each wrong answer, by "exercise-name"."""
    states = {}
    for id, answers in tables.items():
        exercise = find(id)
        for name, answer in answers.items():
            verdict = judge(exercise, answer)
            states[f"{id}-{name}"] = verdict.state
            if verdict.state != "wrong":
                said(f"{verdict.state.upper()}: {id}-{name}: {verdict.message}")
    return states


def figures(states: dict[str, str]) -> dict[str, Measurement]:
    """wrong_answers_accepted, with the names of those that were not called wrong."""
    accepted = [name for name, state in states.items() if state != "wrong"]
    meaning = (
        "wrong answers that are planted nowhere (slips, cut gradients, changed arguments, untried branches, constants) "
        "and are not called wrong; n = answers tried, over all exercises"
    )
    note = f"not called wrong: {', '.join(accepted)}" if accepted else None
    return {"wrong_answers_accepted": Measurement(len(accepted), "", len(states), meaning, target="≤ 0", note=note)}
