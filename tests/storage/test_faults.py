"""Every writer, at every event on the disk: an error is one line, a kill loses nothing, and the next run is whole.

The sweep fails each event (``faults``) in turn, with a full disk or a failing one; kills the process at each; and lets
files grow to a limit only, so that a write comes back short. After each fault the folder holds the old content or the
new one, never a mixture, and the same call made again ends as if nothing had happened.
"""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
import signal
import sys
import tempfile
from pathlib import Path

import numpy as np
import pytest
import torch
from faults import FAULT, in_child

from course_lib.data import SignDataset
from course_lib.distillation import open_table, teacher_table
from course_lib.errors import CourseError
from course_lib.models import SignStudent, checkpoints
from course_lib.storage.arrays import write_npy, write_npz
from course_lib.storage.cache import cached, problem
from course_lib.storage.files import read_json, write_json
from course_lib.training import Recipe

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="kills forked processes, which Windows does not have")


@pytest.fixture(autouse=True)
def _fsync_is_an_event_and_costs_nothing(monkeypatch):
    """The tests kill processes, not the machine: what the system has been given is not lost, flushed or not."""
    monkeypatch.setattr(os, "fsync", lambda handle: FAULT.event(FAULT.folder))


# Each writer: write(folder, which) writes content number ``which``; read(folder) → the number, or None.


def write_file(folder, which):
    write_json(folder / "x.json", {"which": which})


def read_file(folder):
    return read_json(folder / "x.json", mend="")["which"] if (folder / "x.json").exists() else None


def write_entry(folder, which):
    def build(part):
        write_npy(part / "a.npy", np.full((50, 10), which))
        write_npz(part / "b.npz", {"which": np.array(which)})

    cached("kind", "x", {"v": 1}, ("a.npy", "b.npz"), build, needed_bytes=1, root=folder, afresh=which == 2)


def read_entry(folder):
    entries = list((folder / "kind").glob("x_*"))
    if not entries or problem(entries[0], {"v": 1}, ("a.npy", "b.npz")) is not None:
        return None
    values = set(np.load(entries[0] / "a.npy").ravel().tolist()) | {int(np.load(entries[0] / "b.npz")["which"])}
    return values.pop() if len(values) == 1 else "a mixture"


def student(which):
    torch.manual_seed(which)
    return SignStudent(num_classes=3, channels=(4, 4, 4, 4, 4 * which))


def write_checkpoint(folder, which):
    checkpoints.save(student(which), "x", {"which": which}, folder=folder)


def read_checkpoint(folder):
    if not checkpoints.exists("x", folder=folder):
        return None
    model, card = checkpoints.load("x", folder=folder)
    return card["which"] if model.channels[-1] == 4 * card["which"] else "a mixture"


SIGNS = SignDataset(np.arange(2 * 3 * 16 * 16, dtype=np.uint8).reshape(2, 3, 16, 16), np.array([0, 1]), num_classes=3)
RECIPE = Recipe(epochs=1, augmentation=None)


def write_table(folder, which):
    teacher_table(student(1), SIGNS, RECIPE, folder=folder, progress=False)
    if which == 1:  # one teacher has one table, so what is replaced is a broken one
        (path,) = (folder / "logits").glob("*/logits.npy")
        path.write_bytes(b"broken")


def read_table(folder):
    for entry in (folder / "logits").glob("1_views_*"):
        with contextlib.suppress(CourseError):
            open_table(entry, student(1), SIGNS, RECIPE)
            return 2
    return None


WRITERS = {
    "a file": (write_file, read_file, {1, 2}),
    "an entry of the cache": (write_entry, read_entry, {None, 1, 2}),  # None: removed, and not yet replaced
    "a checkpoint": (write_checkpoint, read_checkpoint, {1, 2}),
    "a teacher's table": (write_table, read_table, {None, 2}),
}


class Prepared:
    """prepared(write): a new folder; where ``again`` is true content 1 lies there before content 2 is written."""

    def __init__(self, again: bool, base: Path):
        self.again, self.base, self.count = again, base, 0

    def __call__(self, write) -> Path:
        self.count += 1
        folder = self.base / str(self.count)
        folder.mkdir()
        if self.again:
            write(folder, 1)
        return folder

    def allowed(self, either):
        return either if self.again else {None, 2}


@pytest.fixture(params=[False, True], ids=["first", "again"])
def prepared(request, tmp_path):
    memory = Path("/dev/shm")  # hundreds of small files: on a busy disk they would take a minute
    if not os.access(memory, os.W_OK):
        yield Prepared(request.param, tmp_path)
        return
    with tempfile.TemporaryDirectory(dir=memory) as base:
        yield Prepared(request.param, Path(base))


def events_of(write, prepare):
    with FAULT.planned(folder := prepare(write)) as counted:
        write(folder, 2)
    return counted.seen


def require_whole(folder, write, read, allowed, when):
    """The folder holds the old or the new content; the same call then ends as always and leaves nothing else."""
    assert read(folder) in allowed, when
    write(folder, 2)
    assert read(folder) == 2, when
    left = [path for path in folder.rglob(".*.part") if path.is_dir()]
    assert not left, (when, left)
    young = list(folder.rglob(".*.part"))
    assert len(young) <= 1, (when, young)  # of a killed writer of a single file, until it is a day old
    shutil.rmtree(folder)


@pytest.mark.parametrize(("write", "read", "either"), WRITERS.values(), ids=WRITERS.keys())
def test_an_error_at_any_event_is_one_line_and_changes_nothing(prepared, write, read, either):
    events = events_of(write, prepared)
    assert events >= 5
    refused = 0
    for at in range(events):
        folder, message, number = prepared(write), None, (errno.ENOSPC, errno.EIO)[at % 2]

        def fail(number=number):
            raise OSError(number, os.strerror(number))

        try:
            with FAULT.planned(folder, at, fail):
                write(folder, 2)
        except CourseError as error:
            message = str(error)
        refused += message is not None
        assert message is None or (os.strerror(number) in message and "Mend: " in message), at
        assert FAULT.tidying or not list(folder.rglob(".*.part")), at
        require_whole(folder, write, read, prepared.allowed(either), f"event {at} of {events}")
    assert refused >= events / 3


@pytest.mark.parametrize(("write", "read", "either"), WRITERS.values(), ids=WRITERS.keys())
def test_a_kill_at_any_event_leaves_the_old_or_the_new(prepared, write, read, either):
    events = events_of(write, prepared)
    for at in range(events):
        folder = prepared(write)

        def killed(at=at, folder=folder):
            with FAULT.planned(folder, at, lambda: os.kill(os.getpid(), signal.SIGKILL)):
                write(folder, 2)

        assert in_child(killed) == -signal.SIGKILL
        require_whole(folder, write, read, prepared.allowed(either), f"event {at} of {events}")


@pytest.mark.parametrize(("write", "read", "either"), WRITERS.values(), ids=WRITERS.keys())
def test_a_write_that_comes_back_short_is_one_line(prepared, write, read, either):
    import resource

    finished = 0
    for limit in (0, 1, 20, 100, 200, 300, 1000, 3000, 10**6):
        folder = prepared(write)

        def limited(limit=limit, folder=folder):
            signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
            resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
            try:
                write(folder, 2)
            except CourseError as error:
                os._exit(7 if "cannot write here (File too large)" in str(error) else 8)

        status = in_child(limited)
        assert status in (0, 7), (limit, status)
        finished += status == 0
        assert not list(folder.rglob(".*.part")), limit
        require_whole(folder, write, read, prepared.allowed(either), f"limit {limit}")
    assert 1 <= finished < 9
