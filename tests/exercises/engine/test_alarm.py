"""What does not end is stopped: in the main thread and in others, whatever it catches."""

# ruff: noqa: B012, E722, SIM105 these handlers are the traps under test

from __future__ import annotations

import contextlib
import importlib
import signal
import subprocess
import sys
import threading
import time

import pytest

from course_lib.exercises.engine import alarm, insist
from course_lib.exercises.engine.alarm import TimeLimit
from course_lib.exercises.engine.sandbox import run


def loop_forever():
    while True:
        pass


def loop_catching_exceptions():
    while True:
        try:
            raise ValueError
        except Exception:
            continue


def loop_catching_everything():
    while True:
        try:
            for _ in range(10**9):
                pass
        except:
            pass


def loop_inside_a_handler():
    try:
        while True:
            pass
    except Exception:
        return "swallowed"


def loop_in_a_loop_catching_everything():
    while True:
        try:
            while True:
                try:
                    while True:
                        try:
                            time.sleep(0.001)
                        except:
                            pass
                except:
                    pass
        except:
            pass


def recursion_catching_everything():
    try:
        recursion_catching_everything()
    except:
        recursion_catching_everything()


def recursion_in_a_loop():
    def step():
        try:
            step()
        except:
            pass
        step()

    while True:
        try:
            step()
        except:
            pass


kept = []


def loop_that_keeps_the_errors():
    while True:
        try:
            sum(i for i in range(1000))
        except BaseException as error:
            kept.append(error)


def loop_with_finally():
    while True:
        try:
            time.sleep(0)
        finally:
            continue


def loop_suppressing_everything():
    while True:
        with contextlib.suppress(BaseException):
            while True:
                with contextlib.suppress(BaseException):
                    [i for i in range(50)]


def generator_catching_everything():
    def numbers():
        while True:
            try:
                yield 1
            except:
                pass

    for _ in numbers():
        pass


def sleep_long():
    time.sleep(60)


ENDLESS = [
    loop_forever,
    loop_catching_exceptions,
    loop_catching_everything,
    loop_inside_a_handler,
    loop_in_a_loop_catching_everything,
    recursion_catching_everything,
    recursion_in_a_loop,
    loop_that_keeps_the_errors,
    loop_with_finally,
    loop_suppressing_everything,
    generator_catching_everything,
]


@pytest.mark.parametrize("endless", [*ENDLESS, sleep_long])
def test_endless_code_is_stopped_in_time_and_its_line_is_known(endless):
    start = time.thread_time()
    outcome = run(endless, endless, 0.2)
    first = endless.__code__.co_firstlineno
    assert outcome.error is TimeLimit
    assert outcome.seconds >= 0.2
    assert time.thread_time() - start < 6
    assert first <= outcome.line <= first + 15
    assert outcome.source
    assert outcome.source in outcome.report
    assert sys.exc_info() == (None, None, None)


@pytest.mark.parametrize("endless", ENDLESS)
def test_endless_code_is_stopped_where_no_signal_can_reach(endless):
    found = []
    thread = threading.Thread(target=lambda: found.append(run(endless, endless, 0.2)), daemon=True)
    thread.start()
    thread.join(60)
    assert found[0].error is TimeLimit
    assert found[0].source


def test_the_second_way_also_serves_the_main_thread(monkeypatch):
    monkeypatch.delattr(signal, "pthread_kill")
    assert run(loop_forever, loop_forever, 0.2).error is TimeLimit
    assert run(loop_in_a_loop_catching_everything, None, 0.2).error is TimeLimit


def test_a_learner_who_takes_the_signal_away_is_stopped_all_the_same():
    def deaf():
        signal.signal(signal.SIGALRM, signal.SIG_IGN)
        while True:
            pass

    assert run(deaf, deaf, 0.2).error is TimeLimit


def test_a_signal_that_is_blocked_costs_twenty_strikes_and_no_more(monkeypatch):
    def deaf():
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGALRM})
        while True:
            pass

    watches, start = list[alarm.Watch](), alarm.Watch.start
    monkeypatch.setattr(alarm.Watch, "start", lambda watch: (watches.append(watch), start(watch))[1])
    assert run(deaf, deaf, 0.2).error is TimeLimit
    assert signal.SIGALRM not in signal.pthread_sigmask(signal.SIG_BLOCK, ())
    assert alarm.DEAF < watches[0].strikes < 60


def test_handlers_that_keep_the_error_and_call_nothing_wait_for_the_next_strike():
    one = two = None
    turns = range(3 * 10**8)  # a loop that calls nothing, and ends where it should have been stopped

    def keeping():
        nonlocal one, two
        for _ in turns:
            try:
                for _ in turns:
                    try:
                        for _ in turns:
                            pass
                        return "ran on"
                    except BaseException as error:
                        one = error
            except BaseException as error:
                two = error

    assert run(keeping, keeping, 0.2).error is TimeLimit
    assert one is None or isinstance(one, TimeLimit)
    assert isinstance(two, TimeLimit)


