"""Every registered exercise keeps the exercise contract: one test for each claim and exercise."""

from __future__ import annotations

import pytest

from course_lib.exercises import Exercise
from course_lib.exercises.engine.proof import CLAIMS
from course_lib.exercises.engine.registry import chapter, chapters

EXERCISES = [exercise for number in chapters() for exercise in chapter(number)[1]]


@pytest.fixture(autouse=True)
def _keep_no_record(monkeypatch):
    monkeypatch.setenv("COURSE_PROGRESS", "off")


def test_exercises_are_found():
    assert len(EXERCISES) >= 2


@pytest.mark.parametrize("claim", CLAIMS, ids=lambda claim: claim.__name__)
@pytest.mark.parametrize("exercise", EXERCISES, ids=lambda exercise: exercise.id)
def test_exercise(exercise: Exercise, claim):
    assert claim(exercise) == ""
