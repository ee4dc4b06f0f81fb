"""Run a learner's function so that a mistake in it costs a message, never the kernel.

The function runs here, in this process and thread, because it lives here: it was defined in the cell above, uses that
cell's helpers, and cannot be pickled into another process. What is done about what may go wrong:

* **Endless loop.** After the limit, ``TimeLimit`` is raised inside the learner's code, again every 50 ms until it
  stops. It derives from BaseException, so ``except Exception`` does not catch it. On the main thread of Linux and macOS
  a timer signal raises it, which also wakes ``time.sleep`` and ``input``. If a bare ``except:`` swallows it, later
  attempts raise once more on the handler's own line, outside the ``try``. Where there is no such signal (Windows, other
  threads), a watchdog thread asks the interpreter to raise it (PyThreadState_SetAsyncExc): Python code stops, a blocked
  call only when it returns.
* **Crash, deep recursion, exit().** Reported with the learner's own line: the innermost frame that is not a library's.
  ``exit`` is replaced while the code runs, because the notebook's version would stop the kernel without an exception.
* **Random states, gradient mode, default dtype** are put back. What is printed is kept, up to a cap.
* **Ctrl-C** (KeyboardInterrupt) passes through: it is the learner's own.

Not limited: memory, threads and processes that the code starts, time inside one long C call (a huge matmul), a bare
``except:`` nested in another inside an endless loop, ``os._exit`` and crashes of the interpreter itself. After those,
restart the kernel: progress is on disk. This is a seat belt for people who run their own code, not a jail.
"""

from __future__ import annotations

import builtins
import contextlib
import ctypes
import io
import linecache
import random
import signal
import sys
import sysconfig
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any

import numpy as np
import torch

AGAIN_S = 0.05
PRINTED_CHARACTERS = 2000


class TimeLimit(BaseException):
    """Raised inside the learner's code when its time is up."""


@dataclass(frozen=True)
class Outcome:
    """What came of one call: a value or an error, what was printed, the seconds that count.

    ``error`` is None, or the exception's class; ``problem`` then says in words what happened, and ``line`` and
    ``source`` are the learner's own line (0 and "" if the error arose elsewhere).
    """

    value: Any = None
    error: type[BaseException] | None = None
    problem: str = ""
    line: int = 0
    source: str = ""
    printed: str = ""
    seconds: float = 0.0

    @property
    def report(self) -> str:
        """What happened, and in which of the learner's lines."""
        source = f": {self.source}" if self.source else ""
        return self.problem + (f", line {self.line}{source}" if self.line else "")


def run(call: Callable[[], Any], learner: Any, limit_s: float) -> Outcome:
    """Call ``call()``, which calls ``learner``, within ``limit_s`` seconds; never raises except KeyboardInterrupt.

    Args:
        call: a function without arguments.
        learner: the learner's function or class, to find their lines in a traceback.
        limit_s: seconds of CPU time, > 0; time spent waiting counts a quarter.
    """
    printed, error, value = _Capped(), None, None
    clock = _Clock()
    alarm = (_Signal if _signals_work() else _Watchdog)(limit_s, clock)
    with (
        _state_kept(),
        _exit_replaced(learner),
        contextlib.redirect_stdout(printed),
        contextlib.redirect_stderr(printed),
    ):
        try:
            try:
                alarm.start()
                value = call()
            finally:
                alarm.stop()
        except KeyboardInterrupt:
            raise
        except BaseException as caught:
            # A last alarm may have struck inside the finally above.
            alarm.stop()
            error = caught
    seconds = clock.seconds()
    if error is None:
        return Outcome(value, printed=printed.getvalue(), seconds=seconds)
    line, source = _own_line(error, learner)
    # Frames hold the learner's tensors, and the error holds the frames.
    error.__traceback__ = None
    return Outcome(None, type(error), _problem(error), line, source, printed.getvalue(), seconds)


def course(outcome: Outcome, id: str) -> Outcome:
    """The outcome of the course's own code. Raises: RuntimeError: it failed; that is no learner's fault."""
    if outcome.error:
        raise RuntimeError(f"exercise {id} is broken, please report it: {outcome.report}")
    return outcome


def value_of(call: Callable[[], Any], id: str, limit_s: float) -> Any:
    """What the course's own code gives, with random states put back. Raises: RuntimeError: it failed."""
    return course(run(call, None, limit_s), id).value


def _problem(error: BaseException) -> str:
    if isinstance(error, TimeLimit):
        return "still running when its time was up, so it was stopped (an endless loop?)"
    if isinstance(error, SystemExit):
        return "it calls exit(), which would end the notebook's kernel"
    if isinstance(error, RecursionError):
        return "RecursionError: it calls itself without end"
    text = " ".join(str(error).split())
    return type(error).__name__ + (f": {text[:300]}" if text else "")


def _own_line(error: BaseException, learner: Any) -> tuple[int, str]:
    """Line number and text of the innermost frame that is the learner's and no library's."""
    home = getattr(getattr(learner, "__code__", None), "co_filename", None)
    found = (0, "")
    for frame, line in traceback.walk_tb(error.__traceback__):
        name = frame.f_code.co_filename
        source = linecache.getline(name, line).strip()
        if name == home or (source and not _is_library(name)):
            found = (line, source)
    return found


