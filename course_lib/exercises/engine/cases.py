"""What an answer is asked: the fixed cases, then draws from seeds of the exercise's own, the same in every check.

Chance has no say in a verdict: draw k of exercise "04.2" is the same on every machine and in every run, so a failure
can be repeated by its number. Whoever is called gets arguments of their own: nobody meets what another one changed.
"""

from __future__ import annotations

import numbers
import random
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch

from course_lib.exercises.engine import sandbox
from course_lib.exercises.engine.compare import clone
from course_lib.exercises.engine.describe import size, written_out
from course_lib.exercises.engine.exercise import Arguments, Exercise

COURSE_LIMIT_S = 600.0
"""Seconds allowed to the course's own code."""
FURTHER = 60
"""Draws that are looked through for a smaller counterexample."""


@dataclass(frozen=True)
class Asked:
    """One set of arguments.

    Args:
        number: from 1; the fixed cases come first.
        asks: what a fixed case is there for, "" for a draw.
        make: gives equal arguments at each call.
        arguments: looked at by the engine, never handed out.
    """

    number: int
    asks: str
    make: Callable[[], Arguments]
    arguments: Arguments

    def fresh(self) -> Arguments:
        """Arguments for one call: a copy, or made anew where something in them cannot be copied."""
        copied = clone(self.arguments)
        return self.make() if copied is self.arguments and copied else copied

    @property
    def written_out(self) -> bool:
        """True if the text of the arguments is all there is to them."""
        return written_out(_values(self.arguments))

    @property
    def rank(self) -> tuple[bool, int, int]:
        """Smaller is better to read."""
        return not self.written_out, size(_values(self.arguments)), self.number


def asked(exercise: Exercise, seed: int = 0) -> list[Asked]:
    """All fixed cases and ``exercise.trials`` draws.

    Args:
        exercise: a function exercise.
        seed: 0 in every check; the proof goes through others.
    """
    fixed = list(range(1, len(exercise.cases) + exercise.trials + 1))
    return sandbox.value_of(lambda: [_case(exercise, number, seed) for number in fixed], exercise.id, COURSE_LIMIT_S)


def further(exercise: Exercise, seed: int = 0) -> Iterator[Asked]:
    """Draws beyond those that a check asks for, to look for a small counterexample."""
    first = len(exercise.cases) + exercise.trials + 1
    for number in range(first, first + FURTHER):
        yield sandbox.value_of(partial(_case, exercise, number, seed), exercise.id, COURSE_LIMIT_S)


def numbered(exercise: Exercise, number: int) -> Asked:
    """The case that a message calls by this number.

    Raises: ValueError: the number is not whole or below 1, or the exercise asks for a value.
    """
    whole = isinstance(number, numbers.Integral) and not isinstance(number, bool)
    if exercise.is_value or not whole or number < 1:
        raise ValueError(f"exercise {exercise.id} has no case {number!r}")
    return sandbox.value_of(partial(_case, exercise, number, 0), exercise.id, COURSE_LIMIT_S)


def _case(exercise: Exercise, number: int, seed: int) -> Asked:
    fixed = len(exercise.cases)
    make = exercise.cases[number - 1].make if number <= fixed else partial(_draw, exercise, number - fixed - 1, seed)
    asks = exercise.cases[number - 1].asks if number <= fixed else ""
    # A case may return what its module keeps: only copies leave this place.
    return Asked(number, asks, lambda: clone(make()), clone(make()))


def _draw(exercise: Exercise, draw: int, seed: int) -> Arguments:
    rng = np.random.default_rng([zlib.crc32(exercise.id.encode()), seed, draw])
    start = int(rng.integers(2**31))
    random.seed(start)
    np.random.seed(start)  # noqa: NPY002 an exercise may draw from this one
    torch.manual_seed(start)
    assert exercise.inputs_fn is not None
    return exercise.inputs_fn(rng)


def _values(arguments: Arguments) -> tuple:
    return tuple(arguments.values()) if isinstance(arguments, dict) else tuple(arguments)
