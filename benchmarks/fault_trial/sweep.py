"""A writer, broken at each event on the disk: an error is one line, a kill loses nothing, the next run is whole.

An *event* is a call that touches the folder (open, rename, remove, mkdir, chmod, …, from Python's audit events, and
fsync, which has none). The sweep counts a writer's events, then lets each in turn fail as a full disk or a failing one
does, interrupts it there as Ctrl-C does, kills the process there; and lets files grow to a limit only, so that a write
comes back short. After each fault the folder holds the old content or the new one, never a mixture, and the same call
made again ends as if nothing had happened.
"""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
import signal
import sys
import traceback
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from course_lib.errors import CourseError
from fault_trial.result import ANSWERED, TRACEBACK, UNCLEAR, WRONG, Result

LIMITS = (0, 1, 20, 100, 200, 300, 1000, 3000, 10**6)
"""Bytes that a file may have where writes come back short."""
ERRORS = {"no space": errno.ENOSPC, "I/O error": errno.EIO}


@dataclass(frozen=True)
class Writer:
    """A writer of the course.

    Args:
        name: of what it writes.
        write: (folder, which): writes content number 1 or 2.
        read: folder → the number that a reader finds there, None if nothing; anything else is a mixture.
        allowed: what may be read after a fault, where content 1 was written before.
        notes: it returns what went wrong instead of raising it.
        slow: a write takes more than a tenth of a second.
    """

    name: str
    write: Callable[[Path, int], object]
    read: Callable[[Path], object]
    allowed: frozenset[int | None] = frozenset({1, 2})
    notes: bool = False
    slow: bool = False


class _Plan:
    """What happens at event number ``at`` inside ``folder``; without an action it counts the events."""

    def __init__(self) -> None:
        self.folder, self.at, self.seen, self.action, self.tidying = None, None, 0, None, False

    def event(self, *paths: object) -> None:
        folder = self.folder
        if folder is None or not any(isinstance(p, str | Path) and str(p).startswith(folder) for p in paths):
            return
        self.seen += 1
        if self.seen - 1 == self.at and self.action is not None:
            callers = {frame.name for frame in traceback.extract_stack()}
            self.tidying = bool(callers & {"rmtree", "unlink"})
            self.action()

    @contextlib.contextmanager
    def planned(self, folder: Path, at: int | None = None, action: Callable[[], None] | None = None) -> Iterator[None]:
        self.folder, self.at, self.seen, self.action, self.tidying = str(folder), at, 0, action, False
        try:
            yield
        finally:
            self.folder = None


_PLAN = _Plan()


def _hook(name: str, arguments: tuple) -> None:
    # "shutil.rmtree" and the like announce a Python function; the system's calls come one by one after it.
    if _PLAN.folder is not None and (name == "open" or name.startswith("os.")):
        _PLAN.event(*arguments)


sys.addaudithook(_hook)


@contextlib.contextmanager
def fsync_is_an_event() -> Iterator[None]:
    """Within the block fsync is counted, and costs nothing: processes are killed, not the machine."""
    real, os.fsync = os.fsync, lambda handle: _PLAN.event(_PLAN.folder)
    try:
        yield
    finally:
        os.fsync = real


