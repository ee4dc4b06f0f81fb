"""The benchmark of the engine reports what it is there to find: one planted case of each kind."""

from __future__ import annotations

import dataclasses
import importlib
import itertools

import pytest

from course_lib.exercises.engine.registry import find
from course_lib.measure import Measurement, load_result
from course_lib.storage.files import ROOT


@pytest.fixture
def part(monkeypatch):
    """Gives a module of benchmarks/engine_trial by its name."""
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    return lambda name: importlib.import_module(f"engine_trial.{name}")


def quiet(text: str) -> None:
    """Says nothing."""


# --- faults ---


def test_at_least_147_faults_are_tried_each_under_a_name_of_its_own(part):
    table = part("faults").load()
    counted = [fault for fault in table.values() if not fault.alone]
    assert len(counted) >= 147
    # The progress files are all met by one right answer.
    records = [fault for fault in counted if fault.group == "records"]
    assert len({id(fault.answer) for fault in counted}) == len(counted) - len(records) + 1
    assert len({fault.before for fault in records}) == len(records)
    with pytest.raises(ValueError, match="two faults are called 'while true'"):
        part("fault").add("while true", "loops", quiet)


def test_every_setting_of_the_engine_has_a_fault(part):
    from course_lib.exercises.engine import state

    part("faults").load()
    assert len(part("faults_settings").VANDALS) >= len(state.SETTINGS)


def test_a_fault_that_is_not_survived_is_reported(part, monkeypatch):
    faults = part("faults")
    table = faults.load()
    monkeypatch.setitem(table, "exit of the system", dataclasses.replace(table["exit of the system"], alone=False))
    told = faults.try_all([table["exit of the system"], table["plain exit"]], quiet)
    assert told["plain exit"] == []
    assert told["exit of the system"][0] == "no verdict"
    assert told["exit of the system"][1].startswith("the process ended with 3")
    found = faults.figures(told)
    assert (found["faults_tried"].value, found["faults_survived"].value) == (2, 1)
    assert found["faults_survived"].met is False
    assert "not survived: exit of the system" in str(found["faults_survived"].note)


def test_what_needs_a_process_of_its_own_is_named_and_not_counted(part):
    faults = part("faults")
    faults.load()
    found = faults.figures({"kills itself": ["no verdict"], "while true": []})
    assert found["faults_tried"].value == 1
    assert found["faults_survived"].met
    assert "kills itself" in str(found["faults_survived"].note)


@pytest.mark.parametrize(
    ("found", "complaint"),
    [
        ({"ended": "-11", "printed": True}, "the process ended with -11"),
        ({"ended": "0", "printed": False}, "did not arrive"),
        ({"ended": "0", "printed": True, "problems": ["afterwards"]}, "afterwards"),
    ],
    ids=["killed", "silent", "spoiled"],
)
def test_each_way_to_be_spoiled_counts(part, found, complaint):
    assert complaint in " ".join(part("faults").problems({"problems": [], **found}))


# --- wrong answers ---


def test_every_exercise_has_wrong_answers_that_are_not_planted(part):
    tables = part("answers").load()
    from course_lib.exercises.engine.registry import chapter, chapters

    assert set(tables) == {exercise.id for number in chapters() for exercise in chapter(number)[1]}
    for id, answers in tables.items():
        assert not set(answers) & {mistake.name for mistake in find(id).mistakes}, id


def test_an_accepted_wrong_answer_is_reported(part):
    answers = part("answers")
    states = answers.try_all({"04.5": {"planted_right": find("04.5").reference_fn, "one": lambda *a: 1.0}}, quiet)
    assert states == {"04.5-planted_right": "right", "04.5-one": "wrong"}
    figure = answers.figures(states)["wrong_answers_accepted"]
    assert (figure.value, figure.n, figure.met) == (1, 2, False)
    assert "04.5-planted_right" in str(figure.note)


# --- verdicts ---


def test_a_verdict_that_is_not_always_the_same_is_reported(part, example):
    verdicts, calls = part("verdicts"), itertools.count()

    def moody(x, factor):
        return factor * x.sum() + (next(calls) // 40) % 2

    exercise = example()
    exercise.alternative(moody)
    found = verdicts.repeated(exercise, rounds=6)
    unstable = [name for name, texts in found.items() if len(texts) > 1]
    assert unstable == ["99.1-alternative_moody"]
    assert "99.1-reference" in found
    assert "99.1-mistake_1" in found
    figure = verdicts.figures(found)["random_verdicts"]
    assert (figure.value, figure.met) == (1, False)
    assert "99.1-alternative_moody" in str(figure.note)


# --- mutants ---


def test_the_table_of_mutants_fits_the_engine(part):
    mutants = part("mutants")
    table = mutants.load()
    mutants.check_table(table)
    named = "compare judge attempt changes gradients state sandbox alarm insist clock record predict stub describe"
    assert len(table) >= 40
    assert {f"{name}.py" for name in f"{named} solution proof".split()} <= {mutant.file for mutant in table}


def test_a_mutant_whose_text_is_not_there_once_is_refused(part):
    mutants = part("mutants")
    with pytest.raises(ValueError, match="occurs 0 times"):
        mutants.check_table([mutants.Mutant("gone", "stub.py", "no such text", "")])
    twice = mutants.load("stub.py: same\n- ...\n+ .\n\nstub.py: same\n- ...\n+ .")
    with pytest.raises(ValueError, match="share a name"):
        mutants.check_table(twice)
    with pytest.raises(ValueError, match="this is no mutant"):
        mutants.load("stub.py: without a change")


def test_a_mutant_that_survives_is_reported(part):
    mutants = part("mutants")
    table = mutants.load(
        "stub.py: says it otherwise\n- Has the learner written anything yet?\n+ Has anything been written yet?\n\n"
        "stub.py: everything is a stub\n- if answer is None or answer is Ellipsis:\n+ if True:"
    )
    killed = mutants.try_all(table, quiet, tests=["tests/exercises/engine/test_stub.py"])
    assert killed == {"says it otherwise": False, "everything is a stub": True}
    found = mutants.figures(killed)
    assert (found["mutants"].value, found["mutants_killed"].value) == (2, 1)
    assert found["mutants_killed"].met is False
    assert found["mutants_killed"].note == "survived: says it otherwise"


# --- the record ---


def test_a_part_that_is_measured_again_replaces_its_own_figures_only(monkeypatch, tmp_path):
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    engine = importlib.import_module("engine")

    def figure(value: float) -> Measurement:
        return Measurement(value, "", 1, "m")

    names = ("faults_tried", "wrong_answers_accepted", "random_verdicts", "mutants")
    engine.write({name: figure(1) for name in names}, list(engine.PARTS), tmp_path)
    engine.write({"mutants": figure(2)}, ["mutants"], tmp_path)
    found = load_result("engine", tmp_path)
    assert {name: f.value for name, f in found["figures"].items()} == dict.fromkeys(names, 1) | {"mutants": 2}
    assert set(found["parts"]) == set(engine.PARTS)
