"""Each line of the merge's table, on a chapter of six cells, through the files as a learner has them."""

from __future__ import annotations

import json

import pytest
from nbformat import v4

from course_lib.workbook.cells import digest_id, is_published
from course_lib.workbook.marks import CHANGED, KEPT_CODE, KEPT_TEXT
from course_lib.workbook.notebook import dump, parse

TITLE, GUESS, CODE, TASK, STUB, END = range(6)
ANSWER = 'def price(p, q):\n    """Bits of p in the code of q."""\n    return p @ q.log2()\n\n\ncheck("04.1", price)'


@pytest.fixture
def old(bench) -> list[str]:
    """The chapter's six texts."""
    return bench.sources()


def test_the_first_copy_is_the_chapter_with_its_outputs_and_the_name_of_its_base(bench):
    copy = bench.copy()
    course = copy["metadata"].pop("course")
    assert list(course) == ["workbook"]
    assert copy["cells"] == parse(dump(bench.chapter))["cells"]
    assert copy["metadata"] == bench.chapter["metadata"]
    assert all(map(is_published, copy["cells"]))


def test_an_untouched_copy_becomes_the_new_chapter(bench, old):
    bench.author(old[CODE], "print('other')")
    bench.author(old[TASK], None)
    assert bench.update().what == "updated"
    assert bench.copy()["cells"] == parse(dump(bench.chapter))["cells"]


def test_an_answer_stays_with_its_outputs_while_the_text_around_it_changes(bench, old):
    bench.type(old[STUB], ANSWER)
    bench.author(old[TASK], "**Your turn.** Count the bits of a long message, and say which were too many.")
    bench.update()
    answer = bench.copy()["cells"][STUB]
    assert bench.sources() == [*old[:TASK], bench.sources(bench.chapter)[TASK], ANSWER, old[END]]
    assert (answer["outputs"][0]["text"], answer["execution_count"]) == (["mine"], 12)


def test_a_changed_exercise_is_shown_above_the_answer_which_stays_as_it_was_written(bench, old):
    bench.type(old[STUB], ANSWER)
    new = old[STUB].replace("p, q", "p, q, base").replace("Bits", "Units")
    bench.author(old[STUB], new)
    bench.update()
    note, answer = bench.copy()["cells"][STUB : STUB + 2]
    assert note["cell_type"] == "markdown"
    assert bench.sources()[STUB] == f"{CHANGED}\n\n```python\n{new}\n```"
    assert (bench.sources()[STUB + 1], answer["id"]) == (ANSWER, digest_id("code", new))


def test_a_second_change_of_an_exercise_replaces_the_note_unless_the_learner_typed_into_it(bench, old):
    bench.type(old[STUB], ANSWER)
    bench.author(old[STUB], f"# One.\n{old[STUB]}")
    bench.update()
    bench.author(f"# One.\n{old[STUB]}", f"# Two.\n{old[STUB]}")
    bench.update()
    assert [source for source in bench.sources() if CHANGED in source] == [bench.sources()[STUB]]
    assert "# Two." in bench.sources()[STUB]
    bench.type(bench.sources()[STUB], f"{bench.sources()[STUB]}\nI shall look at this tomorrow.")
    bench.author(f"# Two.\n{old[STUB]}", f"# Three.\n{old[STUB]}")
    bench.update()
    notes = [source for source in bench.sources() if CHANGED in source]
    assert ["tomorrow" in note for note in notes] == [True, False]


def test_an_update_without_changes_of_the_exercise_leaves_the_note(bench, old):
    bench.type(old[STUB], ANSWER)
    bench.author(old[STUB], f"# One.\n{old[STUB]}")
    bench.update()
    bench.author(old[CODE], "print(1)")
    bench.update()
    assert sum(CHANGED in source for source in bench.sources()) == 1


