"""A chapter's exercises are found, in order of their numbers, and refused where their ids do not fit."""

from __future__ import annotations

import sys
import types

import pytest
import torch

from course_lib.exercises.engine import progress as progress_module
from course_lib.exercises.engine.progress import progress
from course_lib.exercises.engine.registry import chapter, find


@pytest.fixture
def chapter_99(monkeypatch):
    """Makes a chapter 99 of these exercises."""

    def make(*exercises):
        package = types.ModuleType("course_lib.exercises.chapter_99", "A chapter for a test.\n\nMore about it.")
        package.__path__ = []  # type: ignore[attr-defined]
        for number, exercise in enumerate(exercises):
            setattr(package, f"ex_{number}", exercise)
        monkeypatch.setitem(sys.modules, package.__name__, package)

    return make


def test_exercises_come_in_the_order_of_their_numbers(chapter_99, example):
    chapter_99(*(example(id=f"99.{number}") for number in (10, 2, 1)))
    title, found = chapter("99")
    assert title == "A chapter for a test"
    assert [exercise.id for exercise in found] == ["99.1", "99.2", "99.10"]


@pytest.mark.parametrize("ids", [("99.1", "99.1"), ("99.1", "98.1")], ids=["twice", "of another chapter"])
def test_ids_that_do_not_fit_are_refused(chapter_99, example, ids):
    chapter_99(*(example(id=id) for id in ids))
    with pytest.raises(ValueError, match="ids must be unique and start with"):
        chapter("99")


def test_an_exercise_that_is_not_whole_is_refused(chapter_99, example):
    chapter_99(example(hints=["one"]))
    with pytest.raises(ValueError, match="hints must be at least 2 texts"):
        chapter("99")


def test_finding_a_chapter_draws_no_random_number(chapter_99, example):
    drawing = example()
    drawing.case("a draw")(lambda: (torch.randn(2), 2.0))
    chapter_99(drawing)
    before = torch.get_rng_state()
    chapter("99")
    assert torch.equal(before, torch.get_rng_state())


def test_an_unknown_id_names_those_near_it():
    with pytest.raises(ValueError, match=r"near it: 04\.1, 04\.2"):
        find("04.77")
    with pytest.raises(ValueError, match=r"near it: 00\.1, 01\.1"):
        find("77.1")
    assert find(4.1) is find("04.1")


def test_a_chapter_that_cannot_be_loaded_does_not_hide_the_others(monkeypatch):
    def broken(number):
        if number == "01":
            raise SyntaxError("half a line")
        return chapter(number)

    monkeypatch.setattr(progress_module, "chapter", broken)
    text = repr(progress())
    assert "01  cannot be loaded: SyntaxError: half a l" in text  # titles are cut to 40 characters
    assert "06.5 ·" in text
