"""The named cases: what a learner has done, what an author has done since, and what has happened to the files."""

from __future__ import annotations

import json
import re
from pathlib import Path

from course_lib.workbook import Workbook, update
from course_lib.workbook.notebook import dump, parse
from workbook_trial import edits as e
from workbook_trial.trial import Case, Damage

WORKED = e.all_of(e.answer, e.predict, e.add_notes)
"""A chapter that was worked through: answers, predictions, notes."""


def on_copy(change) -> Damage:
    """Damage that changes the bytes of the copy."""

    def damage(book: Workbook, name: str) -> None:
        path = book.copy(name)
        path.write_bytes(change(path.read_bytes()))

    return damage


def cut(content: bytes) -> bytes:
    """A save that ended after three quarters."""
    return content[: len(content) * 3 // 4]


def with_nul(content: bytes) -> bytes:
    """Blocks of zeros, as a crashed disk leaves them."""
    middle = content.index(b"\n", len(content) // 2)
    return content[:middle] + bytes(4096) + content[middle:] + bytes(4096)


def with_conflict(content: bytes) -> bytes:
    """What git leaves where both sides changed a cell's lines."""
    sources = list(re.finditer(rb'\n   "source": \[\n((?:    .*\n)+)   \]', content))
    for found in reversed(sources[::5]):
        both = b"<<<<<<< HEAD\n" + found[1] + b'=======\n    "theirs = 0\\n"\n>>>>>>> origin/main\n'
        content = content[: found.start(1)] + both + content[found.end(1) :]
    return content


def as_program(content: bytes) -> bytes:
    """Only the code, saved as text over the notebook."""
    cells = parse(content)["cells"]
    return "\n\n\n".join(e.source(cell) for cell in cells if cell["cell_type"] == "code").encode()


def with_other_lines(content: bytes) -> bytes:
    """Line ends of Windows, in the file and in every source."""
    notebook = json.loads(content)
    for cell in notebook["cells"]:
        cell["source"] = e.source(cell).replace("\n", "\r\n")
    return json.dumps(notebook, indent=1).replace("\n", "\r\n").encode()


def saved_again(content: bytes) -> bytes:
    """JupyterLab has rewritten counters, metadata and outputs' pieces."""
    notebook = json.loads(content)
    notebook["metadata"] |= {"widgets": {}, "kernelspec": {"display_name": "Mine", "name": "mine"}}
    for number, cell in enumerate(notebook["cells"]):
        cell["metadata"] |= {"execution": {"iopub.execute_input": "2026-01-01"}, "collapsed": True}
        if cell["cell_type"] == "code":
            cell["execution_count"] = 1000 - number
    return json.dumps(notebook, indent=1).encode()


def without_base(book: Workbook, name: str) -> None:
    """The folder with the bases was deleted."""
    for path in book.bases.iterdir():
        path.unlink()


def broken_base(book: Workbook, name: str) -> None:
    """The bases are not what was written."""
    for path in book.bases.iterdir():
        path.write_text(path.read_text(encoding="utf-8").replace("e", "a", 50), encoding="utf-8")


def stale_save(book: Workbook, name: str) -> None:
    """The chapter changes, the copy is updated, and JupyterLab then saves the version that it held in memory."""
    chapter, held = book.notebooks / f"{name}.ipynb", book.copy(name).read_bytes()
    notebook = parse(chapter.read_bytes())
    notebook["cells"].insert(3, e.new_cell("markdown", "A text that the stale version lacks."))
    chapter.write_bytes(dump(e.published(notebook)))
    update(book=book)
    book.copy(name).write_bytes(held)


def three_times(book: Workbook, name: str) -> None:
    """Three versions of the chapter come and go."""
    chapter = book.notebooks / f"{name}.ipynb"
    for number in range(3):
        notebook = parse(chapter.read_bytes())
        for cell in e.of_kind(notebook, "exercise"):
            cell["source"] = f"# Version {number}.\n{e.source(cell)}"
        chapter.write_bytes(dump(e.published(notebook)))
        update(book=book)


def elsewhere(book: Workbook, name: str) -> None:
    """The copy is a link to a file in another folder."""
    path = book.folder / f"{name}.ipynb"
    other = Path(path.rename(book.folder.parent / "elsewhere.ipynb"))
    path.symlink_to(other)


CASES: dict[str, Case] = {
    "answered; texts change": Case(WORKED, e.reword),
    "answered; code and outputs change": Case(WORKED, e.change_code),
    "answered; cells are added": Case(WORKED, e.add_cells),
    "answered; cells are dropped": Case(WORKED, e.drop_cells),
    "answered; the stubs change": Case(WORKED, e.change_stubs),
    "answered; the signatures change": Case(WORKED, e.change_signatures),
    "answered; the functions get other names": Case(WORKED, e.rename_asked),
    "answered; the exercises get other numbers": Case(WORKED, e.renumber),
    "answered; exercises are dropped": Case(WORKED, e.drop_exercises),
    "answered; exercises move": Case(WORKED, e.move_exercises),
    "answered; numbers, names and places change": Case(WORKED, e.all_of(e.renumber, e.rename_asked, e.move_exercises)),
    "answered; the predictions are asked anew": Case(WORKED, e.change_predictions),
    "answered; everything is written anew": Case(WORKED, e.rewrite),
    "answered; nothing changes": Case(WORKED, e.leave),
    "functions renamed by the learner; the stubs change": Case(e.rename_function, e.change_stubs),
    "answers split over two cells; the stubs change": Case(e.split_answer, e.change_stubs),
    "answers in cells of the learner's own; the stubs change": Case(e.paste_answer, e.change_stubs),
    "texts edited; the same change": Case(e.edit_text, e.reword),
    "texts edited; cells are dropped": Case(e.edit_text, e.drop_cells),
    "code edited; the same changes": Case(e.edit_code, e.change_code),
    "code edited; cells are dropped": Case(e.edit_code, e.drop_cells),
    "cells deleted; texts change": Case(e.all_of(WORKED, e.delete_cells), e.reword),
    "cells deleted; nothing changes there": Case(e.all_of(WORKED, e.delete_cells), e.change_stubs),
    "cells moved; texts change": Case(e.all_of(WORKED, e.move_cells), e.reword),
    "cells moved; exercises move": Case(e.all_of(WORKED, e.move_cells), e.move_exercises),
    "cells twice; code changes": Case(e.all_of(WORKED, e.duplicate_cells), e.change_code),
    "code made text; code changes": Case(e.all_of(WORKED, e.change_kind), e.change_code),
    "cells emptied; texts change": Case(e.all_of(WORKED, e.blank_cells), e.reword),
    "odd letters; texts change": Case(e.all_of(WORKED, e.odd_letters), e.reword),
    "ids lost; texts change": Case(e.all_of(WORKED, e.edit_text, e.drop_ids), e.reword, ids=False),
    "ids lost; the stubs change": Case(e.all_of(WORKED, e.drop_ids), e.change_stubs, ids=False),
    "ids replaced; everything changes": Case(
        e.all_of(WORKED, e.new_ids), e.all_of(e.reword, e.change_code, e.renumber), ids=False
    ),
    "the base is missing; texts and stubs change": Case(WORKED, e.all_of(e.reword, e.change_stubs), without_base),
    "the base is broken; texts and stubs change": Case(WORKED, e.all_of(e.reword, e.change_stubs), broken_base),
    "the base is missing and ids are lost": Case(e.all_of(WORKED, e.drop_ids), e.reword, without_base, ids=False),
    "an old version was saved over the new": Case(WORKED, e.all_of(e.reword, e.change_stubs), stale_save),
    "three updates before": Case(WORKED, e.change_stubs, three_times),
    "the copy is a link": Case(WORKED, e.reword, elsewhere),
    "saved again by JupyterLab; texts change": Case(WORKED, e.reword, on_copy(saved_again)),
    "line ends of Windows; texts change": Case(WORKED, e.reword, on_copy(with_other_lines)),
    "a save cut short": Case(WORKED, e.reword, on_copy(cut)),
    "zeros in the file": Case(WORKED, e.reword, on_copy(with_nul)),
    "conflict markers of git": Case(WORKED, e.reword, on_copy(with_conflict)),
    "no notebook but a program": Case(e.answer, e.reword, on_copy(as_program), ids=False),
    "the chapter gets another name": Case(WORKED, e.reword, rename=True),
    "answers typed into the chapter itself": Case(WORKED, e.reword, first=True),
    "answers typed into the chapter itself; the stubs change": Case(WORKED, e.change_stubs, first=True),
}
