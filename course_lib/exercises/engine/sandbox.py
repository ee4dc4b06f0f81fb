"""Run a learner's function so that a mistake in it costs a message, never the kernel.

The function runs here, in this process and thread, because it lives here: it was defined in the cell above, uses that
cell's helpers, and cannot be pickled into another process. What is done about what may go wrong:

* **Endless loop.** ``TimeLimit`` is raised inside it when its time is up, see ``alarm``; what time is, see ``clock``.
* **Crash, deep recursion, exit().** Reported with the learner's own line: the innermost frame that is not a library's.
  ``exit`` is replaced while the code runs, because the notebook's version would stop the kernel without an exception.
  An error whose own text fails, or never ends, is reported by its class.
* **Settings of the whole process** are put back, see ``state``. What is printed is kept, up to a cap. Threads that
  still run the learner's code are asked to end.
* **Ctrl-C** (KeyboardInterrupt) passes through: it is the learner's own.

Not limited: memory, processes that the code starts, time inside one C call that does not return, ``os._exit`` and
crashes of the interpreter itself. After those, restart the kernel: progress is on disk. This is a seat belt for people
who run their own code, not a jail.
"""

from __future__ import annotations

import builtins
import contextlib
import linecache
import sys
import sysconfig
import threading
import traceback
import types
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any

from course_lib.exercises.engine import insist, state
from course_lib.exercises.engine.alarm import TimeLimit, Watch, anywhere
from course_lib.exercises.engine.printed import Printed

TEXT_S = 0.5
"""Seconds that an error may take to say what it is."""
_LIBRARIES = (*(sysconfig.get_paths()[name] for name in ("stdlib", "purelib", "platlib")), "<frozen")
_OURS = ("sys.stdout", "sys.stderr", "sys.unraisablehook")
"""Settings that ``run`` itself changes."""
_COURSE = str(Path(__file__).resolve().parents[2])


@dataclass(frozen=True)
class Outcome:
    """What came of one call.

    Args:
        value: what it returned, None if it raised.
        error: the exception's class, None if it returned.
        problem: what happened, in words, "" if it returned.
        line: the number of the learner's own line, 0 if the error arose elsewhere.
        source: that line's text, "" if the error arose elsewhere.
        printed: what was printed.
        seconds: that count, see ``clock``.
        starved: the machine left it no time; only together with ``TimeLimit``.
        left: what it changed for the whole process, which was put back.
    """

    value: Any = None
    error: type[BaseException] | None = None
    problem: str = ""
    line: int = 0
    source: str = ""
    printed: str = ""
    seconds: float = 0.0
    starved: bool = False
    left: tuple[str, ...] = ()

    @property
    def report(self) -> str:
        """What happened, and in which of the learner's lines."""
        source = f": {self.source}" if self.source else ""
        return self.problem + (f", line {self.line}{source}" if self.line else "")


class _Stopped(BaseException):
    """Brings a StopIteration out of a generator."""


class BrokenExercise(RuntimeError):
    """The course's own code failed: no learner's fault."""


def learners(frame: FrameType | None) -> bool:
    """True if this frame runs code of the learner's: the innermost one that is no library's is not the course's."""
    while frame is not None and frame.f_code.co_filename.startswith(_LIBRARIES):
        frame = frame.f_back
    return frame is not None and not frame.f_code.co_filename.startswith(_COURSE)


def run(
    call: Callable[[], Any], learner: Any, limit_s: float, may_hit: Callable[[FrameType], bool] = anywhere
) -> Outcome:
    """Call ``call()``, which calls ``learner``, within ``limit_s`` seconds; never raises except KeyboardInterrupt.

    Args:
        call: a function without arguments.
        learner: the learner's function or class, to find their lines in a traceback.
        limit_s: seconds that count, > 0, see ``clock``.
        may_hit: tells which frames may be stopped.
    """
    printed = Printed()
    line, source, problem, text_s = 0, "", "", 0.0
    with state.kept() as left, _exit_replaced(learner), _threads_ended(learner):
        sys.stdout = sys.stderr = printed
        sys.unraisablehook = sys.__unraisablehook__  # in C: a strike in a handler written in Python would be reported
        value, error, watch = _guarded(call, limit_s, may_hit)
        # A hook or a stream that the call replaced is no business of what follows.
        sys.stdout = sys.stderr = printed
        if error is not None:
            line, source = _own_line(error, learner)
            # Frames hold the learner's tensors, and the error holds the frames.
            error.__traceback__ = None
            text, _, texts_watch = _guarded(lambda: _problem(error), TEXT_S, anywhere)
            problem, text_s = text or type(error).__name__, texts_watch.clock.seconds()
    kind = None if error is None else TimeLimit if isinstance(error, TimeLimit) else type(error)
    return Outcome(
        value=value,
        error=kind,
        problem=problem,
        line=line,
        source=source,
        printed=printed.text(),
        seconds=watch.clock.seconds() + text_s,
        starved=watch.starved(),
        left=tuple(name for name in left if name not in _OURS),
    )


