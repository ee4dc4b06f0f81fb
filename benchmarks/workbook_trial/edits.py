"""Edits of a notebook, by a learner in the copy and by an author in the chapter.

Each is edit(notebook, rng): it changes the dict in place, at places that rng chooses. What a learner types carries a
word that stands nowhere else ("mine" and a number), so that every line of theirs can be followed.
"""

from __future__ import annotations

import itertools
import re
import uuid
from collections.abc import Callable, Iterator
from random import Random
from typing import Any

from course_lib.workbook.cells import CALL, digest_id, text

Raw = dict[str, Any]
Edit = Callable[[Raw, Random], None]
_NUMBERS = itertools.count()


def word() -> str:
    """A word that was typed nowhere before."""
    return f"mine{next(_NUMBERS)}"


def source(cell: Raw) -> str:
    """The cell's text."""
    return text(cell["source"])


def new_cell(kind: str, content: str) -> Raw:
    """A cell as JupyterLab adds it, with a random id."""
    cell = {"cell_type": kind, "id": str(uuid.uuid4()), "metadata": {}, "source": content}
    return {**cell, "outputs": [], "execution_count": None} if kind == "code" else cell


def published(notebook: Raw) -> Raw:
    """The notebook as publishing would write it: each id is the digest of kind and source."""
    seen: dict[str, int] = {}
    for cell in notebook["cells"]:
        digest = digest_id(cell["cell_type"], source(cell))
        seen[digest] = seen.get(digest, 0) + 1
        cell["id"] = digest if seen[digest] == 1 else f"{digest}-{seen[digest]}"
    return notebook


def of_kind(notebook: Raw, kind: str) -> list[Raw]:
    """Text cells, code cells that ask nothing, or "exercise" and "prediction" cells that are not empty."""
    found = [cell for cell in notebook["cells"] if source(cell).strip()]
    calls = {id(cell): CALL.search(source(cell)) if cell["cell_type"] == "code" else None for cell in found}
    if kind in ("markdown", "code"):
        return [cell for cell in found if cell["cell_type"] == kind and not calls[id(cell)]]
    wanted = "check" if kind == "exercise" else "predict"
    return [cell for cell in found if (call := calls[id(cell)]) and call[1] == wanted]


def some(cells: list[Raw], rng: Random, share: float = 0.3) -> list[Raw]:
    """At least one of the cells, if there is one, in their order."""
    count = min(len(cells), max(1, round(share * len(cells))))
    chosen = set(map(id, rng.sample(cells, count)))
    return [cell for cell in cells if id(cell) in chosen]


# By the learner.


def answer(notebook: Raw, rng: Random) -> None:
    """Every exercise gets three lines in place of its dots."""
    for cell in of_kind(notebook, "exercise"):
        cell["source"] = answered(source(cell))
        cell["outputs"], cell["execution_count"] = [{"output_type": "stream", "name": "stdout", "text": word()}], 7


def answered(stub: str) -> str:
    """A stub with three lines of an answer."""
    lines = stub.split("\n")
    dots = [n for n, line in enumerate(lines) if line.strip() in ("...", "pass") or "NotImplementedError" in line]
    call = next((n for n, line in enumerate(lines) if CALL.search(line)), len(lines))
    place = dots[0] if dots else call
    body = [f"    {name} = {n}" for n, name in enumerate(word() for _ in range(2))] + [f"    return {word()}"]
    return "\n".join([*lines[:place], *body, *lines[place + len(dots[:1]) :]])


def predict(notebook: Raw, rng: Random) -> None:
    """Every prediction is given."""
    for cell in of_kind(notebook, "prediction"):
        cell["source"] = re.sub(r"(?<=[=,]) *None", lambda _: f' "{word()}"', source(cell))


def rename_function(notebook: Raw, rng: Random) -> None:
    """Answers, under names of the learner's own."""
    answer(notebook, rng)
    for cell in of_kind(notebook, "exercise"):
        if name := re.search(r"^def (\w+)", source(cell), re.MULTILINE):
            cell["source"] = re.sub(rf"\b{name[1]}\b", f"my_{name[1]}_{word()}", source(cell))


