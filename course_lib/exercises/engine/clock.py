"""How long has a thread worked, how long has it waited, and how long was it not allowed to do either?

A laptop that trains a network beside the notebook, or that slept with its lid closed, must not turn a right answer
into a late one. So three kinds of time are told apart, at beats of 50 ms that another thread gives:

* **worked**: processor time of this thread;
* **waited**: it slept, or waited for a lock, while the beats came on time;
* **stalled**: beats came late (the process was stopped, or got no processor), or the kernel says that the thread was
  ready and not let run (Linux, ``/proc/…/schedstat``).

What counts is worked + waited / 2.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

BEAT_S = 0.05
LATE = 2.0
"""A beat is late if it comes after this many intervals."""
MANY_LATE = 300
"""Late beats (≥ 30 s in all) after which nothing more is expected of this machine."""


class Clock:
    """The times of the thread that makes it, since then.

    Args:
        worked, waited, stalled: seconds of each kind, up to the last beat.
        late: number of late beats.
    """

    def __init__(self) -> None:
        self.worked = self.waited = self.stalled = 0.0
        self.late = 0
        self._cpu, self._held_up = _thread_cpu(), _run_delay()
        self._lock = threading.Lock()
        self._last = time.perf_counter(), self._cpu(), 0.0

    def beat(self) -> None:
        """Account for the time since the last beat."""
        with self._lock:
            wall, cpu, delay = time.perf_counter(), self._cpu(), self._last[2]
            passed, used = wall - self._last[0], max(0.0, cpu - self._last[1])
            idle = max(0.0, passed - used)
            if passed > LATE * BEAT_S:
                held_up, self.late = idle, self.late + (idle > BEAT_S)
            elif passed < BEAT_S / 2:
                held_up = 0.0
            else:
                delay = self._held_up()
                held_up = min(idle, max(0.0, delay - self._last[2])) if self._last[2] else 0.0
            self.worked += min(used, passed)
            self.stalled += held_up
            self.waited += idle - held_up
            self._last = wall, cpu, delay

    def seconds(self) -> float:
        """Seconds that count, up to the last beat."""
        return self.worked + self.waited / 2

    def exhausted(self) -> bool:
        """True if the machine left this thread no time for so long that waiting on makes no sense."""
        return self.late >= MANY_LATE


def _thread_cpu() -> Callable[[], float]:
    """Reads this thread's processor time, from any thread; the process's where the system has none for threads."""
    if not hasattr(time, "pthread_getcpuclockid"):
        return time.process_time
    return partial(time.clock_gettime, time.pthread_getcpuclockid(threading.get_ident()))


def _run_delay() -> Callable[[], float]:
    """Reads how long this thread was ready and not let run, in seconds; 0 where the system does not say."""
    file = Path(f"/proc/self/task/{threading.get_native_id()}/schedstat")

    def read() -> float:
        try:
            return int(file.read_bytes().split()[1]) / 1e9
        except (OSError, ValueError, IndexError):
            return 0.0

    return read
