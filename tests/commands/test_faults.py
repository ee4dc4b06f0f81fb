"""The commands as processes, in front of a table of faults: one line, its status, and what ships is untouched."""

from __future__ import annotations

import re
import shutil
import sys

import pytest
from fault_trial.command import Case, tried
from fault_trial.commands import CASES
from fault_trial.result import ANSWERED, TRACEBACK, UNCLEAR, WRONG

WITHOUT_BASH = shutil.which("bash") is None or sys.platform == "win32"
pytestmark = pytest.mark.skipif(WITHOUT_BASH, reason="cases are lines of bash")


@pytest.mark.parametrize("case", [case for case in CASES if case.quick], ids=lambda case: case.name)
def test_a_command_in_front_of_a_fault_says_one_line_and_what_mends_it(case, tmp_path):
    result = tried(case, tmp_path)
    assert result.outcome == ANSWERED, result.found


def test_every_case_has_a_name_of_its_own_and_words_that_can_be_looked_for():
    assert len({re.sub(r"\W+", "_", case.name) for case in CASES}) == len(CASES) >= 200
    for case in CASES:
        re.compile(case.says)


@pytest.mark.parametrize(
    ("case", "outcome"),
    [
        (Case("a traceback", "{python} -c 'raise ValueError'", "", 1), TRACEBACK),
        (Case("nothing is said", "true", "no such file"), WRONG),
        (Case("another status", "echo no such file; exit 3", "no such file"), UNCLEAR),
        (Case("other words", "echo what; exit 2", "no such file"), UNCLEAR),
        (Case("a file is changed", "echo b > x; echo no; exit 2", "no", untouched=("x",)), WRONG),
        (Case("well", "echo no such file; exit 2", "no such file"), ANSWERED),
    ],
    ids=lambda value: value.name if isinstance(value, Case) else "",
)  # fmt: skip
def test_the_table_tells_a_good_answer_from_a_bad_one(case, outcome, tmp_path):
    assert tried(case, tmp_path).outcome == outcome
