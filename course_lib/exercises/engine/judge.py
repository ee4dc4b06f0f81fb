"""judge: is this answer right, and if not, why?

``judge`` is the specification of every exercise: notebooks reach it through ``check``, the tests run it on the
reference, on the planted mistakes and on the alternatives. It writes nothing.

The answer is put to every case. If one shows a fault, the planted mistakes are asked: a learner whose function behaves
like one of them on all cases is told its reason. The case with expected and got follows in any case: of all that fail,
the one that is easiest to read.
"""

from __future__ import annotations

import importlib
import threading
import types
from collections.abc import Callable
from functools import cache, partial
from typing import Any

from course_lib.exercises.engine import sandbox, state
from course_lib.exercises.engine.alarm import TimeLimit
from course_lib.exercises.engine.attempt import Budget, Complaint, Questions, Reply, Starved, bench
from course_lib.exercises.engine.cases import COURSE_LIMIT_S, Asked, further
from course_lib.exercises.engine.compare import difference
from course_lib.exercises.engine.describe import bulky, describe
from course_lib.exercises.engine.display import Verdict
from course_lib.exercises.engine.exercise import Exercise
from course_lib.exercises.engine.sandbox import Outcome
from course_lib.exercises.engine.stub import untouched

PATIENCE_S = 60.0
"""How long a check waits for another one, in another thread, before it gives up."""
AFTERWARDS_S = 0.3
"""Seconds to look at what was answered before the time was up."""
_one_at_a_time = threading.RLock()


def judge(exercise: Exercise, answer: Any, *, seed: int = 0, time_limit_s: float | None = None) -> Verdict:
    """What ``check`` answers, without keeping a record.

    Args:
        exercise: what is asked.
        answer: a function or class, or a value for a value exercise.
        seed: of the draws; 0 in every check, so that every check gives the same verdict.
        time_limit_s: seconds of the learner's code in this check; None: the exercise's own limit.
    """
    limit_s = time_limit_s or exercise.time_limit_s
    if isinstance(answer, types.FunctionType) and not untouched(answer):
        _import_what_torch_puts_off()
    if not _one_at_a_time.acquire(timeout=PATIENCE_S):
        return _verdict(exercise, "too busy", "Another check is still running: run this cell again.")
    try:
        verdict = _guarded(exercise, answer, seed, limit_s)
        return verdict if verdict.state != "too busy" else _guarded(exercise, answer, seed, limit_s)
    finally:
        _one_at_a_time.release()


@cache
def _import_what_torch_puts_off() -> None:
    """PyTorch imports its compiler when a gradient is first asked for: two seconds that are not the learner's."""
    with state.random_kept():
        importlib.import_module("torch._dynamo")


def _guarded(exercise: Exercise, answer: Any, seed: int, limit_s: float) -> Verdict:
    """The verdict, whatever objects of the learner's do while it is found: also their ``__del__`` may not end."""
    outcome = sandbox.run(
        lambda: _verdict_on(exercise, answer, seed, Budget(limit_s)), answer, 2 * limit_s, sandbox.learners
    )
    if outcome.error is sandbox.BrokenExercise:
        raise sandbox.BrokenExercise(outcome.problem.partition(": ")[2])
    if outcome.error is Starved:
        text = "Your machine was too busy: your code got no time to run. Nothing is wrong yet; run this cell again."
        return _verdict(exercise, "too busy", text)
    if outcome.error:
        return _verdict(exercise, "wrong", f"Your answer cannot be judged ({outcome.report}).")
    return outcome.value


def _verdict_on(exercise: Exercise, answer: Any, seed: int, budget: Budget) -> Verdict:
    if untouched(answer):
        return not_attempted(exercise)
    if exercise.is_value:
        return _judge_value(exercise, answer, budget)
    if not callable(answer):
        text = f'This exercise asks for the function itself: check("{exercise.id}", your_function), without calling it'
        return _verdict(exercise, "wrong", f"{text}; you gave {_words(answer, budget)}.")
    return _Judgement(exercise, answer, seed, budget).verdict()


