"""An entry is what its identity says, verified at each use; broken ones are built again; several processes may ask."""

from __future__ import annotations

import json
import logging
import multiprocessing
import os
import shutil
import sys
import threading
import time

import pytest

from course_lib.errors import CourseError
from course_lib.storage import cache, files
from course_lib.storage.cache import cached, entry_folder

IDENTITY = {"version": 1, "seed": 0, "sizes": (1, 2)}
NAMES = ("a.bin", "b.txt")


class Builder:
    """Writes two files that tell the seed, and counts how often it is asked to."""

    def __init__(self, seed=0):
        self.seed, self.calls = seed, 0

    def __call__(self, folder):
        self.calls += 1
        (folder / "a.bin").write_bytes(bytes([self.seed]) * 1000)
        (folder / "b.txt").write_text(f"seed {self.seed}", encoding="utf-8")


def entry(root, build, *, seed=0, **options):
    return cached(
        "kind", f"seed{seed}", {**IDENTITY, "seed": seed}, NAMES, build, needed_bytes=2000, root=root, **options
    )


def names(root):
    return sorted(path.name for path in (root / "kind").iterdir())


def test_an_entry_is_built_once_and_found_afterwards(tmp_path):
    build = Builder()
    first = entry(tmp_path, build)
    assert entry(tmp_path, build) == first == entry_folder("kind", "seed0", IDENTITY, tmp_path)
    assert build.calls == 1
    assert (first / "a.bin").read_bytes() == bytes(1000)
    assert names(tmp_path) == [first.name]
    assert sorted(path.name for path in first.iterdir()) == ["a.bin", "b.txt", "manifest.json"]


def test_without_a_root_entries_lie_in_the_course_s_cache(isolated_cache):
    assert entry(None, Builder()).parent == isolated_cache / "kind"


def test_other_facts_are_another_entry_and_the_order_of_keys_is_none(tmp_path):
    folders = {entry_folder("k", "x", {"a": 1, "b": value}, tmp_path) for value in (1, 2, "1", None)}
    assert len(folders) == 4
    assert entry_folder("k", "x", {"b": 1, "a": 1}, tmp_path) in folders


def flip(path):
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def edit(folder, change):
    manifest = json.loads((folder / "manifest.json").read_text())
    change(manifest)
    (folder / "manifest.json").write_text(json.dumps(manifest))


DAMAGES = {
    "a bit": (lambda f: flip(f / "a.bin"), "a.bin was altered or cut short"),
    "cut short": (lambda f: (f / "b.txt").write_bytes(b"see"), "b.txt was altered or cut short"),
    "longer": (lambda f: (f / "b.txt").write_bytes((f / "b.txt").read_bytes() + b"x"), "b.txt was altered"),
    "a file is gone": (lambda f: (f / "a.bin").unlink(), "a.bin cannot be read"),
    "a file is a folder": (lambda f: ((f / "a.bin").unlink(), (f / "a.bin").mkdir()), "a.bin cannot be read"),
    "no manifest": (lambda f: (f / "manifest.json").unlink(), "manifest.json: the file is missing"),
    "half a manifest": (lambda f: (f / "manifest.json").write_text('{"ident'), "not a JSON file"),
    "a list as manifest": (lambda f: (f / "manifest.json").write_text("[1]"), "does not list a.bin, b.txt"),
    "no sums": (lambda f: edit(f, lambda m: m.update(sha256={})), "does not list a.bin, b.txt"),
    "sums are a list": (lambda f: edit(f, lambda m: m.update(sha256=["a.bin", "b.txt"])), "does not list"),
    "another identity": (lambda f: edit(f, lambda m: m["identity"].update(seed=7)), "made with another seed"),
    "a fact too many": (lambda f: edit(f, lambda m: m["identity"].update(new=None)), "made with another new"),
    "a fact is gone": (lambda f: edit(f, lambda m: m["identity"].pop("sizes")), "made with another sizes"),
    "no identity": (lambda f: edit(f, lambda m: m.pop("identity")), "made with another version and seed and sizes"),
    "the folder is a file": (lambda f: (shutil.rmtree(f), f.write_text("x")), "manifest.json: cannot be read"),
    "the folder is empty": (lambda f: (shutil.rmtree(f), f.mkdir()), "manifest.json: the file is missing"),
}


