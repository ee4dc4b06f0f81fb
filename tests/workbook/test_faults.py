"""An update is failed, killed and interrupted at every event on the disk: the copy is the old or the new one, whole.

After each fault the next update ends as if nothing had happened, and every line of the learner's is there.
"""

from __future__ import annotations

import errno
import os
import shutil
import signal
import sys
from pathlib import Path

import pytest
from faults import FAULT, in_child
from workbook_trial import edits

from course_lib.errors import CourseError
from course_lib.workbook import Workbook, reset, update
from course_lib.workbook.notebook import parse

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="kills forked processes, which Windows does not have")
ANSWER = "    return mine\n"


@pytest.fixture(autouse=True)
def _fsync_is_an_event_and_costs_nothing(monkeypatch):
    """The tests kill processes, not the machine: what the system has been given is not lost, flushed or not."""
    monkeypatch.setattr(os, "fsync", lambda handle: FAULT.event(FAULT.folder))


def nothing(book: Workbook, chapter: Path) -> None:
    """The copy is as the learner left it, and the chapter has changed."""


def no_copy(book: Workbook, chapter: Path) -> None:
    """The answer was typed into the chapter itself, before there was a copy."""
    next(book.folder.glob("*.ipynb")).rename(chapter)
    shutil.rmtree(book.folder)


def cut_short(book: Workbook, chapter: Path) -> None:
    """The copy is no notebook any more."""
    path = next(book.folder.glob("*.ipynb"))
    path.write_bytes(path.read_bytes()[:-300])


def another_name(book: Workbook, chapter: Path) -> None:
    """The chapter has got another name."""
    chapter.rename(chapter.with_name("04_renamed.ipynb"))


def act(book: Workbook) -> None:
    """What is tried in most states."""
    update(book=book)


def begin_anew(book: Workbook) -> None:
    """What is tried in the last one."""
    reset("04", book=book)


STATES = {
    "updated": (nothing, act),
    "made": (no_copy, act),
    "mended": (cut_short, act),
    "renamed": (another_name, act),
    "reset": (another_name, begin_anew),
}


class Prepared:
    """prepared(): a workbook in a folder of its own, with an answer of the learner's, ready for what is tried."""

    def __init__(self, base: Path, bench, state, act):
        self.base, self.bench, self.state, self.act, self.count = base, bench, state, act, 0

    def __call__(self) -> Workbook:
        self.count += 1
        folder = self.base / str(self.count)
        bench = self.bench(folder)
        bench.update()
        stub = bench.sources()[4]
        bench.type(stub, stub.replace("    ...\n", ANSWER))
        bench.author(bench.sources()[5], "## Recap\n\nAnother one.")
        self.state(bench.book, next(bench.book.notebooks.glob("*.ipynb")))
        return bench.book


@pytest.fixture(params=STATES.values(), ids=STATES.keys())
def prepared(request, memory, bench) -> Prepared:
    return Prepared(memory, type(bench), *request.param)


def events_of(prepared: Prepared) -> int:
    book = prepared()
    with FAULT.planned(book.folder.parent) as counted:
        prepared.act(book)
    return counted.seen


def require_whole(book: Workbook, when: str) -> None:
    """The answer is in a file that can be read; the next update succeeds and finds nothing to do after it."""
    assert holders(book), when
    update(book=book)
    assert update(book=book) == [], when
    (path,) = [path for path in book.folder.glob("*.ipynb") if path.stem in book.names()]
    sources = [edits.source(cell) for cell in parse(path.read_bytes())["cells"]]
    kept = list(book.kept.glob("*.reset-*"))
    assert any(ANSWER in source for source in sources) or any(ANSWER.strip() in p.read_text() for p in kept), when
    assert "## Recap" in sources[-1], when
    shutil.rmtree(book.folder.parent)


def holders(book: Workbook) -> list[Path]:
    """The whole files that hold the answer, of the learner's and the chapter."""
    files = [*book.folder.rglob("*.ipynb"), *book.notebooks.glob("*.ipynb")]
    return [path for path in files if ANSWER.strip() in path.read_text(encoding="utf-8")]


def test_an_error_at_any_event_is_one_line_and_loses_nothing(prepared):
    events = events_of(prepared)
    assert events >= 20
    messages = []
    for at in range(events):
        book, number = prepared(), (errno.ENOSPC, errno.EIO)[at % 2]

        def fail(number=number):
            raise OSError(number, os.strerror(number))

        try:
            with FAULT.planned(book.folder.parent, at, fail):
                prepared.act(book)
        except CourseError as error:
            messages.append((os.strerror(number), str(error)))
        require_whole(book, f"event {at} of {events}")
    assert len(messages) >= events / 4
    assert [message for reason, message in messages if reason not in message or "Mend: " not in message] == []


def test_ctrl_c_at_any_event_loses_nothing(prepared):
    events, stopped = events_of(prepared), 0
    for at in range(events):
        book = prepared()

        def interrupt():
            raise KeyboardInterrupt

        try:
            with FAULT.planned(book.folder.parent, at, interrupt):
                prepared.act(book)
        except KeyboardInterrupt:
            stopped += 1
        require_whole(book, f"event {at} of {events}")
    assert stopped == events


def test_a_kill_at_any_event_loses_nothing(prepared):
    events = events_of(prepared)
    for at in range(events):
        book = prepared()

        def killed(at=at, book=book):
            with FAULT.planned(book.folder.parent, at, lambda: os.kill(os.getpid(), signal.SIGKILL)):
                prepared.act(book)

        assert in_child(killed) == -signal.SIGKILL
        require_whole(book, f"event {at} of {events}")


def test_a_write_that_comes_back_short_is_one_line_and_loses_nothing(prepared):
    import resource

    finished = 0
    for limit in (0, 100, 1000, 2000, 3000, 5000, 10**6):
        book = prepared()

        def limited(limit=limit, book=book):
            signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
            resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
            try:
                prepared.act(book)
            except CourseError as error:
                os._exit(7 if "cannot write here (File too large)" in str(error) else 8)

        status = in_child(limited)
        assert status in (0, 7), (limit, status)
        finished += status == 0
        require_whole(book, f"limit {limit}")
    assert 1 <= finished < 7
