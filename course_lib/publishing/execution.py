"""Execute a notebook under a setting, take out what varies between runs, and compare two executions as nbval would.

Two runs give the same bytes as long as the cells print the same, because whatever else varies is taken out: widget
state and model ids, time stamps, progress bars, random cell ids, the Python version. A widget's output becomes one line
of text, marked in the output's metadata ({"course": {"widget": true}}), so that the page also reads well where no
kernel runs. What a cell writes to stderr does not belong on the page: it is dropped from cells tagged
nbval-ignore-output, and an error in all others, since strict nbval would stumble over it.

nbval compares all that a cell without that tag puts out, streams by their name and data by their kind, but for images
(PNG and JPEG), metadata and counters; conftest.py at the root also takes the bytes of pictures out of HTML, so that of
a figure its alt text is compared. ``differences`` looks at the same fields, so that a page which it lets pass also
passes nbval on the processors that were imitated.
"""

from __future__ import annotations

import asyncio
import os
import re
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import nbformat
from nbclient import NotebookClient
from nbclient.exceptions import CellControlSignal, DeadKernelError
from nbformat import NotebookNode

from course_lib.publishing.settings import AUTHOR, Setting

METADATA = {
    "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
    "language_info": {"name": "python"},
}
IGNORE = "nbval-ignore-output"
WIDGET_VIEW = "application/vnd.jupyter.widget-view+json"
WIDGET_TEXT = "Interactive part: run this cell to use it."
CELL_SECONDS = 600
SIDE_BY_SIDE = 2
# A learner's own choices must not change what a page shows.
LEARNERS_OWN = ("COURSE_DATA", "MPLBACKEND")
COLOUR = re.compile(r"\x1b\[[\d;]*m")
PICTURE = re.compile(r"data:image/png;base64,[A-Za-z0-9+/=]*")
# nbval's own list (IPyNbFile.skip_compare); a test compares the verdicts.
NOT_COMPARED = frozenset(
    [*"metadata traceback prompt_number output_type name execution_count image/png image/jpeg".split(), WIDGET_VIEW]
)


class ExecutionError(RuntimeError):
    """A notebook that did not run to its end, or may not be published as it ran; the message names the setting."""


def tags(cell: NotebookNode) -> list[str]:
    """The cell's tags, [] if it has none."""
    return list(cell.metadata.get("tags", []))


def execute(notebook: NotebookNode, folder: Path, setting: Setting = AUTHOR) -> NotebookNode:
    """Run every cell in a fresh kernel of this Python, in ``folder``, as ``setting`` says; strip what varies.

    Raises: ExecutionError: a cell failed, took too long, or wrote to stderr without the tag.
    """
    return asyncio.run(_execute(notebook, folder, setting))


def execute_beside(
    read: Callable[[], NotebookNode], folder: Path, settings: Sequence[Setting]
) -> dict[Setting, NotebookNode]:
    """The same notebook, read anew for each of the settings, two at a time. Raises: ExecutionError: as ``execute``."""

    async def run_all() -> list[NotebookNode]:
        places = asyncio.Semaphore(SIDE_BY_SIDE)

        async def run(setting: Setting) -> NotebookNode:
            async with places:
                return await _execute(read(), folder, setting)

        return await asyncio.gather(*map(run, settings))

    return dict(zip(settings, asyncio.run(run_all()), strict=True))


async def _execute(notebook: NotebookNode, folder: Path, setting: Setting) -> NotebookNode:
    resources = {"metadata": {"path": str(folder)}}
    client = NotebookClient(notebook, timeout=CELL_SECONDS, kernel_name="python3", resources=resources)
    own = {name: value for name, value in os.environ.items() if name not in LEARNERS_OWN}
    try:
        await client.async_execute(env=setting.environment(own) | {"COURSE_PROGRESS": "off"})
        notebook.metadata = nbformat.from_dict(METADATA)
        for cell in notebook.cells:
            cell.metadata.pop("execution", None)
            if cell.cell_type == "code":
                cell.outputs = _merged(_stable_outputs(cell))
    except (CellControlSignal, DeadKernelError, ValueError) as error:
        raise ExecutionError(f"under {setting.name}: {COLOUR.sub('', str(error)).strip()}") from error
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


def differences(page: NotebookNode, other: NotebookNode, setting: Setting, other_setting: Setting) -> list[str]:
    """The cells whose compared outputs differ between two executions, with both texts; [] if none."""
    found = []
    for number, (ours, theirs) in enumerate(zip(page.cells, other.cells, strict=True), 1):
        if ours.cell_type == "code" and IGNORE not in tags(ours):
            for field, here, there in _differing(_compared(ours), _compared(theirs)):
                found.append(
                    f"cell {number} ({ours.source.splitlines()[0]!r} …) depends on the processor: "
                    f"its {field} is {here} under {setting.name} and {there} under {other_setting.name}"
                )
    return found


def _compared(cell: NotebookNode) -> dict[str, list[Any]]:
    """What nbval compares of a cell's outputs: {stream's name or kind of data: its contents in order}."""
    fields: dict[str, list[Any]] = defaultdict(list)
    for output in cell.outputs:
        if output.output_type == "stream":
            # As one, however many pieces with other outputs between them.
            fields[output.name] = ["".join(fields[output.name]) + output.text]
        else:
            for name, content in {**output, **output.get("data", {})}.items():
                if name != "data" and name not in NOT_COMPARED:
                    fields[name].append(PICTURE.sub("PICTURE", content) if isinstance(content, str) else content)
    return fields


def _differing(ours: dict[str, list[Any]], theirs: dict[str, list[Any]]) -> Iterator[tuple[str, str, str]]:
    """(field, our text, their text) for each field that differs: of long texts the first line that does."""
    for field in dict.fromkeys([*ours, *theirs]):
        if ours.get(field) != theirs.get(field):
            here, there = ("\n".join(map(str, fields.get(field, []))).splitlines() for fields in (ours, theirs))
            size = max(len(here), len(there))
            pairs = zip(here + [""] * (size - len(here)), there + [""] * (size - len(there)), strict=True)
            first = next((pair for pair in pairs if pair[0] != pair[1]), ("…", "…"))
            yield field, repr(first[0].strip()), repr(first[1].strip())