def split_answer(notebook: Raw, rng: Random) -> None:
    """Answers; the check goes to a cell of its own."""
    answer(notebook, rng)
    for cell in of_kind(notebook, "exercise"):
        own, call = source(cell), CALL.search(source(cell))
        assert call is not None
        cell["source"] = own[: call.start()].rstrip("\n")
        place = next(n for n, other in enumerate(notebook["cells"]) if other is cell)
        notebook["cells"].insert(place + 1, new_cell("code", f"{own[call.start() :]}  # {word()}"))


def paste_answer(notebook: Raw, rng: Random) -> None:
    """The answer is typed into a cell of the learner's own, the exercise's cell deleted."""
    answer(notebook, rng)
    for cell in of_kind(notebook, "exercise"):
        place = next(n for n, other in enumerate(notebook["cells"]) if other is cell)
        notebook["cells"][place] = new_cell("code", source(cell))


def add_notes(notebook: Raw, rng: Random) -> None:
    """Notes and experiments between the cells, also at the very top and bottom."""
    places = rng.sample(range(len(notebook["cells"]) + 1), 3)
    for place in [*sorted(places, reverse=True), 0]:
        notebook["cells"].insert(place, new_cell("markdown", f"My note: {word()}.\n\n![x](attachment:{word()}.png)"))
        notebook["cells"].insert(place, new_cell("code", f"{word()} = 1\nprint({word()!r})"))
    notebook["cells"].append(new_cell("raw", word()))


def edit_text(notebook: Raw, rng: Random) -> None:
    """A line of the learner's in some of the chapter's texts."""
    for cell in some(of_kind(notebook, "markdown"), rng):
        cell["source"] = f"{source(cell)}\n\nI think: {word()}"


def edit_code(notebook: Raw, rng: Random) -> None:
    """A line of the learner's in some of the chapter's code."""
    for cell in some(of_kind(notebook, "code"), rng):
        cell["source"] = f"{source(cell)}\nprint({word()!r})"


def delete_cells(notebook: Raw, rng: Random) -> None:
    """Some texts and some code are deleted."""
    gone = set(map(id, [*some(of_kind(notebook, "markdown"), rng), *some(of_kind(notebook, "code"), rng)]))
    notebook["cells"] = [cell for cell in notebook["cells"] if id(cell) not in gone]


def move_cells(notebook: Raw, rng: Random) -> None:
    """Three cells go elsewhere."""
    for _ in range(3):
        cell = notebook["cells"].pop(rng.randrange(len(notebook["cells"])))
        notebook["cells"].insert(rng.randrange(len(notebook["cells"]) + 1), cell)


def duplicate_cells(notebook: Raw, rng: Random) -> None:
    """Some cells twice, as other tools do it: with the same id."""
    for cell in some(of_kind(notebook, "code"), rng, 0.1):
        place = next(n for n, other in enumerate(notebook["cells"]) if other is cell)
        notebook["cells"].insert(place, {**cell, "source": f"{source(cell)}\n# {word()}"})


def change_kind(notebook: Raw, rng: Random) -> None:
    """Some code becomes text, so that it is not run."""
    for cell in some(of_kind(notebook, "code"), rng, 0.1):
        cell["cell_type"], cell["source"] = "markdown", f"{source(cell)}\n{word()}"


def blank_cells(notebook: Raw, rng: Random) -> None:
    """Some cells are emptied and left standing."""
    for cell in some(of_kind(notebook, "markdown"), rng, 0.1):
        cell["source"] = ""


def drop_ids(notebook: Raw, rng: Random) -> None:
    """A tool of nbformat 4.4 has saved the file."""
    notebook["nbformat_minor"] = 4
    for cell in notebook["cells"]:
        cell.pop("id", None)


def new_ids(notebook: Raw, rng: Random) -> None:
    """A tool has given each cell an id of its own, of eight hexadecimal digits as nbformat does."""
    for cell in notebook["cells"]:
        cell["id"] = f"{rng.randrange(16**8):08x}"


def odd_letters(notebook: Raw, rng: Random) -> None:
    """Letters that files stumble over."""
    content = f"# {word()} 標識 \U0001f600 \ud800 \x0c \u2028 " + "x" * 10_000
    notebook["cells"].insert(2, new_cell("code", content))


# By an author.


