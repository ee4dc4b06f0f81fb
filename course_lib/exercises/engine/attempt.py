"""One answer, put to one question: what came of it, and what is wrong with that.

The order of the complaints is the order in which a learner should mend: a crash first; then a changed argument, since
it may be what made the value wrong; a missing ``return``; the value; the gradient; then the rules.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property, lru_cache, partial
from typing import Any

from course_lib.exercises.engine import sandbox
from course_lib.exercises.engine.alarm import TimeLimit
from course_lib.exercises.engine.cases import COURSE_LIMIT_S, Asked, asked
from course_lib.exercises.engine.changes import Before, in_words, traits
from course_lib.exercises.engine.compare import difference
from course_lib.exercises.engine.describe import describe
from course_lib.exercises.engine.exercise import Arguments, Exercise, apply, returned
from course_lib.exercises.engine.gradients import Graded, alike, graded, gradient_complaint
from course_lib.exercises.engine.sandbox import Outcome


@dataclass(frozen=True)
class Reply:
    """What came of one call.

    Args:
        outcome: its value or its error.
        after: the arguments, as the call left them.
        change: what it changed in them, in words; "" if nothing.
    """

    outcome: Outcome
    after: Arguments
    change: str = ""

    @property
    def value(self) -> Any:
        """The result itself, without what was found out about its gradient."""
        return self.outcome.value.value if isinstance(self.outcome.value, Graded) else self.outcome.value


@dataclass(frozen=True)
class Complaint:
    """What is wrong with one reply.

    Args:
        text: a sentence for the learner, without a full stop.
        rule: the rule that complains, None if it was no rule.
    """

    text: str
    rule: Callable | None = None


class Starved(Exception):
    """The machine left the learner's code no time: nothing can be said about the answer."""


class Budget:
    """The seconds of learner's code that one check has left, whichever question they are spent on."""

    def __init__(self, limit_s: float):
        self.left_s = limit_s

    def run(self, call: Callable[[], Any], learner: Any) -> Outcome:
        """``sandbox.run`` with what is left. Raises: Starved."""
        outcome = sandbox.run(call, learner, max(self.left_s, 0.01))
        self.left_s -= outcome.seconds
        if outcome.error is TimeLimit and outcome.starved:
            raise Starved
        return outcome

    def ask(self, question: Callable[[], str | None], answer: Any) -> str:
        """The complaint, "" if none; judging what a learner's code returns may fail as that code itself may."""
        outcome = self.run(question, answer)
        if not outcome.error:
            return outcome.value or ""
        if outcome.line or outcome.error is TimeLimit:
            return outcome.report
        return f"your answer cannot be judged ({outcome.report})"


def reply(exercise: Exercise, function: Callable, case: Asked, budget: Budget) -> Reply:
    """Call ``function`` on arguments of its own. Random states are put back: whoever is called meets the same ones."""
    arguments, changes = case.fresh(), [""]
    before = Before(exercise, arguments)

    def call() -> Any:
        if exercise.gradient_of or exercise.no_gradient_of:
            value = graded(exercise, function, arguments)
        else:
            value = apply(partial(exercise.outcome_fn, function), arguments)
        if not exercise.in_place:
            changes[0] = before.change(arguments)
        return value

    outcome = budget.run(call, function)
    return Reply(outcome, arguments, changes[0])


class Bench:
    """What the course itself says about the cases of one exercise; each function is called once for each case."""

    def __init__(self, exercise: Exercise, seed: int):
        self.exercise, self.seed = exercise, seed
        self.cases = asked(exercise, seed)
        self._expected: dict[int, Reply] = {}
        self._planted: dict[tuple[int, int], Reply] = {}
        for case in self.cases:  # before any learner's code runs
            self.expected(case)

    def expected(self, case: Asked) -> Reply:
        """The reference's reply."""
        if case.number not in self._expected:
            found = reply(self.exercise, self.exercise.reference_fn, case, Budget(COURSE_LIMIT_S))
            self._expected[case.number] = Reply(sandbox.course(found.outcome, self.exercise.id), found.after)
        return self._expected[case.number]

    @cached_property
    def none_is_an_answer(self) -> bool:
        """Whether None is right in one of the cases: then who returns it elsewhere may have meant it."""
        return any(self.expected(case).value is None for case in self.cases)

    def planted(self, index: int, case: Asked) -> Reply:
        """A planted mistake's reply."""
        if (index, case.number) not in self._planted:
            wrong, limit_s = self.exercise.mistakes[index].wrong, self.exercise.time_limit_s
            self._planted[index, case.number] = reply(self.exercise, wrong, case, Budget(limit_s))
        return self._planted[index, case.number]


@lru_cache(maxsize=4)
def bench(exercise: Exercise, seed: int) -> Bench:
    """The bench of an exercise; kept, since its seeds are fixed and nobody gets hold of what lies on it."""
    return Bench(exercise, seed)