def not_attempted(exercise: Exercise) -> Verdict:
    """The same text in every run, whatever was passed before: notebooks are compared with their stored output."""
    points = f"{exercise.points} point{'s' if exercise.points > 1 else ''}"
    text = f'Worth {points}. Write your answer, run this cell again; hint("{exercise.id}") helps.'
    return _verdict(exercise, "not attempted", text)


class _Judgement:
    """One answer to a function exercise, on all cases."""

    def __init__(self, exercise: Exercise, answer: Callable, seed: int, budget: Budget):
        self.exercise, self.answer, self.seed, self.budget = exercise, answer, seed, budget
        self.bench = bench(exercise, seed)
        self.questions, self.cases = Questions(self.bench, answer, budget), self.bench.cases
        self.replies: list[Reply] = []

    def verdict(self) -> Verdict:
        for case in self.cases:
            reply = self.questions.reply(case)
            if reply.outcome.error is TimeLimit:
                return self._stopped(case, reply.outcome)
            self.replies.append(reply)
            if bulky(reply.value) and (complaint := self.questions.complaint(case, reply)):
                return self._wrong("", case, complaint, reply.outcome)  # 26 of them may not fit into memory
        if all(_placeholder(reply.outcome) for reply in self.replies):
            return not_attempted(self.exercise)
        failed = self._failed()
        if not failed:
            points = self.exercise.points
            return _verdict(self.exercise, "right", f"{points} of {points} points.", self.replies[0].outcome.printed)
        at = self._easiest(failed)
        reason = self._planted(at, failed[at]) if self.budget.left_s > 0 else ""
        return self._wrong(reason, *self._smallest(self.cases[at], failed[at], self.replies[at]))

    def _stopped(self, case: Asked, outcome: Outcome) -> Verdict:
        """The time was up in this case; what was answered before may be wrong, too, and is then shown instead."""
        slow = self._too_slow(outcome)
        self.budget.left_s = AFTERWARDS_S
        failed = self._failed()
        if failed and self.budget.left_s <= 0:
            failed.popitem()  # this one may say no more than that the time was up
        if not failed:
            return self._wrong("", case, Complaint(slow), outcome)
        at = self._easiest(failed)
        reason = f"{_sentence(slow[0].upper() + slow[1:])} What it gave before is wrong, too."
        return self._wrong(reason, self.cases[at], failed[at], self.replies[at].outcome)

    def _too_slow(self, outcome: Outcome) -> str:
        """A slow function uses up the time of all cases, an endless loop that of one."""
        done, spent_s = len(self.replies), sum(reply.outcome.seconds for reply in self.replies)
        if not done or outcome.seconds > 3 * spent_s / done:
            return outcome.report
        return f"your function is too slow: after {done} of {len(self.cases)} cases the time for all was used up"

    def _failed(self) -> dict[int, Complaint]:
        """The complaint about each case that shows a fault, by its index; up to the one that used up the time."""
        failed = {}
        for index, (case, reply) in enumerate(zip(self.cases, self.replies, strict=False)):
            if failed and self.budget.left_s <= 0:
                break
            if complaint := self.questions.complaint(case, reply):
                failed[index] = complaint
        return failed

    def _easiest(self, failed: dict[int, Complaint]) -> int:
        return min(failed, key=lambda index: self.cases[index].rank)

    def _smallest(self, case: Asked, complaint: Complaint, reply: Reply) -> tuple[Asked, Complaint, Outcome]:
        """The fault in a case that can be read: further draws are looked through if none of the cases can."""
        best = case, complaint, reply.outcome
        for other in () if case.written_out else further(self.exercise, self.seed):
            if best[0].written_out or self.budget.left_s <= 0:
                break
            if other.rank[:2] < best[0].rank[:2]:
                answered = self.questions.reply(other)
                found = self.questions.complaint(other, answered)
                if found and answered.outcome.error is not TimeLimit and found.rule is complaint.rule:
                    best = other, found, answered.outcome
        return best

    def _planted(self, at: int, complaint: Complaint) -> str:
        """The message of the first planted mistake that behaves like the answer on all cases, "" if none does.

        A result of several values may hold several mistakes: then the first wrong value decides.
        """
        order = [at, *(index for index in range(len(self.cases)) if index != at)]
        for part in (None, self._wrong_part(at)):
            for number, mistake in enumerate(self.exercise.mistakes):
                alike = (self.questions.alike(number, self.cases[i], self.replies[i], part) for i in order)
                if all(alike) and self._breaks_as(mistake.wrong, at, complaint):
                    return mistake.message
        return ""

    def _breaks_as(self, wrong: Callable, at: int, complaint: Complaint) -> bool:
        """True unless a rule complains about the answer and says something else about this mistake."""
        if complaint.rule is None:
            return True
        said = self.questions.broken(complaint.rule, wrong, self.cases[at], Budget(COURSE_LIMIT_S))
        return said == complaint.text

    def _wrong_part(self, at: int) -> Any:
        """The index or key of the first wrong value; None unless both results are alike tuples, lists or dicts.

        Of an answer that changes its arguments no single value counts: the change may be what made it wrong.
        """
        value, tolerance = self.replies[at].value, self.exercise.tolerance
        if self.exercise.compare is None or self.replies[at].outcome.error or self.replies[at].change:
            return None
        expected = self.bench.expected(self.cases[at]).value
        if isinstance(expected, tuple | list) and isinstance(value, tuple | list) and len(expected) == len(value):
            parts = list(range(len(expected)))
        elif isinstance(expected, dict) and isinstance(value, dict) and expected.keys() == value.keys():
            parts = list(expected)
        else:
            return None
        wrong = (p for p in parts if self.budget.ask(partial(difference, expected[p], value[p], tolerance), None))
        return next(wrong, None)

    def _wrong(self, reason: str, case: Asked, complaint: Complaint, outcome: Outcome) -> Verdict:
        text = f"Case {case.number}, with {self.exercise.call_text(case.arguments)}: {_sentence(complaint.text)}"
        more = []
        if case.asks and not case.asks.startswith("example "):
            more.append(f"The case: {case.asks}.")
        if not case.written_out:
            found = f'arguments("{self.exercise.id}", {case.number})'
            more.append(f"from course_lib.exercises import arguments; {found} gives these arguments.")
        return _verdict(self.exercise, "wrong", "\n".join([reason, text, " ".join(more)]), outcome.printed)


