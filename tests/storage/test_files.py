"""Files are written whole or not at all, and what is broken on disk is answered in one line that names the mend."""

from __future__ import annotations

import errno
import hashlib
import os
import pickle
import shutil
import time

import pytest

from course_lib.errors import CourseError
from course_lib.storage import files
from course_lib.storage.files import (
    atomic_path,
    cache_dir,
    cache_place,
    read_json,
    require_space,
    require_writable,
    sha256,
    write_json,
)


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
    mend = r"a file: cannot write here.*Mend: give a folder that you may write"
    with pytest.raises(CourseError, match=mend), atomic_path(blocker / "x"):
        pytest.fail("the block must not run")
    monkeypatch.setenv("COURSE_CACHE", str(blocker / "cache"))
    with pytest.raises(
        CourseError, match=r"cannot write here.*Mend: choose a folder you may write: export COURSE_CACHE"
    ):
        cache_dir()
    monkeypatch.setenv("COURSE_CACHE", str(blocker))
    with pytest.raises(CourseError, match="cannot write here"):
        cache_dir()


def test_a_folder_without_write_access_is_named(tmp_path, monkeypatch):
    monkeypatch.setenv("COURSE_CACHE", str(tmp_path))
    monkeypatch.setattr(files.os, "access", lambda path, mode: False)
    with pytest.raises(CourseError, match=r"not writable.*export COURSE_CACHE"):
        cache_dir()
    with pytest.raises(CourseError, match=r"elsewhere: cannot write here \(not writable\)\. Mend: give a folder"):
        require_writable(tmp_path.parent / "elsewhere")
    assert cache_place() == tmp_path


MENDS = {
    ("cache", errno.ENOSPC): "free some space on this disk, or move the cache: export COURSE_CACHE=",
    ("elsewhere", errno.ENOSPC): "free some space on this disk",
    ("cache", errno.EDQUOT): "free some space on this disk, or move the cache",
    ("cache", errno.EIO): "check the disk and its limits (ulimit -f), or move the cache",
    ("elsewhere", errno.EIO): "check the disk",
    ("cache", errno.EROFS): "choose a folder you may write: export COURSE_CACHE=",
    ("elsewhere", errno.EROFS): "give a folder that you may write",
    ("checkout", errno.EROFS): "copy the course into a folder that you may write, and work there",
}


@pytest.mark.parametrize(("place", "number"), MENDS.keys(), ids=[f"{p} {errno.errorcode[n]}" for p, n in MENDS])
def test_the_mend_of_a_failed_write_fits_the_place_and_the_reason(tmp_path, monkeypatch, place, number):
    monkeypatch.setenv("COURSE_CACHE", str(tmp_path / "cache"))
    path = {"cache": tmp_path / "cache" / "x", "elsewhere": tmp_path / "x", "checkout": files.ROOT / "x"}[place]
    error = files.write_error(path, OSError(number, os.strerror(number)))
    assert f"Mend: {MENDS[place, number]}" in str(error)
    assert ("COURSE_CACHE" in str(error)) == (place == "cache")
    assert os.strerror(number) in str(error)


def test_an_error_of_the_block_that_is_not_the_disk_s_passes_through(tmp_path):
    with pytest.raises(FileNotFoundError), atomic_path(tmp_path / "x"):
        raise FileNotFoundError(errno.ENOENT, "another file is missing")
    with pytest.raises(CourseError, match=r"No space left.*free some space"), atomic_path(tmp_path / "x"):
        raise OSError(errno.ENOSPC, "No space left on device")
    assert list(tmp_path.iterdir()) == []


def test_leftovers_of_killed_writers_are_removed_after_a_day_and_those_of_other_files_never(tmp_path):
    old, young, other = (tmp_path / name for name in (".x.abcd_123.part", ".x.abcd_456.part", ".x.y.abcd_789.part"))
    for path in (old, young, other):
        path.write_bytes(b"half")
        os.utime(path, (time.time() - files.STALE_S - 60,) * 2)
    os.utime(young)
    write_json(tmp_path / "x", 1)
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted([young.name, other.name, "x"])


def test_a_disk_without_the_space_is_named_before_the_folder_exists(tmp_path):
    free = shutil.disk_usage(tmp_path).free
    require_space(tmp_path / "not" / "there", 1)
    with pytest.raises(
        CourseError, match=r"there: .* MB are to be written here and .* MB are free\. Mend: free some space"
    ):
        require_space(tmp_path / "not" / "there", 10 * free)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("path", ["~nosuchuser", "~nosuchuser/cache"])
def test_the_home_of_an_unknown_user_is_one_line(monkeypatch, path):
    monkeypatch.setenv("COURSE_CACHE", path)
    with pytest.raises(
        CourseError, match=rf"{path}: the home folder of nosuchuser is not known\. Mend: write the path"
    ):
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
