"""Every solution runs as it stands, under the stub's own name, and is right; none is a bare call of what is taught."""

from __future__ import annotations

import ast
import importlib
import inspect
import re
import sys

import pytest

from course_lib.exercises import solution
from course_lib.exercises.engine.judge import judge
from course_lib.exercises.engine.registry import chapter, chapters
from course_lib.exercises.engine.solution import _renamed, solution_source
from course_lib.storage.files import ROOT

EXERCISES = [exercise for number in chapters() for exercise in chapter(number)[1]]
BY_ID = pytest.mark.parametrize("exercise", EXERCISES, ids=lambda exercise: exercise.id)


def twin(exercise) -> str:
    (path,) = (ROOT / "notebooks" / "text").glob(f"{exercise.id[:2]}_*.py")
    return path.read_text(encoding="utf-8")


def stub(exercise) -> ast.FunctionDef:
    """The function that the chapter's cell asks for."""
    text = twin(exercise)
    (name,) = re.findall(rf'^check\("{exercise.id}", (\w+)\)', text, re.MULTILINE)
    (found,) = [node for node in ast.walk(ast.parse(text)) if isinstance(node, ast.FunctionDef) and node.name == name]
    return found


def imports_before(exercise) -> str:
    """What the chapter's cells have imported where the exercise stands."""
    tree, stop = ast.parse(twin(exercise)), stub(exercise).lineno
    nodes = [node for node in tree.body if isinstance(node, ast.Import | ast.ImportFrom) and node.lineno < stop]
    return "\n".join(ast.unparse(node) for node in nodes)


@BY_ID
def test_the_reference_bears_the_stub_s_name_and_parameters(exercise):
    asked = stub(exercise)
    assert exercise.reference_fn.__name__ == asked.name
    parameters = [argument.arg for argument in (*asked.args.args, *asked.args.kwonlyargs)]
    assert list(inspect.signature(exercise.reference_fn).parameters) == parameters


@BY_ID
def test_a_solution_runs_in_an_empty_notebook_and_in_the_chapter_s_own_and_passes(exercise):
    source = solution_source(exercise)
    for before in ("", imports_before(exercise)):
        space: dict = {"__name__": "__main__"}
        exec(compile(before, "notebook", "exec"), space)
        exec(compile(source, "answer", "exec"), space)
        verdict = judge(exercise, space[stub(exercise).name])
        assert verdict.state == "right", repr(verdict)


@BY_ID
def test_a_solution_teaches(exercise):
    source = solution_source(exercise)
    assert source in repr(solution(exercise.id))
    last = ast.parse(source).body[-1]
    assert isinstance(last, ast.FunctionDef | ast.ClassDef)
    body = [node for node in last.body if not (isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant))]
    library = {
        alias.asname or alias.name
        for node in ast.parse(source).body
        if isinstance(node, ast.ImportFrom) and str(node.module).startswith("course_lib")
        for alias in node.names
    }
    only = body[0].value if len(body) == 1 and isinstance(body[0], ast.Return) else None
    calls = isinstance(only, ast.Call) and isinstance(only.func, ast.Name) and only.func.id in library
    assert not calls, "the solution is a bare call of the library"


def test_a_function_is_renamed_also_where_it_calls_itself_and_nowhere_else():
    source = "def f(n):\n    return 1 if n == 0 else n * f(n - 1)  # f\n\n\ng = 'f'"
    renamed = _renamed(source, "f", "factorial")
    assert renamed == "def factorial(n):\n    return 1 if n == 0 else n * factorial(n - 1)  # f\n\n\ng = 'f'"


WRITTEN = """
import math
from collections import deque as queue
from course_lib.exercises import Exercise

ex = Exercise("99.1", "Sum", points=1, hints=["a", "b"])
LIMIT: int = 3


def smaller(n):
    return min(n, LIMIT)


def helper(n):
    return math.floor(smaller(n))


class Kept:
    items = queue()


@ex.reference
def total(n):
    return helper(n) + len(Kept.items)


@ex.solution
def written_out(n):
    return 1 + written_out(n - 1) if n else 0
"""


@pytest.fixture
def written(tmp_path, monkeypatch):
    """A chapter's module as a file, and its exercise."""
    (tmp_path / "written_for_a_test.py").write_text(WRITTEN, encoding="utf-8")
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(sys.modules, "written_for_a_test", raising=False)
    return importlib.import_module("written_for_a_test")


def test_a_written_out_solution_bears_the_reference_s_name(written):
    source = solution_source(written.ex)
    assert source == "def total(n):\n    return 1 + total(n - 1) if n else 0"


def test_what_a_helper_needs_is_printed_too(written):
    written.ex.solution_fn = None
    source, space = solution_source(written.ex), {}
    exec(source, space)
    assert space["total"](7) == 3
    assert source.startswith("import math\nfrom collections import deque as queue\n\n\nLIMIT: int = 3")
    assert "ex." not in source


def test_a_solution_that_needs_the_exercises_is_refused(tmp_path, written):
    text = WRITTEN.replace("return helper(n)", "Exercise\n    return helper(n)")
    (tmp_path / "another_for_a_test.py").write_text(text, encoding="utf-8")
    another = importlib.import_module("another_for_a_test")
    another.ex.solution_fn = None
    with pytest.raises(ValueError, match=r"exercise 99\.1: its solution needs"):
        solution_source(another.ex)