def reword(notebook: Raw, rng: Random) -> None:
    """Some texts change in a few words."""
    for cell in some(of_kind(notebook, "markdown"), rng):
        cell["source"] = f"{source(cell)} Said again, {rng.random()}."


def change_code(notebook: Raw, rng: Random) -> None:
    """Some code changes, with its outputs."""
    for cell in some(of_kind(notebook, "code"), rng):
        cell["source"] = f"{source(cell)}\nprint({rng.random()})"
        cell["outputs"] = [{"output_type": "stream", "name": "stdout", "text": [f"{rng.random()}\n"]}]


def change_stubs(notebook: Raw, rng: Random) -> None:
    """Every exercise says more in its first line of code."""
    for cell in of_kind(notebook, "exercise"):
        cell["source"] = f"# Read the text above twice, {rng.random()}.\n{source(cell)}"


def change_signatures(notebook: Raw, rng: Random) -> None:
    """Every function asked for takes one more argument."""
    for cell in of_kind(notebook, "exercise"):
        cell["source"] = re.sub(r"^def (\w+)\(", r"def \1(more, ", source(cell), flags=re.MULTILINE)


def rename_asked(notebook: Raw, rng: Random) -> None:
    """Every function asked for gets another name."""
    for cell in of_kind(notebook, "exercise"):
        if name := re.search(r"^def (\w+)", source(cell), re.MULTILINE):
            cell["source"] = re.sub(rf"\b{name[1]}\b", f"{name[1]}_renamed", source(cell))


def renumber(notebook: Raw, rng: Random) -> None:
    """A new first exercise; all others get the next number."""
    found = of_kind(notebook, "exercise")
    for cell in found:
        cell["source"] = re.sub(r'check\("(\d\d)\.(\d+)"', lambda m: f'check("{m[1]}.{int(m[2]) + 1}"', source(cell))
    if found and (first := CALL.search(source(found[0]))):
        stub = f'def newly_asked():\n    """Your turn."""\n    ...\n\n\ncheck("{first[2][:2]}.1", newly_asked)'
        place = next(n for n, cell in enumerate(notebook["cells"]) if cell is found[0])
        notebook["cells"].insert(place, new_cell("code", stub))


def drop_exercises(notebook: Raw, rng: Random) -> None:
    """Half of the exercises go."""
    gone = set(map(id, some(of_kind(notebook, "exercise"), rng, 0.5)))
    notebook["cells"] = [cell for cell in notebook["cells"] if id(cell) not in gone]


def move_exercises(notebook: Raw, rng: Random) -> None:
    """All exercises go to the end."""
    last = of_kind(notebook, "exercise")
    moved = set(map(id, last))
    notebook["cells"] = [cell for cell in notebook["cells"] if id(cell) not in moved] + last


def change_predictions(notebook: Raw, rng: Random) -> None:
    """The question's cell is written differently."""
    for cell in of_kind(notebook, "prediction"):
        cell["source"] = f"# Guess now, {rng.random()}.\n{source(cell)}"


def add_cells(notebook: Raw, rng: Random) -> None:
    """New texts and code between the cells."""
    for place in sorted(rng.sample(range(1, len(notebook["cells"])), 4), reverse=True):
        kind = rng.choice(["markdown", "code"])
        notebook["cells"].insert(place, new_cell(kind, f"new_{kind} = {rng.random()}"))


def drop_cells(notebook: Raw, rng: Random) -> None:
    """Some texts and some code go."""
    delete_cells(notebook, rng)


def rewrite(notebook: Raw, rng: Random) -> None:
    """Nothing of the old chapter is left."""
    count = len(notebook["cells"])
    notebook["cells"] = [new_cell(rng.choice(["markdown", "code"]), f"word_{n}_{rng.random()}") for n in range(count)]


def leave(notebook: Raw, rng: Random) -> None:
    """Nothing is done."""


def all_of(*edits: Edit) -> Edit:
    """The edits one after another."""

    def edit(notebook: Raw, rng: Random) -> None:
        for one in edits:
            one(notebook, rng)

    return edit


def lines(content: str) -> Iterator[str]:
    """The lines of a text that hold anything."""
    return (line for line in content.split("\n") if line.strip())
