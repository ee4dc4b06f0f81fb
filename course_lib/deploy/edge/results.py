"""What a board measured, read back: refused if it is not whole, and stripped of claims that it does not support.

A results file names the kit that it belongs to (the manifest's SHA-256) and carries its own checksum, taken over its
canonical JSON. Both are verified before anything is believed. After that, a row may still be no measurement of speed;
``ResultRow.refusals`` says why not:

* ``emulated machine``: an emulator's time says nothing about the board;
* ``provider fell back``: another backend ran than the one that was asked for;
* ``outputs disagree``: what was timed does not compute what it should;
* ``clocks changed``: power mode, governor or clocks were not the same before and after;
* ``throttled``: the board slowed itself down.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from course_lib.errors import CourseError
from course_lib.storage.files import user_path

FORMAT = 1
_MEND = "fetch it again: course kit run user@board"


@dataclass(frozen=True)
class Results:
    """A results file that is whole and unaltered.

    Args:
        path: where it came from, for messages.
        content: its fields.
    """

    path: str
    content: dict[str, Any]

    @property
    def kit_sha256(self) -> str:
        """Of the manifest of the kit that was run."""
        return self.content["kit"]["manifest_sha256"]

    def require_kit(self, manifest_sha256: str) -> Results:
        """These results. Raises: CourseError: they are of another kit than the one with this manifest."""
        if self.kit_sha256 != manifest_sha256:
            raise CourseError(
                f"the results are another kit's (manifest {self.kit_sha256[:12]}…, not {manifest_sha256[:12]}…)",
                path=self.path,
                mend="give the kit that was run with --kit, or run this one: course kit run user@board",
            )
        return self


def read_results(path: str | Path) -> Results:
    """The results in this file. Raises: CourseError: missing, or as ``parse_results``."""
    path = user_path(path)
    try:
        content = path.read_bytes()
    except FileNotFoundError as error:
        raise CourseError("the file is missing", path=path, mend=_MEND) from error
    except OSError as error:
        raise CourseError(f"cannot be read ({error.strerror})", path=path, mend=_MEND) from error
    return parse_results(content, path=path, mend=_MEND)


def parse_results(content: bytes, *, path: str | Path, mend: str) -> Results:
    """Results from a file's bytes.

    Raises: CourseError: no JSON, another format, altered (its checksum is wrong), unfinished, or with fields missing.
    """
    try:
        found = json.loads(content.decode("utf-8"))
    except (ValueError, RecursionError) as error:
        raise CourseError(f"not a JSON file ({error})", path=path, mend=mend) from error
    if not isinstance(found, dict) or "format" not in found:
        raise CourseError("not a results file of a kit", path=path, mend=mend)
    if found["format"] != FORMAT:
        problem = f"results of format {found['format']}, and this course reads format {FORMAT}"
        raise CourseError(problem, path=path, mend="run a kit that this course built: course kit build OUT")
    if found.get("sha256") != results_sha256(found):
        raise CourseError("the results were altered (their own checksum differs)", path=path, mend=mend)
    if found.get("finished") is not True:
        raise CourseError("the run was not finished", path=path, mend="continue it: edge_bench.py … --resume")
    kit, rows = found.get("kit"), found.get("rows")
    if not isinstance(kit, dict) or not isinstance(kit.get("manifest_sha256"), str) or not isinstance(rows, list):
        raise CourseError("the results are incomplete (kit or rows are missing)", path=path, mend=mend)
    return Results(str(path), found)


def results_sha256(content: dict[str, Any]) -> str:
    """The checksum that ``content`` should carry: of its canonical JSON without the field itself.

    >>> results_sha256({"b": 1, "a": "é", "sha256": "old"}) == results_sha256({"a": "é", "b": 1})
    True
    """
    fields = {key: value for key, value in content.items() if key != "sha256"}
    return hashlib.sha256(json.dumps(fields, sort_keys=True, separators=(",", ":")).encode()).hexdigest()
