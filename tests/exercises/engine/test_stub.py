"""Has anything been written?"""

from __future__ import annotations

import pytest
import torch

from course_lib.exercises.engine.judge import judge
from course_lib.exercises.engine.stub import untouched

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
def test_a_stub_is_recognised_without_its_source(body, example):
    space = {}
    exec(f"def f(x, *, bits=8):\n    {body}", space)
    assert untouched(space["f"])
    assert not judge(example(), space["f"])
    assert judge(example(), space["f"]).state == "not attempted"


@pytest.mark.parametrize("body", ATTEMPTS)
def test_a_wrong_attempt_is_not_taken_for_a_stub(body, example):
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


def test_a_half_written_stub_counts_as_not_attempted(example):
    def placeholder(x, factor):
        total = ...
        return total

    def given_lines(x, factor):
        total = x.sum()
        raise NotImplementedError(f"multiply {total}")

    assert judge(example(), placeholder).state == "not attempted"
    assert judge(example(), given_lines).state == "not attempted"


def test_an_answer_that_gives_up_in_one_branch_is_an_attempt(example):
    def half(x, factor):
        if len(x) == 2:
            return factor * x.sum()
        raise NotImplementedError("four numbers are too many")

    verdict = judge(example(), half)
    assert verdict.state == "wrong"
    assert "NotImplementedError: four numbers are too many, line" in verdict.message


def test_a_library_s_not_implemented_error_is_a_crash(example):
    def unsupported(x, factor):
        return torch.empty(2, device="meta").item()

    assert judge(example(), unsupported).state == "wrong"


def test_an_object_that_answers_every_question_wrongly_is_no_stub():
    class Hostile:
        def __getattr__(self, name):
            raise RuntimeError(name)

        def __call__(self, x, factor):
            return 0

    assert not untouched(Hostile())