def _is_library(filename: str) -> bool:
    paths = sysconfig.get_paths()
    roots = (paths["stdlib"], paths["purelib"], paths["platlib"], str(Path(__file__).resolve().parents[1]))
    return filename.startswith((*roots, "<"))


class _Clock:
    """CPU seconds of this process since the start, at most those on the wall; waiting counts a quarter.

    A laptop that also trains a network must not make right answers late, and a sleeping one must end all the same.
    """

    def __init__(self) -> None:
        self.wall, self.cpu = time.perf_counter(), time.process_time()

    def seconds(self) -> float:
        wall = time.perf_counter() - self.wall
        return max(min(time.process_time() - self.cpu, wall), wall / 4)


class _Signal:
    """A timer signal that raises TimeLimit in the main thread."""

    def __init__(self, limit_s: float, clock: _Clock):
        self.limit_s, self.clock, self.armed, self.rings = limit_s, clock, False, 0
        self.timer, self.tracer = (0.0, 0.0), sys.gettrace()
        self.handler = signal.getsignal(signal.SIGALRM) or signal.SIG_DFL

    def start(self) -> None:
        signal.signal(signal.SIGALRM, self._ring)
        self.armed = True
        self.timer = signal.setitimer(signal.ITIMER_REAL, self.limit_s, AGAIN_S)

    def stop(self) -> None:
        self.armed = False
        signal.setitimer(signal.ITIMER_REAL, *self.timer)
        signal.signal(signal.SIGALRM, self.handler)
        if self.rings > 2:
            sys.settrace(self.tracer)

    def _ring(self, signum: int, frame: FrameType | None) -> None:
        if not self.armed or self.clock.seconds() < self.limit_s:
            return
        self.rings += 1
        if self.rings > 2:
            # Two were swallowed: raise also at the next line, which is the handler's, outside its try.
            sys.settrace(self._next_line)
            while frame is not None and frame.f_code is not run.__code__:
                frame.f_trace = self._next_line
                frame = frame.f_back
        raise TimeLimit

    def _next_line(self, frame: FrameType, event: str, arg: Any) -> Any:
        if event == "line" and self.armed and frame.f_code.co_filename != __file__:
            raise TimeLimit
        return self._next_line


class _Watchdog:
    """A thread that asks the interpreter to raise TimeLimit in the thread that created it."""

    def __init__(self, limit_s: float, clock: _Clock):
        self.limit_s, self.clock, self.target = limit_s, clock, threading.get_ident()
        self.done, self.lock = threading.Event(), threading.Lock()

    def start(self) -> None:
        threading.Thread(target=self._watch, daemon=True, name="exercise watchdog").start()

    def stop(self) -> None:
        with self.lock:
            self.done.set()
            self._raise(ctypes.py_object())  # NULL takes back one that was not delivered yet

    def _watch(self) -> None:
        wait = self.limit_s
        while not self.done.wait(wait):
            with self.lock:
                if not self.done.is_set() and self.clock.seconds() >= self.limit_s:
                    self._raise(ctypes.py_object(TimeLimit))
            wait = AGAIN_S

    def _raise(self, kind: ctypes.py_object) -> None:
        ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(self.target), kind)


def _signals_work() -> bool:
    return hasattr(signal, "setitimer") and threading.current_thread() is threading.main_thread()


class _Capped(io.StringIO):
    """Keeps the first characters that are printed and counts the rest."""

    dropped = 0

    def write(self, text: str) -> int:
        room = max(0, PRINTED_CHARACTERS - self.tell())
        self.dropped += max(0, len(text) - room)
        super().write(text[:room])
        return len(text)

    def getvalue(self) -> str:
        tail = f"\n… and {self.dropped} more characters" if self.dropped else ""
        return super().getvalue() + tail


@contextlib.contextmanager
def _state_kept() -> Iterator[None]:
    """Put back the random states, gradient mode and default dtype."""
    states = random.getstate(), np.random.get_state(), torch.get_rng_state()  # noqa: NPY002 the learner's may be this one
    grad, dtype = torch.is_grad_enabled(), torch.get_default_dtype()
    try:
        yield
    finally:
        random.setstate(states[0])
        np.random.set_state(states[1])  # noqa: NPY002
        torch.set_rng_state(states[2])
        torch.set_grad_enabled(grad)
        torch.set_default_dtype(dtype)


@contextlib.contextmanager
def _exit_replaced(learner: Any) -> Iterator[None]:
    """While learner's code runs, exit() and quit() only raise SystemExit."""

    def leave(code: Any = None) -> None:
        raise SystemExit(code)

    spaces = [vars(builtins), getattr(learner, "__globals__", {})]
    kept = [(space, name, space[name]) for space in spaces for name in ("exit", "quit") if name in space]
    try:
        for space, name, _ in kept:
            space[name] = leave
        yield
    finally:
        for space, name, value in kept:
            space[name] = value
