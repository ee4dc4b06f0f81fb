"""Verdicts: right, wrong and why, not attempted."""

from __future__ import annotations

import threading
import time

import numpy as np
import pytest
import torch
from torch import nn

from course_lib.exercises import Mistake, arguments
from course_lib.exercises.engine import exercise as exercise_module
from course_lib.exercises.engine import judge as judge_module
from course_lib.exercises.engine.display import Verdict
from course_lib.exercises.engine.judge import judge
from course_lib.exercises.engine.proof import prove
from course_lib.exercises.engine.sandbox import BrokenExercise


def scaled_sum(x, factor):
    return factor * x.sum()


def test_a_right_answer_earns_the_points_and_is_true(example):
    verdict = judge(example(), lambda x, factor: (x * factor).sum())
    assert verdict
    assert verdict.points == 2
    assert repr(verdict) == "✓ 99.1 Scaled sum: right\n  2 of 2 points."


def test_an_answer_like_a_planted_mistake_gets_its_message_and_the_numbers(example):
    verdict = judge(example(), lambda x, factor: float(np.asarray(x).sum()))
    assert verdict.message == "You forgot the factor.\nCase 1, with x=tensor([1., 2.]), factor=3: expected 9, got 3."
    assert not verdict


def test_an_unforeseen_wrong_answer_gets_the_failing_input(example):
    verdict = judge(example(), lambda x, factor: factor * x.max())
    assert verdict.message == "Case 1, with x=tensor([1., 2.]), factor=3: expected 9, got 6."


def test_an_answer_is_not_blamed_for_a_mistake_it_shares_with_some_inputs_only(example):
    def factor_forgotten_below(x, factor):
        return x.sum() if len(x) == 2 else 7.0

    assert "forgot" not in judge(example(), factor_forgotten_below).message


def test_of_several_mistakes_in_one_result_the_first_wrong_value_is_explained(example):
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
    assert [text for _, text in prove(pair) if text] == []
    message = judge(pair, lambda x, factor: (x.min(), x.abs().max(), x.prod())).message
    assert message.startswith("The largest, not the largest size.\n")
    assert "value 2 of 3: expected 1, got 2" in message
    assert judge(pair, lambda x, factor: (x.min(), x.max(), x.prod())).message.startswith("Case 1, with x=")


def test_a_crash_like_a_planted_one_gets_its_message_and_the_line(example):
    def crash(x, factor):
        return x.no_such_method()

    message = judge(example(), crash).message
    assert message.startswith("Tensors have no such method.\n")
    assert "AttributeError" in message
    assert "return x.no_such_method()" in message
    assert judge(example(), lambda x, factor: x.another_method()).message.startswith("Case 1, with x=")


def test_a_function_that_changes_its_argument_is_told_which(example):
    def careless(x, factor):
        x *= factor
        return x.sum()

    message = judge(example(), careless).message
    assert "changes its argument x: it was tensor([1., 2.]), and is tensor([3., 6.])" in message


def test_arguments_reach_the_caller_unchanged(example):
    fixed = torch.tensor([1.0, 2.0])
    judge(example(examples=[(fixed, 3.0)]), lambda x, factor: x.zero_().sum())
    assert fixed.tolist() == [1.0, 2.0]


def test_arguments_without_an_equality_of_their_own_are_not_taken_for_changed(example):
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


def test_arguments_that_cannot_be_copied_are_made_anew_for_each_caller(example):
    iterators = example(
        reference=lambda x, factor: factor * sum(x),
        examples=(),
        inputs=lambda rng: ((number for number in (1, 2, int(rng.integers(3, 9)))), 2.0),
        mistakes=[Mistake(lambda x, factor: sum(x), "You forgot the factor.")],
    )
    assert judge(iterators, lambda x, factor: sum(factor * number for number in x))
    assert judge(iterators, lambda x, factor: sum(list(x))).message.startswith("You forgot the factor.")


def test_in_place_exercises_compare_the_arguments_after_the_call(example):
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


def test_several_right_results_are_judged_by_properties(example):
    def sums_to_factor(fn, x, factor):
        total = fn(x, factor).sum()
        return None if abs(total - factor) < 1e-4 else f"the parts must add up to {factor:.3g}, yours to {total:.3g}"

    # A chapter's own lines are no learner's lines: as if the property stood in a chapter.
    chapter_file = sums_to_factor.__code__.replace(co_filename=exercise_module.__file__)
    sums_to_factor.__code__ = chapter_file
    parts = example(compare=None, rules=[sums_to_factor], reference=lambda x, factor: x.softmax(0) * factor)
    assert judge(parts, lambda x, factor: torch.full_like(x, factor / len(x)))
    assert judge(parts, lambda x, factor: x.exp()).message.endswith("must add up to 3, yours to 10.1.")
    assert "cannot be judged (AttributeError" in judge(parts, lambda x, factor: "three").message
    assert "ZeroDivisionError" in judge(parts, lambda x, factor: 1 / 0).message


