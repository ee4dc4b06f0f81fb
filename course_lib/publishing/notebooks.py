"""Make notebooks/NN_topic.ipynb from the text twin notebooks/text/NN_topic.py: execute, strip, check, write.

    python -m course_lib.publishing.notebooks            all of them
    python -m course_lib.publishing.notebooks 01 02      those whose names start so
    python -m course_lib.publishing.notebooks --check    execute nothing: is what is committed what the twins say?

The twin is what people edit and review (jupytext's py:percent; cell metadata such as tags=["nbval-ignore-output"]
stand in the cell's marker). The notebook is a product: its sources and tags come from the twin, its outputs from a run
of this Python from top to bottom, in the notebook's folder, as nbval runs it. Two runs give the same bytes as long as
the cells print the same, because whatever else varies is taken out: widget state and model ids, time stamps,
progress bars, random cell ids, the Python version. A widget's output becomes one line of text, marked in the output's
metadata ({"course": {"widget": true}}), so that the page also reads well where no kernel runs.

What a cell writes to stderr does not belong on the page: it is dropped from cells tagged nbval-ignore-output, and an
error in all others, since strict nbval would stumble over it.

An image needs a text for those who cannot see it, in the output's metadata: {"image/png": {"alt": "…"}}, which
nbconvert and myst-nb turn into the image's alt attribute. ``IPython.display.Image(png, alt="…")`` writes it there.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import re
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import jupytext
import nbclient
import nbformat
from nbformat import NotebookNode

from course_lib.storage.files import ROOT, atomic_path

NOTEBOOKS = ROOT / "notebooks"
KERNEL = {"display_name": "Python 3", "language": "python", "name": "python3"}
IGNORE = "nbval-ignore-output"
WIDGET_VIEW = "application/vnd.jupyter.widget-view+json"
WIDGET_TEXT = "Interactive part: run this cell to use it."
CELL_SECONDS = 300
MAX_BYTES = 600_000
MAX_LINES = 25
LAST_SECTIONS = ("Pitfalls", "Recap", "References")
TIMED = re.compile(r"\b(perf_counter|process_time|monotonic|timeit|time\.time|tqdm)\b|%%?time")
MACHINE_PATH = re.compile(r"(?:/(?:home|root|Users|tmp|work|private|mnt|opt)/[\w.-]|[A-Z]:\\\\?Users)")


def read_twin(path: Path) -> NotebookNode:
    """The twin as a notebook without outputs: stable cell ids, minimal metadata, only the cells' own metadata."""
    notebook = jupytext.reads(path.read_text(encoding="utf-8"), fmt="py:percent")
    notebook.metadata = nbformat.from_dict({"kernelspec": KERNEL, "language_info": {"name": "python"}})
    notebook.nbformat, notebook.nbformat_minor = 4, 5
    seen: dict[str, int] = {}
    for cell in notebook.cells:
        # From the text, not the position: a cell added above leaves all other ids, and so the diff, alone.
        digest = hashlib.sha256(f"{cell.cell_type}\n{cell.source}".encode()).hexdigest()[:8]
        seen[digest] = seen.get(digest, 0) + 1
        cell.id = digest if seen[digest] == 1 else f"{digest}-{seen[digest]}"
    return notebook


def execute(notebook: NotebookNode, folder: Path) -> NotebookNode:
    """Run every cell in a fresh kernel of this Python, in ``folder``; strip what varies between runs.

    Raises: nbclient.exceptions.CellExecutionError: a cell failed; ValueError: a cell wrote to stderr without the tag.
    """
    # One thread, as in the tests, where two notebooks share two cores: sums then round alike.
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    client = nbclient.NotebookClient(
        notebook, timeout=CELL_SECONDS, kernel_name="python3", resources={"metadata": {"path": str(folder)}}
    )
    client.execute()
    notebook.metadata = nbformat.from_dict({"kernelspec": KERNEL, "language_info": {"name": "python"}})
    for cell in notebook.cells:
        cell.metadata.pop("execution", None)
        if cell.cell_type == "code":
            cell.outputs = _merged(_stable_outputs(cell))
    return notebook


def _stable_outputs(cell: NotebookNode) -> Iterator[NotebookNode]:
    for output in cell.outputs:
        if output.output_type == "stream" and output.name == "stderr":
            if IGNORE not in tags(cell):
                raise ValueError(f"a cell without the tag {IGNORE} writes to stderr: {output.text.strip()[:200]!r}")
            continue
        if WIDGET_VIEW in output.get("data", {}):
            # tqdm's bar is a widget too, and tells nothing once it is full.
            if re.search(r"\d+%\|.*(it|s|B)/", output.data.get("text/plain", "")):
                continue
            metadata = {"course": {"widget": True}}
            yield nbformat.v4.new_output("display_data", {"text/plain": WIDGET_TEXT}, metadata=metadata)
            continue
        yield output


def _merged(outputs: Iterator[NotebookNode]) -> list[NotebookNode]:
    """Adjacent pieces of the same stream as one: how a kernel cuts them is a matter of timing."""
    merged: list[NotebookNode] = []
    for output in outputs:
        last = merged[-1] if merged else None
        if output.output_type == "stream" and last is not None and last.get("name") == output.name:
            last.text += output.text
        else:
            merged.append(output)
    return merged


def write(notebook: NotebookNode, path: Path) -> None:
    """Write the notebook atomically, in nbformat's own layout."""
    nbformat.validate(notebook)
    with atomic_path(path) as part:
        part.write_text(nbformat.writes(notebook) + "\n", encoding="utf-8")


def tags(cell: NotebookNode) -> list[str]:
    """The cell's tags, [] if it has none."""
    return list(cell.metadata.get("tags", []))


