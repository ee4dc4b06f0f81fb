"""check, hint, solution: judge an answer, and say why.

``judge`` is the specification of every exercise: notebooks reach it through ``check``, the tests run it on the
reference, on the planted mistakes and on the alternatives. It writes nothing. ``check`` adds the record.

The order of the questions matters. Was anything written at all? Did it stop, without a crash? Is each result right?
Are the arguments still what they were? The first "no" ends the check with one message. If a result is wrong (or the
answer crashed, or changed its arguments), the planted mistakes are asked first: a learner whose function behaves like
one of them on all inputs is told its reason; the failing input with expected and got follows in any case.
"""

from __future__ import annotations

import inspect
import secrets
import textwrap
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import torch

from course_lib.exercises.engine import sandbox
from course_lib.exercises.engine.compare import clone, describe, difference, same_bits
from course_lib.exercises.engine.display import Note, Verdict
from course_lib.exercises.engine.exercise import Arguments, Exercise, apply, returned
from course_lib.exercises.engine.record import remember
from course_lib.exercises.engine.registry import find
from course_lib.exercises.engine.sandbox import Outcome, TimeLimit
from course_lib.exercises.engine.stub import untouched

COURSE_LIMIT_S = 600.0
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
    verdict = judge(exercise, answer)
    if not verdict:
        return verdict
    note = remember(exercise.id)
    return _verdict(exercise, "right", f"{verdict.message}\n{note}", verdict.printed)


def hint(id: str) -> Note:
    """One more hint at each call, and in the end the way to the solution."""
    exercise = find(id)
    shown = min(_hints_shown.get(exercise.id, 0) + 1, len(exercise.hints))
    _hints_shown[exercise.id] = shown
    lines = [f"Hint {i + 1} of {len(exercise.hints)}: {text}" for i, text in enumerate(exercise.hints[:shown])]
    if shown == len(exercise.hints):
        lines.append(f'That was the last one. solution("{exercise.id}") shows the answer.')
    return Note("\n".join(lines), markdown="\n\n".join(lines))


def solution(id: str) -> Note:
    """The reference's source, with its explanation."""
    exercise = find(id)
    source = textwrap.dedent(inspect.getsource(exercise.reference_fn)).rstrip()
    title = f"Solution of {exercise.id} {exercise.title}"
    explanation = inspect.cleandoc(exercise.explanation)
    text = "\n\n".join(part for part in (title, explanation, source) if part)
    return Note(text, markdown=f"**{title}**\n\n{explanation}\n\n```python\n{source}\n```")


def judge(exercise: Exercise, answer: Any, *, seed: int | None = None, time_limit_s: float | None = None) -> Verdict:
    """What ``check`` answers, without keeping a record.

    Args:
        exercise: what is asked.
        answer: a function or class, or a value for a value exercise.
        seed: of the fresh inputs; None draws a new one at each call.
        time_limit_s: seconds of the learner's code in this check; None: the exercise's own limit.
    """
    if untouched(answer):
        return _not_attempted(exercise)
    limit_s = time_limit_s or exercise.time_limit_s
    if exercise.is_value:
        return _judge_value(exercise, answer, limit_s)
    if not callable(answer):
        text = (
            f'This exercise asks for the function itself: check("{exercise.id}", your_function), without calling it; '
        )
        return _verdict(exercise, "wrong", text + f"you gave {describe(answer)}.")
    return _Attempt(exercise, answer, seed, limit_s).verdict()