def test_arguments_can_go_by_name_and_outcomes_can_be_derived(example):
    def gradient(fn, x, factor):
        x = x.clone().requires_grad_()
        return torch.autograd.grad(fn(x=x, factor=factor).sum(), x)[0]

    derived = example(
        outcome=gradient, examples=(), inputs=lambda rng: {"x": torch.randn(3), "factor": float(rng.uniform(2, 3))}
    )
    assert judge(derived, lambda *, factor, x: (x * factor).sum())
    assert judge(derived, lambda x, factor: x.sum()).message.startswith("You forgot the factor.")
    assert "RuntimeError" in judge(derived, lambda x, factor: x.detach() * factor).message


def test_a_class_can_be_an_answer(example):
    class Scaled:
        def __init__(self, factor):
            self.factor = factor

        def __call__(self, x):
            return self.factor * x.sum()

    class Other(Scaled):
        pass

    class Stub:
        def __init__(self, factor):
            raise NotImplementedError("Your turn.")

    class Broken(Scaled):
        def __call__(self, x):
            return self.factr * x.sum()

    built = example(reference=Scaled, outcome=lambda kind, x, factor: kind(factor)(x), alternatives=[Other])
    assert judge(built, Scaled)
    assert judge(built, Stub).state == "not attempted"
    assert "return self.factr * x.sum()" in judge(built, Broken).message


def test_an_answer_that_cannot_be_called_so_is_told_the_arguments(example):
    message = judge(example(), lambda x: x.sum()).message
    assert "your function must accept (x, factor), and accepts (x): too many positional arguments" in message


def test_the_result_instead_of_the_function_is_recognised(example, value_example):
    assert "asks for the function itself" in judge(example(), 9.0).message
    assert "asks for a value" in judge(value_example(), lambda: 0.25).message


def test_value_exercises_accept_values_and_explain_mistakes(value_example):
    exercise = value_example()
    assert judge(exercise, np.float32(0.25))
    assert judge(exercise, 4).message == "Upside down."
    assert judge(exercise, 0.7).message == 'You gave 0.7. hint("99.1") helps.'
    assert judge(exercise, "a quarter").state == "wrong"
    assert judge(exercise, None).state == "not attempted"
    assert judge(exercise, ...).state == "not attempted"


def test_an_answer_that_cannot_be_compared_is_wrong_and_raises_nothing(example, value_example):
    class Hostile:
        def __eq__(self, other):
            raise RuntimeError("no comparison")

        def __repr__(self):
            raise RuntimeError("no text")

    assert judge(example(), lambda x, factor: Hostile()).state == "wrong"
    assert judge(value_example(), Hostile()).state == "wrong"


def test_the_courses_own_error_is_not_blamed_on_the_learner(example):
    broken = example(reference=lambda x, factor: 1 / 0)
    with pytest.raises(BrokenExercise, match=r"exercise 99\.1 is broken"):
        judge(broken, scaled_sum)


def test_what_the_code_prints_is_shown(example):
    def chatty(x, factor):
        print("<x> =", len(x))
        return 0

    verdict = judge(example(), chatty)
    assert "Your code printed:\n    <x> = 2" in repr(verdict)
    assert "&lt;x&gt; = 2" in verdict._repr_html_()


def test_html_is_escaped():
    assert "a &lt; b" in Verdict("01.1", "a < b", "wrong", 0, "x")._repr_html_()


# --- the same verdict in every run ---


def test_every_check_asks_the_same(example):
    seen = []

    def remembering(x, factor):
        seen.append((x.tolist(), factor))
        return scaled_sum(x, factor)

    assert judge(example(), remembering)
    first = list(seen)
    torch.manual_seed(5)
    torch.set_default_dtype(torch.float64)
    try:
        assert judge(example(), remembering)
    finally:
        torch.set_default_dtype(torch.float32)
    assert seen == 2 * first
    assert len({factor for _, factor in first}) == 7


def test_another_exercise_or_seed_is_asked_something_else(example):
    asked = {}
    for name, changes, seed in (("one", {}, 0), ("other id", {"id": "99.2"}, 0), ("other seed", {}, 1)):
        seen = asked.setdefault(name, [])
        judge(example(**changes), lambda x, factor, seen=seen: seen.append(factor) or factor * x.sum(), seed=seed)
    assert len({tuple(factors) for factors in asked.values()}) == 3


