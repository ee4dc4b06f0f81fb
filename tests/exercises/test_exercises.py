"""Every exercise keeps the exercise contract: one test for each claim, planted mistake and alternative."""

from __future__ import annotations

import pytest

from course_lib.exercises import Exercise
from course_lib.exercises.engine import proof
from course_lib.exercises.engine.exercise import Mistake
from course_lib.exercises.engine.registry import chapter, chapters

EXERCISES = [exercise for number in chapters() for exercise in chapter(number)[1]]
MISTAKES = [(exercise, mistake) for exercise in EXERCISES for mistake in exercise.mistakes]
ALTERNATIVES = [(exercise, answer) for exercise in EXERCISES for answer in exercise.alternatives]
# One test each below, by name.
CLAIMS = [c for c in proof.CLAIMS if c not in (proof.mistakes_get_their_message, proof.alternatives_pass)]


def named(value) -> str:
    """The parts of a test's name: an exercise's id, a mistake's or a function's name."""
    return value.id if isinstance(value, Exercise) else getattr(value, "name", getattr(value, "__name__", str(value)))


@pytest.fixture(autouse=True)
def _keep_no_record(monkeypatch):
    monkeypatch.setenv("COURSE_PROGRESS", "off")


def test_exercises_are_found():
    assert len(EXERCISES) >= 26


@pytest.mark.parametrize("claim", CLAIMS, ids=named)
@pytest.mark.parametrize("exercise", EXERCISES, ids=named)
def test_exercise(exercise: Exercise, claim):
    assert claim(exercise) == ""


@pytest.mark.parametrize(("exercise", "mistake"), MISTAKES, ids=named)
def test_a_mistake_gets_its_message(exercise: Exercise, mistake: Mistake):
    assert proof.mistake_gets_its_message(exercise, mistake) == ""


@pytest.mark.parametrize(("exercise", "answer"), ALTERNATIVES, ids=named)
def test_a_right_answer_in_another_style_passes(exercise: Exercise, answer):
    assert proof.alternative_passes(exercise, answer) == ""
