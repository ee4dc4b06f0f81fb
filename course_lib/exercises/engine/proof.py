"""The proof that an exercise teaches: every claim of the exercise contract, tried on one exercise.

The same claims are run by ``python -m course_lib.exercises`` and, one test each, by ``tests/exercises``. A claim is a
function that returns what is wrong, or "". A check asks the same inputs each time, so what holds here once holds for
every learner.
"""

from __future__ import annotations

import itertools
import linecache
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch

from course_lib.exercises.engine.compare import clone
from course_lib.exercises.engine.display import Verdict
from course_lib.exercises.engine.exercise import Exercise, Mistake, apply
from course_lib.exercises.engine.judge import judge

LOOP_S = 0.25
_STUBS = (
    '"""Your turn."""',
    "...",
    "pass",
    "raise NotImplementedError",
    '"""Your turn."""\n    raise NotImplementedError("here")',
)
_serial = itertools.count()


def reference_passes(exercise: Exercise) -> str:
    """The reference earns all points, and leaves its arguments as they were."""
    answer = exercise.reference_fn() if exercise.is_value else exercise.reference_fn
    return _all(exercise, [answer], lambda verdict: verdict.points == exercise.points)


def alternatives_pass(exercise: Exercise) -> str:
    """Each differently written right answer earns all points."""
    return next(filter(None, (alternative_passes(exercise, answer) for answer in exercise.alternatives)), "")


def stub_earns_nothing(exercise: Exercise) -> str:
    """Untouched stubs are "not attempted", 0 points, with the same text each time."""
    stubs = [None, ...] if exercise.is_value else [_function(exercise, body) for body in _STUBS]
    verdicts = [judge(exercise, stub) for stub in stubs]
    texts = {repr(verdict) for verdict in verdicts}
    if len(texts) > 1:
        return f"texts differ: {texts}"
    earned = [verdict for verdict in verdicts if verdict.state != "not attempted" or verdict.points != 0]
    return repr(earned[0]) if earned else ""


def alternative_passes(exercise: Exercise, alternative: Any) -> str:
    """This right answer earns all points."""
    return _all(exercise, [alternative], lambda verdict: verdict.points == exercise.points)


def mistake_gets_its_message(exercise: Exercise, mistake: Mistake) -> str:
    """This planted mistake is rejected, with its own message first."""
    return _all(
        exercise,
        [mistake.wrong],
        lambda verdict: verdict.state == "wrong" and verdict.message.startswith(mistake.message),
    )


def mistakes_get_their_message(exercise: Exercise) -> str:
    """Each planted mistake is rejected, with its own message first."""
    found = {mistake.name: mistake_gets_its_message(exercise, mistake) for mistake in exercise.mistakes}
    return "; ".join(f"{name}: {text}" for name, text in found.items() if text)


def verdicts_repeat(exercise: Exercise) -> str:
    """The same answer gets the same words again."""
    wrong = exercise.mistakes[0].wrong
    first, again = (repr(judge(exercise, wrong)) for _ in range(2))
    return "" if first == again else f"{first!r}, then {again!r}"


def losses_must_train(exercise: Exercise) -> str:
    """Where a gradient is asked for, the right value without one is rejected, and so is a plain number."""

    def cut(*args: Any, **kwargs: Any) -> Any:
        return exercise.reference_fn(*args, **kwargs).detach()

    return _all(exercise, [cut] if exercise.gradient_of else [], lambda verdict: verdict.state == "wrong")


def constant_fails(exercise: Exercise) -> str:
    """A hard-coded answer, right for one set of inputs, is rejected."""
    if exercise.inputs_fn is None:
        return ""
    torch.manual_seed(1)
    sets = [*exercise.examples, exercise.inputs_fn(np.random.default_rng(1))]
    constants = [apply(exercise.reference_fn, clone(arguments)) for arguments in sets]
    answers = [lambda *a, constant=constant, **k: clone(constant) for constant in constants]
    return _all(exercise, answers, lambda verdict: verdict.state == "wrong")


def changed_arguments_are_told(exercise: Exercise) -> str:
    """A right answer that changes its arguments is told so (where something can be changed)."""
    if exercise.inputs_fn is None or exercise.in_place:
        return ""
    torch.manual_seed(1)
    if not any(_spoil(v) for v in exercise.named(clone(exercise.inputs_fn(np.random.default_rng(1)))).values()):
        return ""

    def spoiler(*args: Any, **kwargs: Any) -> Any:
        value = clone(exercise.reference_fn(*args, **kwargs))
        return next((value for argument in [*args, *kwargs.values()] if _spoil(argument)), value)

    return _all(exercise, [spoiler], lambda verdict: "changes its argument" in verdict.message)


def loops_are_stopped(exercise: Exercise) -> str:
    """An endless loop, also one that catches Exception, is reported with the learner's own line."""
    guarded = "while True:\n        try:\n            x = 1\n        except Exception:\n            pass"
    return _reported(exercise, {"while True:\n        pass": "still running", guarded: "still running"}, LOOP_S)


def crashes_are_reported(exercise: Exercise) -> str:
    """A crash and an exit() are reported with the learner's own line."""
    return _reported(exercise, {"return 1 / 0": "ZeroDivisionError", "exit()": "it calls exit()"})


CLAIMS: tuple[Callable[[Exercise], str], ...] = (
    reference_passes,
    alternatives_pass,
    stub_earns_nothing,
    mistakes_get_their_message,
    verdicts_repeat,
    losses_must_train,
    constant_fails,
    changed_arguments_are_told,
    loops_are_stopped,
    crashes_are_reported,
)


def prove(exercise: Exercise) -> Iterator[tuple[str, str]]:
    """(claim, what is wrong or "") for every claim."""
    for claim in CLAIMS:
        yield claim.__name__, claim(exercise)


def _all(exercise: Exercise, answers: Any, holds: Callable[[Verdict], bool]) -> str:
    for answer in answers:
        verdict = judge(exercise, answer)
        if not holds(verdict):
            return repr(verdict)
    return ""


def _reported(exercise: Exercise, bodies: dict[str, str], time_limit_s: float | None = None) -> str:
    for body, text in {} if exercise.is_value else bodies.items():
        verdict = judge(exercise, _function(exercise, body), time_limit_s=time_limit_s)
        lines = [f"line {number}: {line.strip()}" for number, line in enumerate(body.splitlines(), start=2)]
        if (
            verdict.state != "wrong"
            or text not in verdict.message
            or not any(line in verdict.message for line in lines)
        ):
            return f"{body!r}: {verdict!r}"
    return ""


def _function(exercise: Exercise, body: str) -> Callable:
    """A learner's function with the reference's parameters, whose source can be found as a notebook's can."""
    source, name = f"def answer({', '.join(exercise.parameters)}):\n    {body}\n", f"answer-{next(_serial)}.py"
    linecache.cache[name] = (len(source), None, source.splitlines(keepends=True), name)
    namespace: dict[str, Any] = {}
    exec(compile(source, name, "exec"), namespace)
    return namespace["answer"]


def _spoil(value: Any) -> bool:
    """Change one thing inside ``value``; False if there is nothing to change."""
    if isinstance(value, torch.nn.Module):
        return any(_spoil(parameter.data) for parameter in value.parameters())
    if isinstance(value, torch.Tensor | np.ndarray) and value.size and value.ndim:
        value[(0,) * value.ndim] = 1 - value[(0,) * value.ndim]
        return True
    if isinstance(value, list) and value:
        value.append(value[0])
        return True
    if isinstance(value, dict) and value:
        value.popitem()
        return True
    return False
