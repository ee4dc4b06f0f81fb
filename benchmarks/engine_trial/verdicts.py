"""Does an answer get the same verdict in every run? Each is judged in 20 rounds that differ in all that may differ.

Judged are the reference, every planted mistake and every alternative of every exercise. Each round has its own states
of the three random generators, its own order, and its own number of checks that came before; every fifth begins with
an engine that remembers nothing.
"""

from __future__ import annotations

import multiprocessing
import random
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from typing import Any

import numpy as np
import torch

from course_lib.exercises.engine.attempt import bench
from course_lib.exercises.engine.exercise import Exercise
from course_lib.exercises.engine.judge import judge
from course_lib.exercises.engine.registry import chapter, chapters, find
from course_lib.measure import Measurement

ROUNDS = 20
AT_ONCE = 2
FORGET_EVERY = 5


def answers(exercise: Exercise) -> dict[str, Any]:
    """Everything that is judged, by a test's name such as "05.1-no_t_squared"."""
    found = {"reference": exercise.reference_fn() if exercise.is_value else exercise.reference_fn}
    found |= {mistake.name: mistake.wrong for mistake in exercise.mistakes}
    for number, answer in enumerate(exercise.alternatives, start=1):
        found[f"alternative_{getattr(answer, '__name__', number)}"] = answer
    return {f"{exercise.id}-{name}": answer for name, answer in found.items()}


def repeated(exercise: Exercise, rounds: int = ROUNDS) -> dict[str, list[str]]:
    """The different verdicts (state, points, message) on each answer; one if it is always the same."""
    seen: dict[str, dict[str, None]] = {name: {} for name in answers(exercise)}
    for number in range(rounds):
        if number % FORGET_EVERY == 0:
            bench.cache_clear()
        _stir(number)
        order = random.Random(number).sample(sorted(seen), len(seen))
        for name in order[:number]:  # checks that came before
            judge(exercise, answers(exercise)[name])
        for name in order:
            verdict = judge(exercise, answers(exercise)[name])
            seen[name][f"{verdict.state}, {verdict.points} points: {verdict.message}"] = None
    return {name: list(texts) for name, texts in seen.items()}


def try_all(rounds: int = ROUNDS, said: Callable[[str], None] = print) -> dict[str, list[str]]:
    """The different verdicts on every answer to every exercise, two exercises at a time."""
    ids = [exercise.id for number in chapters() for exercise in chapter(number)[1]]
    found: dict[str, list[str]] = {}
    with ProcessPoolExecutor(AT_ONCE, mp_context=multiprocessing.get_context("spawn")) as pool:
        for id, texts in zip(ids, pool.map(_of, ids, [rounds] * len(ids)), strict=True):
            found |= texts
            unstable = [name for name, different in texts.items() if len(different) > 1]
            said(f"{id}: {len(texts)} answers, {len(unstable)} with more than one verdict")
            for name in unstable:
                said(f"UNSTABLE: {name}: {texts[name]}")
    return found


def figures(found: dict[str, list[str]], rounds: int = ROUNDS) -> dict[str, Measurement]:
    """random_verdicts, with the names of the answers whose verdict was not always the same."""
    unstable = [name for name, texts in found.items() if len(texts) > 1]
    meaning = (
        f"references, planted mistakes and alternatives whose verdict (state, points, message) was not the same in all "
        f"of {rounds} rounds with other random states, another order and other checks before; n = answers"
    )
    note = f"more than one verdict: {', '.join(unstable)}" if unstable else None
    return {"random_verdicts": Measurement(len(unstable), "", len(found), meaning, target="≤ 0", note=note)}


def _of(id: str, rounds: int) -> dict[str, list[str]]:
    torch.set_num_threads(1)
    return repeated(find(id), rounds)


def _stir(number: int) -> None:
    """Other states of the random generators, and some numbers drawn from them."""
    random.seed(number)
    np.random.seed(number)  # noqa: NPY002 the global one is meant
    torch.manual_seed(number)
    draws: Sequence[Any] = [random.random(), np.random.random(number), torch.rand(number)]  # noqa: NPY002
    assert len(draws) == 3