class Questions:
    """The questions about one answer's replies."""

    def __init__(self, bench: Bench, answer: Callable, budget: Budget):
        self.bench, self.exercise, self.answer, self.budget = bench, bench.exercise, answer, budget
        self.matching = Budget(bench.exercise.time_limit_s)

    def reply(self, case: Asked) -> Reply:
        """The answer's reply, or that it cannot be called so."""
        if case is self.bench.cases[0]:
            self.unfit = self.budget.ask(partial(_unfit, self.answer, case, self.exercise), self.answer)
        if self.unfit:
            return Reply(Outcome(error=TypeError, problem=self.unfit), case.arguments)
        return reply(self.exercise, self.answer, case, self.budget)

    def complaint(self, case: Asked, got: Reply) -> Complaint | None:
        """The first thing that is wrong with this reply, None if it is right."""
        text = self._crash(got.outcome) or got.change or self._trace_left(got.outcome)
        if not text and self.exercise.compare is not None:
            expected = self.bench.expected(case)
            none_counts = self.bench.none_is_an_answer
            text = self.budget.ask(partial(unequal, self.exercise, expected, got, none_counts), self.answer)
        if text:
            return Complaint(text)
        for rule in self.exercise.rules:
            if text := self.broken(rule, self.answer, case, self.budget):
                return Complaint(text, rule)
        return None

    def broken(self, rule: Callable, function: Callable, case: Asked, budget: Budget) -> str:
        """What one rule has to say about a function, "" if nothing."""
        return budget.ask(lambda: apply(partial(rule, function), case.fresh()), function)

    def _crash(self, outcome: Outcome) -> str:
        names = self.exercise.gradient_of
        if names and "call numpy() on Tensor that requires grad" in outcome.problem:
            return (
                f"NumPy knows no gradients, and {names[0]} carries one, as a network's output does: stay with "
                f"torch's functions ({outcome.report})"
            )
        return outcome.report if outcome.error else ""

    def _trace_left(self, outcome: Outcome) -> str:
        if not self.exercise.leaves_no_trace or not outcome.left:
            return ""
        return f"your function changes {outcome.left[0]}, and does not put it back: others rely on it"

    def alike(self, index: int, case: Asked, seen: Reply, part: Any) -> bool:
        """True if a planted mistake replies as the answer did (``part``: in this one of several values)."""
        found = self.bench.planted(index, case)
        if (found.outcome.error, found.outcome.problem) != (seen.outcome.error, seen.outcome.problem):
            return False
        return not self.matching.ask(partial(unlike, self.exercise, found, seen, part), None)


def unlike(exercise: Exercise, found: Reply, seen: Reply, part: Any) -> str:
    """In what two replies differ, "" if in nothing; ``part``: only this one of several values is looked at."""
    compare, tolerance = exercise.compare or difference, exercise.tolerance
    if part is not None:
        return difference(found.value[part], seen.value[part], tolerance) or ""
    if bool(found.change) != bool(seen.change):
        return "one of them changes its arguments"
    if not found.outcome.error and (text := compare(found.value, seen.value, tolerance)):
        return text
    if isinstance(found.outcome.value, Graded) and not alike(found.outcome.value, seen.outcome.value, tolerance):
        return "their gradients differ"
    compare_after = compare if exercise.in_place else difference
    return compare_after(found.after, seen.after, tolerance) or ""


def unequal(exercise: Exercise, expected: Reply, got: Reply, none_is_an_answer: bool) -> str:
    """In what a reply differs from the reference's, "" if in nothing."""
    if nothing := _nothing(expected.value, got, none_is_an_answer):
        return nothing
    compare = exercise.compare or difference
    if found := compare(expected.value, got.value, exercise.tolerance):
        return found
    if isinstance(got.outcome.value, Graded):
        return gradient_complaint(exercise, expected.outcome.value, got.outcome.value)
    if exercise.in_place and (found := compare(expected.after, got.after, exercise.tolerance)):
        return f"the arguments after the call: {found}"
    return _other_traits(exercise, expected.after, got.after) if exercise.in_place else ""


def _other_traits(exercise: Exercise, expected: Arguments, got: Arguments) -> str:
    """Where a function that changes its arguments leaves other hooks or modes than the reference does."""
    for name, value in exercise.named(expected).items():
        wanted, found = in_words(traits(value)), in_words(traits(exercise.named(got)[name]))
        for trait in [*wanted, *(trait for trait in found if trait not in wanted)]:
            if wanted.get(trait) != found.get(trait):
                should, does = (words.get(trait, "not there") for words in (wanted, found))
                return f"the argument {name} after the call: its {trait} should be {should}, and is {does}"
    return ""


def _nothing(expected: Any, got: Reply, none_is_an_answer: bool) -> str:
    """The complaint about an answer that gives no value where one is expected."""
    if expected is None or got.value is not None:
        if inspect.isgenerator(got.value) and not inspect.isgenerator(expected):
            return "your function yields its values, so that a call returns a generator: use return"
        if inspect.iscoroutine(got.value):
            got.value.close()
            return "your function is declared with async: without it, a call returns the value"
        return ""
    if none_is_an_answer:
        given = "your function gives None where there is an answer (or is `return` missing?)"
        return f"{given}: expected {describe(expected)}"
    if got.outcome.printed.strip():
        return "your function prints, and returns nothing: is `return` missing?"
    return "your function returns nothing: is `return` missing?"


def _unfit(answer: Callable, case: Asked, exercise: Exercise) -> str:
    """Why the answer cannot be called with these arguments, "" if it can."""
    if exercise.outcome_fn is not returned:
        return ""
    try:
        form = inspect.signature(answer)
    except (ValueError, TypeError):
        return ""
    try:
        apply(form.bind, case.arguments)
    except TypeError as error:
        wanted = ", ".join(exercise.named(case.arguments))
        return f"your function must accept ({wanted}), and accepts {form}: {error}"
    return ""
