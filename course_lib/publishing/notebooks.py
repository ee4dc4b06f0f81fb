"""Make notebooks/NN_topic.ipynb from the text twin notebooks/text/NN_topic.py: execute, strip, compare, check, write.

    python -m course_lib.publishing.notebooks            all of them
    python -m course_lib.publishing.notebooks 01 02      those whose names start so
    python -m course_lib.publishing.notebooks --draft 01 execute once, into build/drafts: to look at, not to commit
    python -m course_lib.publishing.notebooks --check    execute nothing: is what is committed what the twins say?
    python -m course_lib.publishing.notebooks --text 01  execute nothing: take over what changed in text cells

The twin is what people edit and review (jupytext's py:percent; cell metadata such as tags=["nbval-ignore-output"]
stand in the cell's marker). The notebook is a product: its sources and tags come from the twin, its outputs from a run
of this Python from top to bottom, in the notebook's folder, as nbval runs it (``execution``). It is written only if
other processors and numbers of threads print the same (``settings``), and says in its metadata which ones did. What a
page must fulfil beyond that is the notebook contract (``contract``).
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import jupytext
import nbformat
from nbformat import NotebookNode

from course_lib.publishing.contract import contract_problems
from course_lib.publishing.execution import METADATA, ExecutionError, differences, execute, execute_beside
from course_lib.publishing.settings import AUTHOR, COMPARED, Setting
from course_lib.storage.files import ROOT, atomic_path
from course_lib.workbook.cells import digest_id

NOTEBOOKS, DRAFTS = ROOT / "notebooks", ROOT / "build" / "drafts"


def read_twin(path: Path) -> NotebookNode:
    """The twin as a notebook without outputs: stable cell ids, minimal metadata, only the cells' own metadata."""
    notebook = jupytext.reads(path.read_text(encoding="utf-8"), fmt="py:percent")
    notebook.metadata = nbformat.from_dict(METADATA)
    notebook.nbformat, notebook.nbformat_minor = 4, 5
    seen: dict[str, int] = {}
    for cell in notebook.cells:
        # From the text, not the position: a cell added above leaves all other ids, and so the diff, alone. A learner's
        # workbook tells by it what was published.
        digest = digest_id(cell.cell_type, cell.source)
        seen[digest] = seen.get(digest, 0) + 1
        cell.id = digest if seen[digest] == 1 else f"{digest}-{seen[digest]}"
    return notebook


def write(notebook: NotebookNode, path: Path) -> None:
    """Write the notebook atomically, in nbformat's own layout."""
    nbformat.validate(notebook)
    with atomic_path(path) as part:
        part.write_text(nbformat.writes(notebook) + "\n", encoding="utf-8")


def out_of_sync(twin: NotebookNode, notebook: NotebookNode) -> list[str]:
    """Where the notebook's cells (kind, source, metadata, id) are not the twin's; [] if nowhere."""
    ours = [(cell.cell_type, cell.source, dict(cell.metadata), cell.get("id")) for cell in twin.cells]
    theirs = [(cell.cell_type, cell.source, dict(cell.metadata), cell.get("id")) for cell in notebook.cells]
    if len(ours) != len(theirs):
        return [f"the text twin has {len(ours)} cells, the notebook {len(theirs)}"]
    differing = [number for number, pair in enumerate(zip(ours, theirs, strict=True), 1) if pair[0] != pair[1]]
    return [f"cell {number} differs from the text twin" for number in differing]


def not_compared(notebook: NotebookNode) -> list[str]:
    """Why the notebook's outputs may be those of one processor only; [] if they were compared."""
    done = notebook.metadata.get("course", {}).get("printed_alike_under", [])
    missing = [setting.name for setting in COMPARED if setting.name not in done]
    return [f"its outputs were never compared under {', '.join(missing)}: make notebooks"] if missing else []


def twins(only: list[str], folder: Path = NOTEBOOKS) -> list[tuple[Path, Path]]:
    """(text twin, notebook) of the chapters whose names start with one of ``only``; all of them for []."""
    found = [path for path in sorted((folder / "text").glob("*.py")) if not only or path.name.startswith(tuple(only))]
    return [(path, folder / f"{path.stem}.ipynb") for path in found]