def test_an_alarm_never_strikes_after_the_call():
    for _ in range(300):
        assert run(lambda: sum(range(10_000)), None, 0.0002).error in (None, TimeLimit)
    for _ in range(30):
        assert run(lambda: time.sleep(0.05), None, 0.02).error in (None, TimeLimit)
    time.sleep(0.2)


def test_the_callers_alarm_and_tracer_are_put_back():
    handler, tracer = signal.getsignal(signal.SIGALRM), sys.gettrace()
    assert run(loop_in_a_loop_catching_everything, None, 0.1).error is TimeLimit
    assert signal.getsignal(signal.SIGALRM) is handler
    assert sys.gettrace() is tracer


def test_a_watched_thread_that_has_ended_does_not_keep_the_others_from_being_stopped():
    def leave_a_watch():
        alarm.Watch(0.1).start()

    thread = threading.Thread(target=leave_a_watch)
    thread.start()
    thread.join()
    assert run(loop_forever, None, 0.3).error is TimeLimit
    assert alarm._warden.watches == []


def test_what_traced_and_profiled_before_the_strike_goes_on_after_it():
    def tracer(*arguments):
        return None

    def profiler(*arguments):
        return None

    insistence = insist.Insistence(TimeLimit, lambda frame: False)
    insistence.begin(None)
    insistence.end(tracer, profiler)
    found = sys.gettrace(), sys.getprofile()
    sys.settrace(None)
    sys.setprofile(None)
    assert found == (tracer, profiler)


AFTERWARDS = """
import sys, threading
from course_lib.exercises.engine.alarm import TimeLimit
from course_lib.exercises.engine.sandbox import run

def endless():
    while True:
        pass

found = []
thread = threading.Thread(target=lambda: found.append(run(endless, endless, 0.1).error))
thread.start()
thread.join()
assert found == [TimeLimit], found
seen = []
sys.settrace(lambda frame, event, argument: seen.append(event))
(lambda: None)()
sys.settrace(None)
assert seen, "nothing was traced"
"""
PROFILED = """
import cProfile
from course_lib.exercises.engine.alarm import TimeLimit
from course_lib.exercises.engine.sandbox import run

def recursive():
    try:
        recursive()
    except:
        recursive()

profile = cProfile.Profile()
profile.enable()
assert run(recursive, recursive, 0.1).error is TimeLimit
profile.disable()
"""


@pytest.mark.parametrize("program", [AFTERWARDS, PROFILED])
def test_tracing_and_profiling_go_on(program):
    """Python 3.11 hangs in a traced thread if an exception that was asked for is only forgotten."""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr


def test_the_warden_goes_when_nobody_needs_it():
    run(int, None, 1)
    deadline = time.monotonic() + 20
    while alarm._warden.thread is not None and time.monotonic() < deadline:
        time.sleep(0.05)
    assert alarm._warden.thread is None
    assert alarm._warden.watches == []
    assert run(loop_forever, None, 0.1).error is TimeLimit


def test_a_watch_puts_the_alarm_s_handler_back_itself():
    handler, watch = signal.getsignal(signal.SIGALRM), alarm.Watch(5)
    try:
        watch.start()
        assert signal.getsignal(signal.SIGALRM) is alarm._ring
    finally:
        watch.stop()
    found = signal.getsignal(signal.SIGALRM)
    signal.signal(signal.SIGALRM, handler)
    assert found is handler


def test_the_first_strikes_get_room_beyond_the_recursion_limit(monkeypatch):
    rooms = []
    monkeypatch.setattr(insist, "make_room", lambda: rooms.append(sys.getrecursionlimit()))
    assert run(loop_catching_everything, loop_catching_everything, 0.2).error is TimeLimit
    assert 1 <= len(rooms) <= alarm.ROOMS


def test_a_library_that_is_just_being_imported_is_known_and_a_learner_s_own_module_is_not(tmp_path, monkeypatch):
    source = (
        "import sys\nfrom course_lib.exercises.engine import alarm\n"
        "def deeper():\n    return alarm.importing(sys._getframe())\nfound = deeper()\n"
    )
    for name in ("slow_library", "own_module"):
        (tmp_path / name).mkdir()
        (tmp_path / name / f"{name}.py").write_text(source, encoding="utf-8")
        monkeypatch.syspath_prepend(tmp_path / name)
        monkeypatch.delitem(sys.modules, name, raising=False)
    monkeypatch.setattr(alarm, "_LIBRARIES", (str(tmp_path / "slow_library"), *alarm._LIBRARIES))
    assert importlib.import_module("slow_library").found
    assert not importlib.import_module("own_module").found
    assert not alarm.importing(sys._getframe())


def test_what_a_thread_was_asked_for_and_has_not_met_is_taken_back():
    asleep, go_on, met = threading.Event(), threading.Event(), []

    def work():
        try:
            asleep.set()
            go_on.wait(10)  # in C: nothing that is asked for arrives
            for _ in range(1000):
                pass
        except ValueError:
            met.append("it")

    thread = threading.Thread(target=work)
    thread.start()
    assert asleep.wait(10)
    insist.ask(thread.ident, ValueError)
    insist.take_back(thread.ident)
    go_on.set()
    thread.join(10)
    assert not met
