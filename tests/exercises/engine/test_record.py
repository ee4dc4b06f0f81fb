"""Progress is kept whole, whoever writes at the same moment, and what cannot be read is left alone."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time

import pytest

from course_lib.exercises import predict, progress, reveal
from course_lib.exercises.engine import predict as predictions
from course_lib.exercises.engine import record as kept
from course_lib.exercises.engine.predict import Choice, Number
from course_lib.exercises.engine.record import passed, remember


@pytest.fixture
def file(tmp_path, monkeypatch):
    """A progress file of this test's own, and no guess of another one's."""
    path = tmp_path / "home" / "progress.json"
    monkeypatch.setenv("COURSE_PROGRESS", str(path))
    monkeypatch.setattr(predictions, "_session", {})
    path.parent.mkdir()
    return path


def content(path) -> dict:
    return json.loads(path.read_text(encoding="utf-8"))


def test_passing_is_remembered_and_stays(file):
    assert remember("01.1") == ""
    first = content(file)["passed"]["01.1"]
    assert remember("01.1") == ""
    assert content(file)["passed"] == {"01.1": first}
    assert "01.1 ✓" in repr(progress())
    assert "01.2 ·" in repr(progress())


@pytest.mark.parametrize(
    "text", ["", "{", "[]", '{"passed": 3}', "\x00\x01", "[" * 100_000, '{"passed": {"01.1": "\\ud800"}', "null"]
)
def test_a_broken_file_is_moved_aside_with_a_note_and_never_raises(file, text):
    file.write_text(text)
    note = remember("01.1")
    assert "progress.json.broken" in note
    assert file.with_name("progress.json.broken").read_text() == text
    assert list(content(file)["passed"]) == ["01.1"]


def test_a_second_broken_file_does_not_overwrite_the_first(file):
    for text in ("{", "["):
        file.write_text(text)
        remember("01.1")
    assert file.with_name("progress.json.broken").read_text() == "{"
    assert file.with_name("progress.json.broken.2").read_text() == "["


def test_what_cannot_be_read_is_not_written_over(file, monkeypatch):
    remember("01.1")
    before = file.read_bytes()

    def refused(self):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("pathlib.Path.read_bytes", refused)
    assert remember("01.2").startswith("Passed, but your progress could not be saved")
    monkeypatch.undo()
    assert file.read_bytes() == before


def test_fields_of_a_newer_version_are_kept_and_a_byte_order_mark_is_no_damage(file):
    file.write_bytes(b"\xef\xbb\xbf" + json.dumps({"passed": {"01.1": "2026-01-01"}, "badges": [1]}).encode())
    assert remember("01.2") == ""
    assert content(file)["badges"] == [1]
    assert set(content(file)["passed"]) == {"01.1", "01.2"}


@pytest.mark.skipif(not hasattr(os, "symlink"), reason="no symbolic links here")
def test_a_link_stays_one(file, tmp_path):
    target = tmp_path / "elsewhere.json"
    file.symlink_to(target)
    assert remember("01.1") == ""
    assert file.is_symlink()
    assert list(content(target)["passed"]) == ["01.1"]


def test_the_first_day_of_a_pass_stays(file):
    file.write_text('{"passed": {"01.1": "2020-02-02"}}', encoding="utf-8")
    assert remember("01.1") == ""
    assert passed()[0] == {"01.1": "2020-02-02"}


def test_an_old_lock_file_costs_nothing(file):
    lock = file.with_name(file.name + ".lock")
    lock.write_text("")
    os.utime(lock, (2e10, 2e10))  # from the future
    start = time.monotonic()
    assert remember("01.1") == ""
    assert time.monotonic() - start < 5


def test_a_writer_that_stalls_is_waited_for(file):
    order = []

    def stalling(record):
        time.sleep(0.4)
        record["slow"] = True
        order.append("slow")

    thread = threading.Thread(target=kept.change, args=(stalling, "failed"))
    thread.start()
    time.sleep(0.1)
    code = "from course_lib.exercises.engine.record import remember; raise SystemExit(remember('02.1') != '')"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
    thread.join()
    assert content(file)["slow"] is True
    assert "02.1" in content(file)["passed"]


def test_concurrent_writers_lose_nothing(file):
    code = (
        "import sys; from course_lib.exercises.engine.record import remember\n"
        "for i in range(12): assert remember(f'{sys.argv[1]}.{i + 1}') == ''"
    )
    writers = [subprocess.Popen([sys.executable, "-c", code, chapter]) for chapter in ("11", "12", "13")]
    assert [writer.wait(300) for writer in writers] == [0, 0, 0]
    assert len(content(file)["passed"]) == 36


@pytest.mark.parametrize("setting", ["~nosuchuser/progress.json", "file/progress.json"])
def test_a_place_that_cannot_be_written_costs_the_record_only(monkeypatch, tmp_path, setting):
    (tmp_path / "file").write_text("")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COURSE_PROGRESS", setting)
    assert "could not be saved" in remember("01.1")
    assert passed()[0] == {}
    assert "0 of " in repr(progress())


def test_off_keeps_nothing(monkeypatch, tmp_path):
    monkeypatch.setenv("COURSE_PROGRESS", "off")
    monkeypatch.chdir(tmp_path)
    assert remember("01.1") == "Passed, but your progress could not be saved: COURSE_PROGRESS is off."
    assert list(tmp_path.iterdir()) == []


# Predictions.


def test_no_guess_is_said_quietly_and_the_same_each_time(file):
    first = repr(predict("02.p", None))
    assert first == repr(predict("02.p", None))
    assert "No guess yet" in first
    assert not file.exists()
    assert repr(reveal("02.p", 44.6)) == "○ 02.p The random split's optimism: 44.6 points, which is (c)."


def test_a_guess_is_locked_and_the_first_one_counts(file):
    assert "Locked: (c), 80 % sure" in repr(predict("02.p", "(C)", sure=80))
    assert "The first guess counts" in repr(predict("02.p", "a"))
    assert "The first guess counts" not in repr(predict("02.p", "c"))
    assert content(file)["predictions"]["02.p"]["guess"] == "c"
    assert repr(reveal("02.p", 44.6)).startswith("✓")
    assert content(file)["predictions"]["02.p"]["right"] is True
    assert "right in 1 of 1; you were 80 % sure on average" in repr(progress())


def test_a_guess_after_the_answer_is_kept_and_does_not_count(file):
    reveal("02.p", 44.6)
    assert "does not count" in repr(predict("02.p", "c", sure=90))
    assert repr(reveal("02.p", 44.6)).startswith("○")
    assert "Predictions" not in repr(progress())


def test_no_guess_later_shows_the_one_that_is_locked(file):
    predict("00.p1", 0)
    assert repr(predict("00.p1", None)) == "● 00.p1 Locked: 0 ×."


@pytest.mark.parametrize("name", ["decoupled distillation", "Decoupled", "d", "(D)"])
def test_a_name_is_understood_with_a_word_more_and_shown(file, name):
    assert "Locked: decoupled." in repr(predict("06.p1", name))
    assert "hint. You said decoupled." in repr(reveal("06.p1", "hint"))


def test_calibration_and_hits_are_of_the_same_guesses(file):
    predict("00.p1", 51, sure=90)
    predict("00.p2", 1)
    reveal("00.p1", 51.1)
    reveal("00.p2", 25)
    line = "Predictions: right in 1 of 2; you were 90 % sure on average (where you said how sure: 1 of 1)."
    assert line in repr(progress())


def test_zero_is_a_guess(file):
    predict("00.p3", 0)
    assert content(file)["predictions"]["00.p3"]["guess"] == 0
    assert repr(reveal("00.p3", 0.4)).startswith("✓")


@pytest.mark.parametrize(
    ("id", "guess", "sure"),
    [("02.p", "d", 70), ("00.p1", "many", 70), ("00.p1", float("nan"), 70), ("00.p1", True, 70), ("02.p", "a", 300)],
)
def test_what_is_no_answer_is_told_and_not_locked(file, id, guess, sure):
    assert "Not locked" in repr(predict(id, guess, sure=sure))
    assert not file.exists()


@pytest.mark.parametrize(
    ("id", "guess", "measured", "mark"),
    [("00.p1", 40, 51.1, "✓"), ("00.p1", 30, 51.1, "✗"), ("01.p", 37.6, 23.9, "✗"), ("06.p1", "hint", "decoupled", "✗"),
     ("06.p1", "Decoupled", "decoupled", "✓"), ("04.p", "c", 0.245, "✓"), ("05.p", "b", 27.5, "✗")],
)  # fmt: skip
def test_a_guess_is_scored_by_the_measurement(file, id, guess, measured, mark):
    predict(id, guess)
    assert repr(reveal(id, measured)).startswith(mark)


def test_an_option_holds_its_lower_end():
    asked = Choice("99.p", "How many?", {"a": (0, 10), "b": (10, 20)})
    assert (asked.answer(0), asked.answer(10)) == ("a", "b")
    with pytest.raises(ValueError, match="no option holds 20"):
        asked.answer(20)


def test_a_guess_is_near_on_both_sides():
    asked = Number("99.p", "How many?", factor=2.0)
    assert [asked.right(guess, 10) for guess in (4.9, 5.1, 19.9, 20.1)] == [False, True, True, False]


def test_a_guess_that_was_not_answered_yet_is_not_scored(file):
    predict("02.p", "c")
    predict("00.p1", 1e6)
    reveal("02.p", 44.6)
    assert "right in 1 of 1" in repr(progress())


def test_where_nothing_is_kept_a_guess_lasts_for_the_session(monkeypatch):
    monkeypatch.setenv("COURSE_PROGRESS", "off")
    monkeypatch.setattr(predictions, "_session", {})
    assert "this session only: COURSE_PROGRESS is off." in repr(predict("02.p", "a"))
    assert "You said (a)" in repr(reveal("02.p", 44.6))


@pytest.mark.parametrize("measured", [float("nan"), float("inf")])
def test_what_is_no_measurement_is_refused(measured):
    with pytest.raises(ValueError, match=r"00\.p1: (nan|inf) is no measurement"):
        reveal("00.p1", measured)


def test_an_unknown_prediction_is_refused_with_those_near_it():
    with pytest.raises(ValueError, match=r"near it: 00\.p1, 00\.p2, 00\.p3"):
        predict("00.p9", 1)
    with pytest.raises(ValueError, match="must name a prediction"):
        predict("99.p", 1)


def test_a_link_to_itself_is_said_and_costs_no_points(file):
    file.symlink_to(file)
    assert "could not be saved" in remember("01.1")


def test_a_folder_in_its_place_is_left_where_it_is(file):
    file.mkdir()
    (file / "mine").write_text("kept")
    assert remember("01.1").startswith("Passed, but your progress could not be saved")
    assert (file / "mine").read_text() == "kept"
    assert "could not be read" in repr(progress())
    assert [path.name for path in file.parent.iterdir() if "broken" in path.name] == []
