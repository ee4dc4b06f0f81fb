"""Every writer, at every event on the disk: an error is one line, a kill loses nothing, and the next run is whole.

The sweep and the table of writers stand in ``benchmarks/fault_trial``; ``benchmarks/faults.py`` runs all of it.
"""

from __future__ import annotations

import os
import sys
import tempfile
from pathlib import Path

import pytest
from fault_trial import writers
from fault_trial.result import ANSWERED, TRACEBACK, UNCLEAR, WRONG
from fault_trial.sweep import Writer, faults

from course_lib.storage.files import atomic_path

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="kills forked processes, which Windows does not have")
WHOLE = ("a file", "an entry of the cache", "a checkpoint", "a teacher's table")
"""Broken at every event, and killed; of the others every third event is enough for ``make test``."""


@pytest.fixture
def base(tmp_path):
    """A folder in memory: hundreds of small files would take a minute on a busy disk."""
    memory = Path("/dev/shm")
    if not os.access(memory, os.W_OK):
        yield tmp_path
        return
    with tempfile.TemporaryDirectory(dir=memory) as folder:
        yield Path(folder)


@pytest.mark.parametrize("again", [False, True], ids=["first", "again"])
@pytest.mark.parametrize("writer", writers.WRITERS, ids=lambda writer: writer.name)
def test_a_writer_that_is_broken_anywhere_says_so_in_one_line_and_leaves_the_old_or_the_new(writer, again, base):
    whole = writer.name in WHOLE
    results = list(faults(writer, base, again=again, every=1 if whole else 3, kills=whole))
    assert len(results) >= 6
    assert [result for result in results if result.outcome != ANSWERED] == []


def test_every_function_of_the_library_that_writes_is_swept_or_says_why_not():
    known = {*writers.SWEPT, *writers.ELSEWHERE}
    assert sorted(writers.writing_functions()) == sorted(known)
    assert not set(writers.SWEPT) & set(writers.ELSEWHERE)
    assert set(writers.SWEPT.values()) <= {writer.name for writer in writers.WRITERS}


@pytest.mark.parametrize(
    "code",
    ["open(p, 'w')", "open(p, 'ab')", "p.write_text('')", "f.savefig(p)", "torch.save(s, p)", "shutil.copyfile(p, q)"],
)
def test_a_new_writer_is_noticed(tmp_path, code):
    text = f"def reads(p):\n    return open(p, 'rb')\nclass A:\n    def saves(self, p):\n        {code}\n"
    (tmp_path / "x.py").write_text(text)
    assert writers.writing_functions(tmp_path) == {"x:A.saves"}


def _read(folder):
    path = folder / "x"
    return int(path.read_text() or 0) if path.exists() else None


def _in_place(folder, which):
    (folder / "x").write_text(str(which) * 2000)


def _unwrapped(folder, which):
    with atomic_path(folder / "x") as part:
        part.write_text(str(which))
    os.listdir(folder)


def _swallows(folder, which):
    try:
        with atomic_path(folder / "x") as part:
            part.write_text(str(which))
    except Exception:
        return


@pytest.mark.parametrize(
    ("write", "outcomes"),
    [(_in_place, {TRACEBACK}), (_unwrapped, {TRACEBACK}), (_swallows, {WRONG})],
    ids=["in place", "an error of the system comes through", "an error is swallowed"],
)
def test_the_sweep_finds_a_bad_writer(base, write, outcomes):
    def read(folder):
        content = _read(folder)
        return int(str(content)[0]) if content and (write is not _in_place or len(str(content)) == 2000) else content

    results = list(faults(Writer("bad", write, read), base, again=True, kills=False))
    assert {result.outcome for result in results} - {ANSWERED, UNCLEAR} == outcomes
