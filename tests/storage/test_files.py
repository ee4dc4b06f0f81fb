"""Files are written whole or not at all, and what is broken on disk is answered in one line that names the mend."""

from __future__ import annotations

import hashlib
import pickle

import pytest

from course_lib.errors import CourseError
from course_lib.storage import files
from course_lib.storage.files import atomic_path, cache_dir, read_json, sha256, write_json


def test_an_error_is_one_line_that_names_file_problem_and_mend():
    error = CourseError("the checksum\n differs", path="a/b.npz", mend="copy it\n\nagain")
    assert str(error) == "a/b.npz: the checksum differs. Mend: copy it again"
    assert (error.path, error.mend) == ("a/b.npz", "copy it\n\nagain")
    assert str(CourseError("broken")) == "broken"


def test_an_error_survives_the_way_between_two_processes():
    error = pickle.loads(pickle.dumps(CourseError("broken", path="x", mend="mend")))
    assert (str(error), error.problem, error.path) == ("x: broken. Mend: mend", "broken", "x")


def test_a_written_file_has_its_content_and_no_companions(tmp_path):
    target = tmp_path / "deep" / "folder" / "file.bin"
    with atomic_path(target) as part:
        part.write_bytes(b"new")
        assert not target.exists()
    assert target.read_bytes() == b"new"
    assert list(target.parent.iterdir()) == [target]


@pytest.mark.parametrize("failure", [ValueError, KeyboardInterrupt, SystemExit])
def test_a_failed_write_keeps_the_old_file_and_leaves_nothing(tmp_path, failure):
    target = tmp_path / "file.bin"
    target.write_bytes(b"old")

    def write_half():
        with atomic_path(target) as part:
            part.write_bytes(b"half")
            raise failure

    with pytest.raises(failure):
        write_half()
    assert target.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [target]


def test_a_folder_that_cannot_be_made_is_named(tmp_path, monkeypatch):
    blocker = tmp_path / "a file"
    blocker.write_text("in the way")
    with pytest.raises(CourseError, match=r"a file.*cannot write here.*COURSE_CACHE"), atomic_path(blocker / "x"):
        pytest.fail("the block must not run")
    monkeypatch.setenv("COURSE_CACHE", str(blocker / "cache"))
    with pytest.raises(CourseError, match="cannot write here"):
        cache_dir()
    monkeypatch.setenv("COURSE_CACHE", str(blocker))
    with pytest.raises(CourseError, match="cannot write here"):
        cache_dir()


def test_a_folder_without_write_access_is_named(tmp_path, monkeypatch):
    monkeypatch.setenv("COURSE_CACHE", str(tmp_path))
    monkeypatch.setattr(files.os, "access", lambda path, mode: False)
    with pytest.raises(CourseError, match="not writable"):
        cache_dir()


def test_a_target_that_is_a_folder_is_a_course_error_and_leaves_nothing(tmp_path):
    (tmp_path / "target" / "inside").mkdir(parents=True)
    with pytest.raises(CourseError, match="target"), atomic_path(tmp_path / "target") as part:
        part.write_bytes(b"x")
    assert [path.name for path in tmp_path.iterdir()] == ["target"]


def test_the_cache_is_where_course_cache_says_and_is_made_on_first_use(tmp_path, monkeypatch):
    monkeypatch.setenv("COURSE_CACHE", str(tmp_path / "new" / "cache"))
    assert cache_dir() == tmp_path / "new" / "cache"
    assert cache_dir().is_dir()
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("COURSE_CACHE", "~/mine")
    assert cache_dir() == tmp_path / "mine"


def test_sha256_equals_hashlib_over_the_bytes(tmp_path):
    content = bytes(range(256)) * 1000
    (tmp_path / "x").write_bytes(content)
    assert sha256(tmp_path / "x") == hashlib.sha256(content).hexdigest()


def test_json_comes_back_as_it_went_and_ends_with_a_newline(tmp_path):
    value = {"name": "Überholverbot", "n": [1, 2.5, None, True]}
    write_json(tmp_path / "x.json", value)
    assert read_json(tmp_path / "x.json", mend="none") == value
    text = (tmp_path / "x.json").read_text(encoding="utf-8")
    assert text.endswith("}\n")
    assert "Überholverbot" in text


@pytest.mark.parametrize("value", [float("nan"), float("inf"), object()], ids=["nan", "inf", "object"])
def test_what_json_cannot_hold_is_refused_and_the_old_file_stays(tmp_path, value):
    write_json(tmp_path / "x.json", 1)
    with pytest.raises((ValueError, TypeError)):
        write_json(tmp_path / "x.json", {"value": value})
    assert [path.name for path in tmp_path.iterdir()] == ["x.json"]
    assert read_json(tmp_path / "x.json", mend="none") == 1


BROKEN_JSON = {
    "cut short": b'{"a": [1, 2',
    "empty": b"",
    "not UTF-8": b'"\xff\xfe"',
    "nested too deep": b"[" * 200_000,
    "a number too long for Python": b"9" * 10_000,
}


@pytest.mark.parametrize("content", BROKEN_JSON.values(), ids=BROKEN_JSON.keys())
def test_broken_json_names_file_and_mend(tmp_path, content):
    path = tmp_path / "card.json"
    path.write_bytes(content)
    with pytest.raises(CourseError, match=r"card\.json: not a JSON file .*Mend: do this") as caught:
        read_json(path, mend="do this")
    assert "\n" not in str(caught.value)


def test_json_that_cannot_be_opened_names_file_and_mend(tmp_path):
    with pytest.raises(CourseError, match=r"gone\.json: the file is missing\. Mend: do this"):
        read_json(tmp_path / "gone.json", mend="do this")
    with pytest.raises(CourseError, match=r"cannot be read.*Mend: do this"):
        read_json(tmp_path, mend="do this")
