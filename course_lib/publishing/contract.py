"""The notebook contract: what every chapter's page must fulfil, and where an executed notebook does not.

An image needs a text for those who cannot see it, in the output's metadata: {"image/png": {"alt": "…"}}, which
nbconvert and myst-nb turn into the image's alt attribute. ``IPython.display.Image(png, alt="…")`` writes it there.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from nbformat import NotebookNode

from course_lib.publishing.execution import IGNORE, tags

MAX_BYTES = 600_000
MAX_LINES = 25
LAST_SECTIONS = ("Pitfalls", "Recap", "References")
TIMED = re.compile(r"\b(perf_counter|process_time|monotonic|timeit|time\.time|tqdm)\b|%%?time")
MACHINE_PATH = re.compile(r"(?:/(?:home|root|Users|tmp|work|private|mnt|opt)/[\w.-]|[A-Z]:\\\\?Users)")


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
            elif found := MACHINE_PATH.search(str(content)):
                yield f"shows a path of this machine: {found.group()}…"
        if found := MACHINE_PATH.search(output.get("text", "")):
            yield f"prints a path of this machine: {found.group()}…"