def test_a_table_of_the_fixed_cases_is_no_answer(example):
    assert not judge(example(), lambda x, factor: 9.0)


def test_a_wrong_answer_that_is_mostly_right_fails_in_every_run(example):
    def rarely_wrong(x, factor):
        return factor * x.sum() if x[0] < 0 or len(x) == 2 else 0.0

    verdicts = {repr(judge(example(trials=24), rarely_wrong)) for _ in range(5)}
    assert len(verdicts) == 1
    assert "wrong" in verdicts.pop()


# --- the counterexample ---


def test_the_smallest_failing_case_is_shown(example):
    sizes = example(inputs=lambda rng: (torch.randn(int(rng.integers(2, 30))), 2.0), examples=(), trials=24)
    failing = []

    def wrong(x, factor):
        failing.append(len(x))
        return 0.0

    message = judge(sizes, wrong).message
    assert message.startswith("Case ")
    shown = int(message.split()[1].rstrip(","))
    assert failing[shown - 1] == min(failing[:24])


def test_a_small_case_is_looked_for_when_all_that_fail_are_large(example):
    def sizes(rng):
        return torch.randn(int(rng.choice([3, *[50] * 9]))), 2.0

    for number in range(1, 21):  # of some exercises both cases of the check are large
        large = example(id=f"99.{number}", inputs=sizes, examples=(), trials=2)
        message = judge(large, lambda x, factor: 0.0).message
        if int(message.split()[1].rstrip(",")) > 2:
            break
    assert number < 20
    assert "x=tensor([" in message
    assert "arguments(" not in message


def test_a_case_that_cannot_be_written_out_can_be_had(example):
    large = example(inputs=lambda rng: (torch.randn(100), 2.0), examples=())
    message = judge(large, lambda x, factor: 0.0).message
    assert 'arguments("99.1", 1) gives these arguments.' in message


def test_a_case_says_what_it_is_about(example):
    exercise = example()

    @exercise.case("a factor of 0")
    def zero():
        return torch.tensor([1.0]), 0.0

    message = judge(exercise, lambda x, factor: factor * x.sum() if factor else 1.0).message
    assert message == "Case 2, with x=tensor([1.]), factor=0: expected 0, got 1.\nThe case: a factor of 0."


def test_a_large_array_sorted_in_place_shows_where_it_changed(example):
    large = example(inputs=lambda rng: (torch.arange(50.0).flip(0), 2.0), examples=())

    def sorting(x, factor):
        x.copy_(x.sort().values)
        return factor * x.sum()

    message = judge(large, sorting).message
    assert "your function changes its argument x: 50 of 50 elements differ; at [0] it was 49, and is 0 after" in message


# --- the reason ---


@pytest.mark.parametrize(
    ("answer", "text"),
    [
        (lambda x, factor: None, "your function returns nothing: is `return` missing?"),
        (lambda x, factor: print(3), "your function prints, and returns nothing: is `return` missing?"),
        (lambda x, factor: (yield factor), "your function yields its values"),
    ],
    ids=["nothing", "printed", "generator"],
)
def test_a_missing_return_is_named(example, answer, text):
    def missing(x, factor):
        answer(x, factor)

    verdict = judge(
        example(), answer if "yields" in text else missing if "prints" in text else lambda x, factor: [].clear()
    )
    assert text in verdict.message


def positive(x, factor):
    return factor * x.sum() if factor > 0 else None


def test_none_in_the_wrong_place_is_no_missing_return_where_none_is_an_answer(example):
    asked = example(
        reference=positive,
        examples=[(torch.tensor([1.0, 2.0]), 3.0), (torch.tensor([1.0, 2.0]), -3.0)],
        mistakes=[Mistake(lambda x, factor: factor * x.sum() if factor > 5 else None, "Refused too much.")],
    )

    def always(x, factor):
        factor * x.sum()

    for answer, reason in ((always, ""), (lambda x, factor: positive(x, factor - 5), "Refused too much.\n")):
        found = judge(asked, answer).message
        assert "gives None where there is an answer (or is `return` missing?): expected 9" in found, reason
        assert "returns nothing" not in found
    assert judge(asked, positive)
    for stub in (lambda x, factor: None, lambda x, factor: ...):
        assert judge(asked, stub).state == "not attempted"


def test_a_coroutine_is_named(example):
    async def later(x, factor):
        return 0

    assert "declared with async" in judge(example(), later).message


