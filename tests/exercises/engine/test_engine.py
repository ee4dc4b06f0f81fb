"""The exercise engine: what counts as an answer, how it is judged, what it may not break, what is remembered."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import textwrap
import threading
import time

import numpy as np
import pytest
import scipy.stats
import torch
from torch import nn

from course_lib import exercises
from course_lib.exercises import Exercise, Mistake, check, difference, exactly, hint, progress, solution
from course_lib.exercises import __main__ as command
from course_lib.exercises.engine import exercise as registry
from course_lib.exercises.engine import judge as judge_module
from course_lib.exercises.engine import sandbox
from course_lib.exercises.engine.display import Verdict
from course_lib.exercises.engine.judge import judge
from course_lib.exercises.engine.proof import CLAIMS, prove
from course_lib.exercises.engine.sandbox import PRINTED_CHARACTERS, TimeLimit, run
from course_lib.exercises.engine.stub import untouched


@pytest.fixture(autouse=True)
def record(monkeypatch, tmp_path):
    path = tmp_path / "progress.json"
    monkeypatch.setenv("COURSE_PROGRESS", str(path))
    return path


def scaled_sum(x, factor):
    """factor · Σ x."""
    return factor * x.sum()


def example(**changes) -> Exercise:
    """A small exercise, with some fields changed."""
    fields = {
        "id": "99.1",
        "title": "Scaled sum",
        "points": 2,
        "reference": scaled_sum,
        "examples": [(torch.tensor([1.0, 2.0]), 3.0)],
        "inputs": lambda rng: (torch.randn(4), float(rng.uniform(2, 3))),
        "hints": ["Sum first.", "Then multiply."],
        "mistakes": [
            Mistake(lambda x, factor: x.sum(), "You forgot the factor."),
            Mistake(lambda x, factor: factor * x.mean(), "That is the mean."),
            Mistake(lambda x, factor: x.no_such_method(), "Tensors have no such method."),
        ],
        "alternatives": [lambda x, factor: sum(float(v) for v in x) * factor],
    }
    return Exercise(**{**fields, **changes})


def value_example(**changes) -> Exercise:
    fields = {
        "reference": lambda: 0.25,
        "inputs": None,
        "examples": (),
        "mistakes": [
            Mistake(4.0, "Upside down."),
            Mistake(0.5, "INT8 has 8 of 32 bits, not 16."),
            Mistake(25, "A fraction, not percent."),
        ],
        "alternatives": [torch.tensor(0.25)],
    }
    return example(**{**fields, **changes})


# --- results -------------------------------------------------------------------------------------------------------

SAME = {
    "float and tensor": (1.5, torch.tensor(1.5)),
    "float32 rounding": (1 / 3, np.float32(1 / 3)),
    "small beside large": (np.array([1e3, 0.0]), np.array([1e3, 1e-3])),
    "rounding error around zero": (torch.zeros(3), torch.full((3,), 5e-8)),
    "tensor and list": (torch.tensor([1.0, 2.0]), [1.0, 2.0]),
    "list of tensors": (torch.tensor([1.0, 2.0]), [torch.tensor(1.0), 2]),
    "tuple and list": ((1, 2.0), [1, 2.0]),
    "tuple and array": ((1.0, 2.0), np.array([1.0, 2.0])),
    "nan and infinity": (np.array([np.nan, np.inf]), np.array([np.nan, np.inf])),
    "dict": ({"a": torch.ones(2), "b": 1}, {"b": 1, "a": np.ones(2)}),
    "text": ("Conv", " conv "),
    "None": (None, None),
    "integer as float": (7, 7.0),
    "bool": (True, torch.tensor(True)),
    "bfloat16": (torch.ones(2, dtype=torch.bfloat16), torch.ones(2)),
    "needs gradient": (torch.ones(2), torch.ones(2, requires_grad=True)),
    "empty": (torch.zeros(0), np.zeros(0)),
    "slice": (slice(1, 2), slice(1, 2)),
}
DIFFERENT = {
    "float": (1.0, 1.001, "got 1.001"),
    "large integer, off by one": (1_000_000_000, 1_000_000_001, "expected 1000000000"),
    "shape": (torch.ones(2, 3), torch.ones(3, 2), "expected shape (2, 3), got shape (3, 2)"),
    "scalar and vector": (1.0, torch.ones(1), "shape"),
    "number of values": ((1, 2), (1, 2, 3), "expected 2 values, got 3 values"),
    "one value of a tuple": ((1.0, 2.0), (1.0, 3.0), "value 2 of 2"),
    "keys": ({"a": 1}, {"b": 1}, "keys ['a']"),
    "value of a key": ({"a": 1}, {"a": 2}, "'a': expected 1, got 2"),
    "nan": (np.array([1.0]), np.array([np.nan]), "nan"),
    "sign of infinity": (np.inf, -np.inf, "-inf"),
    "None": (torch.ones(2), None, "got None"),
    "text for a number": (1.0, "1.0", "expected"),
    "number for a text": ("a", 1, "expected 'a'"),
    "one of many": (torch.zeros(4, 4), torch.eye(4), "4 of 16 elements differ; at [0, 0]"),
    "small at zero": (torch.zeros(3), torch.full((3,), 1e-5), "e-05"),
    "ragged": (torch.ones(2), [[1.0], [1.0, 2.0]], "expected"),
    "complex objects": (slice(1, 2), slice(1, 3), "slice(1, 3, None)"),
}


@pytest.mark.parametrize(("expected", "got"), SAME.values(), ids=SAME.keys())
def test_equal_results_in_other_containers_are_accepted(expected, got):
    assert difference(expected, got) is None


@pytest.mark.parametrize(("expected", "got", "text"), DIFFERENT.values(), ids=DIFFERENT.keys())
def test_a_difference_is_described(expected, got, text):
    assert text in difference(expected, got)


def test_exactly_demands_dtype_and_bits():
    codes = torch.tensor([1, 2], dtype=torch.uint8)
    assert exactly(codes, codes.clone()) is None
    assert "dtype torch.uint8, got torch.int64" in exactly(codes, codes.long())
    assert "dtype" in exactly((codes, 1), ([1, 2], 1))
    assert exactly(torch.ones(2), torch.ones(2) + 1e-6)


def test_modules_are_compared_by_structure_and_weights():
    one = nn.Linear(2, 2)
    other = nn.Linear(2, 2)
    other.load_state_dict(one.state_dict())
    assert difference(one, other) is None
    other.weight.data[0, 0] += 1
    assert "'weight'" in difference(one, other)
    assert "'layers'" in difference(nn.Sequential(nn.ReLU()), nn.Sequential(nn.ELU()))


# --- stubs ---------------------------------------------------------------------------------------------------------

STUB_BODIES = [
    "...",
    "pass",
    '"""Say."""',
    '"""Say."""\n    ...',
    '"""Say."""\n    # about two lines\n    pass\n    ...',
    "return",
    "return None",
    '"""Say."""\n    return ...',
    "raise NotImplementedError",
    "raise NotImplementedError()",
    '"""Say."""\n    raise NotImplementedError("Your turn.")',
]
ATTEMPTS = [
    "return 0",
    "return x",
    "return False",
    "x",
    "print(x)",
    'raise ValueError("no")',
    "y = 1",
    "return []",
    "return ''",
]


@pytest.mark.parametrize("body", STUB_BODIES)
def test_a_stub_is_recognised_without_its_source(body):
    space = {}
    exec(f"def f(x, *, bits=8):\n    {body}", space)
    assert untouched(space["f"])
    assert not judge(example(), space["f"])
    assert judge(example(), space["f"]).state == "not attempted"


@pytest.mark.parametrize("body", ATTEMPTS)
def test_a_wrong_attempt_is_not_taken_for_a_stub(body):
    space = {}
    exec(f"def f(x, factor):\n    {body}", space)
    assert not untouched(space["f"])
    assert judge(example(), space["f"]).state == "wrong"


def test_stubs_of_other_kinds_are_recognised():
    assert untouched(None)
    assert untouched(...)
    assert untouched(torch.no_grad()(lambda x: ...))
    assert not untouched(len)
    assert not untouched(0)


def test_a_half_written_stub_counts_as_not_attempted():
    def placeholder(x, factor):
        total = ...
        return total

    def given_lines(x, factor):
        total = x.sum()
        raise NotImplementedError(f"multiply {total}")

    assert judge(example(), placeholder).state == "not attempted"
    assert judge(example(), given_lines).state == "not attempted"


def test_a_library_s_not_implemented_error_is_a_crash():
    def unsupported(x, factor):
        return torch.empty(2, device="meta").item()

    assert judge(example(), unsupported).state == "wrong"


# --- verdicts ------------------------------------------------------------------------------------------------------


def test_a_right_answer_earns_the_points_and_is_true():
    verdict = judge(example(), lambda x, factor: (x * factor).sum())
    assert verdict
    assert verdict.points == 2
    assert repr(verdict) == "✓ 99.1 Scaled sum: right\n  2 of 2 points."


def test_an_answer_like_a_planted_mistake_gets_its_message_and_the_numbers():
    verdict = judge(example(), lambda x, factor: float(np.asarray(x).sum()))
    assert verdict.message == "You forgot the factor.\nWith x=tensor([1., 2.]), factor=3: expected 9, got 3."
    assert not verdict


def test_an_unforeseen_wrong_answer_gets_the_failing_input():
    verdict = judge(example(), lambda x, factor: factor * x.max())
    assert verdict.message == "With x=tensor([1., 2.]), factor=3: expected 9, got 6."


def test_an_answer_is_not_blamed_for_a_mistake_it_shares_with_some_inputs_only():
    def factor_forgotten_below(x, factor):
        return x.sum() if len(x) == 2 else 7.0

    assert "forgot" not in judge(example(), factor_forgotten_below).message


def test_of_several_mistakes_in_one_result_the_first_wrong_value_is_explained():
    pair = example(
        reference=lambda x, factor: (x.min(), x.max(), x.sum()),
        mistakes=[
            Mistake(lambda x, factor: (x.max(), x.min(), x.sum()), "Swapped."),
            Mistake(lambda x, factor: (x.min(), x.abs().max(), x.sum()), "The largest, not the largest size."),
            Mistake(lambda x, factor: (x.min(), x.max(), x.mean()), "The sum, not the mean."),
        ],
        alternatives=[lambda x, factor: [x.sort().values[0], x.sort().values[-1], x.sum()]],
        examples=[(torch.tensor([1.0, -2.0]), 3.0)],
    )
    assert [wrong for _, wrong in prove(pair) if wrong] == []
    message = judge(pair, lambda x, factor: (x.min(), x.abs().max(), x.prod())).message
    assert message.startswith("The largest, not the largest size.\n")
    assert "value 2 of 3: expected 1, got 2" in message
    assert judge(pair, lambda x, factor: (x.min(), x.max(), x.prod())).message.startswith("With x=")


def test_a_crash_like_a_planted_one_gets_its_message_and_the_line():
    def crash(x, factor):
        return x.no_such_method()

    message = judge(example(), crash).message
    assert message.startswith("Tensors have no such method.\n")
    assert "AttributeError" in message
    assert "return x.no_such_method()" in message
    assert judge(example(), lambda x, factor: x.another_method()).message.startswith("With x=")


def test_a_hard_coded_answer_fails_because_inputs_are_fresh():
    seen = []

    def memory(x, factor):
        seen.append(x.clone())
        return scaled_sum(x, factor)

    assert judge(example(), memory)
    first = {tuple(x.tolist()) for x in seen[1:]}
    assert judge(example(), memory)
    assert len({tuple(x.tolist()) for x in seen[1:]}) == 2 * len(first) + 1
    table = {tuple(x.tolist()): 9.0 for x in seen}
    assert not judge(example(), lambda x, factor: table.get(tuple(x.tolist()), 0.0))


def test_a_function_that_changes_its_argument_is_told_which():
    def careless(x, factor):
        x *= factor
        return x.sum()

    message = judge(example(), careless).message
    assert "changes its argument x: it was tensor([1., 2.]), and is tensor([3., 6.])" in message


def test_arguments_reach_the_caller_unchanged():
    fixed = torch.tensor([1.0, 2.0])
    judge(example(examples=[(fixed, 3.0)]), lambda x, factor: x.zero_().sum())
    assert fixed.tolist() == [1.0, 2.0]


def test_arguments_without_an_equality_of_their_own_are_not_taken_for_changed():
    class Set:
        def __init__(self, x):
            self.x = x

    wrapped = example(
        reference=lambda data: data.x.sum(),
        examples=(),
        inputs=lambda rng: {"data": Set(torch.randn(3))},
        mistakes=[Mistake(lambda data, f=f: f(data.x), f"{f}") for f in (torch.min, torch.max, torch.mean)],
        alternatives=[lambda data: sum(data.x)],
    )
    assert judge(wrapped, lambda data: data.x.sum())
    assert "changes its argument data" in judge(wrapped, lambda data: data.x.sub_(1).sum() + 3).message


def test_in_place_exercises_compare_the_arguments_after_the_call():
    def mask_(model, share):
        model.weight.data[: int(share * 4)] = 0

    def forgets(model, share):
        model.weight.data.clone()[: int(share * 4)] = 0

    masked = example(
        reference=mask_,
        in_place=True,
        examples=(),
        inputs=lambda rng: (nn.Linear(3, 4), 0.5),
        mistakes=[
            Mistake(forgets, "You masked a copy."),
            Mistake(lambda model, share: [model.weight.data.zero_(), None][1], "You masked everything."),
            Mistake(lambda model, share: [model.weight.data[:1].zero_(), None][1], "You masked one row."),
        ],
        alternatives=[lambda model, share: [row.zero_() for row in model.weight.data[: int(share * 4)]] and None],
    )
    assert [text for _, text in prove(masked) if text] == []
    assert judge(masked, mask_)
    message = judge(masked, forgets).message
    assert message.startswith("You masked a copy.")
    assert "the arguments after the call: value 1 of 2: 'weight'" in message


def test_several_right_results_are_judged_by_properties():
    def sums_to_factor(fn, x, factor):
        total = fn(x, factor).sum()
        return None if abs(total - factor) < 1e-4 else f"the parts must add up to {factor:.3g}, yours to {total:.3g}"

    # A chapter's own lines are no learner's lines: as if the property stood in a chapter.
    chapter_file = sums_to_factor.__code__.replace(co_filename=registry.__file__)
    sums_to_factor.__code__ = chapter_file
    parts = example(compare=None, properties=[sums_to_factor], reference=lambda x, factor: x.softmax(0) * factor)
    assert judge(parts, lambda x, factor: torch.full_like(x, factor / len(x)))
    assert judge(parts, lambda x, factor: x.exp()).message.endswith("must add up to 3, yours to 10.1.")
    assert "cannot be judged (AttributeError" in judge(parts, lambda x, factor: "three").message
    assert "ZeroDivisionError" in judge(parts, lambda x, factor: 1 / 0).message


def test_a_property_that_loops_in_the_learners_code_is_stopped():
    calls = []

    def second_call_loops(x, factor):
        calls.append(1)
        while len(calls) > 6:
            pass
        return x.sum() * factor

    twice = example(properties=[lambda fn, x, factor: None if fn(x, factor) == fn(x, factor) else "not repeatable"])
    message = judge(twice, second_call_loops, time_limit_s=0.2).message
    assert "still running" in message
    assert "while len(calls) > 6:" in message


def test_arguments_can_go_by_name_and_outcomes_can_be_derived():
    def gradient(fn, x, factor):
        x = x.clone().requires_grad_()
        return torch.autograd.grad(fn(x=x, factor=factor).sum(), x)[0]

    derived = example(
        outcome=gradient, examples=(), inputs=lambda rng: {"x": torch.randn(3), "factor": float(rng.uniform(2, 3))}
    )
    assert judge(derived, lambda *, factor, x: (x * factor).sum())
    assert judge(derived, lambda x, factor: x.sum()).message.startswith("You forgot the factor.")
    assert "RuntimeError" in judge(derived, lambda x, factor: x.detach() * factor).message


def test_a_class_can_be_an_answer():
    class Scaled:
        def __init__(self, factor):
            self.factor = factor

        def __call__(self, x):
            return self.factor * x.sum()

    class Stub:
        def __init__(self, factor):
            raise NotImplementedError("Your turn.")

    class Broken(Scaled):
        def __call__(self, x):
            return self.factr * x.sum()

    built = example(
        reference=Scaled, outcome=lambda kind, x, factor: kind(factor)(x), alternatives=[type("Other", (Scaled,), {})]
    )
    assert judge(built, Scaled)
    assert judge(built, Stub).state == "not attempted"
    assert "return self.factr * x.sum()" in judge(built, Broken).message


def test_an_answer_that_cannot_be_called_so_is_told_the_arguments():
    message = judge(example(), lambda x: x.sum()).message
    assert "your function must accept (x, factor), and accepts (x): too many positional arguments" in message


def test_the_result_instead_of_the_function_is_recognised():
    assert "asks for the function itself" in judge(example(), 9.0).message
    assert "asks for a value" in judge(value_example(), lambda: 0.25).message


def test_value_exercises_accept_values_and_explain_mistakes():
    exercise = value_example()
    assert judge(exercise, np.float32(0.25))
    assert judge(exercise, 4).message == "Upside down."
    assert judge(exercise, 0.7).message == 'You gave 0.7. hint("99.1") helps.'
    assert judge(exercise, "a quarter").state == "wrong"
    assert judge(exercise, None).state == "not attempted"
    assert judge(exercise, ...).state == "not attempted"


def test_an_answer_that_cannot_be_compared_is_wrong_and_raises_nothing():
    class Hostile:
        def __eq__(self, other):
            raise RuntimeError("no comparison")

        def __repr__(self):
            raise RuntimeError("no text")

    assert judge(example(), lambda x, factor: Hostile()).state == "wrong"
    assert judge(value_example(), Hostile()).state == "wrong"


def test_the_courses_own_error_is_not_blamed_on_the_learner():
    broken = example(reference=lambda x, factor: 1 / 0)
    with pytest.raises(RuntimeError, match=r"exercise 99\.1 is broken"):
        judge(broken, scaled_sum)


def test_what_the_code_prints_is_shown():
    def chatty(x, factor):
        print("<x> =", len(x))
        return 0

    verdict = judge(example(), chatty)
    assert "Your code printed:\n    <x> = 2" in repr(verdict)
    assert "&lt;x&gt; = 2" in verdict._repr_html_()


def test_html_is_escaped():
    assert "a &lt; b" in Verdict("01.1", "a < b", "wrong", 0, "x")._repr_html_()


# --- what the learner's code may not break --------------------------------------------------------------------------


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
        except:  # noqa: E722 the trap under test
            pass


def loop_inside_a_handler():
    try:
        while True:
            pass
    except Exception:
        return "swallowed"


def sleep_long():
    time.sleep(60)


@pytest.mark.parametrize(
    "endless", [loop_forever, loop_catching_exceptions, loop_catching_everything, loop_inside_a_handler, sleep_long]
)
def test_endless_code_is_stopped_in_time_and_its_line_is_known(endless):
    outcome = run(endless, endless, 0.2)
    first = endless.__code__.co_firstlineno
    assert outcome.error is TimeLimit
    assert 0.2 <= outcome.seconds < 5
    assert first < outcome.line <= first + 7
    assert outcome.source
    assert outcome.source in outcome.report


@pytest.mark.parametrize("endless", [loop_forever, loop_catching_exceptions, loop_inside_a_handler])
def test_endless_code_is_stopped_where_no_signal_can_reach(endless):
    found = []
    thread = threading.Thread(target=lambda: found.append(run(endless, endless, 0.2)))
    thread.start()
    thread.join(20)
    assert found[0].error is TimeLimit
    assert found[0].source


def test_the_watchdog_also_serves_the_main_thread(monkeypatch):
    monkeypatch.delattr(signal, "setitimer")
    assert run(loop_forever, loop_forever, 0.2).error is TimeLimit
    for _ in range(200):
        assert run(lambda: 1, None, 0.001).error in (None, TimeLimit)
    time.sleep(0.1)


def test_an_alarm_never_strikes_after_the_call():
    for _ in range(300):
        assert run(lambda: sum(range(10_000)), None, 0.0002).error in (None, TimeLimit)
    time.sleep(0.1)
    assert signal.getitimer(signal.ITIMER_REAL) == (0.0, 0.0)


def test_the_callers_alarm_and_tracer_are_put_back():
    handler = signal.getsignal(signal.SIGALRM)
    tracer = sys.gettrace()
    run(loop_catching_everything, loop_catching_everything, 0.1)
    assert signal.getsignal(signal.SIGALRM) is handler
    assert sys.gettrace() is tracer


def test_the_whole_check_has_one_time_budget(monkeypatch):
    monkeypatch.setattr(sandbox._Clock, "seconds", lambda clock: 0.2)
    attempt = judge_module._Attempt(example(trials=5), scaled_sum, 0, 5.0)
    assert attempt.verdict()
    assert attempt.left_s == pytest.approx(5.0 - 6 * 0.2)


@pytest.mark.parametrize(("wall", "cpu", "counted"), [(8, 8, 8), (8, 16, 8), (8, 0, 2), (8, 3, 3)])
def test_time_counts_as_cpu_time_and_waiting_as_a_quarter(monkeypatch, wall, cpu, counted):
    monkeypatch.setattr(sandbox.time, "perf_counter", lambda: 100.0)
    monkeypatch.setattr(sandbox.time, "process_time", lambda: 50.0)
    clock = sandbox._Clock()
    monkeypatch.setattr(sandbox.time, "perf_counter", lambda: 100.0 + wall)
    monkeypatch.setattr(sandbox.time, "process_time", lambda: 50.0 + cpu)
    assert clock.seconds() == counted


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


def test_a_notebooks_own_exit_is_not_called():
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


def test_keyboard_interrupt_passes_through_and_leaves_nothing_behind():
    def interrupted():
        raise KeyboardInterrupt

    state = torch.get_rng_state()
    with pytest.raises(KeyboardInterrupt):
        run(interrupted, interrupted, 5)
    assert signal.getitimer(signal.ITIMER_REAL) == (0.0, 0.0)
    assert torch.equal(torch.get_rng_state(), state)
    with pytest.raises(KeyboardInterrupt):
        judge(example(), lambda x, factor: interrupted())


def test_random_states_and_modes_are_put_back():
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


def test_random_answers_meet_the_same_seed_as_the_reference():
    noisy = example(reference=lambda x, factor: factor * x.sum() + torch.randn(()))
    assert judge(noisy, lambda x, factor: torch.randn(()) + factor * x.sum())


def test_printed_text_is_capped():
    outcome = run(lambda: print("x" * 5000), None, 5)
    assert outcome.printed.startswith("x" * PRINTED_CHARACTERS)
    assert outcome.printed.endswith(f"… and {5001 - PRINTED_CHARACTERS} more characters")


# --- finding, hints, solutions ---------------------------------------------------------------------------------------


def test_an_exercise_is_found_by_its_short_id():
    assert registry.find("1.1").id == registry.find("01.1").id == registry.find(" 01.01 ").id == "01.1"


@pytest.mark.parametrize(("id", "near"), [("01.99", "01.1, 01.2"), ("88.1", "01.1"), ("macs", "01.1"), ("", "01.1")])
def test_an_unknown_id_names_those_that_are_near(id, near):
    with pytest.raises(ValueError, match=f"id must name an exercise, got '{id}'; near it: .*{near}"):
        check(id, None)


def test_only_the_chapter_asked_for_is_imported():
    code = (
        "import sys; from course_lib.exercises import check\n"
        "loaded = lambda: {n for n in sys.modules if n.startswith('course_lib.exercises.chapter_')}\n"
        "assert loaded() == set(); check('01.1', None); assert loaded() == {'course_lib.exercises.chapter_01'}"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_hints_come_one_by_one_and_end_with_the_solution(monkeypatch):
    monkeypatch.setattr(judge, "_hints_shown", {})
    count = len(registry.find("01.1").hints)
    shown = [repr(hint("01.1")) for _ in range(count + 1)]
    assert [text.count("Hint ") for text in shown] == [*range(1, count + 1), count]
    assert 'solution("01.1")' not in shown[0]
    assert shown[-1].endswith('solution("01.1") shows the answer.')


def test_the_solution_is_the_source_of_the_reference():
    shown = solution("01.1")
    assert "def conv_macs(conv: nn.Conv2d" in repr(shown)
    assert "```python\ndef conv_macs" in shown._repr_markdown_()
    assert shown._repr_html_() is None


BAD_FIELDS = {
    "id": {"id": "4.2"},
    "points": {"points": 0},
    "2 texts": {"hints": ["one"]},
    "2 texts.*got": {"hints": "one text"},
    "at least 3": {"mistakes": []},
    "message of its own": {"mistakes": [Mistake(len, "the same")] * 3},
    "alternatives": {"alternatives": []},
    "needs properties": {"compare": None},
    "examples": {"examples": [torch.ones(2)]},
}


@pytest.mark.parametrize(("rule", "fields"), [(rule.split(".*")[0], f) for rule, f in BAD_FIELDS.items()])
def test_a_badly_declared_exercise_is_refused(rule, fields):
    with pytest.raises(ValueError, match=rule):
        example(**fields)


# --- the proof -------------------------------------------------------------------------------------------------------


FLAWED = {
    "reference_passes": {"properties": [lambda fn, x, factor: "never good enough"]},
    "alternatives_pass": {"alternatives": [lambda x, factor: x.sum()]},
    "stub_earns_nothing": {},
    "mistakes_get_their_message": {"inputs": lambda rng: (torch.randn(4), 1.0), "examples": ()},
    "constant_fails": {"inputs": lambda rng: (torch.ones(4), 2.0), "examples": ()},
    "changed_arguments_are_told": {},
    "loops_are_stopped": {},
    "crashes_are_reported": {},
}


def test_every_claim_is_put_to_the_test():
    assert list(FLAWED) == [claim.__name__ for claim in CLAIMS]


@pytest.mark.parametrize("claim", [name for name, fields in FLAWED.items() if fields])
def test_the_proof_finds_a_flawed_exercise(claim):
    assert dict(prove(example()))[claim] == ""
    assert dict(prove(example(**FLAWED[claim])))[claim]


@pytest.mark.parametrize("claim", [name for name, fields in FLAWED.items() if not fields])
def test_the_proof_finds_an_engine_that_lets_all_pass(claim, monkeypatch):
    monkeypatch.setattr("course_lib.exercises.engine.proof.judge", lambda *a, **k: Verdict("99.1", "t", "right", 2, ""))
    assert dict(prove(example()))[claim]


def test_the_proof_finds_a_mistake_that_gets_the_message_of_another():
    twins = example(mistakes=[Mistake(lambda x, factor: x.sum(), text) for text in ("One.", "Two.", "Three.")])
    assert dict(prove(twins))["mistakes_get_their_message"].startswith("'Two.': seed 0: ")


def test_value_exercises_are_proved_too():
    assert [text for _, text in prove(value_example()) if text] == []
    swapped = value_example(mistakes=[Mistake(0.25, "right"), Mistake(1, "one"), Mistake(2, "two")])
    assert dict(prove(swapped))["mistakes_get_their_message"]


def test_the_command_proves_every_exercise_and_fails_on_a_flaw(monkeypatch, capsys):
    monkeypatch.setattr(command, "chapters", lambda: ("99",))
    monkeypatch.setattr(command, "chapter", lambda number: ("Title", (example(),)))
    assert command.main([]) == 0
    assert "8 of 8 claims  ok" in capsys.readouterr().out
    flawed = example(**FLAWED["alternatives_pass"])
    monkeypatch.setattr(command, "chapter", lambda number: ("Title", (flawed,)))
    assert command.main(["99"]) == 1
    assert "alternatives_pass: seed 0" in capsys.readouterr().out
    assert command.main(["98"]) == 2


def test_the_example_that_authors_copy_is_proved():
    text = exercises.__doc__
    start, end = text.index("    shannon = Exercise("), text.index("\n    )\n") + 6
    space = {"np": np, "scipy": scipy, "Exercise": Exercise, "Mistake": Mistake, "entropy_bits": entropy_bits}
    exec(textwrap.dedent(text[start:end]), space)
    assert [wrong for _, wrong in prove(space["shannon"]) if wrong] == []


def entropy_bits(p):
    return float(-(p * np.log2(p)).sum())


def test_a_mistake_is_recognised_also_where_results_are_compared_in_a_special_way():
    def upper(expected, got, tolerance):
        return None if expected.upper() == got.upper() else f"{expected} is not {got}"

    special = example(
        reference=lambda x, factor: f"Σ{x.sum():.2f}",
        compare=upper,
        mistakes=[Mistake(lambda x, factor, f=f: f"σ{f(x):.2f}", f"{f}") for f in (torch.min, torch.max, torch.mean)],
        alternatives=[lambda x, factor: f"σ{x.sum():.2f}"],
    )
    assert [wrong for _, wrong in prove(special) if wrong] == []


# --- what is remembered ----------------------------------------------------------------------------------------------


def right_macs(conv, height, width):
    return registry.find("01.1").reference(conv, height, width)


def test_passing_is_remembered_and_stays(record):
    assert check("01.1", right_macs)
    assert list(json.loads(record.read_text())["passed"]) == ["01.1"]
    assert check("01.1", lambda conv, height, width: 0).state == "wrong"
    assert "01.1 ✓" in repr(progress())
    assert "01.2 ·" in repr(progress())
    assert "01.1 ✓" in progress()._repr_html_()


def test_a_stub_says_the_same_in_every_run(record):
    before = repr(check("01.1", None)), check("01.1", None)._repr_html_()
    check("01.1", right_macs)
    assert (repr(check("01.1", None)), check("01.1", None)._repr_html_()) == before
    assert before[0].startswith("○ 01.1 MACs of a convolution: not attempted")


@pytest.mark.parametrize("content", ["", "{", "[]", '{"passed": 3}', '{"other": {}}', "\x00\x01", '{"passed": [1]}'])
def test_a_broken_file_is_moved_aside_with_a_note(record, content):
    record.write_text(content)
    verdict = check("01.1", right_macs)
    assert verdict
    assert "progress.json.broken" in verdict.message
    assert record.with_name("progress.json.broken").read_text() == content
    assert list(json.loads(record.read_text())["passed"]) == ["01.1"]


def test_a_file_that_is_not_text_is_moved_aside(record):
    record.write_bytes(b"\xff\xfe\xff")
    assert "broken" in repr(progress())
    assert not record.exists()


def test_a_place_that_cannot_be_written_costs_the_record_only(monkeypatch, tmp_path):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("COURSE_PROGRESS", str(tmp_path / "file" / "progress.json"))
    verdict = check("01.1", right_macs)
    assert verdict
    assert "could not be saved" in verdict.message


def test_off_keeps_nothing(monkeypatch, tmp_path):
    monkeypatch.setenv("COURSE_PROGRESS", "off")
    monkeypatch.chdir(tmp_path)
    assert check("01.1", right_macs)
    assert "0 of " in repr(progress())
    assert list(tmp_path.iterdir()) == []


def test_concurrent_writers_lose_nothing(record):
    code = (
        "import sys; from course_lib.exercises.engine.record import remember\n"
        "for i in range(15): assert remember(f'{sys.argv[1]}.{i + 1}') == ''"
    )
    writers = [subprocess.Popen([sys.executable, "-c", code, chapter]) for chapter in ("11", "12")]
    assert [writer.wait(300) for writer in writers] == [0, 0]
    assert len(json.loads(record.read_text())["passed"]) == 30
    assert list(record.parent.iterdir()) == [record]


def test_a_lock_that_cannot_be_removed_costs_the_record_only(record, monkeypatch):
    monkeypatch.setattr("course_lib.exercises.engine.record.STALE_LOCK_S", 0.1)
    record.with_name(record.name + ".lock").mkdir()
    verdict = check("01.1", right_macs)
    assert verdict
    assert "stays locked" in verdict.message


def test_a_lock_left_by_a_dead_process_is_removed(record):
    lock = record.with_name(record.name + ".lock")
    lock.write_text("")
    os.utime(lock, (0, 0))
    assert check("01.1", right_macs)
    assert not lock.exists()


def test_one_broken_chapter_does_not_hide_the_others(monkeypatch):
    found = registry.chapters()
    monkeypatch.setattr("course_lib.exercises.engine.record.chapters", lambda: (*found, "98"))
    assert "98  cannot be loaded: ModuleNotFoundError" in repr(progress())
    assert "01.1" in repr(progress())


# --- a real notebook -------------------------------------------------------------------------------------------------

CELLS = [
    "from course_lib.exercises import check, hint, solution, progress",
    "def conv_macs(conv, height, width):\n    '''Your turn.'''\n    ...\ncheck('01.1', conv_macs)",
    "check('01.1', lambda conv, height, width: conv.weight.numel())",
    "from course_lib.exercises import chapter_01, engine\n"
    "def conv_macs(conv, height, width):\n    while True:\n        height += 1\n"
    "engine.judge(chapter_01.macs, conv_macs, time_limit_s=0.5)",
    "def conv_macs(conv, height, width):\n    exit()\ncheck('01.1', conv_macs)",
    "check('01.1', chapter_01.conv_macs)",
]


def test_a_kernel_survives_all_of_it(record):
    nbformat, nbclient = pytest.importorskip("nbformat"), pytest.importorskip("nbclient")
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell) for cell in CELLS])
    nbclient.NotebookClient(notebook, timeout=60, kernel_name="python3").execute()
    texts = [cell.outputs[-1].data["text/plain"] for cell in notebook.cells[1:]]
    assert "not attempted" in texts[0]
    assert "number of weights" in texts[1]
    assert "still running" in texts[2]
    assert "line 3: while True:" in texts[2] or "line 4: height += 1" in texts[2]
    assert "it calls exit(), which would end the notebook's kernel, line 2: exit()" in texts[3]
    assert "✓" in texts[4]
    assert all("text/html" in cell.outputs[-1].data for cell in notebook.cells[1:])
    assert "01.1" in record.read_text()
