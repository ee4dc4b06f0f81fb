"""Cells, matching, files and rescue, each alone."""

from __future__ import annotations

import json

import pytest
from workbook_trial import edits as e

from course_lib.publishing import notebooks as pipeline
from course_lib.workbook import base, rescue
from course_lib.workbook.cells import Cell, cells_of, is_published, outputs_digest
from course_lib.workbook.matching import match, unmoved
from course_lib.workbook.notebook import NotANotebook, dump, parse


def code(source: str, **more) -> dict:
    return {"cell_type": "code", "id": "", "metadata": {}, "source": source, **more}


def markdown(source: str, id: str = "") -> Cell:
    return Cell(id, "markdown", source)


def test_publishing_and_the_workbook_mean_the_same_id():
    twin, _ = pipeline.twins(["04"])[0]
    assert all(is_published(cell) for cell in pipeline.read_twin(twin).cells)


@pytest.mark.parametrize(
    ("source", "exercise", "name"),
    [
        ('check("04.1", price)', "04.1", "price"),
        ("check('04.1',price)", "04.1", "price"),
        ('display(predict("06.p1", best_guess, sure=None), predict("06.p2", other))', "06.p1", "best_guess"),
        ('check("04.1")', "04.1", ""),
        ('# check("04.1", price)', "", ""),
        ('x = 1  # check("04.1", price)', "", ""),
        ('recheck("04.1", price)', "", ""),
        ("check(id, price)", "", ""),
    ],
)
def test_a_cell_belongs_to_the_exercise_that_it_checks(source, exercise, name):
    (found,) = cells_of([code(source)])
    assert (found.exercise, found.name) == (exercise, name)


def test_a_function_belongs_to_the_exercise_that_is_checked_just_below():
    cells = [code("def price(p):\n    ..."), code("y = 1"), code('check("04.1", price)')]
    assert [cell.exercise for cell in cells_of(cells)] == ["04.1", "", "04.1"]
    assert cells_of([*cells[:2], code("z = 1"), code("w = 1"), cells[2]])[0].exercise == ""


def test_outputs_are_compared_without_counters_metadata_and_line_breaks():
    one = code("", outputs=[{"output_type": "stream", "name": "stdout", "text": "a\nb"}])
    two = code("", outputs=[{"output_type": "stream", "name": "stdout", "text": ["a\n", "b"], "metadata": {"x": 1}}])
    other = code("", outputs=[{"output_type": "stream", "name": "stdout", "text": "a\nc"}])
    assert outputs_digest(one) == outputs_digest(two) != outputs_digest(other)
    assert outputs_digest(code("", outputs=[])) == outputs_digest(code("")) == ""


def test_cells_are_paired_by_id_before_source_and_by_source_before_words():
    old = [markdown("one two three four", "a"), markdown("five six seven eight"), markdown("nine ten eleven twelve")]
    new = [
        markdown("five six seven eight"),
        markdown("entirely other words", "a"),
        markdown("nine ten eleven thirteen"),
    ]
    assert match(old, new) == {0: 1, 1: 0, 2: 2}


def test_the_most_similar_pair_is_taken_first_and_a_stranger_by_nobody():
    old = [markdown("a b c d"), markdown("a b c e")]
    assert match(old, [markdown("a b c e f")]) == {1: 0}
    assert match(old, [markdown("x y z")]) == {}
    assert match([], []) == {}


@pytest.mark.parametrize("order", [[], [0], [0, 1, 2], [2, 1, 0], [3, 0, 1, 2], [1, 0, 3, 2, 5, 4], [5, 1, 2, 9, 3, 4]])
def test_the_cells_that_stayed_are_a_longest_rising_row(order):
    import itertools

    rows = [row for n in range(len(order) + 1) for row in itertools.combinations(order, n) if list(row) == sorted(row)]
    kept = unmoved(order)
    assert len(kept) == max(map(len, rows))
    assert tuple(x for x in order if x in kept) in rows


