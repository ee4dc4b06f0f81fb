"""What a board measured, read back: refused if it is not whole, and without the times that mean nothing.

A results file names the kit that it belongs to (the manifest's SHA-256) and carries its own checksum, taken over its
canonical JSON. Both are verified before anything is believed. After that, a row may still be no measurement of speed;
``refusals`` says why not, in the words of the ledger's marks:

* ``emulated machine``: an emulator's time says nothing about the board;
* ``provider fell back``: another backend ran than the one that was asked for;
* ``outputs disagree``: what was timed does not compute what it should;
* ``clocks changed``: cores, clocks, governor or limits (which a power mode sets) were others after than before;
* ``throttled``: the clocks stood below those that were set.

A board whose clocks follow the load cannot be told from one that throttles: both are refused, and the mend is the same,
fixed clocks (``sudo jetson_clocks``). A system that shows no clocks at all (a virtual machine) is believed.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from course_lib.deploy.edge.device.edge_bench import canonical_sha256 as results_sha256
from course_lib.deploy.edge.manifest import FORMAT
from course_lib.errors import CourseError
from course_lib.storage.files import user_path

_MEND = "fetch it again: course kit run user@board"
_STEADY = 0.02
"""Fraction by which a fixed clock may be read otherwise."""
_PARTS = ("kit", "device", "versions", "arguments")
_TEXTS = ("name", "file", "precision", "runtime", "provider_asked", "cadence")


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

    @property
    def rows(self) -> list[dict[str, Any]]:
        """Of the networks that ran."""
        return [row for row in self.content["rows"] if not row["error"]]

    @property
    def failures(self) -> dict[str, str]:
        """What could not be run -> why."""
        return {row_name(row): row["error"] for row in self.content["rows"] if row["error"]}

    @property
    def board(self) -> str:
        """The board in words."""
        device = self.content["device"]
        return device.get("model") or device.get("cpu") or "an unknown board"

    def require_kit(self, manifest_sha256: str) -> Results:
        """These results. Raises: CourseError: they are of another kit than the one with this manifest."""
        if self.kit_sha256 != manifest_sha256:
            raise CourseError(
                f"the results are another kit's (manifest {self.kit_sha256[:12]}…, not {manifest_sha256[:12]}…)",
                path=self.path,
                mend="give the kit that was run with --kit, or run this one: course kit run user@board",
            )
        return self

    def refusals(self, row: dict[str, Any]) -> tuple[str, ...]:
        """Why the row's times mean nothing, as marks of the ledger; () if they do."""
        before, after = row["state"]["before"], row["state"]["after"]
        found = {
            "outputs disagree": row["outputs_agree"] is False,
            "provider fell back": provider(row) != row["provider_asked"],
            "emulated machine": bool(self.content["device"].get("emulated")),
            "clocks changed": _differ(before, after),
            "throttled": _below_its_clocks(before) or _below_its_clocks(after),
        }
        return tuple(mark for mark, holds in found.items() if holds)


def row_name(row: dict[str, Any]) -> str:
    """A row's name among those of all runtimes: a network may run in several.

    >>> row_name({"name": "pruned", "runtime": "tensorrt", "precision": "fp16"})
    'pruned, tensorrt fp16'
    """
    return f"{row['name']}, {row['runtime']} {row['precision']}"


def provider(row: dict[str, Any]) -> str:
    """The backend that ran: ONNX Runtime's first provider; the others have one backend only."""
    if row["runtime"] != "onnxruntime":
        return row["provider_asked"]
    return row["providers"][0] if row["providers"] else "none"


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
    if not isinstance(found, dict) or "format" not in found or not {"rows", "kit", "sha256"} & found.keys():
        raise CourseError("not a results file of a kit", path=path, mend=mend)
    if found["format"] != FORMAT:
        problem = f"results of format {found['format']}, and this course reads format {FORMAT}"
        raise CourseError(problem, path=path, mend="build and run a kit of this course: course kit build OUT")
    if found.get("sha256") != results_sha256(found):
        raise CourseError("the results were altered (their own checksum differs)", path=path, mend=mend)
    if found.get("finished") is not True:
        raise CourseError("the run was not finished", path=path, mend="continue it: course kit run user@board")
    if lacking := next(_lacking(found), None):
        raise CourseError(f"the results are incomplete ({lacking})", path=path, mend=mend)
    return Results(str(path), found)


def _lacking(found: dict[str, Any]) -> Iterator[str]:
    """What is missing or of another kind: a checksum tells that a file is whole, not that it says what it should."""
    if missing := [name for name in _PARTS if not isinstance(found.get(name), dict)]:
        yield f"no {missing[0]}"
        return
    if not isinstance(found["kit"].get("manifest_sha256"), str):
        yield "no manifest_sha256"
    if not isinstance(found.get("rows"), list) or not found["rows"]:
        yield "no rows"
        return
    for number, row in enumerate(found["rows"]):
        if not _is_row(row) or (not row.get("error") and not _is_measured(row)):
            yield f"row {number + 1}"


def _is_row(row: object) -> bool:
    return isinstance(row, dict) and all(isinstance(row.get(name), str) for name in _TEXTS) and "error" in row


def _is_measured(row: dict[str, Any]) -> bool:
    times, state = row.get("times_ms"), row.get("state")
    if not isinstance(times, list) or not times or not isinstance(state, dict):
        return False
    positive = all(
        isinstance(value, int | float) and value > 0 for value in (*times, row.get("bytes"), row.get("batch"))
    )
    states = all(isinstance(state.get(at), dict) for at in ("before", "after"))
    return positive and states and isinstance(row.get("providers"), list) and "outputs_agree" in row


def _differ(before: dict[str, Any], after: dict[str, Any]) -> bool:
    """Whether cores, limits, governors or clocks are others than before."""
    if any(before.get(name) != after.get(name) for name in ("governors", "cpu_limits_khz")):
        return True
    return any(not _same_clocks(before.get(name) or [], after.get(name) or []) for name in ("cpu_khz", "gpu_khz"))


def _same_clocks(before: Sequence[float | None], after: Sequence[float | None]) -> bool:
    if len(before) != len(after):
        return False
    known = [(a, b) for a, b in zip(before, after, strict=True) if a is not None and b is not None]
    return all(abs(a - b) <= _STEADY * a for a, b in known)


def _below_its_clocks(state: dict[str, Any]) -> bool:
    """Whether a core that was told to run at its limit ran below it."""
    limits, clocks = state.get("cpu_limits_khz") or [], state.get("cpu_khz") or []
    fixed = state.get("governors") == ["performance"]
    for (low, high), clock in zip(limits, clocks, strict=False):
        if high and clock and (fixed or low == high) and clock < (1 - _STEADY) * high:
            return True
    return False
