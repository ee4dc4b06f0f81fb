"""What identifies a notebook's cell: its id, its exercise and function, its kind and source.

A published cell's id is the beginning of the SHA-256 of its kind and source (``digest_id``; publishing writes it). So a
cell tells without any history whether it stands as it was published: the digest of its source is its id
(``is_published``). JupyterLab keeps the id of a cell that is edited and draws a new one for a cell that is added or
pasted; an edited cell therefore still names what was published, and never passes for it.

A notebook is here the dict that its JSON holds, as nbformat 4 describes it. nbformat's reader would refuse a whole file
because of one output that some extension wrote; what a learner typed must not depend on that.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

CALL = re.compile(r"""^[^#\n]*?\b(check|predict)\(\s*["'](\d\d\.p?\d*)["']\s*(?:,\s*([A-Za-z_]\w*))?""", re.MULTILINE)
_PUBLISHED_ID = re.compile(r"[0-9a-f]{8}(-\d+)?")
_DEFINED = re.compile(r"^(?:async +)?(?:def|class) +([A-Za-z_]\w*)", re.MULTILINE)


def digest_id(kind: str, source: str) -> str:
    """The id under which a cell is published; the second of two equal cells gets "-2" behind it.

    Args: kind: "code", "markdown" or "raw".

    >>> digest_id("code", "x = 1")
    '89811aa6'
    """
    return hashlib.sha256(f"{kind}\n{source}".encode("utf-8", "surrogatepass")).hexdigest()[:8]


def text(value: Any) -> str:
    """A source or a stream as one string; on disk it is a list of lines."""
    joined = "".join(map(str, value)) if isinstance(value, list) else str(value or "")
    return joined.replace("\r\n", "\n")


def is_published(cell: dict[str, Any]) -> bool:
    """Whether the cell holds what was published under its id."""
    return str(cell.get("id", "")).partition("-")[0] == digest_id(cell["cell_type"], text(cell["source"]))


def is_marked(cell: dict[str, Any]) -> bool:
    """Whether an update wrote this cell itself; the learner may have typed into it since."""
    course = cell.get("metadata", {}).get("course")
    return isinstance(course, dict) and "workbook" in course


@dataclass(frozen=True)
class Cell:
    """A cell as far as two versions of a chapter are compared by it.

    Args:
        id: as in the file, "" if it has none.
        kind: "code", "markdown" or "raw"; "own" for one that an update wrote itself (``marks``).
        source: its text; None if only the id of the published text is known.
        exercise: the exercise or prediction it belongs to ("04.1", "04.p"), "" if to none.
        name: the function or variable that is checked there, "" if none.
        outputs: digest of what stands below it.
    """

    id: str
    kind: str
    source: str | None
    exercise: str = ""
    name: str = ""
    outputs: str = ""

    def says(self, other: Cell) -> bool:
        """Whether both hold the same, but for line ends at the end."""
        known = self.source is not None and other.source is not None
        return known and self.kind == other.kind and str(self.source).rstrip("\n") == str(other.source).rstrip("\n")

    @property
    def names_published_text(self) -> bool:
        """Whether the id is one that publishing gives."""
        return bool(_PUBLISHED_ID.fullmatch(self.id))


def cells_of(raw_cells: Sequence[dict[str, Any]]) -> list[Cell]:
    """The cells of a notebook, each with its exercise: that of its own check or predict, or of a check just below."""
    sources = [text(cell["source"]) for cell in raw_cells]
    kinds = [cell["cell_type"] for cell in raw_cells]
    found = []
    for number, (raw, kind, source) in enumerate(zip(raw_cells, kinds, sources, strict=True)):
        near = [sources[n] for n in range(number + 1, min(number + 4, len(sources))) if kinds[n] == "code"]
        kind = "own" if is_marked(raw) else kind
        exercise, name = _exercise(source, near) if kind == "code" else ("", "")
        found.append(Cell(str(raw.get("id", "")), kind, source, exercise, name, outputs_digest(raw)))
    return found


def _exercise(source: str, below: Iterable[str]) -> tuple[str, str]:
    if call := CALL.search(source):
        return call[2], call[3] or ""
    defined = set(_DEFINED.findall(source))
    for call in (call for text_below in below for call in CALL.finditer(text_below)):
        if call[3] in defined and call[3] not in _DEFINED.findall(call.string):
            return call[2], call[3]
    return "", ""


def outputs_digest(cell: dict[str, Any]) -> str:
    """A digest of what a cell shows, whatever its counters, metadata and line breaks are; "" if it shows nothing."""
    outputs = cell.get("outputs")
    if not isinstance(outputs, list) or not outputs:
        return ""
    shown = [
        {key: _joined(value) for key, value in output.items() if key not in ("execution_count", "metadata")}
        for output in outputs
        if isinstance(output, dict)
    ]
    return hashlib.sha256(json.dumps(shown, sort_keys=True).encode()).hexdigest()[:16]


def _joined(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _joined(inner) for key, inner in value.items()}
    return text(value) if isinstance(value, list) and all(isinstance(line, str) for line in value) else value
