"""Raise an exception in this thread again and again, at every line and every call, until it has left all handlers.

An exception that is raised once may be swallowed by a bare ``except:``, and the loop around it goes on. A trace
function that raises is removed by Python, so it catches one more handler only. Two things set it again:

* a profile function, which never raises, at the next call or return: a function that the exception leaves returns,
  a handler that goes on calls something;
* the exception itself, when it has been swallowed and is dropped: the next line raises.

What remains (a handler that keeps the exception and calls nothing) waits for the next strike.

Only documented hooks are used in the main thread of Linux and macOS.
"""

from __future__ import annotations

import contextlib
import ctypes
import sys
import threading
from collections.abc import Callable
from types import FrameType
from typing import Any

DEEPER = 100
"""Calls beyond the recursion limit that a strike may need while a function calls itself without end."""
Trace = Callable[[FrameType, str, Any], Any]
_OWN = __file__.rpartition("insist.py")[0]


class Insistence:
    """Raises ``strike()`` at every line and call of the thread in which ``begin`` was called, wherever ``due`` says so.

    Args:
        strike: makes the exception.
        due: tells whether it may be raised in this frame, now.
    """

    def __init__(self, strike: Callable[[], BaseException], due: Callable[[FrameType], bool]):
        def trace(frame: FrameType, event: str, _: Any) -> Trace:
            if event in ("call", "line") and due(frame):
                raise strike()
            return trace

        def profile(frame: FrameType, event: str, _: Any) -> None:
            if sys.gettrace() is not trace and due(frame):
                self._trace_from(frame)

        # Kept for good: the interpreter must never hold one that is gone.
        self.trace, self.profile = trace, profile

    def begin(self, frame: FrameType | None) -> None:
        """Insist in this thread, in ``frame`` and those around it."""
        while frame is not None and frame.f_code.co_filename.startswith(_OWN):
            frame = frame.f_back
        self._trace_from(frame)
        if sys.getprofile() is not self.profile:
            sys.setprofile(self.profile)

    def insists(self, frame: FrameType) -> bool:
        """True if the next line of this frame, of this thread, raises already."""
        return sys.gettrace() is self.trace and frame.f_trace is self.trace

    def end(self, tracer: Any, profiler: Any) -> None:
        """Insist no more in this thread; set again what was there before."""
        sys.settrace(tracer)
        if sys.getprofile() is self.profile:
            set_profiler(profiler)

    def _trace_from(self, frame: FrameType | None) -> None:
        innermost = frame
        while frame is not None and not frame.f_code.co_filename.startswith(_OWN):
            if frame is not innermost and frame.f_trace is self.trace:  # and those around it, from an earlier strike
                break
            frame.f_trace = self.trace
            frame = frame.f_back
        if sys.gettrace() is not self.trace:
            sys.settrace(self.trace)


def set_profiler(profiler: Any) -> None:
    """``sys.setprofile`` with what ``sys.getprofile`` gave; cProfile's own hook is no function, and must start anew."""
    sys.setprofile(profiler if callable(profiler) else None)


def make_room() -> None:
    """Let code go a little deeper than the recursion limit says; whoever began puts the limit back."""
    sys.setrecursionlimit(sys.getrecursionlimit() + DEEPER)


def ask(thread: int, kind: type[BaseException]) -> None:
    """Have the interpreter raise ``kind`` in that thread at its next call or jump back."""
    ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(thread), ctypes.py_object(kind))


def take_back(thread: int) -> None:
    """Forget an exception that was asked for and not raised yet.

    Forgotten alone, it leaves Python 3.11's eval loop believing that one is still to come, in whatever thread: every
    thread becomes slower, and one that is traced or profiled hangs. Only an exception that is raised clears the mark,
    so one is raised here.
    """
    ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(thread), ctypes.py_object())
    with contextlib.suppress(_Nothing):
        ask(threading.get_ident(), _Nothing)
        for _ in range(10):
            pass


class _Nothing(BaseException):
    """Raised and caught by ``take_back``."""
