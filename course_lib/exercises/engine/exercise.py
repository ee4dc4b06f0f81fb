"""What an exercise is, and where exercises are found.

A chapter's exercises live in ``course_lib/exercises/chapter_NN.py``; the module is imported when one of them is first
asked for, so that a slip in one chapter never reaches another. See the package's docstring for how to declare one.
"""

from __future__ import annotations

import importlib
import pkgutil
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from inspect import signature
from typing import Any

from course_lib.exercises.engine.compare import describe, difference

Arguments = tuple | dict[str, Any]


@dataclass(frozen=True)
class Mistake:
    """A plausible wrong implementation (or value), and the message that a learner who made it must see."""

    wrong: Any
    message: str


def returned(fn: Callable, *args: Any, **kwargs: Any) -> Any:
    """The default outcome: what the function returns."""
    return fn(*args, **kwargs)


@dataclass(frozen=True, kw_only=True)
class Exercise:
    """One task with everything needed to judge an answer to it.

    Args:
        id: chapter and number, "04.2".
        title: a few words.
        points: ≥ 1.
        reference: the right function; for a value exercise, a function without arguments that computes the value.
        hints: ≥ 2, from a nudge to nearly the answer.
        mistakes: ≥ 3, in order of precedence, each with a message of its own.
        alternatives: ≥ 1 right answer written differently.
        inputs: rng -> fresh arguments, a tuple, or a dict to pass by name (torch's seed is fresh too). None: a value.
        examples: fixed arguments, tried first: small numbers, nasty cases.
        trials: number of fresh inputs for each check.
        outcome: (fn, *arguments) -> what is compared.
        compare: (expected, got, tolerance) -> complaint or None; None: only the properties decide.
        tolerance: relative error allowed to floats.
        properties: (fn, *arguments) -> complaint or None, tried on every set of arguments after the comparison.
        in_place: the function is meant to change its arguments: they are compared as part of the outcome.
        time_limit_s: seconds of the learner's code allowed in one check (CPU time; waiting counts a quarter).
        explanation: Markdown shown with the solution.
    Raises: ValueError: a field breaks one of these rules.
    """

    id: str
    title: str
    points: int
    reference: Callable
    hints: Sequence[str]
    mistakes: Sequence[Mistake]
    alternatives: Sequence[Any]
    inputs: Callable[[Any], Arguments] | None = None
    examples: Sequence[Arguments] = ()
    trials: int = 5
    outcome: Callable = returned
    compare: Callable[[Any, Any, float], str | None] | None = difference
    tolerance: float = 1e-4
    properties: Sequence[Callable[..., str | None]] = ()
    in_place: bool = False
    time_limit_s: float = 5.0
    explanation: str = ""

    def __post_init__(self) -> None:
        rules = {
            "id must look like '04.2'": re.fullmatch(r"\d\d\.[1-9]\d*", self.id),
            "title must not be empty": self.title.strip(),
            "points must be an int ≥ 1": isinstance(self.points, int) and self.points >= 1,
            "reference must be callable": callable(self.reference),
            "hints must be at least 2 texts": not isinstance(self.hints, str) and len(self.hints) >= 2,
            "mistakes must be at least 3": len(self.mistakes) >= 3,
            "each mistake needs a message of its own": len({m.message for m in self.mistakes}) == len(self.mistakes),
            "alternatives must hold at least 1 right answer": len(self.alternatives) >= 1,
            "trials must be ≥ 2": self.trials >= 2,
            "compare=None needs properties": self.compare is not None or self.properties,
            "examples must be tuples or dicts": all(isinstance(e, tuple | dict) for e in self.examples),
        }
        for rule, holds in rules.items():
            if not holds:
                raise ValueError(f"exercise {self.id!r}: {rule}")

    @property
    def is_value(self) -> bool:
        """True if the answer is a value, not a function."""
        return self.inputs is None

    @cached_property
    def parameters(self) -> tuple[str, ...]:
        """The reference's parameter names, used in messages and for stubs."""
        return tuple(signature(self.reference).parameters)

    def named(self, arguments: Arguments) -> dict[str, Any]:
        """The arguments under the reference's parameter names."""
        if isinstance(arguments, dict):
            return arguments
        names = [*self.parameters, *(f"argument {i + 1}" for i in range(len(self.parameters), len(arguments)))]
        return dict(zip(names, arguments, strict=False))

    def call_text(self, arguments: Arguments) -> str:
        """The arguments as a learner would read them: ``x=[1, 2], bits=8``."""
        return ", ".join(f"{name}={describe(value)}" for name, value in self.named(arguments).items())


def apply(fn: Callable, arguments: Arguments) -> Any:
    """Call ``fn`` with a tuple by position, or with a dict by name."""
    return fn(**arguments) if isinstance(arguments, dict) else fn(*arguments)


def chapters() -> tuple[str, ...]:
    """The chapters that have exercises, as two digits, in order."""
    package = importlib.import_module("course_lib.exercises")
    names = (module.name for module in pkgutil.iter_modules(package.__path__))
    return tuple(sorted(name[-2:] for name in names if re.fullmatch(r"chapter_\d\d", name)))


def chapter(number: str) -> tuple[str, tuple[Exercise, ...]]:
    """A chapter's title (its module's first line) and its exercises, in order of their numbers.

    Raises: ValueError: an id belongs to another chapter or is used twice.
    """
    module = importlib.import_module(f"course_lib.exercises.chapter_{number}")
    found = [value for value in vars(module).values() if isinstance(value, Exercise)]
    ids = [exercise.id for exercise in found]
    if any(not id.startswith(f"{number}.") for id in ids) or len(set(ids)) < len(ids):
        raise ValueError(f"{module.__name__}: ids must be unique and start with '{number}.', got {ids}")
    title = (module.__doc__ or "").strip().split("\n")[0].rstrip(".")
    return title, tuple(sorted(found, key=lambda exercise: int(exercise.id[3:])))


def find(id: str | float) -> Exercise:
    """The exercise with this id ("01.1", or "1.1" for short).

    Raises: ValueError: there is none; the message lists that chapter's, or the first of each chapter.
    """
    match = re.fullmatch(r"(\d{1,2})\.(\d+)", str(id).strip())
    wanted = f"{int(match[1]):02d}.{int(match[2])}" if match else str(id).strip()
    near = chapters()
    if match and wanted[:2] in near:
        exercises = {exercise.id: exercise for exercise in chapter(wanted[:2])[1]}
        if wanted in exercises:
            return exercises[wanted]
        near = list(exercises)
    elif near:
        near = [chapter(number)[1][0].id for number in near]  # no such chapter: the first exercise of each
    raise ValueError(f"id must name an exercise, got {id!r}; near it: {', '.join(near) or 'none'}")