def test_an_exercise_that_only_gets_another_number_has_its_call_renewed_in_the_answer(bench, old):
    bench.type(old[STUB], ANSWER)
    bench.author(old[STUB], old[STUB].replace("04.1", "04.2"))
    bench.update()
    assert bench.sources()[STUB] == ANSWER.replace("04.1", "04.2")


def test_a_call_that_the_learner_changed_is_left_and_the_new_one_shown(bench, old):
    own = ANSWER.replace("price)", "my_price)")
    bench.type(old[STUB], own)
    bench.author(old[STUB], old[STUB].replace("04.1", "04.2"))
    bench.update()
    assert 'check("04.2", price)' in bench.sources()[STUB]
    assert bench.sources()[STUB + 1] == own


def test_numbers_that_change_places_are_found_by_the_functions(bench, old):
    second = old[STUB].replace("price", "surplus").replace("04.1", "04.2")
    bench.chapter["cells"].insert(STUB + 1, {**bench.chapter["cells"][STUB], "source": second})
    bench.publish()
    bench.update()
    bench.type(old[STUB], ANSWER)
    bench.type(second, ANSWER.replace("price", "surplus").replace("04.1", "04.2"))
    bench.author(old[STUB], old[STUB].replace("04.1", "04.2"))
    bench.author(second, second.replace("04.2", "04.1"))
    bench.update()
    assert bench.sources()[STUB] == ANSWER.replace("04.1", "04.2")
    assert bench.sources()[STUB + 1] == ANSWER.replace("price", "surplus")


def test_a_prediction_is_kept_in_place_when_it_is_asked_differently(bench, old):
    given = old[GUESS].replace("None", '"b"', 1)
    bench.type(old[GUESS], given)
    bench.author(old[GUESS], f"# In words.\n{old[GUESS]}")
    bench.update()
    assert bench.sources()[GUESS + 1] == given


def test_a_text_that_both_changed_is_the_chapters_with_the_learners_below(bench, old):
    bench.type(old[TASK], f"{old[TASK]}\n\nI do not understand this.")
    bench.author(old[TASK], f"{old[TASK]} Think first.")
    bench.update()
    assert bench.sources()[TASK] == f"{old[TASK]} Think first."
    assert bench.sources()[TASK + 1] == f"{KEPT_TEXT}{old[TASK]}\n\nI do not understand this."


def test_code_that_both_changed_is_the_chapters_with_the_learners_below_not_run(bench, old):
    bench.type(old[CODE], "numbers = [7]")
    bench.author(old[CODE], "numbers = [1, 2]")
    bench.update()
    new, own = bench.copy()["cells"][CODE : CODE + 2]
    assert (new["cell_type"], new["outputs"][0]["text"]) == ("code", ["published anew"])
    assert (own["cell_type"], bench.sources()[CODE + 1]) == ("raw", f"{KEPT_CODE}numbers = [7]")


def test_an_answer_to_an_exercise_that_is_gone_is_kept_where_it_was(bench, old):
    bench.type(old[STUB], ANSWER)
    bench.author(old[STUB], None)
    change = bench.update()
    assert bench.sources() == [*old[:STUB], KEPT_CODE + ANSWER, old[END]]
    assert "1 beside them, marked 'Yours, from the earlier version'" in str(change)


def test_cells_that_the_learner_added_stay_where_they_were_also_first_and_last(bench, old):
    notebook = bench.copy()
    for place, source in ((6, "last"), (4, "before the exercise"), (4, "and one more"), (0, "first")):
        notebook["cells"].insert(place, v4.new_markdown_cell(source))
    bench.save(notebook)
    bench.author(old[CODE], "print(1)")
    bench.update()
    new = bench.sources(bench.chapter)
    assert bench.sources() == ["first", *new[:4], "and one more", "before the exercise", *new[4:], "last"]


def test_a_note_below_a_dropped_cell_stays_between_its_neighbours(bench, old):
    notebook = bench.copy()
    notebook["cells"].insert(TASK + 1, v4.new_markdown_cell("note"))
    bench.save(notebook)
    bench.author(old[TASK], None)
    bench.update()
    assert bench.sources() == [*old[:TASK], "note", old[STUB], old[END]]