def test_a_base_is_read_back_and_a_changed_one_refused(tmp_path):
    cells = cells_of([code("x = 1"), code('check("04.1", f)')])
    name = base.save(tmp_path, "04_chapter", cells)
    assert base.load(tmp_path, "04_chapter", name) == cells
    (path,) = tmp_path.iterdir()
    for old, new in (("x = 1", "x = 2"), ('"format": 1', '"format": 2'), ('"cells"', '"calls"'), ("{", "[")):
        content = path.read_text(encoding="utf-8")
        path.write_text(content.replace(old, new, 1), encoding="utf-8")
        assert base.load(tmp_path, "04_chapter", name) is None, new
        path.write_text(content, encoding="utf-8")
    assert base.load(tmp_path, "04_chapter", "0" * 64) is None


def test_ids_that_are_nobodys_digests_say_nothing():
    cells = [code(f"x = {n}", id=f"{n:08x}") for n in range(4)]
    assert [cell.source for cell in base.chapter_view(cells)] == [f"x = {n}" for n in range(4)]
    published = e.published({"cells": cells})["cells"]
    published[0]["source"] = "typed"
    assert [cell.source for cell in base.chapter_view(published)] == [None, "x = 1", "x = 2", "x = 3"]


def test_a_written_notebook_is_read_back_with_ids_that_differ():
    cells = [code("x = 1", id="same"), code("x = 2", id="same"), code("x = 3", id="not allowed!"), code("x = 4")]
    written = parse(dump({"cells": cells, "metadata": {}, "nbformat": 4, "nbformat_minor": 4}))
    assert written["nbformat_minor"] == 5
    assert [e.source(cell) for cell in written["cells"]] == [f"x = {n}" for n in range(1, 5)]
    assert len({cell["id"] for cell in written["cells"]}) == 4


def test_half_a_surrogate_pair_survives_being_written():
    odd = "x = '\ud800 \U0001f600 \u2028'"
    content = dump({"cells": [code(odd)], "metadata": {}, "nbformat": 4})
    assert e.source(parse(content)["cells"][0]) == odd


@pytest.mark.parametrize(
    "content", [b"\xff\xfe", b'{"cells": {}}', b'{"cells": [{"cell_type": "odd", "source": "x"}]}']
)
def test_what_is_no_notebook_is_refused(content):
    with pytest.raises(NotANotebook):
        parse(content)


def notebook(*sources: str) -> bytes:
    cells = [e.new_cell("code", source) for source in sources]
    return dump({"cells": cells, "metadata": {}, "nbformat": 4})


def test_every_cut_of_a_file_gives_the_cells_before_it():
    content = notebook("a = 1\nb = 2", 'print("\\n", \'"source": [\')', "é = '\\\\'")
    whole = [cell["source"] for cell in rescue.salvage(content)]
    assert whole == ["a = 1\nb = 2", 'print("\\n", \'"source": [\')', "é = '\\\\'"]
    for end in range(len(content)):
        found = [cell["source"] for cell in rescue.salvage(content[:end])]
        assert found[:-1] == whole[: max(0, len(found) - 1)]
        assert not found or whole[len(found) - 1].startswith(found[-1].rstrip("\ufffd"))


def test_both_sides_of_a_conflict_are_read_also_with_the_common_ancestor():
    lines = notebook("a = 1", "b = 2").decode().split("\n")
    place = next(n for n, line in enumerate(lines) if '"b = 2"' in line)
    for ancestor in ([], ["||||||| base", '    "b = 0"']):
        both = ["<<<<<<< HEAD", lines[place], *ancestor, "=======", '    "b = 3"', ">>>>>>> origin/main"]
        content = "\n".join([*lines[:place], *both, *lines[place + 1 :]]).encode()
        assert [cell["source"] for cell in rescue.salvage(content)] == ["a = 1", "b = 2", "b = 3"]


def test_functions_are_found_in_a_text_and_in_one_with_written_out_line_ends():
    program = (
        "import x\n\ndef price(p):\n    if p:\n\n        return 1\n    return 2\n\nclass Other:\n    y = 1\nz = 1\n"
    )
    expected = ["def price(p):\n    if p:\n\n        return 1\n    return 2", "class Other:\n    y = 1"]
    assert rescue.functions(program.encode(), ["price", "Other", "missing"]) == expected
    assert rescue.functions(json.dumps(program).encode(), ["price", "Other"]) == expected