@pytest.mark.parametrize(("damage", "words"), DAMAGES.values(), ids=DAMAGES.keys())
def test_whatever_is_wrong_with_an_entry_is_told_and_it_is_built_again(tmp_path, caplog, damage, words):
    build = Builder()
    folder = entry(tmp_path, build)
    damage(folder)
    with caplog.at_level(logging.WARNING):
        assert entry(tmp_path, build) == folder
    assert build.calls == 2
    assert words in caplog.text
    assert f"making {folder.name} again" in caplog.text
    assert (folder / "a.bin").read_bytes() == bytes(1000)
    caplog.clear()
    entry(tmp_path, build)
    assert (build.calls, caplog.text) == (2, "")
    assert names(tmp_path) == [folder.name]


def test_one_entry_copied_over_another_is_not_taken_for_it(tmp_path):
    zero, one = entry(tmp_path, Builder()), entry(tmp_path, Builder(1), seed=1)
    shutil.rmtree(one)
    shutil.copytree(zero, one)
    again = Builder(1)
    assert (entry(tmp_path, again, seed=1) / "a.bin").read_bytes() == b"\1" * 1000
    assert again.calls == 1


def test_afresh_builds_though_a_sound_entry_is_there(tmp_path):
    entry(tmp_path, Builder())
    build = Builder(9)
    assert (entry(tmp_path, build, afresh=True) / "b.txt").read_text() == "seed 9"
    assert len(names(tmp_path)) == 1


@pytest.mark.parametrize("failure", [ValueError, KeyboardInterrupt, FileNotFoundError, CourseError])
def test_an_error_of_the_builder_passes_through_and_leaves_nothing(tmp_path, failure):
    def build(folder):
        (folder / "a.bin").write_bytes(b"half")
        raise failure("stop")

    with pytest.raises(failure, match="stop"):
        entry(tmp_path, build)
    assert names(tmp_path) == []


def test_a_failed_rebuild_leaves_the_old_folder_as_it_was(tmp_path):
    folder = entry(tmp_path, Builder())
    flip(folder / "a.bin")
    with pytest.raises(ZeroDivisionError):
        entry(tmp_path, lambda part: 1 / 0)
    assert names(tmp_path) == [folder.name]
    assert (folder / "b.txt").read_text() == "seed 0"


