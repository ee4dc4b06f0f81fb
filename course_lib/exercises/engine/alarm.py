"""Stop a call that does not end, also one that catches everything.

``Watch`` is put around a call. A warden thread (one for all, gone when idle) beats its clock, and strikes when the
limit is reached, again at each beat until the call is over. A strike raises ``TimeLimit`` in the watched thread:

* in the main thread of Linux and macOS by a signal, which also wakes ``time.sleep`` and ``input``;
* elsewhere (Windows, other threads) by asking the interpreter (PyThreadState_SetAsyncExc): Python code stops, a
  blocked call only when it returns.

``TimeLimit`` derives from BaseException, so ``except Exception`` lets it through. A bare ``except:`` swallows it, and
may stand in a loop, in another one, or in a function that calls itself. Once struck, therefore, it is raised at every
line and every call, so that the handlers are left one by one (``insist``). A strike never hits the lines of this
engine, nor a library that is just being imported: half a module would stay behind, and every later use of it would
fail.
"""

from __future__ import annotations

import contextlib
import signal
import sys
import sysconfig
import threading
import time
from collections.abc import Callable
from pathlib import Path
from types import FrameType

from course_lib.exercises.engine import insist
from course_lib.exercises.engine.clock import BEAT_S, Clock

IDLE_BEATS = 20
"""Beats without a watch after which the warden's thread ends."""
ROOMS = 15
"""Strikes that get room beyond the recursion limit; more would endanger the C stack."""
DEAF = 20
"""Strikes after which every other one tries the second way: the learner's code may have blocked the signal."""
_OWN = frozenset(
    str(Path(__file__).with_name(name)) for name in ("alarm.py", "clock.py", "insist.py", "sandbox.py", "state.py")
)


_PATHS = sysconfig.get_paths()
_LIBRARIES = (_PATHS["stdlib"], _PATHS["purelib"], _PATHS["platlib"], "<frozen ")


class TimeLimit(BaseException):
    """Raised inside the learner's code when its time is up."""


class _Strike(TimeLimit):
    """Insists from its birth, in the thread in which it is raised, and again when a handler has swallowed it."""

    def __init__(self, *args: object):
        super().__init__(*args)
        _insistence.begin(sys._getframe(1))

    def __del__(self) -> None:
        frame = sys._getframe().f_back
        if frame is not None and not _insistence.insists(frame) and due_here(frame):
            _insistence.begin(frame)


def anywhere(frame: FrameType) -> bool:
    """May a strike hit this frame? Yes, unless it is the engine's own."""
    return frame.f_code.co_filename not in _OWN


def importing(frame: FrameType | None) -> bool:
    """True while a library is being imported in this thread, whoever asked for it; False for the learner's own module.

    Seen from the innermost frame: frozen importlib comes before any frame that is not a library's.
    """
    while frame is not None and frame.f_code.co_filename.startswith(_LIBRARIES):
        if frame.f_code.co_filename.startswith("<frozen importlib"):
            return True
        frame = frame.f_back
    return False


class Watch:
    """A limit on what runs between ``start`` and ``stop``, in the thread that makes it.

    Args:
        limit_s: seconds that count, see ``clock``.
        may_hit: tells whether a strike may hit a frame, the innermost one of the thread.
    """

    def __init__(self, limit_s: float, may_hit: Callable[[FrameType], bool] = anywhere):
        self.limit_s, self.may_hit, self.clock = limit_s, may_hit, Clock()
        self.thread, self.strikes = threading.get_ident(), 0
        self.due = self.asked = False
        self.by_signal = hasattr(signal, "pthread_kill") and threading.current_thread() is threading.main_thread()
        self.tracer, self.profiler = sys.gettrace(), sys.getprofile()

    def start(self) -> None:
        """Begin to watch."""
        if self.by_signal:
            self.handler = signal.getsignal(signal.SIGALRM) or signal.SIG_DFL
            signal.signal(signal.SIGALRM, _ring)
        _warden.add(self)

    def stop(self) -> None:
        """End; nothing strikes afterwards, whatever was due."""
        self.due = False
        _warden.remove(self)
        if self.strikes:
            _insistence.end(self.tracer, self.profiler)
        if self.asked:
            insist.take_back(self.thread)
        if self.by_signal and signal.getsignal(signal.SIGALRM) is _ring:
            signal.signal(signal.SIGALRM, self.handler)
        with contextlib.suppress(OSError):  # stopped from another thread, and its own has ended
            self.clock.beat()

    def starved(self) -> bool:
        """True if it struck although the limit was not reached: the machine left the thread no time."""
        return self.strikes > 0 and self.clock.seconds() < self.limit_s

    def beat(self) -> None:
        """Called by the warden: count, and strike if the time is up. Raises: OSError: the thread has ended."""
        self.clock.beat()
        if self.clock.seconds() < self.limit_s and not self.clock.exhausted():
            return
        if _warden.innermost(self.thread) is not self:
            return
        frame = sys._current_frames().get(self.thread)
        if frame is None or importing(frame) or not self.may_hit(frame):
            return
        self.strikes, self.due = self.strikes + 1, True
        if self.strikes <= ROOMS:
            insist.make_room()
        deaf = self.strikes > DEAF and self.strikes % 2
        if self.by_signal and not deaf and signal.getsignal(signal.SIGALRM) is _ring:
            signal.pthread_kill(self.thread, signal.SIGALRM)
        else:
            self.asked = True
            insist.ask(self.thread, _Strike)


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
                for watch in tuple(self.watches):
                    try:
                        watch.beat()
                    except OSError:
                        self.watches.remove(watch)
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
    return watch is not None and watch.may_hit(frame) and not importing(frame)


def _ring(signum: int, frame: FrameType | None) -> None:
    """The signal's handler, in the main thread."""
    if frame is not None and due_here(frame):
        raise _Strike


_insistence = insist.Insistence(_Strike, due_here)