def faults(writer: Writer, base: Path, *, again: bool, every: int = 1, kills: bool = True) -> Iterator[Result]:
    """Every fault of one writer.

    Args:
        base: an empty folder in memory, or on a disk that may take hundreds of small files.
        again: content 1 lies there before content 2 is written.
        every: only every so many events. kills: also kill processes and cut writes short.
    """
    trial = _Trial(writer, base, again)
    with fsync_is_an_event():
        events = trial.count()
        for at in range(0, events, every):
            names = list(ERRORS) if every == 1 else [list(ERRORS)[at // every % 2]]
            for name in names:
                yield trial.error(at, name)
            yield trial.interrupted(at)
            if kills:
                yield trial.killed(at)
        for limit in LIMITS if kills else ():
            yield trial.short(limit)


class _Trial:
    def __init__(self, writer: Writer, base: Path, again: bool):
        self.writer, self.base, self.again, self.number = writer, base, again, 0

    def prepared(self) -> Path:
        self.number += 1
        folder = self.base / str(self.number)
        folder.mkdir(parents=True)
        if self.again:
            self.writer.write(folder, 1)
        return folder

    def count(self) -> int:
        folder = self.prepared()
        with _PLAN.planned(folder):
            self.writer.write(folder, 2)
        shutil.rmtree(folder)
        return _PLAN.seen

    def error(self, at: int, name: str) -> Result:
        folder, number = self.prepared(), ERRORS[name]

        def fail() -> None:
            raise OSError(number, os.strerror(number))

        said, found = None, ""
        try:
            with _PLAN.planned(folder, at, fail):
                note = self.writer.write(folder, 2)
            said = note if self.writer.notes and note else None
        except CourseError as error:
            said = str(error)
            if os.strerror(number) not in said or "Mend: " not in said:
                found = f"the line says neither the reason nor a mend: {said}"
        except Exception:
            return self.result(f"{name} at event {at}", folder, TRACEBACK, traceback.format_exc(limit=-3))
        left = list(folder.rglob(".*.part"))
        if not found and left and not _PLAN.tidying:
            found = f"left behind: {left[0].name}"
        return self.result(f"{name} at event {at}", folder, UNCLEAR if found else ANSWERED, found, said is None)

    def interrupted(self, at: int) -> Result:
        folder, found = self.prepared(), ""

        def stop() -> None:
            raise KeyboardInterrupt

        try:
            with _PLAN.planned(folder, at, stop):
                self.writer.write(folder, 2)
        except KeyboardInterrupt:
            pass
        except Exception:
            return self.result(f"Ctrl-C at event {at}", folder, TRACEBACK, traceback.format_exc(limit=-3))
        left = list(folder.rglob(".*.part"))
        if left and not _PLAN.tidying:
            found = f"left behind: {left[0].name}"
        return self.result(f"Ctrl-C at event {at}", folder, UNCLEAR if found else ANSWERED, found)

    def killed(self, at: int) -> Result:
        folder = self.prepared()

        def work() -> None:
            with _PLAN.planned(folder, at, lambda: os.kill(os.getpid(), signal.SIGKILL)):
                self.writer.write(folder, 2)

        status = in_child(work)
        # In a child some events may not come: caches are warm there. It has then simply written.
        found = "" if status in (-signal.SIGKILL, 0) else f"the process ended with {status}"
        return self.result(f"kill at event {at}", folder, UNCLEAR if found else ANSWERED, found)

    def short(self, limit: int) -> Result:
        import resource

        folder = self.prepared()

        def work() -> None:
            signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
            resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
            try:
                note = self.writer.write(folder, 2)
            except CourseError as error:
                os._exit(7 if os.strerror(errno.EFBIG) in str(error) else 8)
            os._exit(7 if self.writer.notes and note else 0)

        status = in_child(work)
        outcome = {0: ANSWERED, 7: ANSWERED, 8: UNCLEAR}.get(status, TRACEBACK)
        found = "" if outcome == ANSWERED else f"status {status}"
        return self.result(f"files of at most {limit} bytes", folder, outcome, found, status == 0)

    def result(self, fault: str, folder: Path, outcome: str, found: str = "", silent: bool = False) -> Result:
        """Look at what the fault left, and let the same call be made again."""
        fault = f"{fault}, {'over an old one' if self.again else 'for the first time'}"
        allowed = self.writer.allowed if self.again else {None, 2}
        content = self.writer.read(folder)
        if content not in allowed or (silent and content != 2):
            outcome, found = WRONG, f"{found} then {content!r} is read".strip()
        elif outcome == ANSWERED:
            self.writer.write(folder, 2)
            left = [path for path in folder.rglob(".*.part") if path.is_dir()]
            # One young file of a killed writer may stay until it is a day old.
            if (content := self.writer.read(folder)) != 2:
                outcome, found = WRONG, f"the same call again gives {content!r}"
            elif left or len(list(folder.rglob(".*.part"))) > 1:
                outcome, found = UNCLEAR, f"after the same call again {sorted(p.name for p in folder.rglob('.*.part'))}"
        shutil.rmtree(folder)
        return Result(self.writer.name, fault, outcome, found)


def in_child(work: Callable[[], None]) -> int:
    """Run ``work`` in a forked process, its stderr closed to the screen; its exit status."""
    import torch

    child = os.fork()
    if child == 0:
        status = 1
        torch.set_num_threads(1)  # the threads of the parent's pool are not forked: one that is asked never answers
        try:
            work()
            status = 0
        finally:
            os._exit(status)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
