"""Random scripts: whatever learners and authors do in turn, each line of theirs survives, and the chapter is right."""

from __future__ import annotations

import copy
from random import Random

import pytest
from workbook_trial import edits as e
from workbook_trial import trial

from course_lib.workbook.base import base_of, chapter_view, guessed
from course_lib.workbook.cells import cells_of
from course_lib.workbook.merge import merge
from course_lib.workbook.notebook import dump, parse

SCRIPTS, ROUNDS = 400, 3
LEARNER = (
    e.answer, e.predict, e.rename_function, e.split_answer, e.paste_answer, e.add_notes, e.edit_text, e.edit_code,
    e.delete_cells, e.move_cells, e.duplicate_cells, e.change_kind, e.blank_cells, e.odd_letters,
)  # fmt: skip
LOSES_IDS = (e.drop_ids, e.new_ids)
AUTHOR = (
    e.reword, e.change_code, e.change_stubs, e.change_signatures, e.rename_asked, e.renumber, e.drop_exercises,
    e.move_exercises, e.change_predictions, e.add_cells, e.drop_cells, e.rewrite, e.leave,
)  # fmt: skip


def small_chapter(rng: Random) -> dict:
    """A published chapter of about twenty cells, some of them equal."""
    cells = [e.new_cell("markdown", f"# 04 · Chapter {rng.random()}")]
    cells.append(e.new_cell("code", 'guess = None\npredict("04.p", guess, sure=None)'))
    for number in range(1, 4):
        cells += [
            e.new_cell("markdown", f"Idea {number}: {' '.join(rng.choices('abcdefgh', k=12))}.") for _ in range(2)
        ]
        cells += [e.new_cell("code", f"x = {rng.randrange(3)}"), e.new_cell("code", f"y_{number} = {rng.random()}")]
        name = f"asked_{number}"
        stub = f'def {name}(x):\n    """About {number} lines."""\n    ...\n\n\ncheck("04.{number}", {name})'
        cells.append(e.new_cell("code", stub))
    cells.append(e.new_cell("markdown", "## Recap"))
    return e.published({"cells": cells, "metadata": {}, "nbformat": 4, "nbformat_minor": 5})


def play(seed: int, learner: tuple, *, with_base: bool) -> list[str]:
    """Three rounds of edits by both and a merge; what was lost or wrong."""
    rng, found = Random(seed), []
    chapter = small_chapter(rng)
    own = copy.deepcopy(chapter)
    for _ in range(ROUNDS):
        e.all_of(*rng.choices(learner, k=rng.randrange(4)))(own, rng)
        own = parse(dump(own))
        before, chapter = chapter, copy.deepcopy(chapter)
        e.all_of(*rng.choices(AUTHOR, k=rng.randrange(1, 3)))(chapter, rng)
        e.published(chapter)
        view = chapter_view(chapter["cells"])
        base = base_of(chapter_view(before["cells"])) if with_base else guessed(cells_of(own["cells"]), view)
        result = parse(dump({**chapter, "cells": merge(base, own["cells"], chapter["cells"]).cells}))
        outcome = trial.compare(before, own, chapter, result, ids=with_base)
        found += outcome.lost_lines + outcome.lost_answers + outcome.wrong
        own = result
    return found


def test_cells_that_nobody_moved_stand_in_the_chapters_order():
    stays = [edit for edit in LEARNER if edit is not e.move_cells]
    for seed in range(100):
        rng = Random(seed)
        chapter = small_chapter(rng)
        own, new = copy.deepcopy(chapter), copy.deepcopy(chapter)
        e.all_of(*rng.choices(stays, k=3))(own, rng)
        e.all_of(*rng.choices(AUTHOR, k=2))(new, rng)
        e.published(new)
        cells = merge(base_of(chapter_view(chapter["cells"])), parse(dump(own))["cells"], new["cells"]).cells
        order = [cell["id"] for cell in new["cells"]]
        there = [cell["id"] for cell in cells if cell["id"] in order]
        assert there == sorted(there, key=order.index), seed


@pytest.mark.parametrize("part", range(4))
def test_no_script_loses_a_line_or_an_answer_or_spoils_the_chapter(part):
    assert {seed: found for seed in range(part, SCRIPTS, 4) if (found := play(seed, LEARNER, with_base=True))} == {}


def test_no_script_without_a_base_loses_a_line():
    seeds = range(SCRIPTS, SCRIPTS + 150)
    assert {seed: found for seed in seeds if (found := play(seed, LEARNER, with_base=False))} == {}


def test_no_script_loses_a_line_when_ids_are_lost_and_there_is_no_base():
    seeds = range(SCRIPTS + 150, SCRIPTS + 250)
    assert {seed: found for seed in seeds if (found := play(seed, LEARNER + LOSES_IDS, with_base=False))} == {}


def test_a_merge_made_twice_is_made_once():
    for seed in range(40):
        rng = Random(seed)
        chapter = small_chapter(rng)
        own, new = copy.deepcopy(chapter), copy.deepcopy(chapter)
        e.all_of(*rng.choices(LEARNER, k=3))(own, rng)
        e.all_of(*rng.choices(AUTHOR, k=2))(new, rng)
        e.published(new)
        own = parse(dump(own))
        merged = merge(base_of(chapter_view(chapter["cells"])), own["cells"], new["cells"])
        once = parse(dump({**new, "cells": merged.cells}))
        again = merge(base_of(chapter_view(new["cells"])), once["cells"], new["cells"]).cells
        assert parse(dump({**new, "cells": again}))["cells"] == once["cells"], seed