def _judge_value(exercise: Exercise, answer: Any, budget: Budget) -> Verdict:
    if callable(answer):
        text = f"This exercise asks for a value, you gave the function {_words(answer, budget)}."
        return _verdict(exercise, "wrong", text)
    compare = exercise.compare or difference

    def differs(value: Any) -> str:
        return budget.ask(lambda: compare(value, answer, exercise.tolerance), answer)

    if not differs(sandbox.value_of(exercise.reference_fn, exercise.id, COURSE_LIMIT_S)):
        return _verdict(exercise, "right", f"{exercise.points} of {exercise.points} points.")
    reasons = (mistake.message for mistake in exercise.mistakes if not differs(mistake.value))
    given = f'You gave {_words(answer, budget)}. hint("{exercise.id}") helps.'
    return _verdict(exercise, "wrong", next(reasons, given))


def _words(value: Any, budget: Budget) -> str:
    """``describe``, for what a learner gave: their object may fail, or never end, while it says what it is."""
    outcome = budget.run(lambda: describe(value), value)
    return outcome.value or f"an object of class {type(value).__name__}"


def _sentence(text: str) -> str:
    return text if text.endswith(("?", ".", "!")) else text + "."


def _placeholder(outcome: Outcome) -> bool:
    """True if the open part of a stub was reached: ``...`` came back, or ``raise NotImplementedError``."""
    return outcome.value is Ellipsis or outcome.source.startswith("raise NotImplementedError")


def _verdict(exercise: Exercise, state: str, message: str, printed: str = "") -> Verdict:
    points = exercise.points if state == "right" else 0
    lines = "\n".join(line for line in message.strip().split("\n") if line)
    return Verdict(exercise.id, exercise.title, state, points, lines, printed)
