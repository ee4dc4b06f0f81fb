"""A lock is held by one at a time, and goes with the process that held it."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from course_lib.storage import locks

pytest.importorskip("fcntl", reason="no POSIX locks here")
HOLDER = """
import os, sys
from course_lib.storage import locks
handle = os.open(sys.argv[1], os.O_RDWR | os.O_CREAT)
assert locks.try_to_take(handle)
print("held", flush=True)
sys.stdin.read()
"""


@pytest.fixture
def holder(tmp_path):
    """Another process that holds the lock on a file: (process, path)."""
    path = tmp_path / "x.lock"
    command = [sys.executable, "-c", HOLDER, str(path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout.readline() == "held\n"
        yield process, path
        process.kill()


def test_what_another_process_holds_cannot_be_taken_until_it_is_gone(holder):
    process, path = holder
    handle = os.open(path, os.O_RDWR)
    assert not locks.try_to_take(handle)
    process.kill()
    process.wait()
    assert locks.try_to_take(handle)
    locks.release(handle)
    os.close(handle)


def test_a_waiting_one_gets_it_when_the_holder_ends(holder):
    process, path = holder
    handle = os.open(path, os.O_RDWR)
    process.stdin.close()
    assert locks.take_waiting(handle)
    os.close(handle)


def test_a_released_lock_can_be_taken_again(tmp_path):
    first, second = (os.open(tmp_path / "x.lock", os.O_RDWR | os.O_CREAT) for _ in range(2))
    assert locks.try_to_take(first)
    assert not locks.try_to_take(second)
    locks.release(first)
    assert locks.try_to_take(second)
    os.close(first)
    os.close(second)


def test_where_the_system_has_no_locks_everybody_goes_on(tmp_path, monkeypatch):
    import errno

    def refused(handle, mode):
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(locks.fcntl, "flock", refused)
    with open(tmp_path / "x.lock", "w") as stream:
        assert locks.try_to_take(stream.fileno())
        assert not locks.take_waiting(stream.fileno())