def test_a_note_below_a_reworded_cell_stays_below_it(bench, old):
    notebook = bench.copy()
    notebook["cells"].insert(TASK + 1, v4.new_markdown_cell("note"))
    bench.save(notebook)
    bench.author(old[TASK], f"{old[TASK]} Once more.")
    bench.update()
    assert bench.sources()[TASK : TASK + 2] == [f"{old[TASK]} Once more.", "note"]


def test_a_deleted_cell_stays_deleted_until_it_changes(bench, old):
    notebook = bench.copy()
    del notebook["cells"][TASK]
    bench.save(notebook)
    bench.author(old[CODE], "print(1)")
    bench.update()
    assert old[TASK] not in bench.sources()
    bench.author(old[TASK], f"{old[TASK]} It is new.")
    change = bench.update()
    assert bench.sources()[TASK] == f"{old[TASK]} It is new."
    assert "1 that you had deleted have changed and are back" in str(change)


def test_moved_cells_stay_where_the_learner_put_them_also_when_they_change(bench, old):
    notebook = bench.copy()
    notebook["cells"].insert(1, notebook["cells"].pop(END))
    bench.save(notebook)
    bench.author(old[END], f"{old[END]} Or not.")
    bench.author(old[CODE], "print(1)")
    bench.update()
    assert bench.sources() == [old[TITLE], f"{old[END]} Or not.", old[GUESS], "print(1)", old[TASK], old[STUB]]


def test_new_cells_come_where_the_chapter_has_them(bench, old):
    bench.type(old[STUB], ANSWER)
    for place in (6, 4, 1):
        bench.chapter["cells"].insert(place, {"cell_type": "markdown", "metadata": {}, "source": f"new {place}"})
    bench.publish()
    bench.update()
    assert bench.sources() == [old[0], "new 1", *old[1:4], "new 4", ANSWER, old[5], "new 6"]


def test_outputs_are_the_learners_where_they_ran_the_cell_and_the_chapters_where_it_changed(bench, old):
    notebook = bench.copy()
    for cell in notebook["cells"]:
        if cell["cell_type"] == "code":
            cell["outputs"], cell["execution_count"] = (
                [{"output_type": "stream", "name": "stdout", "text": ["mine"]}],
                9,
            )
    bench.save(notebook)
    bench.author(old[CODE], "print(1)")
    bench.update()
    shown = {source: cell.get("outputs") for source, cell in zip(bench.sources(), bench.copy()["cells"], strict=True)}
    assert shown[old[GUESS]][0]["text"] == ["mine"]
    assert shown["print(1)"][0]["text"] == ["published anew"]


def test_a_cell_that_was_never_run_shows_the_chapters_new_outputs(bench, old):
    bench.chapter["cells"][CODE]["outputs"][0]["text"] = ["another figure"]
    bench.publish()
    bench.update()
    assert bench.copy()["cells"][CODE]["outputs"][0]["text"] == ["another figure"]


def test_counters_time_stamps_and_widgets_count_for_nothing_and_the_kernel_is_the_learners(bench, old):
    notebook = bench.copy()
    notebook["metadata"] |= {"kernelspec": {"name": "mine"}, "widgets": {"state": {}}}
    for number, cell in enumerate(notebook["cells"]):
        cell["metadata"] = {"execution": {"shell.execute_reply": "now"}, "collapsed": True}
        if cell["cell_type"] == "code":
            cell["execution_count"] = number
    bench.save(notebook)
    assert bench.update() is None
    bench.author(old[CODE], f"{old[CODE]}\nprint(1)")
    bench.update()
    copy = bench.copy()
    assert bench.sources() == bench.sources(bench.chapter)
    assert copy["metadata"]["kernelspec"] == {"name": "mine"}
    assert copy["cells"][CODE]["metadata"] == {"collapsed": True}


