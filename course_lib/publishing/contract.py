"""The notebook contract: what every chapter's page must fulfil, and where an executed notebook does not.

A picture needs a text for those who cannot see it, in the ``alt`` of an HTML ``<img>``: JupyterLab shows an output of
the kind image/png or image/jpeg without any (see ``course_lib.plots.style``), so a page may hold none of those.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator

from nbformat import NotebookNode

from course_lib.publishing.execution import IGNORE, PICTURE, tags

MAX_BYTES = 600_000
MAX_LINES, MAX_COLUMNS = 25, 110
LAST_SECTIONS = ("Pitfalls", "Recap", "References")
# What the boxes of ``check`` tell a learner to call.
LEARNERS = ("check", "hint", "predict", "progress", "solution")
LINTER_MARK = re.compile(r"# *(noqa|fmt:|type: *ignore|pyright:|pylint:|NBVAL_)")
IMAGE = re.compile(r"""<img\b(?:[^>"']|"[^"]*"|'[^']*')*>""")
ALT = re.compile(r"""\salt=(?:"[^"]*[^"\s][^"]*"|'[^']*[^'\s][^']*')""")
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
    yield from _missing_imports(notebook)
    outputs = [output for cell in notebook.cells if cell.cell_type == "code" for output in cell.outputs]
    if not any(output.get("metadata", {}).get("course", {}).get("widget") for output in outputs):
        yield "no cell shows a widget"


def _missing_imports(notebook: NotebookNode) -> Iterator[str]:
    """Boxes name these functions, in every chapter that has exercises."""
    sources = [cell.source for cell in notebook.cells if cell.cell_type == "code"]
    imported = set(
        re.findall(r"\w+", " ".join(re.findall(r"from course_lib\.exercises import ([^\n]+)", "\n".join(sources))))
    )
    if any(re.search(r"^check\(", source, re.MULTILINE) for source in sources):
        for name in LEARNERS:
            if name not in imported:
                yield f"{name} is not imported, and the boxes of its exercises name it"


def _markdown(notebook: NotebookNode) -> str:
    return "\n\n".join(cell.source for cell in notebook.cells if cell.cell_type == "markdown")


def _cell_problems(cell: NotebookNode) -> Iterator[str]:
    yield from _source_problems(cell)
    for output in cell.outputs:
        yield from _output_problems(output)
        if output.get("metadata", {}).get("course", {}).get("widget") and IGNORE not in tags(cell):
            yield f"shows a widget but lacks the tag {IGNORE}"


def _source_problems(cell: NotebookNode) -> Iterator[str]:
    lines = cell.source.splitlines()
    if len(lines) > MAX_LINES:
        yield f"has {len(lines)} lines, more than {MAX_LINES}"
    if wide := [number for number, line in enumerate(lines, 1) if len(line) > MAX_COLUMNS]:
        yield f"has more than {MAX_COLUMNS} characters in line {wide[0]}"
    if mark := LINTER_MARK.search(cell.source):
        yield f"shows learners a mark for a program: {mark.group()}"
    if TIMED.search(cell.source) and IGNORE not in tags(cell):
        yield f"measures time but lacks the tag {IGNORE}"
    for statement in _statements(cell.source)[:-1]:
        if isinstance(statement, ast.Expr) and re.match(r"(claim|check|progress)\(", ast.unparse(statement)):
            yield f"never shows what line {statement.lineno} returns: a cell shows its last line, others need display()"


def _statements(source: str) -> list[ast.stmt]:
    """The cell's statements; none if it holds what only IPython understands."""
    try:
        return ast.parse(source).body
    except SyntaxError:
        return []


def _output_problems(output: NotebookNode) -> Iterator[str]:
    if output.output_type == "error":
        yield f"ended with {output.ename}"
    if output.get("name") == "stderr":
        yield "has kept an output on stderr"
    for kind, content in output.get("data", {}).items():
        if kind.startswith("image/"):
            yield f"shows an {kind}, which JupyterLab shows without alt text: show a figure of course_lib.plots"
        elif found := MACHINE_PATH.search(PICTURE.sub("", str(content))):
            yield f"shows a path of this machine: {found.group()}…"
    pictures = IMAGE.findall(output.get("data", {}).get("text/html", ""))
    if not all(ALT.search(picture) for picture in pictures):
        yield "shows a picture without alt text"
    if found := MACHINE_PATH.search(output.get("text", "")):
        yield f"prints a path of this machine: {found.group()}…"
