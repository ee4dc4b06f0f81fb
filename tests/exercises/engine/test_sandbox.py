"""A mistake costs a message, never the kernel."""

from __future__ import annotations

import random
import sys
import threading
import time

import numpy as np
import pytest
import torch

from course_lib.exercises.engine.alarm import _warden
from course_lib.exercises.engine.judge import judge
from course_lib.exercises.engine.printed import MOST_CHARACTERS, Printed
from course_lib.exercises.engine.sandbox import run


def scaled_sum(x, factor):
    return factor * x.sum()


def recurse():
    return recurse()


def leave():
    exit()


def leave_the_system():
    sys.exit("bye")


def crash_in_numpy():
    return np.zeros(3).reshape(2, 2)


@pytest.mark.parametrize(
    ("crash", "text"),
    [(recurse, "calls itself"), (leave, "calls exit()"), (leave_the_system, "exit()"), (crash_in_numpy, "ValueError")],
)
def test_a_crash_is_reported_with_the_learners_own_line(crash, text):
    outcome = run(crash, crash, 5)
    line = crash.__code__.co_firstlineno + 1
    assert text in outcome.report
    assert outcome.report.endswith(f", line {line}: {outcome.source}")
    assert outcome.line == line


def test_a_crash_in_a_helper_of_the_learner_is_reported_there():
    outcome = run(lambda: crash_in_numpy(), lambda: None, 5)
    assert outcome.source == "return np.zeros(3).reshape(2, 2)"


def test_a_notebooks_own_exit_is_not_called(example):
    called = []
    space = {"exit": lambda: called.append("kernel stops")}
    exec("def f(x, factor):\n    exit()", space)
    kept = space["exit"]
    assert "it calls exit()" in judge(example(), space["f"]).message
    assert called == []
    assert space["exit"] is kept


def test_the_streams_stay_open_after_exit():
    run(leave, leave, 5)
    assert not sys.stdin.closed
    assert exit.__class__.__name__ == "Quitter"


def test_keyboard_interrupt_passes_through_and_leaves_nothing_behind(example):
    def interrupted():
        raise KeyboardInterrupt

    state = torch.get_rng_state()
    with pytest.raises(KeyboardInterrupt):
        run(interrupted, interrupted, 5)
    assert _warden.watches == []
    assert torch.equal(torch.get_rng_state(), state)
    with pytest.raises(KeyboardInterrupt):
        judge(example(), lambda x, factor: interrupted())


def test_random_states_and_modes_are_put_back(example):
    def vandal():
        torch.manual_seed(0)
        np.random.seed(0)  # noqa: NPY002
        random.seed(0)
        torch.set_grad_enabled(False)
        torch.set_default_dtype(torch.float64)

    before = torch.get_rng_state(), np.random.get_state()[1].tolist(), random.getstate()  # noqa: NPY002
    run(vandal, vandal, 5)
    judge(example(), scaled_sum)
    after = torch.get_rng_state(), np.random.get_state()[1].tolist(), random.getstate()  # noqa: NPY002
    assert torch.equal(before[0], after[0])
    assert before[1:] == after[1:]
    assert torch.is_grad_enabled()
    assert torch.get_default_dtype() == torch.float32


def test_random_answers_meet_the_same_seed_as_the_reference(example):
    noisy = example(reference=lambda x, factor: factor * x.sum() + torch.randn(()))
    assert judge(noisy, lambda x, factor: torch.randn(()) + factor * x.sum())


def test_printed_text_is_capped():
    outcome = run(lambda: print("x" * 5000), None, 5)
    assert outcome.printed.startswith("x" * MOST_CHARACTERS)
    assert outcome.printed.endswith(f"… and {5001 - MOST_CHARACTERS} more characters")


def test_a_stream_that_was_closed_goes_on():
    def closing():
        sys.stdout.close()
        print("still here")

    outcome = run(closing, closing, 5)
    assert outcome.error is None
    assert outcome.printed == "still here\n"
    assert not Printed().closed


def test_streams_that_were_replaced_are_put_back():
    def taking():
        sys.stdout = sys.stderr = None
        sys.stdin = None

    before = sys.stdin, sys.stdout, sys.stderr
    outcome = run(taking, taking, 5)
    assert (sys.stdin, sys.stdout, sys.stderr) == before
    assert "sys.stdin" in outcome.left


def test_an_error_can_print_what_it_is_after_its_stream_was_replaced():
    class Loud(Exception):
        def __str__(self):
            print("asked")
            return "why"

    def replacing():
        sys.stdout = None
        sys.stderr = object()
        raise Loud

    outcome = run(replacing, replacing, 5)
    assert outcome.problem == "Loud: why"
    assert outcome.printed == "asked\n"


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_threads_that_run_on_are_ended():
    def starting():
        def forever():
            while True:
                pass

        thread = threading.Thread(target=forever, name="left behind", daemon=True)
        thread.start()

    run(starting, starting, 5)
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline and any(t.name == "left behind" for t in threading.enumerate()):
        time.sleep(0.02)
    assert not [t for t in threading.enumerate() if t.name == "left behind"]
    assert threading.Thread.start.__qualname__ == "Thread.start"


def test_a_thread_of_somebody_elses_goes_on():
    done = threading.Event()
    thread = threading.Thread(target=done.wait, daemon=True)

    def patient():
        time.sleep(0.05)

    thread.start()
    run(patient, patient, 5)
    assert thread.is_alive()
    done.set()


def test_an_error_does_not_keep_the_learners_frames():
    def crashing():
        raise ValueError("x")

    errors = []

    def call():
        try:
            crashing()
        except ValueError as error:
            errors.append(error)
            raise

    run(call, crashing, 5)
    assert errors[0].__traceback__ is None


def test_a_class_of_error_without_a_text_of_its_own_is_named():
    class Silent(Exception):
        def __str__(self):
            raise RuntimeError

    def crashing():
        raise Silent

    assert run(crashing, crashing, 5).problem == "Silent"


def test_an_answer_that_raises_stop_iteration_is_told_so():
    def empty():
        return next(iter(()))

    outcome = run(empty, empty, 1)
    assert outcome.error is StopIteration
    assert outcome.source == "return next(iter(()))"


def test_a_closed_stream_takes_lines_in_every_way():
    stream = Printed()
    stream.close()
    assert not stream.closed
    stream.writelines(["one\n", "two\n"])
    print("three", file=stream)
    with stream:
        stream.write("four")
    stream.write("five")
    assert stream.text() == "one\ntwo\nthree\nfourfive"