def out_of_sync(twin: NotebookNode, notebook: NotebookNode) -> list[str]:
    """Where the notebook's cells (kind, source, metadata, id) are not the twin's; [] if nowhere."""
    ours = [(cell.cell_type, cell.source, dict(cell.metadata), cell.get("id")) for cell in twin.cells]
    theirs = [(cell.cell_type, cell.source, dict(cell.metadata), cell.get("id")) for cell in notebook.cells]
    if len(ours) != len(theirs):
        return [f"the text twin has {len(ours)} cells, the notebook {len(theirs)}"]
    differing = [number for number, pair in enumerate(zip(ours, theirs, strict=True), 1) if pair[0] != pair[1]]
    return [f"cell {number} differs from the text twin" for number in differing]


def contract_problems(notebook: NotebookNode, size_bytes: int) -> list[str]:
    """What the notebook contract asks for and this executed notebook lacks; [] if nothing."""
    problems = list(_page_problems(notebook, size_bytes))
    for number, cell in enumerate(notebook.cells, 1):
        if cell.cell_type == "code":
            problems += [f"cell {number} {problem}" for problem in _cell_problems(cell)]
    counts = [cell.execution_count for cell in notebook.cells if cell.cell_type == "code"]
    if counts != list(range(1, len(counts) + 1)):
        problems.append("the code cells were not executed once each, from top to bottom")
    return problems


def _page_problems(notebook: NotebookNode, size_bytes: int) -> Iterator[str]:
    if size_bytes > MAX_BYTES:
        yield f"the file has {size_bytes} bytes, more than {MAX_BYTES}"
    header = "\n".join(cell.source for cell in notebook.cells[:2] if cell.cell_type == "markdown")
    if not header.startswith("# "):
        yield "the first cell does not start with a title"
    if not re.search(r"\d+\s*min", header):
        yield "the header does not state the minutes"
    headings = re.findall(r"^## +(.+?) *$", _markdown(notebook), flags=re.MULTILINE)
    if tuple(headings[-3:]) != LAST_SECTIONS:
        yield f"the last sections are {headings[-3:]}, not {list(LAST_SECTIONS)}"
    outputs = [output for cell in notebook.cells if cell.cell_type == "code" for output in cell.outputs]
    if not any(output.get("metadata", {}).get("course", {}).get("widget") for output in outputs):
        yield "no cell shows a widget"


def _markdown(notebook: NotebookNode) -> str:
    return "\n\n".join(cell.source for cell in notebook.cells if cell.cell_type == "markdown")


def _cell_problems(cell: NotebookNode) -> Iterator[str]:
    lines = len(cell.source.splitlines())
    if lines > MAX_LINES:
        yield f"has {lines} lines, more than {MAX_LINES}"
    if TIMED.search(cell.source) and IGNORE not in tags(cell):
        yield f"measures time but lacks the tag {IGNORE}"
    for output in cell.outputs:
        if output.output_type == "error":
            yield f"ended with {output.ename}"
        if output.get("name") == "stderr":
            yield "has kept an output on stderr"
        metadata = output.get("metadata", {})
        if metadata.get("course", {}).get("widget") and IGNORE not in tags(cell):
            yield f"shows a widget but lacks the tag {IGNORE}"
        for kind, content in output.get("data", {}).items():
            if kind.startswith("image/"):
                if not str(metadata.get(kind, {}).get("alt", "")).strip():
                    yield f"shows an {kind} without alt text"
            elif MACHINE_PATH.search(str(content)):
                yield f"shows a path of this machine: {MACHINE_PATH.search(str(content)).group()}…"
        if MACHINE_PATH.search(output.get("text", "")):
            yield f"prints a path of this machine: {MACHINE_PATH.search(output.text).group()}…"


def twins(only: list[str], folder: Path = NOTEBOOKS) -> list[tuple[Path, Path]]:
    """(text twin, notebook) of the chapters whose names start with one of ``only``; all of them for []."""
    found = [path for path in sorted((folder / "text").glob("*.py")) if not only or path.name.startswith(tuple(only))]
    return [(path, folder / f"{path.stem}.ipynb") for path in found]


def check(twin: Path, path: Path) -> list[str]:
    """All problems of a committed notebook: out of step with its twin, or short of the contract."""
    if not path.exists():
        return ["was never made"]
    notebook = nbformat.read(path, as_version=4)
    return out_of_sync(read_twin(twin), notebook) + contract_problems(notebook, path.stat().st_size)


def make(twin: Path, path: Path) -> list[str]:
    """Execute the twin and write the notebook; the problems that remain, in words."""
    try:
        notebook = execute(read_twin(twin), path.parent)
    except (nbclient.exceptions.CellExecutionError, nbclient.exceptions.CellTimeoutError, ValueError) as error:
        return [f"not written: {error}"]
    write(notebook, path)
    return check(twin, path)


def main(arguments: list[str] | None = None) -> None:
    """Make or check the chosen notebooks. Raises: SystemExit(1) if one has a problem."""
    parser = argparse.ArgumentParser(description="Execute the text twins into notebooks.")
    parser.add_argument("only", nargs="*", help="first characters of the names, such as 01; all without")
    parser.add_argument("--check", action="store_true", help="execute nothing, only check what is there")
    options = parser.parse_args(arguments)
    chosen, bad = twins(options.only), 0
    if not chosen:
        raise SystemExit(f"no text twin in notebooks/text starts with {' or '.join(options.only) or 'anything'}")
    for twin, path in chosen:
        start = time.monotonic()
        problems = (check if options.check else make)(twin, path)
        bad += bool(problems)
        print(f"{path.name}: {'; '.join(problems) or 'good'} ({time.monotonic() - start:.0f} s)", flush=True)
    if bad:
        raise SystemExit(1)


if __name__ == "__main__":
    sys.exit(main())
