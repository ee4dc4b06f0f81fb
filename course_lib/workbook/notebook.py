"""Notebook files as bytes and as dicts: read without trust, written in nbformat's own layout.

The layout (one blank of indent, sorted keys, sources as lists of lines) is the one JupyterLab writes, so that a copy
that is opened and saved does not change as a file.
"""

from __future__ import annotations

import json
import re
from typing import Any

from course_lib.workbook.cells import text

KINDS = ("code", "markdown", "raw")
CODE_ONLY = ("execution_count", "outputs")
_ID = re.compile(r"[A-Za-z0-9_-]{1,64}")


class NotANotebook(ValueError):
    """Bytes that hold no notebook of nbformat 4; the message says why, as a clause."""


def parse(content: bytes) -> dict[str, Any]:
    """The notebook in a file's bytes.

    Raises: NotANotebook: not UTF-8, not JSON, not nbformat 4, a cell without kind or source, or nothing in any cell.
    """
    try:
        notebook = json.loads(content.decode("utf-8-sig"))
    except (ValueError, RecursionError) as error:
        raise NotANotebook(f"not JSON ({error})") from error
    if not isinstance(notebook, dict) or not isinstance(notebook.get("cells"), list):
        raise NotANotebook("no notebook: it has no list of cells")
    if notebook.get("nbformat") != 4:
        raise NotANotebook(f"a notebook of format {notebook.get('nbformat')!r}, not 4")
    for number, cell in enumerate(notebook["cells"], 1):
        if not _is_cell(cell):
            raise NotANotebook(f"no notebook: cell {number} lacks a kind or a source")
    if not isinstance(notebook.get("metadata", {}), dict):
        raise NotANotebook("no notebook: its metadata are no dict")
    if not any(text(cell["source"]).strip() for cell in notebook["cells"]):
        raise NotANotebook("a notebook with nothing in it")
    return notebook


def _is_cell(cell: Any) -> bool:
    if not isinstance(cell, dict) or cell.get("cell_type") not in KINDS:
        return False
    source = cell.get("source")
    lines = source if isinstance(source, list) else [source]
    return all(isinstance(line, str) for line in lines) and isinstance(cell.get("metadata", {}), dict)


def dump(notebook: dict[str, Any]) -> bytes:
    """The notebook's bytes; every cell gets an id that no other cell has.

    Half a surrogate pair cannot be written as UTF-8; a notebook that holds one is written with escapes.
    """
    taken: set[str] = set()
    cells = [_written(cell, number, taken) for number, cell in enumerate(notebook["cells"], 1)]
    whole = {**notebook, "cells": cells, "nbformat_minor": max(5, int(notebook.get("nbformat_minor") or 0))}
    try:
        return _json(whole, ascii_only=False).encode()
    except UnicodeEncodeError:
        return _json(whole, ascii_only=True).encode()


def _json(value: Any, *, ascii_only: bool) -> str:
    return json.dumps(value, indent=1, sort_keys=True, ensure_ascii=ascii_only) + "\n"


def _written(cell: dict[str, Any], number: int, taken: set[str]) -> dict[str, Any]:
    wanted = str(cell.get("id", ""))
    if not _ID.fullmatch(wanted) or wanted in taken:
        names = (f"own-{number}{f'-{n}' if n else ''}" for n in range(len(taken) + 1))
        wanted = next(name for name in names if name not in taken)
    taken.add(wanted)
    needed: dict[str, Any] = {"execution_count": None, "outputs": []} if cell["cell_type"] == "code" else {}
    kept = {key: value for key, value in cell.items() if cell["cell_type"] == "code" or key not in CODE_ONLY}
    return {**needed, "metadata": {}, **kept, "id": wanted, "source": text(cell["source"]).splitlines(keepends=True)}