class _Attempt:
    """One answer on one set of inputs, with the seconds it has left."""

    def __init__(self, exercise: Exercise, answer: Callable, seed: int | None, limit_s: float):
        self.exercise, self.answer, self.limit_s, self.left_s = exercise, answer, limit_s, limit_s
        self.seed = secrets.randbits(32) if seed is None else seed
        self.cases = [clone(example) for example in exercise.examples] + self._fresh()

    def _fresh(self) -> list[Arguments]:
        rng = np.random.default_rng(self.seed)

        def draw() -> list[Arguments]:
            torch.manual_seed(self.seed)
            return [self.exercise.inputs_fn(rng) for _ in range(self.exercise.trials)]

        return _course(sandbox.run(draw, self.exercise.inputs_fn, COURSE_LIMIT_S), self.exercise).value

    def verdict(self) -> Verdict:
        outcomes = []
        for case in self.cases:
            outcome, after = self._learner(case)
            outcomes.append((outcome, after))
            if outcome.error is TimeLimit:
                return self._wrong("", f"{self._given(case)} {outcome.report}", outcome)
            if outcome.value is Ellipsis or outcome.source.startswith("raise NotImplementedError"):
                return _not_attempted(self.exercise)
        for at, (outcome, after) in enumerate(outcomes):
            complaint = self._complaint(self.cases[at], outcome, after)
            if complaint:
                return self._wrong(self._planted(outcomes, at), complaint, outcome)
        return _right(self.exercise, outcomes[-1][0].printed)

    def _complaint(self, case: Arguments, outcome: Outcome, after: Arguments) -> str:
        """What is wrong with this outcome, "" if nothing is."""
        if outcome.error:
            return f"{self._given(case)} {outcome.report}"
        found = self._unequal(case, outcome.value, after)
        for holds in () if found else self.exercise.rules:
            found = found or self._ask(lambda holds=holds: apply(partial(holds, self.answer), clone(case)))
        if found:
            return f"{self._given(case)} {found.rstrip('.')}."
        return "" if self.exercise.in_place else self._ask(lambda: self._changed(case, after))

    def _unequal(self, case: Arguments, value: Any, after: Arguments) -> str:
        exercise = self.exercise
        if exercise.compare is None:
            return ""
        outcome, expected_after = self._run(exercise.reference_fn, case, COURSE_LIMIT_S)
        expected = _course(outcome, exercise).value
        found = self._ask(lambda: exercise.compare(expected, value, exercise.tolerance))
        if not found and exercise.in_place:
            found = self._ask(lambda: exercise.compare(expected_after, after, exercise.tolerance))
            found = found and f"the arguments after the call: {found}"
        return found

    def _ask(self, question: Callable[[], str | None]) -> str:
        return _ask(question, self.answer, self.limit_s)

    def _given(self, case: Arguments) -> str:
        return f"With {self.exercise.call_text(case)}:"

    def _changed(self, case: Arguments, after: Arguments) -> str:
        before, after = self.exercise.named(case), self.exercise.named(after)
        for name in before:
            if not same_bits(before[name], after[name]):
                return (
                    f"Your function changes its argument {name}: it was {describe(before[name])}, and is "
                    f"{describe(after[name])} after the call. The caller still needs it: work on a copy."
                )
        return ""

    def _planted(self, outcomes: list[tuple[Outcome, Arguments]], at: int) -> str:
        """The message of the first planted mistake that behaves like the answer on all inputs, "" if none does.

        A result of several values may hold several mistakes: then the first wrong value decides.
        """
        for part in (None, self._wrong_part(self.cases[at], outcomes[at][0].value)):
            for mistake in self.exercise.mistakes:
                pairs = zip(self.cases, outcomes, strict=True)
                if all(self._behaves_alike(mistake.wrong, case, *seen, part) for case, seen in pairs):
                    return mistake.message
        return ""

    def _wrong_part(self, case: Arguments, value: Any) -> Any:
        """The index or key of the first wrong value; None unless both results are alike tuples, lists or dicts."""
        expected = self._run(self.exercise.reference_fn, case, COURSE_LIMIT_S)[0].value
        if isinstance(expected, tuple | list) and isinstance(value, tuple | list) and len(expected) == len(value):
            parts = range(len(expected))
        elif isinstance(expected, dict) and isinstance(value, dict) and expected.keys() == value.keys():
            parts = expected.keys()
        else:
            return None
        tolerance = self.exercise.tolerance
        return next((p for p in parts if self._ask(partial(difference, expected[p], value[p], tolerance))), None)

    def _behaves_alike(self, wrong: Callable, case: Arguments, seen: Outcome, seen_after: Arguments, part: Any) -> bool:
        outcome, after = self._run(wrong, case, self.limit_s)
        compare, tolerance = self.exercise.compare or difference, self.exercise.tolerance
        if (outcome.error, outcome.problem) != (seen.error, seen.problem):
            return False
        if part is not None:
            return not self._ask(lambda: difference(outcome.value[part], seen.value[part], tolerance))
        if not outcome.error and self._ask(lambda: compare(outcome.value, seen.value, tolerance)):
            return False
        compare_after = compare if self.exercise.in_place else difference
        return not self._ask(lambda: compare_after(after, seen_after, tolerance))

    def _learner(self, case: Arguments) -> tuple[Outcome, Arguments]:
        unfit = _unfit(self.answer, case, self.exercise)
        if unfit:
            return Outcome(error=TypeError, problem=unfit), case
        outcome, after = self._run(self.answer, case, max(self.left_s, 0.01))
        self.left_s -= outcome.seconds
        return outcome, after

    def _run(self, function: Callable, case: Arguments, limit_s: float) -> tuple[Outcome, Arguments]:
        """Run on a copy of the arguments. The sandbox puts random states back: whoever is run meets the same ones."""
        arguments = clone(case)
        return sandbox.run(
            lambda: apply(partial(self.exercise.outcome_fn, function), arguments), function, limit_s
        ), arguments

    def _wrong(self, reason: str, complaint: str, outcome: Outcome) -> Verdict:
        return _verdict(self.exercise, "wrong", f"{reason}\n{complaint}", outcome.printed)