def test_a_changed_argument_comes_before_the_wrong_value_that_it_made(example):
    def sorting(x, factor):
        x.zero_()
        return factor * x.sum()

    assert "your function changes its argument x" in judge(example(), sorting).message


def test_an_answer_that_changes_its_arguments_is_not_taken_for_a_mistake_in_one_of_its_values(example):
    def sorting(x, factor):
        x.copy_(x.sort().values)
        return x[0], x[0]

    pair = example(
        reference=lambda x, factor: (x[0], x[1]),
        mistakes=[Mistake(lambda x, factor: (x.min(), x[0]), "The first, not the least.")],
        alternatives=[lambda x, factor: [x[0], x[1]]],
        examples=[(torch.tensor([3.0, 2.0]), 1.0)],
    )
    message = judge(pair, sorting).message
    assert message.startswith("Case 1")
    assert "your function changes its argument x" in message


def test_a_crash_inside_a_rule_is_reported_as_the_crash_it_is(example):
    def far(fn, x, factor):
        return None if torch.isfinite(torch.as_tensor(fn(1e38 * x, factor))) else "it overflows"

    def overflowing(x, factor):
        return scaled_sum(x, factor) * (1.0 if x.abs().max() < 1e30 else float("inf"))

    def crashing(x, factor):
        return scaled_sum(x, factor) if x.abs().max() < 1e30 else 1 / 0

    planted = example(rules=[far], mistakes=[*example().mistakes, Mistake(overflowing, "For far values it overflows.")])
    assert judge(planted, overflowing).message.startswith("For far values it overflows.")
    message = judge(planted, crashing).message
    assert message.startswith("Case ")
    assert "ZeroDivisionError" in message
    assert "return scaled_sum(x, factor) if x.abs().max() < 1e30 else 1 / 0" in message


def test_every_rule_is_asked(example):
    def first(fn, x, factor):
        return "too small" if fn(x, factor) < -1e9 else None

    def last(fn, x, factor):
        return None

    small = lambda x, factor: -1e10  # noqa: E731
    assert "too small" in judge(example(compare=None, rules=[first, last]), small).message
    assert "too small" in judge(example(compare=None, rules=[last, first]), small).message


def test_a_wrong_value_in_a_dict_is_explained_by_the_mistake_in_that_part(example):
    pair = example(
        reference=lambda x, factor: {"low": x.min(), "high": x.max()},
        mistakes=[Mistake(lambda x, factor: {"low": x.min(), "high": x.abs().max()}, "Not the largest size.")],
        examples=[(torch.tensor([1.0, -2.0]), 3.0)],
    )
    answer = judge(pair, lambda x, factor: {"low": x.min() + 0, "high": x.abs().max()}).message
    assert answer.startswith("Not the largest size.")
    both = judge(pair, lambda x, factor: {"low": x.min(), "high": x.abs().max() + 0 * x.sum()}).message
    assert "'high'" in both


def test_of_two_wrong_values_in_a_dict_the_first_is_explained(example):
    three = example(
        reference=lambda x, factor: {"low": x.min(), "high": x.max(), "sum": x.sum()},
        mistakes=[
            Mistake(lambda x, factor: {"low": x.min(), "high": x.max(), "sum": x.mean()}, "The mean."),
            Mistake(lambda x, factor: {"low": x.min(), "high": x.abs().max(), "sum": x.sum()}, "The largest size."),
        ],
        examples=[(torch.tensor([1.0, -2.0]), 3.0)],
    )
    message = judge(three, lambda x, factor: {"low": x.min(), "high": x.abs().max(), "sum": x.prod()}).message
    assert message.startswith("The largest size.\n")


# --- time ---


def test_a_property_that_loops_in_the_learners_code_is_stopped(example):
    calls = []

    def looping_at_last(x, factor):
        calls.append(1)
        while len(calls) > 9:
            pass
        return x.sum() * factor

    def repeatable(fn, x, factor):
        return None if fn(x, factor) == fn(x, factor) else "not repeatable"

    message = judge(example(rules=[repeatable]), looping_at_last, time_limit_s=0.2).message
    assert "still running" in message
    assert "while len(calls) > 9:" in message


def test_all_questions_of_a_check_share_one_time_limit(example):
    def slow(x, factor):
        start = time.thread_time()
        while time.thread_time() - start < 0.06:
            pass
        return factor * x.sum()

    def twice(fn, x, factor):
        return None if fn(x, factor) == fn(x, factor) else "not repeatable"

    judge(example(), scaled_sum)  # what PyTorch imports at first is not counted
    start = time.thread_time()
    verdict = judge(example(trials=30, rules=[twice]), slow, time_limit_s=0.5)
    assert time.thread_time() - start < 2
    assert "your function is too slow: after" in verdict.message


