"""The committed chapters: every named case on one of them, and each brought up to date from an earlier version."""

from __future__ import annotations

import copy
from random import Random

import pytest
from workbook_trial import edits as e
from workbook_trial import trial
from workbook_trial.cases import CASES, WORKED

from course_lib.publishing.notebooks import NOTEBOOKS
from course_lib.workbook import Workbook, update
from course_lib.workbook.cells import is_published
from course_lib.workbook.notebook import dump, parse

CHAPTERS = sorted(NOTEBOOKS.glob("*.ipynb"))
CHAPTER = NOTEBOOKS / "00_start_here.ipynb"
EARLIER = e.all_of(e.reword, e.change_code, e.change_stubs, e.change_predictions, e.drop_cells, e.add_cells)
"""What an earlier version had in other words, lacked, or had besides."""


def without_outputs(path) -> dict:
    """A chapter whose outputs take no time to read."""
    notebook = parse(path.read_bytes())
    for cell in notebook["cells"]:
        if "outputs" in cell:
            cell["outputs"] = cell["outputs"] and [{"output_type": "stream", "name": "stdout", "text": ["published"]}]
    return notebook


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    """Chapter 00 without its pictures."""
    path = tmp_path_factory.mktemp("chapter") / CHAPTER.name
    path.write_bytes(dump(without_outputs(CHAPTER)))
    return path


@pytest.mark.parametrize("path", CHAPTERS, ids=lambda path: path.stem)
def test_every_committed_cell_certifies_itself(path):
    assert all(map(is_published, parse(path.read_bytes())["cells"]))


def test_there_are_at_least_20_cases():
    assert len(CASES) >= 20


@pytest.mark.parametrize("name", CASES)
def test_no_case_loses_anything(name, small, memory):
    found = trial.try_case(CASES[name], small, memory)
    assert (found.lost_lines, found.lost_answers, found.wrong) == ([], [], [])
    if CASES[name].learner is not e.leave:
        assert found.lines > 0


@pytest.mark.parametrize("path", CHAPTERS, ids=lambda path: path.stem)
def test_an_untouched_copy_of_an_earlier_version_becomes_the_committed_chapter(path, memory):
    book, now = Workbook(memory / "workbook", memory), parse(path.read_bytes())
    earlier = copy.deepcopy(now)
    EARLIER(earlier, Random(1))
    place = memory / path.name
    place.write_bytes(dump(e.published(earlier)))
    update(book=book)
    place.write_bytes(path.read_bytes())
    update(book=book)
    assert parse(book.copy(path.stem).read_bytes())["cells"] == now["cells"]


@pytest.mark.parametrize("path", CHAPTERS, ids=lambda path: path.stem)
def test_answers_to_an_earlier_version_are_carried_into_the_committed_chapter(path, memory):
    now = without_outputs(path)
    earlier = copy.deepcopy(now)
    EARLIER(earlier, Random(2))
    chapter = memory / path.name
    chapter.write_bytes(dump(e.published(earlier)))

    def becomes_the_committed_one(notebook, rng):
        notebook["cells"] = copy.deepcopy(now["cells"])

    (memory / "trial").mkdir()
    case = trial.Case(e.all_of(WORKED, e.edit_text, e.edit_code), becomes_the_committed_one)
    found = trial.try_case(case, chapter, memory / "trial")
    assert (found.lost_lines, found.lost_answers, found.wrong) == ([], [], [])
    assert found.answers >= 2