def test_a_cell_that_the_learner_emptied_stays_empty_until_it_changes(bench, old):
    bench.type(old[TASK], "")
    bench.author(old[CODE], "print(1)")
    bench.update()
    assert bench.sources()[TASK] == ""
    bench.author(old[TASK], "It is new.")
    bench.update()
    assert bench.sources()[TASK] == "It is new."


def test_pictures_pasted_into_a_text_stay_with_it(bench, old):
    notebook = bench.copy()
    notebook["cells"][TASK]["source"] += "\n![mine](attachment:x.png)"
    notebook["cells"][TASK]["attachments"] = {"x.png": {"image/png": "aaaa"}}
    bench.save(notebook)
    bench.author(old[TASK], f"{old[TASK]} It is new.")
    bench.update()
    assert bench.copy()["cells"][TASK + 1]["attachments"] == {"x.png": {"image/png": "aaaa"}}


def test_a_stub_with_fences_of_its_own_is_shown_in_a_longer_one(bench, old):
    bench.type(old[STUB], ANSWER)
    bench.author(old[STUB], f"# ````\n{old[STUB]}")
    bench.update()
    assert bench.sources()[STUB].startswith(f"{CHANGED}\n\n`````python\n# ````\n")


def test_a_kept_cell_made_code_again_is_left_alone(bench, old):
    bench.type(old[STUB], ANSWER)
    bench.author(old[STUB], None)
    bench.update()
    notebook = bench.copy()
    notebook["cells"][STUB] |= {"cell_type": "code", "outputs": [], "execution_count": None}
    bench.save(notebook)
    bench.author(old[CODE], "print(1)")
    bench.update()
    assert bench.sources()[STUB] == KEPT_CODE + ANSWER
    assert bench.copy()["cells"][STUB]["cell_type"] == "code"


def test_the_copy_is_a_valid_notebook_in_jupyters_own_layout(bench, old):
    import nbformat

    bench.type(old[STUB], ANSWER)
    bench.type(old[CODE], "numbers = [7]")
    for place in (STUB, CODE):
        bench.author(old[place], f"# New.\n{old[place]}")
    bench.update()
    content = bench.path.read_text(encoding="utf-8")
    notebook = nbformat.reads(content, as_version=4)
    nbformat.validate(notebook)
    assert nbformat.writes(notebook) + "\n" == content
    assert json.loads(content)["nbformat_minor"] == 5


def test_what_jupyters_server_reads_and_saves_again_is_untouched(bench, old):
    from jupyter_server.services.contents.largefilemanager import LargeFileManager

    server = LargeFileManager(root_dir=str(bench.book.folder))
    model = server.get("04_chapter.ipynb", content=True)
    model["content"]["cells"].append(v4.new_code_cell("mine = 1"))
    server.save({"type": "notebook", "format": "json", "content": model["content"]}, "04_chapter.ipynb")
    assert bench.update() is None
    bench.author(old[CODE], "print(1)")
    bench.update()
    assert bench.sources() == [*bench.sources(bench.chapter), "mine = 1"]
    assert bench.copy()["cells"][:-1] == parse(dump(bench.chapter))["cells"]


def test_a_kept_cell_never_passes_for_the_chapters_cell_that_it_resembles(bench, old):
    own = f"{old[TASK]}\n\nI do not understand this."
    bench.type(old[TASK], own)
    bench.author(old[TASK], f"{old[TASK]} Think first.")
    bench.update()
    notebook = bench.copy()
    del notebook["cells"][TASK]
    bench.save(notebook)
    bench.author(f"{old[TASK]} Think first.", f"{old[TASK]} Think twice.")
    bench.update()
    assert f"{old[TASK]} Think twice." in bench.sources()
    assert bench.sources().count(KEPT_TEXT + own) == 1
    assert sum(KEPT_TEXT in source for source in bench.sources()) == 1
