"""The benchmark of the workbook counts what is lost, and a loss that is planted is counted."""

from __future__ import annotations

from collections import Counter

import pytest

from course_lib.measure import load_result
from course_lib.storage.files import RESULTS
from course_lib.workbook import chapters as update_module
from course_lib.workbook.merge import Merged


@pytest.fixture
def bench(load_script, monkeypatch):
    made = load_script("benchmarks/workbook.py")
    few = ["answered; texts change", "texts edited; the same change", "a save cut short"]
    monkeypatch.setattr(made, "CASES", {name: made.CASES[name] for name in few})
    monkeypatch.setattr(made, "REPEATS", 1)
    return made


def test_figures_of_one_chapter(bench):
    found = bench.figures(bench.chapters(["00"]))
    lost = ("lines_lost", "answers_lost", "chapter_cells_wrong")
    assert [found[name].value for name in lost] == [0, 0, 0]
    assert found["updates"].value == 3
    assert found["lines_typed"].value > 50
    control = found["answers_lost_by_overwriting"]
    assert control.value == control.n == 3
    assert 0 < found["seconds_up_to_date"].value <= found["seconds_all_changed"].value * 2


@pytest.mark.parametrize("planted", ["overwritten", "added cells dropped", "the chapter's cells twice"])
def test_a_planted_loss_is_counted(bench, monkeypatch, planted, capsys):
    merge = update_module.merge

    def losing(base, ours, theirs):
        cells = merge(base, ours, theirs).cells
        published = [cell["id"] for cell in theirs]
        return {
            "overwritten": Merged(list(theirs), Counter()),
            "added cells dropped": Merged([cell for cell in cells if cell.get("id") in published], Counter()),
            "the chapter's cells twice": Merged([*cells, *theirs], Counter()),
        }[planted]

    monkeypatch.setattr(update_module, "merge", losing)
    found = bench.all_cases(bench.chapters(["00"]))
    assert found["lost_lines"] > 0 or planted == "the chapter's cells twice"
    assert (found["lost_answers"] > 0) == (planted == "overwritten")
    assert (found["wrong"] > 0) == (planted == "the chapter's cells twice")
    assert "LOST OR WRONG" in capsys.readouterr().out


@pytest.mark.skipif(not (RESULTS / "workbook.json").exists(), reason="not recorded yet")
def test_the_record_says_that_nothing_was_lost():
    figures = load_result("workbook")["figures"]
    assert figures["update_cases"].value >= 20
    assert figures["answers_lost"].value == figures["lines_lost"].value == 0
    assert figures["answers_lost_by_overwriting"].value == figures["answers_lost_by_overwriting"].n > 0
