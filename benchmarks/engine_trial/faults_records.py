"""Broken, unreadable, locked and foreign progress files, met by a right answer: it must pass, and nothing be lost."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from engine_trial.fault import LOSS, add, right_gradient

DAY = "2020-02-02"
KEPT = {"passed": {"00.1": DAY}, "predictions": {"00.p": {"guess": 1}}, "newer": [1, 2]}


def holds_the_new(path: Path) -> str:
    """The record holds this exercise now."""
    passed = json.loads(path.read_text(encoding="utf-8"))["passed"]
    return "" if LOSS in passed else f"the record holds {passed}"


def holds_both(path: Path) -> str:
    """The record holds what it held, also what a newer version wrote, and this exercise."""
    content = json.loads(path.read_text(encoding="utf-8"))
    kept = content["passed"].pop(LOSS, None) and content == KEPT
    return "" if kept else f"the record holds {content}"


def moved_aside(path: Path) -> str:
    """What was broken lies beside it, and a new record holds this exercise."""
    broken = path.with_name(path.name + ".broken")
    return holds_the_new(path) if broken.exists() else "the broken file was not kept"


def untouched(path: Path) -> str:
    """Nothing was written where nothing could be read."""
    return "" if path.is_dir() or not path.is_file() else "it was written over"


def writes(data: bytes) -> Callable[[Path], None]:
    return lambda path: path.write_bytes(data) and None


def whole(path: Path) -> None:
    path.write_text(json.dumps(KEPT), encoding="utf-8")


def elsewhere(target: str) -> Callable[[Path], None]:
    def point(path: Path) -> None:
        os.environ["COURSE_PROGRESS"] = target

    return point


def linked(path: Path) -> None:
    whole(path.with_name("real.json"))
    path.symlink_to("real.json")


def linked_in_a_ring(path: Path) -> None:
    path.symlink_to(path.name)


def linked_to_nothing(path: Path) -> None:
    path.symlink_to("nowhere/at/all.json")


def earlier_broken(path: Path) -> None:
    path.with_name(path.name + ".broken").write_text("the first one", encoding="utf-8")
    path.write_text("{", encoding="utf-8")


def earlier_is_kept(path: Path) -> str:
    first = path.with_name(path.name + ".broken").read_text(encoding="utf-8")
    return holds_the_new(path) if first == "the first one" else "an earlier broken file was overwritten"


def lock_from_the_future(path: Path) -> None:
    whole(path)
    lock = path.with_name(path.name + ".lock")
    lock.write_text("somebody", encoding="utf-8")
    os.utime(lock, (time.time() + 10**7,) * 2)


def held_for_a_while(path: Path) -> None:
    """Another process holds the lock for four seconds."""
    whole(path)
    lock = str(path.with_name(path.name + ".lock"))
    code = f"import fcntl, time; f = open({lock!r}, 'ab'); fcntl.flock(f, 2); print(1, flush=True); time.sleep(4)"
    holder = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE)
    assert holder.stdout is not None
    holder.stdout.readline()


def pipe_for_a_file(path: Path) -> None:
    path.with_name("folder").mkdir()
    os.environ["COURSE_PROGRESS"] = str(path.with_name("folder"))


def lock_is_a_folder(path: Path) -> None:
    whole(path)
    path.with_name(path.name + ".lock").mkdir()


def unreadable(path: Path) -> None:
    """Nobody may read it; root may, and gives up being root."""
    whole(path)
    path.chmod(0)
    if os.geteuid() == 0:
        os.chown(path, 0, 0)
        path.parent.chmod(0o777)
        os.seteuid(65534)


def still_unreadable(path: Path) -> str:
    if os.getuid() == 0:
        os.seteuid(0)
    path.chmod(0o600)
    return "" if json.loads(path.read_text(encoding="utf-8")) == KEPT else "it was written over"


RECORDS: dict[str, tuple[Callable[[Path], None], Callable[[Path], str] | None]] = {
    "no file": (lambda path: None, holds_the_new),
    "a file of another version": (whole, holds_both),
    "an empty file": (writes(b""), moved_aside),
    "half a file": (writes(b'{"passed": {"00.1": '), moved_aside),
    "a list": (writes(b"[1, 2]"), moved_aside),
    "a number": (writes(b"NaN"), moved_aside),
    "a list where the passed ones stand": (writes(b'{"passed": [1]}'), moved_aside),
    "bytes that are no text": (writes(b"\xff\xfe\x00\x01" * 99), moved_aside),
    "a byte-order mark": (
        lambda path: path.write_bytes(b"\xef\xbb\xbf" + json.dumps(KEPT).encode()) and None,
        holds_both,
    ),
    "a hundred thousand brackets": (writes(b"[" * 100_000), moved_aside),
    "a hundred thousand dicts": (writes(b'{"a":' * 100_000), moved_aside),
    "a lone surrogate": (writes(b'{"passed": {}, "x": "\\ud800"}'), holds_the_new),
    "whole numbers of ten thousand digits": (writes(b'{"passed": {}, "x": ' + b"1" * 10_000 + b"}"), moved_aside),
    "an earlier broken file": (earlier_broken, earlier_is_kept),
    "a link": (linked, lambda path: holds_both(path) if path.is_symlink() else "the link was replaced"),
    "a link to itself": (linked_in_a_ring, None),
    "a link to nothing": (linked_to_nothing, None),
    "a folder in its place": (lambda path: path.mkdir(), untouched),
    "a folder for COURSE_PROGRESS": (pipe_for_a_file, None),
    "a file that may not be read": (unreadable, still_unreadable),
    "a lock from the future": (lock_from_the_future, holds_both),
    "a lock held for four seconds": (held_for_a_while, holds_both),
    "a lock that is a folder": (lock_is_a_folder, None),
    "a home that nobody has": (elsewhere("~nosuchuser/progress.json"), None),
    "a file in a file": (elsewhere("/dev/null/progress.json"), None),
    "a name that is too long": (elsewhere("/tmp/" + "x" * 300), None),
    "a device": (elsewhere("/dev/full"), None),
    "a folder of the system": (elsewhere("/proc/progress.json"), None),
}
for name, (before, after) in RECORDS.items():
    add(f"progress: {name}", "records", right_gradient, right=True, before=before, after=after)
