"""Worked, waited, stalled: only the first two count."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import time

import pytest

from course_lib.exercises.engine import clock as clock_module
from course_lib.exercises.engine import sandbox
from course_lib.exercises.engine.alarm import TimeLimit
from course_lib.exercises.engine.attempt import Budget, Starved
from course_lib.exercises.engine.clock import BEAT_S, MANY_LATE, Clock
from course_lib.exercises.engine.sandbox import Outcome


class Times:
    """A wall clock and a processor clock that a test sets."""

    def __init__(self, monkeypatch):
        self.wall = self.cpu = self.delay = 0.0
        monkeypatch.setattr(clock_module.time, "perf_counter", lambda: self.wall)
        monkeypatch.setattr(clock_module, "_thread_cpu", lambda: lambda: self.cpu)
        monkeypatch.setattr(clock_module, "_run_delay", lambda: lambda: self.delay)

    def pass_by(self, wall, cpu=0.0, delay=0.0):
        self.wall, self.cpu, self.delay = self.wall + wall, self.cpu + cpu, self.delay + delay


@pytest.fixture
def times(monkeypatch):
    return Times(monkeypatch)


@pytest.mark.parametrize(
    ("steps", "worked", "waited", "stalled"),
    [
        ([(BEAT_S, BEAT_S)] * 10, 0.5, 0.0, 0.0),
        ([(BEAT_S, 0.0)] * 10, 0.0, 0.5, 0.0),
        ([(BEAT_S, 0.02)] * 10, 0.2, 0.3, 0.0),
        ([(23.0, 0.0)], 0.0, 0.0, 23.0),
        ([(3.0, 3.0)], 3.0, 0.0, 0.0),
        ([(BEAT_S, 0.0, 0.0)] + [(BEAT_S, 0.01, 0.04)] * 10, 0.1, 0.09, 0.36),
    ],
    ids=["works", "waits", "both", "stopped", "one long call", "not let run"],
)
def test_three_kinds_of_time_are_told_apart(times, steps, worked, waited, stalled):
    clock = Clock()
    for step in steps:
        times.pass_by(*step)
        clock.beat()
    assert (clock.worked, clock.waited, clock.stalled) == pytest.approx((worked, waited, stalled))
    assert clock.seconds() == pytest.approx(worked + waited / 2)


def test_a_stop_is_one_late_beat_and_a_starved_machine_has_many(times):
    clock = Clock()
    times.pass_by(3600)
    clock.beat()
    assert clock.late == 1
    for _ in range(MANY_LATE):
        times.pass_by(0.2)
        clock.beat()
    assert clock.exhausted()
    assert clock.seconds() == 0


def test_the_processor_time_is_this_threads_own():
    clock, start = Clock(), time.thread_time()
    while time.thread_time() - start < 0.1:
        pass
    clock.beat()
    assert clock.worked >= 0.09


def test_a_starved_call_is_told_from_one_that_takes_too_long(monkeypatch):
    def outcome(starved):
        return lambda *a: Outcome(error=TimeLimit, starved=starved)

    monkeypatch.setattr(sandbox, "run", outcome(True))
    with pytest.raises(Starved):
        Budget(1.0).run(int, None)
    monkeypatch.setattr(sandbox, "run", outcome(False))
    assert Budget(1.0).run(int, None).error is TimeLimit


@pytest.mark.skipif(not hasattr(signal, "SIGSTOP"), reason="Windows cannot stop a process")
def test_a_process_that_was_stopped_does_not_turn_right_into_wrong():
    code = """
        import time
        from course_lib.exercises.engine.sandbox import run

        def slow():
            print("begun", flush=True)
            start = time.thread_time()
            while time.thread_time() - start < 0.3:
                pass
            return 1

        print("ready", flush=True)
        import sys
        out = sys.stdout

        def loud():
            out.write("begun\\n")
            out.flush()
            return slow()

        outcome = run(loud, loud, 0.6)
        print(outcome.value, outcome.problem, flush=True)
    """
    child = subprocess.Popen([sys.executable, "-c", textwrap.dedent(code)], stdout=subprocess.PIPE, text=True)
    assert child.stdout is not None
    assert child.stdout.readline() == "ready\n"
    assert child.stdout.readline() == "begun\n"
    os.kill(child.pid, signal.SIGSTOP)
    time.sleep(3)
    os.kill(child.pid, signal.SIGCONT)
    assert child.stdout.read().split() == ["1"]
    child.wait()