def test_a_slow_answer_that_is_wrong_besides_is_told_both(example):
    calls = []

    def slow(x, factor):
        calls.append(x)
        while len(calls) > 3:
            pass
        return x.sum() + 7 * factor

    found = judge(example(), slow, time_limit_s=1)
    assert "Still running when its time was up" in found.message
    assert "What it gave before is wrong, too." in found.message
    assert "Case 1, with" in found.message
    assert "expected" in found.message


def test_a_huge_result_takes_no_time(example):
    start = time.thread_time()
    assert not judge(example(), lambda x, factor: [0.0] * 30_000_000)
    assert time.thread_time() - start < 10


def test_a_huge_wrong_result_is_not_asked_for_again(example):
    calls = []

    def huge(x, factor):
        calls.append(1)
        return torch.zeros(1).expand(2**24)

    assert "expected shape" in judge(example(), huge).message
    assert len(calls) == 1


def test_a_machine_that_gives_no_time_is_no_fault_of_the_answer(example, monkeypatch):
    asked = []

    def starved(*args):
        asked.append(1)
        raise judge_module.Starved

    monkeypatch.setattr(judge_module, "_verdict_on", starved)
    verdict = judge(example(), scaled_sum)
    assert verdict.state == "too busy"
    assert verdict.points == 0
    assert "run this cell again" in verdict.message
    assert len(asked) == 2


def test_a_machine_that_recovers_gets_the_real_verdict(example, monkeypatch):
    real, asked = judge_module._verdict_on, []

    def starved_once(*args):
        asked.append(1)
        if len(asked) == 1:
            raise judge_module.Starved
        return real(*args)

    monkeypatch.setattr(judge_module, "_verdict_on", starved_once)
    assert judge(example(), scaled_sum)


# --- one check at a time ---


def test_checks_in_two_threads_leave_the_streams_alone(example, capsys):
    def printing(x, factor):
        print("inside")
        time.sleep(0.01)
        return factor * x.sum()

    verdicts: list[Verdict] = []
    threads = [threading.Thread(target=lambda: verdicts.append(judge(example(), printing))) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert all(verdicts)
    print("after")
    assert capsys.readouterr().out == "after\n"


def test_a_check_inside_an_answer_works(example):
    def checking(x, factor):
        assert judge(example(), scaled_sum)
        return factor * x.sum()

    assert judge(example(trials=2), checking)


def test_a_check_that_waits_too_long_for_another_one_says_so(example, monkeypatch):
    monkeypatch.setattr(judge_module, "PATIENCE_S", 0.05)
    with judge_module._one_at_a_time:
        found: list[Verdict] = []
        thread = threading.Thread(target=lambda: found.append(judge(example(), scaled_sum)))
        thread.start()
        thread.join()
    assert found[0].state == "too busy"


# --- hostile objects ---


class Loops:
    """Every question to it never ends."""

    def __getattr__(self, name):
        while True:
            pass

    def __call__(self, x, factor):
        return Loops()

    def __repr__(self):
        while True:
            pass

    def __eq__(self, other):
        while True:
            pass


class DiesHard:
    """Its end never ends."""

    def __del__(self):
        while True:
            pass


class Nameless(Exception):
    def __str__(self):
        raise RuntimeError("no text")


class Talks(Exception):
    def __str__(self):
        while True:
            pass


def raising(error):
    def answer(x, factor):
        raise error

    return answer


@pytest.mark.parametrize(
    "answer",
    [
        Loops(),
        lambda x, factor: Loops(),
        lambda x, factor: DiesHard(),
        raising(Nameless()),
        raising(Talks()),
        lambda x, factor: torch.empty((), device="meta"),
        lambda x, factor: (i for i in iter(int, 1)),
    ],
    ids=["loops", "returns what loops", "its end loops", "error without text", "text without end", "meta", "generator"],
)
def test_hostile_objects_are_wrong_in_time(example, answer):
    start = time.thread_time()
    verdict = judge(example(), answer, time_limit_s=0.3)
    assert verdict.state == "wrong"
    assert repr(verdict)
    assert time.thread_time() - start < 6


def test_an_object_that_claims_to_equal_everything_is_wrong(example, value_example):
    from unittest import mock

    assert not judge(example(), lambda x, factor: mock.ANY)
    assert not judge(value_example(), mock.ANY)


@pytest.mark.parametrize("number", [0, -1, 1.5, True, "1"])
def test_what_numbers_no_case_is_refused(number):
    with pytest.raises(ValueError, match="has no case"):
        arguments("00.1", number)
