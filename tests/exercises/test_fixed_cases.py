"""A verdict is never luck: the fixed cases alone reject every planted mistake, and tell it from all others."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch

from course_lib.exercises import Exercise
from course_lib.exercises.engine.exercise import Mistake
from course_lib.exercises.engine.judge import judge
from course_lib.exercises.engine.registry import chapter, chapters

EXERCISES = [exercise for number in chapters() for exercise in chapter(number)[1]]


def _without_draws(exercise: Exercise) -> Exercise:
    """The exercise with its fixed cases alone; made once, so that the engine need not ask its mistakes again."""
    bare = copy.copy(exercise)
    bare.trials = 0
    return bare


PLANTED = [(bare, mistake) for bare in map(_without_draws, EXERCISES) for mistake in bare.mistakes]


@pytest.fixture(autouse=True)
def _keep_no_record(monkeypatch):
    monkeypatch.setenv("COURSE_PROGRESS", "off")


@pytest.mark.parametrize(("exercise", "mistake"), PLANTED, ids=[f"{e.id}-{m.name}" for e, m in PLANTED])
def test_the_fixed_cases_reject_a_planted_mistake_with_its_own_message(exercise: Exercise, mistake: Mistake):
    verdict = judge(exercise, mistake.wrong)
    assert verdict.state == "wrong"
    assert verdict.message.startswith(mistake.message)


@pytest.mark.parametrize("exercise", EXERCISES, ids=lambda exercise: exercise.id)
def test_random_inputs_do_not_depend_on_anything_but_the_seed(exercise: Exercise):
    assert exercise.inputs_fn is not None
    torch.manual_seed(0)
    one = exercise.call_text(exercise.inputs_fn(np.random.default_rng(5)))
    assert one == exercise.call_text(exercise.inputs_fn(np.random.default_rng(5)))
    assert one != exercise.call_text(exercise.inputs_fn(np.random.default_rng(6)))