def test_an_identity_that_is_no_json_is_refused_before_anything_is_written(tmp_path):
    with pytest.raises(TypeError, match="not JSON serializable"):
        cached("kind", "x", {"path": tmp_path}, NAMES, Builder(), needed_bytes=1, root=tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_disk_with_too_little_space_is_told_before_the_work_begins(isolated_cache, monkeypatch):
    usage = shutil.disk_usage(isolated_cache)._replace(free=1999)
    monkeypatch.setattr(files.shutil, "disk_usage", lambda path: usage)
    build = Builder()
    with pytest.raises(
        CourseError, match=r"kind: 0\.0 MB are to be written here and 0\.0 MB are free\. Mend: free some"
    ):
        entry(None, build)
    assert build.calls == 0
    monkeypatch.setattr(files.shutil, "disk_usage", lambda path: usage._replace(free=2000))
    entry(None, build)


def test_a_complete_cache_is_read_without_any_right_to_write(tmp_path, monkeypatch):
    folder = entry(tmp_path, Builder())

    def refuse(*_, **__):
        raise OSError(30, "Read-only file system")

    for name in ("mkdir", "rename", "unlink", "replace", "fsync", "chmod"):
        monkeypatch.setattr(os, name, refuse)
    assert entry(tmp_path, None) == folder


def test_an_incomplete_cache_without_a_right_to_write_names_the_folder_and_the_mend(isolated_cache, monkeypatch):
    real = os.mkdir

    def refuse(path, *rest, **options):
        if str(path).startswith(str(isolated_cache)):
            raise OSError(30, "Read-only file system")
        real(path, *rest, **options)

    monkeypatch.setattr(os, "mkdir", refuse)
    with pytest.raises(CourseError, match=r"kind: cannot write here \(Read-only file system\)\. Mend: .*COURSE_CACHE"):
        entry(None, Builder())


def test_what_killed_processes_left_is_removed_by_the_next_build_of_the_same_entry_alone(tmp_path):
    folder = entry(tmp_path, Builder())
    mine = folder.with_name(f".{folder.name}.abcd_123.part")
    other = folder.with_name(".seed1_0123456789ab.abcd_123.part")
    for part in (mine, other):
        part.mkdir()
        (part / "a.bin").write_bytes(b"half")
    flip(folder / "a.bin")
    entry(tmp_path, Builder())
    assert names(tmp_path) == sorted([folder.name, other.name])


@pytest.mark.parametrize(("age_s", "stays"), [(60, True), (files.STALE_S + 60, False)])
def test_where_there_is_no_lock_only_old_leftovers_are_removed(tmp_path, monkeypatch, age_s, stays):
    monkeypatch.setattr(cache, "take_waiting", lambda handle: False)
    folder = entry_folder("kind", "seed0", IDENTITY, tmp_path)
    part = folder.with_name(f".{folder.name}.abcd_123.part")
    part.mkdir(parents=True)
    os.utime(part, (time.time() - age_s,) * 2)
    entry(tmp_path, Builder())
    assert part.exists() == stays


def together(count, work):
    """Run ``work(k)`` in ``count`` processes that start at the same moment; their exit codes."""
    context = multiprocessing.get_context("fork")
    barrier = context.Barrier(count)

    def run(k):
        barrier.wait(20)
        work(k)

    processes = [context.Process(target=run, args=(k,)) for k in range(count)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(30)
    return [process.exitcode for process in processes]


needs_fork = pytest.mark.skipif(sys.platform == "win32", reason="starts processes by fork, which Windows does not have")


@needs_fork
@pytest.mark.parametrize("locks", [True, False], ids=["with locks", "without"])
def test_of_several_processes_all_get_the_entry_and_with_locks_one_builds_it(tmp_path, monkeypatch, locks):
    if not locks:
        monkeypatch.setattr(cache, "take_waiting", lambda handle: False)

    def work(k):
        def build(folder):
            (tmp_path / f"built_{k}").touch()
            time.sleep(0.2)
            Builder()(folder)

        folder = entry(tmp_path, build)
        assert (folder / "a.bin").read_bytes() == bytes(1000)

    assert together(4, work) == [0] * 4
    built = len(list(tmp_path.glob("built_*")))
    assert built == 1 if locks else built >= 1
    assert len(names(tmp_path)) == 1


@needs_fork
def test_a_builder_that_is_killed_does_not_hold_the_others_up_and_its_leftovers_go(tmp_path):
    def work(k):
        def build(folder):
            (folder / "a.bin").write_bytes(b"half")
            if not (tmp_path / "killed").exists():
                (tmp_path / "killed").touch()
                os._exit(9)
            Builder()(folder)

        entry(tmp_path, build)

    assert sorted(together(3, work)) == [0, 0, 9]
    assert names(tmp_path) == [entry_folder("kind", "seed0", IDENTITY, tmp_path).name]


def test_every_file_and_folder_reaches_the_disk_before_the_entry_gets_its_name(tmp_path, monkeypatch):
    order, fsync, rename = [], os.fsync, os.rename
    monkeypatch.setattr(os, "fsync", lambda handle: (order.append("sync"), fsync(handle)))
    monkeypatch.setattr(os, "rename", lambda *names: (order.append("rename"), rename(*names)))
    entry(tmp_path, Builder())
    folders = 0 if os.name == "nt" else 1
    assert order == ["sync"] * (3 + folders) + ["rename"] + ["sync"] * folders


@needs_fork
def test_who_waited_for_a_lock_that_was_removed_meanwhile_takes_the_new_one(tmp_path):
    """Else the one who waited holds a file that nobody else sees, and the next one builds beside it."""
    lock, found = tmp_path / ".x.lock", []

    def wait():
        handle, alone = cache._acquire(lock)
        found.append((alone, os.path.samestat(os.fstat(handle), os.stat(lock))))
        os.close(handle)

    first, _ = cache._acquire(lock)
    waiting = threading.Thread(target=wait)
    waiting.start()
    time.sleep(0.2)
    os.unlink(lock)
    lock.touch()  # of the next one who came
    os.close(first)
    waiting.join(10)
    assert found == [(True, True)]


def test_two_threads_of_one_process_build_once(tmp_path):
    build = Builder()

    def slow(folder):
        time.sleep(0.1)
        build(folder)

    threads = [threading.Thread(target=entry, args=(tmp_path, slow)) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert build.calls == 1