def check(twin: Path, path: Path) -> list[str]:
    """All problems of a committed notebook: out of step with its twin, never compared, or short of the contract."""
    if not path.exists():
        return ["was never made"]
    notebook = nbformat.read(path, as_version=4)
    problems = out_of_sync(read_twin(twin), notebook) + not_compared(notebook)
    return problems + contract_problems(notebook, path.stat().st_size)


def make(twin: Path, path: Path, settings: Sequence[Setting] = COMPARED) -> list[str]:
    """Execute the twin under all ``settings`` and write the notebook; the problems that remain, in words.

    The first setting's outputs are written, if all others print the same; otherwise ``path`` stays as it was.
    """
    author, *others = settings
    try:
        # Alone: what it times goes on the page.
        notebook = execute(read_twin(twin), path.parent, author)
        beside = execute_beside(lambda: read_twin(twin), path.parent, others)
    except ExecutionError as error:
        return [f"not written: {error}"]
    found = [f"not written: {d}" for setting in others for d in differences(notebook, beside[setting], author, setting)]
    if found:
        return found
    notebook.metadata["course"] = {"printed_alike_under": [setting.name for setting in settings]}
    write(notebook, path)
    return check(twin, path)


def draft(twin: Path, path: Path, folder: Path = DRAFTS) -> list[str]:
    """Execute the twin once, under ``AUTHOR``, and write it into ``folder``, where nothing is committed from."""
    try:
        notebook = execute(read_twin(twin), path.parent, AUTHOR)
    except ExecutionError as error:
        return [f"not written: {error}"]
    folder.mkdir(parents=True, exist_ok=True)
    write(notebook, folder / path.name)
    return contract_problems(notebook, (folder / path.name).stat().st_size)


def take_over_text(twin: Path, path: Path) -> list[str]:
    """Write the twin's text cells beside the outputs that are there; refused where code or the order of cells changed.

    What is printed does not depend on the text, so it stays compared under all settings.
    """
    if not path.exists():
        return ["was never made"]
    notebook, wanted = nbformat.read(path, as_version=4), read_twin(twin)
    kinds = [[cell.cell_type for cell in one.cells] for one in (wanted, notebook)]
    if kinds[0] != kinds[1]:
        return ["not written: cells were added, removed or changed their kind; make notebooks"]
    pairs = list(zip(wanted.cells, notebook.cells, strict=True))
    code = [number for number, (ours, theirs) in enumerate(pairs, 1) if "outputs" in theirs and ours.id != theirs.id]
    if code:
        return [f"not written: the code of cell {code[0]} differs from the text twin; make notebooks"]
    for ours, theirs in pairs:
        theirs.source, theirs.id, theirs.metadata = ours.source, ours.id, ours.metadata
    write(notebook, path)
    return check(twin, path)


def main(arguments: list[str] | None = None) -> None:
    """Make, draft or check the chosen notebooks. Raises: SystemExit(1) if one has a problem."""
    parser = argparse.ArgumentParser(description="Execute the text twins into notebooks.")
    parser.add_argument("only", nargs="*", help="first characters of the names, such as 01; all without")
    how = parser.add_mutually_exclusive_group()
    how.add_argument("--check", action="store_true", help="execute nothing, only check what is there")
    how.add_argument("--text", action="store_true", help="execute nothing, take over what changed in text cells")
    how.add_argument("--draft", action="store_true", help=f"execute once, into {DRAFTS.relative_to(ROOT)}")
    options = parser.parse_args(arguments)
    chosen, bad = twins(options.only), 0
    if not chosen:
        raise SystemExit(f"no text twin in notebooks/text starts with {' or '.join(options.only) or 'anything'}")
    for twin, path in chosen:
        start = time.monotonic()
        action = check if options.check else take_over_text if options.text else draft if options.draft else make
        problems = action(twin, path)
        bad += bool(problems)
        print(f"{path.name}: {'; '.join(problems) or 'good'} ({time.monotonic() - start:.0f} s)", flush=True)
    if bad:
        raise SystemExit(1)


if __name__ == "__main__":
    sys.exit(main())