def course(outcome: Outcome, id: str) -> Outcome:
    """The outcome of the course's own code. Raises: BrokenExercise: it failed."""
    if outcome.error:
        raise BrokenExercise(f"exercise {id} is broken, please report it: {outcome.report}")
    return outcome


def value_of(call: Callable[[], Any], id: str, limit_s: float) -> Any:
    """What the course's own code gives, with random states put back. Raises: BrokenExercise: it failed."""
    return course(run(call, None, limit_s), id).value


def _guarded(
    call: Callable[[], Any], limit_s: float, may_hit: Callable[[FrameType], bool]
) -> tuple[Any, BaseException | None, Watch]:
    """What the call returned, what it raised, and the watch that was kept on it."""
    value = error = None
    watch = Watch(limit_s, may_hit)
    try:
        try:
            watch.start()
            value = next(_apart(call))
        finally:
            # First of all, and in C: a trace function of ours must not follow into what comes now.
            sys.settrace(watch.tracer)
            watch.stop()
    except KeyboardInterrupt:
        _stop(watch)
        raise
    except _Stopped as caught:
        error = caught.__cause__
    except BaseException as caught:
        error = caught
    _stop(watch)
    return value, error, watch


def _apart(call: Callable[[], Any]) -> Iterator[Any]:
    """Call in a generator: it has a place of its own for the exception that is being handled.

    A strike may hit between two instructions of a handler; the interpreter then goes on believing that it is being
    handled, and every later exception, the notebook's too, would be shown as raised during it.
    """
    try:
        value = call()
    except StopIteration as error:  # no generator lets it through
        raise _Stopped from error
    yield value


def _stop(watch: Watch) -> None:
    """Stop for certain: a last strike may hit while the watch is being stopped."""
    for _ in range(10):
        try:
            watch.stop()
            return
        except TimeLimit:
            continue


def _problem(error: BaseException) -> str:
    if isinstance(error, TimeLimit):
        return "still running when its time was up, so it was stopped (an endless loop?)"
    if isinstance(error, SystemExit):
        return "it calls exit(), which would end the notebook's kernel"
    if isinstance(error, RecursionError):
        return "RecursionError: it calls itself without end"
    try:
        text = " ".join(str(error).split())
    except Exception:  # a learner's own __str__
        text = ""
    return type(error).__name__ + (f": {text[:300]}" if text else "")


def _own_line(error: BaseException, learner: Any) -> tuple[int, str]:
    """Line number and text of the innermost frame that is the learner's and no library's; (0, "") if none is."""
    home = learner.__code__.co_filename if type(learner) is types.FunctionType else None
    # A last strike may hit after the learner's code was left: the one before it knows the line.
    cause: BaseException | None = error
    for _ in range(5):
        found = (0, "")
        for frame, line in traceback.walk_tb(cause.__traceback__ if cause else None):
            name = frame.f_code.co_filename
            source = linecache.getline(name, line).strip()
            if name == home or (source and not _is_library(name)):
                found = (line, source)
        if found[0] or cause is None:
            return found
        cause = cause.__context__
    return 0, ""


def _is_library(filename: str) -> bool:
    return filename.startswith((*_LIBRARIES, str(Path(_COURSE, "exercises")), "<"))


@contextlib.contextmanager
def _threads_ended(learner: Any) -> Iterator[None]:
    """Ask threads that are started here, and still run the learner's code afterwards, to end: they would slow all."""
    home = learner.__code__.co_filename if type(learner) is types.FunctionType else None
    starter, started, start = threading.get_ident(), list[threading.Thread](), threading.Thread.start

    def noted(thread: threading.Thread) -> None:
        if threading.get_ident() == starter:
            started.append(thread)
        start(thread)

    threading.Thread.start = noted  # type: ignore[method-assign]
    try:
        yield
    finally:
        threading.Thread.start = start  # type: ignore[method-assign]
    for thread in started:
        frame = sys._current_frames().get(thread.ident or 0)
        while frame is not None and frame.f_code.co_filename != home:
            frame = frame.f_back
        if frame is not None and thread.ident is not None:
            insist.ask(thread.ident, SystemExit)
            thread.join(0.2)
            insist.take_back(thread.ident)


@contextlib.contextmanager
def _exit_replaced(learner: Any) -> Iterator[None]:
    """While learner's code runs, exit() and quit() only raise SystemExit."""

    def leave(code: Any = None) -> None:
        raise SystemExit(code)

    spaces = [vars(builtins), vars(sys.modules["__main__"])]
    if type(learner) is types.FunctionType:
        spaces.append(learner.__globals__)
    kept = [(space, name, space[name]) for space in spaces for name in ("exit", "quit") if name in space]
    try:
        for space, name, _ in kept:
            space[name] = leave
        yield
    finally:
        for space, name, value in kept:
            space[name] = value
