"""Figures that a second command adds to a record: named there, replaced by itself alone, kept by the first."""

from __future__ import annotations

import pytest

from course_lib.errors import CourseError
from course_lib.measure import Measurement, add_figures, load_result, record
from course_lib.storage.files import read_json


def figure(value: float) -> Measurement:
    return Measurement(value, "points", 3, "one − other")


@pytest.fixture
def folder(tmp_path):
    record("first", "run first", {"a": figure(1.0)}, seeds=[0], extra={"rows": [1]}, folder=tmp_path)
    add_figures("first", "run second", {"b": figure(2.0), "c": figure(3.0)}, seeds=[7, 8], threads=1, folder=tmp_path)
    return tmp_path


def test_both_commands_figures_are_read_and_the_second_is_named(folder):
    found = load_result("first", folder)
    assert {name: one.value for name, one in found["figures"].items()} == {"a": 1.0, "b": 2.0, "c": 3.0}
    assert (found["command"], found["seeds"], found["rows"]) == ("run first", [0], [1])
    (added,) = found["added"]
    assert (added["command"], added["seeds"], added["figures"]) == ("run second", [7, 8], ["b", "c"])
    assert added["machine"]["threads"] == 1
    assert added["date"]


def test_a_command_replaces_what_it_added_itself(folder):
    add_figures("first", "run third", {"d": figure(4.0)}, seeds=[], folder=folder)
    add_figures("first", "run second", {"b": figure(2.5)}, seeds=[9], folder=folder)
    found = load_result("first", folder)
    assert {name: one.value for name, one in found["figures"].items()} == {"a": 1.0, "b": 2.5, "d": 4.0}
    assert [(one["command"], one["figures"]) for one in found["added"]] == [("run third", ["d"]), ("run second", ["b"])]


def test_recording_anew_keeps_what_others_added(folder):
    record("first", "run first", {"a": figure(1.5)}, seeds=[1], folder=folder)
    found = load_result("first", folder)
    assert {name: one.value for name, one in found["figures"].items()} == {"a": 1.5, "b": 2.0, "c": 3.0}
    assert found["added"][0]["command"] == "run second"


def test_a_figure_that_the_first_command_now_measures_itself_is_its_own(folder):
    record("first", "run first", {"a": figure(1.5), "b": figure(9.0)}, seeds=[1], folder=folder)
    found = load_result("first", folder)
    assert found["figures"]["b"].value == 9.0
    assert found["added"][0]["figures"] == ["c"]


def test_refusals_change_nothing(folder):
    before = (folder / "first.json").read_bytes()
    with pytest.raises(ValueError, match=r"another command has measured \['a'\]"):
        add_figures("first", "run second", {"a": figure(5.0)}, seeds=[], folder=folder)
    with pytest.raises(ValueError, match=r"another command has measured \['b'\]"):
        add_figures("first", "run third", {"b": figure(5.0)}, seeds=[], folder=folder)
    with pytest.raises(ValueError, match="at least one"):
        add_figures("first", "run second", {}, seeds=[], folder=folder)
    missed = Measurement(5.0, "points", 3, "one − other", target="≤ 1")
    with pytest.raises(ValueError, match="misses its target"):
        add_figures("first", "run second", {"b": missed}, seeds=[], folder=folder)
    with pytest.raises(CourseError, match=r"run the command that records other first"):
        add_figures("other", "run second", {"b": figure(5.0)}, seeds=[], folder=folder)
    with pytest.raises(ValueError, match="added"):
        record("first", "run first", {"a": figure(1.0)}, seeds=[], extra={"added": []}, folder=folder)
    assert (folder / "first.json").read_bytes() == before


def test_a_broken_file_is_written_anew(folder):
    (folder / "first.json").write_text("{")
    record("first", "run first", {"a": figure(1.0)}, seeds=[], folder=folder)
    assert set(read_json(folder / "first.json", mend="")["figures"]) == {"a"}
