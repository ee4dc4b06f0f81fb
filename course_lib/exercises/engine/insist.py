"""Raise an exception in this thread at every line and every call, until it has left all handlers.

An exception that is raised once may be swallowed by a bare ``except:``, and the loop around it goes on. From Python
3.12 on, ``sys.monitoring`` calls back at every line, and what the callback raises is raised there.

Python 3.11 has only trace functions, and removes one that raises. So the trace function raises nothing: it leaves the
exception pending, to be raised at the next call or jump back of the traced code. It must be C from end to end, or the
exception would be raised in it: it is PyThreadState_SetAsyncExc itself, which gets the three arguments of a trace
function after its own two, and does not read them.
"""

from __future__ import annotations

import ctypes
import functools
import sys
import threading
from collections.abc import Callable
from types import CodeType, FrameType
from typing import Any

TOOL = 4
"""A tool number of ``sys.monitoring`` that no common debugger or profiler takes."""
DEEPER = 500
"""Calls beyond the recursion limit that the machinery may need while a function calls itself without end."""
_OWN = __file__.rpartition("insist.py")[0]
_pend = ctypes.PYFUNCTYPE(None, ctypes.c_ulong, *[ctypes.py_object] * 4)(
    ("PyThreadState_SetAsyncExc", ctypes.pythonapi)
)


def begin(frame: FrameType, kind: type[BaseException], due: Callable[[FrameType], bool]) -> None:
    """Insist in this thread, in ``frame`` and those around it, wherever ``due`` says so."""
    if hasattr(sys, "monitoring"):
        _monitor(kind, due)
        return
    trace = functools.partial(_pend, threading.get_ident(), kind)
    around: FrameType | None = frame
    while around is not None and not around.f_code.co_filename.startswith(_OWN):
        around.f_trace = trace
        around = around.f_back
    sys.settrace(trace)


def end(tracer: Any) -> None:
    """Insist no more; the trace function that was there before is set again."""
    if hasattr(sys, "monitoring"):
        monitoring: Any = sys.monitoring  # pyright: ignore[reportAttributeAccessIssue]  from Python 3.12 on
        if monitoring.get_tool(TOOL) == __name__:
            monitoring.set_events(TOOL, 0)
            monitoring.free_tool_id(TOOL)
        return
    sys.settrace(tracer)


def make_room() -> None:
    """Let code go a little deeper than the recursion limit says; whoever began puts the limit back."""
    sys.setrecursionlimit(sys.getrecursionlimit() + DEEPER)


def ask(thread: int, kind: type[BaseException]) -> None:
    """Have the interpreter raise ``kind`` in that thread at its next call or jump back."""
    ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(thread), ctypes.py_object(kind))


def take_back(thread: int) -> None:
    """Forget an exception that was asked for and not raised yet."""
    ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(thread), ctypes.py_object())


def _monitor(kind: type[BaseException], due: Callable[[FrameType], bool]) -> None:
    monitoring: Any = sys.monitoring  # pyright: ignore[reportAttributeAccessIssue]  from Python 3.12 on
    if monitoring.get_tool(TOOL) not in (None, __name__):
        return
    if monitoring.get_tool(TOOL) is None:
        monitoring.use_tool_id(TOOL, __name__)

    def strike(code: CodeType, where: int) -> None:
        if due(sys._getframe(1)):
            raise kind

    for event in (monitoring.events.LINE, monitoring.events.PY_START):
        monitoring.register_callback(TOOL, event, strike)
    monitoring.set_events(TOOL, monitoring.events.LINE | monitoring.events.PY_START)