def _judge_value(exercise: Exercise, answer: Any, limit_s: float) -> Verdict:
    if callable(answer):
        return _verdict(exercise, "wrong", f"This exercise asks for a value, you gave the function {describe(answer)}.")
    compare = exercise.compare or difference

    def differs(value: Any) -> str:
        return _ask(lambda: compare(value, answer, exercise.tolerance), answer, limit_s)

    if not differs(exercise.reference_fn()):
        return _right(exercise)
    reasons = (mistake.message for mistake in exercise.mistakes if not differs(mistake.wrong))
    return _verdict(exercise, "wrong", next(reasons, f'You gave {describe(answer)}. hint("{exercise.id}") helps.'))


def _ask(question: Callable[[], str | None], answer: Any, limit_s: float) -> str:
    """The complaint, "" if none; judging what a learner's code returns may fail as that code itself may."""
    outcome = sandbox.run(question, answer, limit_s)
    if outcome.error and not outcome.line:
        return f"your answer cannot be judged ({outcome.report})"
    return outcome.report if outcome.error else outcome.value or ""


def _right(exercise: Exercise, printed: str = "") -> Verdict:
    return _verdict(exercise, "right", f"{exercise.points} of {exercise.points} points.", printed)


def _not_attempted(exercise: Exercise) -> Verdict:
    """The same text in every run, whatever was passed before: notebooks are compared with their stored output."""
    points = f"{exercise.points} point{'s' if exercise.points > 1 else ''}"
    text = f'Worth {points}. Write your answer, run this cell again; hint("{exercise.id}") helps.'
    return _verdict(exercise, "not attempted", text)


def _verdict(exercise: Exercise, state: str, message: str, printed: str = "") -> Verdict:
    points = exercise.points if state == "right" else 0
    return Verdict(exercise.id, exercise.title, state, points, message.strip(), printed)


def _unfit(answer: Callable, case: Arguments, exercise: Exercise) -> str:
    """Why the answer cannot be called with these arguments, "" if it can."""
    if exercise.outcome_fn is not returned:
        return ""
    try:
        form = inspect.signature(answer)
    except (ValueError, TypeError):
        return ""
    try:
        apply(form.bind, case)
    except TypeError as error:
        wanted = ", ".join(exercise.named(case))
        return f"your function must accept ({wanted}), and accepts {form}: {error}"
    return ""


def _course(outcome: Outcome, exercise: Exercise) -> Outcome:
    """An error in the course's own code is ours, not the learner's."""
    if outcome.error:
        raise RuntimeError(f"exercise {exercise.id} is broken, please report it: {outcome.report}")
    return outcome
