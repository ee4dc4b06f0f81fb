"""How calls follow one another: it decides what each of them finds, and with it the headline.

A network that is called again at once finds its weights in the caches, its core awake and its clock high. The same
network called after another one finds the other's weights; called 30 times a second, as a camera does, it finds a core
that slept and caches that others filled. All three are true, and a small network loses most on the way. So a latency
without its cadence is half a number. Three cadences have a name here, and the course uses no others in a headline:

* **back to back**: calls of one variant in a row, the first of them dropped: the throughput of one network;
* **in turn**: single calls, the variants alternating: a program that does other work between two calls;
* **30 a second**: one variant at a time, its calls a thirtieth of a second apart, asleep between: a camera.

Every sample is one call, in every cadence and for every variant.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np


@dataclass(frozen=True)
class Cadence:
    """How one round calls one variant.

    Args:
        name: as tables show it.
        calls: timed calls in a row, each one sample, ≥ 1.
        settle: calls before these at the same pace, whose times are dropped, ≥ 0.
        period_s: seconds from the start of one call to the start of the next, ≥ 0; 0: at once.
        finds: what a timed call finds, in words: part of the conditions.
        awake: wait for the next start in a loop, which keeps the core busy, instead of asleep.
        ahead: calls right before each timed one, after the wait, ≥ 0: what warming up in time could win back.
    Raises: ValueError: a number below its least.
    """

    name: str
    calls: int = 1
    settle: int = 0
    period_s: float = 0.0
    finds: str = ""
    awake: bool = False
    ahead: int = 0

    def __post_init__(self) -> None:
        if self.calls < 1 or self.settle < 0 or not self.period_s >= 0 or self.ahead < 0:
            raise ValueError(
                "a cadence needs calls ≥ 1, settle ≥ 0, period_s ≥ 0 and ahead ≥ 0, "
                f"got {self.calls}, {self.settle}, {self.period_s}, {self.ahead}"
            )


IN_TURN = Cadence("in turn", finds="what another variant's call left in the caches")
BACK_TO_BACK = Cadence("back to back", calls=20, settle=3, finds="its own last call's data in the caches, a core awake")
THIRTY_A_SECOND = Cadence(
    "30 a second", calls=5, settle=2, period_s=1 / 30, finds="a core that slept for the rest of 33 ms"
)
CADENCES = (BACK_TO_BACK, IN_TURN, THIRTY_A_SECOND)
"""The three of the course, from the fastest pace to the slowest."""


def timed_calls(function: Callable[[], Any], cadence: Cadence) -> tuple[np.ndarray, int]:
    """Call ``function`` as one round of ``cadence`` says.

    Returns: nanoseconds of each timed call, (calls,), and the processor time that the whole process spent in them,
        in ns: far less than the sum of the first means that the process was waiting or was not let run.

    >>> calls = []
    >>> wall, busy = timed_calls(lambda: calls.append(1), Cadence("five", calls=5, settle=2))
    >>> len(wall), len(calls)
    (5, 7)
    """
    wall, busy = np.empty(cadence.settle + cadence.calls, dtype=np.int64), 0
    start = time.perf_counter_ns()
    for number in range(len(wall)):
        _wait_until(start + round(1e9 * cadence.period_s * number), cadence)
        for _ in range(cadence.ahead):
            function()
        used = time.process_time_ns()
        began = time.perf_counter_ns()
        function()
        wall[number] = time.perf_counter_ns() - began
        busy += time.process_time_ns() - used if number >= cadence.settle else 0
    return wall[cadence.settle :], busy


def _wait_until(moment_ns: int, cadence: Cadence) -> None:
    if not cadence.period_s:
        return
    if not cadence.awake:
        time.sleep(max(0, moment_ns - time.perf_counter_ns()) / 1e9)
    while time.perf_counter_ns() < moment_ns:
        pass
