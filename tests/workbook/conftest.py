"""What the tests of the workbook share: a small chapter, and the edits of the benchmark's trial."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from workbook_trial import edits

from course_lib.workbook import Workbook, update
from course_lib.workbook.notebook import dump, parse

TEXTS = {
    "title": "# 04 · A chapter\n\nWhat does it say?",
    "task": "**Your turn.** Count the bits of a message, and say which of them were too many.",
    "end": "## Recap\n\nNothing was learned here, but it was learned well.",
}
STUB = 'def price(p, q):\n    """Bits of p in the code of q."""\n    ...\n\n\ncheck("04.1", price)'
GUESS = 'guess = None\npredict("04.p", guess, sure=None)'
CODE = "numbers = [1, 2, 3]\nprint(sum(numbers))"


def cell(kind: str, source: str) -> dict[str, Any]:
    """A cell of the chapter; code has shown something."""
    shown = {"outputs": [stream("published")], "execution_count": 1} if kind == "code" else {}
    return {"cell_type": kind, "metadata": {}, "source": source, **shown}


def stream(text: str) -> dict[str, Any]:
    """What a cell has printed."""
    return {"output_type": "stream", "name": "stdout", "text": [text]}


class Bench:
    """A chapter and its copy in folders of their own.

    Args: folder: an empty folder.
    """

    name = "04_chapter"

    def __init__(self, folder: Path):
        self.book = Workbook(folder / "workbook", folder / "notebooks")
        self.book.notebooks.mkdir(parents=True)
        cells = [
            cell("markdown", TEXTS["title"]), cell("code", GUESS), cell("code", CODE), cell("markdown", TEXTS["task"]),
            cell("code", STUB), cell("markdown", TEXTS["end"]),
        ]  # fmt: skip
        self.chapter = {
            "cells": cells,
            "metadata": {"kernelspec": {"display_name": "Python 3", "name": "python3"}},
            "nbformat": 4,
        }
        self.publish()

    @property
    def path(self) -> Path:
        """The copy."""
        return self.book.folder / f"{self.name}.ipynb"

    def publish(self) -> None:
        """Write the chapter with the ids that publishing gives."""
        (self.book.notebooks / f"{self.name}.ipynb").write_bytes(dump(edits.published(self.chapter)))

    def author(self, old: str, new: str | None) -> None:
        """Another text for one cell of the chapter, or none."""
        place = self.sources(self.chapter).index(old)
        if new is None:
            del self.chapter["cells"][place]
        else:
            self.chapter["cells"][place] |= {"source": new}
            if "outputs" in self.chapter["cells"][place]:
                self.chapter["cells"][place]["outputs"] = [stream("published anew")]
        self.publish()

    def update(self):
        """Bring the copy up to date; what changed, or None."""
        return next(iter(update(book=self.book)), None)

    def copy(self) -> dict[str, Any]:
        """The copy's notebook."""
        return parse(self.path.read_bytes())

    def save(self, notebook: dict[str, Any]) -> None:
        """Save the copy as a learner's JupyterLab does."""
        self.path.write_bytes(dump(notebook))

    def type(self, old: str, new: str) -> None:
        """The learner changes one cell's text and runs it."""
        notebook = self.copy()
        own = notebook["cells"][self.sources(notebook).index(old)]
        own["source"] = new
        if own["cell_type"] == "code":
            own["outputs"], own["execution_count"] = [stream("mine")], 12
        self.save(notebook)

    def sources(self, notebook: dict[str, Any] | None = None) -> list[str]:
        """The copy's sources, or another notebook's."""
        return [edits.source(one) for one in (notebook or self.copy())["cells"]]


@pytest.fixture
def bench(tmp_path) -> Bench:
    """A chapter of six cells whose copy was made."""
    made = Bench(tmp_path)
    made.update()
    return made


@pytest.fixture
def memory(tmp_path) -> Iterator[Path]:
    """A folder in memory where there is one: hundreds of small files take a minute on a busy disk."""
    place = Path("/dev/shm")
    if not os.access(place, os.W_OK):
        yield tmp_path
        return
    with tempfile.TemporaryDirectory(dir=place) as folder:
        yield Path(folder)
