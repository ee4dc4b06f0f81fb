"""Stop a call that does not end, also one that catches everything.

``Watch`` is put around a call. A warden thread (one for all, gone when idle) beats its clock, and strikes when the
limit is reached, again at each beat until the call is over. A strike raises ``TimeLimit`` in the watched thread:

* in the main thread of Linux and macOS by a signal, which also wakes ``time.sleep`` and ``input``;
* elsewhere (Windows, other threads) by asking the interpreter (PyThreadState_SetAsyncExc): Python code stops, a
  blocked call only when it returns.

``TimeLimit`` derives from BaseException, so ``except Exception`` lets it through. A bare ``except:`` swallows it, and
may stand in a loop, in another one, or in a function that calls itself. From the second strike on, therefore, it is
raised at every line and every call, so that the handlers are left one by one (``insist``). A strike never hits the
lines of this engine.
"""

from __future__ import annotations

import signal
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any

from course_lib.exercises.engine import insist
from course_lib.exercises.engine.clock import BEAT_S, Clock

IDLE_BEATS = 20
"""Beats without a watch after which the warden's thread ends."""
_OWN = frozenset(
    str(Path(__file__).with_name(name)) for name in ("alarm.py", "clock.py", "insist.py", "sandbox.py", "state.py")
)


class TimeLimit(BaseException):
    """Raised inside the learner's code when its time is up."""


def anywhere(frame: FrameType) -> bool:
    """May a strike hit this frame? Yes, unless it is the engine's own."""
    return frame.f_code.co_filename not in _OWN


class Watch:
    """A limit on what runs between ``start`` and ``stop``, in the thread that makes it.

    Args:
        limit_s: seconds that count, see ``clock``.
        may_hit: tells whether a strike may hit a frame, the innermost one of the thread.
    """

    def __init__(self, limit_s: float, may_hit: Callable[[FrameType], bool] = anywhere):
        self.limit_s, self.may_hit, self.clock = limit_s, may_hit, Clock()
        self.thread, self.strikes, self.due = threading.get_ident(), 0, False
        self.by_signal = hasattr(signal, "pthread_kill") and threading.current_thread() is threading.main_thread()
        self.tracer = sys.gettrace()

    def start(self) -> None:
        """Begin to watch."""
        if self.by_signal:
            self.handler = signal.getsignal(signal.SIGALRM) or signal.SIG_DFL
            signal.signal(signal.SIGALRM, _ring)
        _warden.add(self)

    def stop(self) -> None:
        """End; nothing strikes afterwards, whatever was due."""
        _warden.remove(self)
        self.due = False
        if self.strikes:
            insist.end(self.tracer)
            insist.take_back(self.thread)
        if self.by_signal and signal.getsignal(signal.SIGALRM) is _ring:
            signal.signal(signal.SIGALRM, self.handler)
        self.clock.beat()

    def starved(self) -> bool:
        """True if it struck although the limit was not reached: the machine left the thread no time."""
        return self.strikes > 0 and self.clock.seconds() < self.limit_s

    def beat(self) -> None:
        """Called by the warden: count, and strike if the time is up."""
        self.clock.beat()
        if self.clock.seconds() < self.limit_s and not self.clock.exhausted():
            return
        if _warden.innermost(self.thread) is not self:
            return
        frame = sys._current_frames().get(self.thread)
        if frame is None or not self.may_hit(frame):
            return
        self.strikes, self.due = self.strikes + 1, True
        if self.strikes <= 3:
            insist.make_room()
        if self.by_signal and self.strikes % 3 and signal.getsignal(signal.SIGALRM) is _ring:
            signal.pthread_kill(self.thread, signal.SIGALRM)
        else:
            insist.ask(self.thread, TimeLimit if self.strikes == 1 else _Again)


class _Warden:
    """The thread that beats for all watches; the innermost watch of a thread is the last one that was added."""

    def __init__(self) -> None:
        self.lock, self.watches = threading.RLock(), list[Watch]()
        self.thread: threading.Thread | None = None

    def add(self, watch: Watch) -> None:
        with self.lock:
            self.watches.append(watch)
            if self.thread is None or not self.thread.is_alive():
                self.thread = threading.Thread(target=self._beats, name="exercise-warden", daemon=True)
                self.thread.start()

    def remove(self, watch: Watch) -> None:
        with self.lock:
            if watch in self.watches:
                self.watches.remove(watch)

    def _beats(self) -> None:
        idle = 0
        while True:
            time.sleep(BEAT_S)
            with self.lock:
                for watch in self.watches:
                    watch.beat()
                idle = 0 if self.watches else idle + 1
                if idle >= IDLE_BEATS:
                    self.thread = None
                    return

    def innermost(self, thread: int) -> Watch | None:
        return next((watch for watch in reversed(self.watches) if watch.thread == thread), None)

    def due(self, thread: int) -> Watch | None:
        return next((watch for watch in reversed(self.watches) if watch.due and watch.thread == thread), None)


_warden = _Warden()


def due_here(frame: FrameType) -> bool:
    """True if a watch of this thread is due and may hit this frame."""
    watch = _warden.due(threading.get_ident())
    return watch is not None and watch.may_hit(frame)


def _ring(signum: int, frame: FrameType | None) -> None:
    """The signal's handler, in the main thread."""
    watch = _warden.due(threading.get_ident())
    if watch is None or frame is None or not watch.may_hit(frame):
        return
    if watch.strikes > 1:
        insist.begin(frame, TimeLimit, due_here)
    raise TimeLimit


class _Again(TimeLimit):
    """Asked for from the second time on. It is born in the thread it is meant for, and insists there."""

    def __init__(self, *args: Any):
        super().__init__(*args)
        insist.begin(sys._getframe(1), TimeLimit, due_here)
