"""The Ledger: one row per variant of a model, all measured in one run, and marks for what may not be claimed.

Compression is a trade, and a trade is honest only when both sides stand in one table: accuracy on the same images,
bytes of the file that is shipped, latency on one machine in one interleaved run, in each cadence that matters. The
first row is the reference that every ratio and difference refers to; it is timed twice, and the second time stands
below the others as an A/A row. Rows where compression lost stay in the table.

A number can be right and still not support a sentence. So a row carries *marks*:

* ``interval includes 1``: the speed-up may be none at all;
* ``A/A misses 1``: the first row, timed a second time, is not as fast as itself: neither are the others' ratios true;
* ``starved``: the process was not let run while its calls were timed;
* ``outputs disagree``: a variant that should compute the same function as its twin does not;
* ``provider fell back``: another backend ran than the one that was asked for;
* ``emulated machine``: outputs are valid, times mean nothing;
* ``few images`` and ``few rounds``: the sample is too small for the claim it would be used for;
* ``clocks changed``, ``throttled``, ``other conditions``: of a board's results, see ``deploy.edge``.

A row from a board whose times mean nothing comes in without them (``Row.refused``), and a ledger from a board, whose
variants were timed one after the other, has no A/A row and no ratios of times.

This module knows nothing about a runtime. A variant is a name, a callable from a batch to logits, a file and its counts
(``measure.variant``), ``measure.benchmark`` makes the rows; ONNX files become variants in ``deploy.onnx``. A ledger
saves to JSON and loads back exactly, every timed call included, so that any pair of rows can be compared later.
``measure.ledger_table`` writes it out.
"""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

from course_lib.arguments import number, whole
from course_lib.errors import CourseError
from course_lib.evaluation import Estimate
from course_lib.measure.cadence import Cadence
from course_lib.measure.ledger_table import LedgerTable
from course_lib.measure.row import Row, Twin
from course_lib.measure.times import Times
from course_lib.storage.files import read_json, write_json

SCHEMA = 3


class Ledger(LedgerTable):
    """Rows measured together, written out, saved and loaded; for what it holds see ``LedgerData``."""

    def save(self, path: str | Path) -> None:
        """Write the ledger as JSON, atomically."""
        write_json(path, {"schema": SCHEMA, **dataclasses.asdict(self)})

    @classmethod
    def load(cls, path: str | Path) -> Ledger:
        """Read a saved ledger; equal to the one that was saved.

        Raises: CourseError: missing, not JSON, of another schema, or with fields missing or of the wrong kind.
        """
        mend = "measure again: make demo"
        raw = read_json(path, mend=mend)
        if not isinstance(raw, dict) or raw.get("schema") != SCHEMA:
            found = raw.get("schema") if isinstance(raw, dict) else None
            raise CourseError(f"not a ledger of schema {SCHEMA} (found {found})", path=path, mend=mend)
        try:
            return _from_json({key: value for key, value in raw.items() if key != "schema"})
        except (TypeError, KeyError, ValueError, AttributeError) as error:
            raise CourseError(f"the ledger is incomplete ({error})", path=path, mend=mend) from error


def _times(raw: dict[str, Any]) -> Times:
    sessions = tuple(tuple(tuple(calls) for calls in rounds) for rounds in raw["sessions"])
    speedup = None if raw["speedup"] is None else Estimate(**raw["speedup"])
    found = Times(**{**raw, "sessions": sessions, "speedup": speedup})
    if not found.rounds:
        raise ValueError("no timed calls")
    for ms in found.ms:
        number("the time of a call", float(ms), above=0)
    if found.busy is not None:
        number("busy", found.busy, least=0)
    return found


def _require_possible(row: Row) -> None:
    """Raise ValueError or TypeError where a row holds what no measurement gives, such as an accuracy of 1.5 or NaN."""
    for name, estimate in (("accuracy", row.accuracy), ("accuracy_change", row.accuracy_change)):
        if estimate is not None:
            ends = {"least": 0, "most": 1} if name == "accuracy" else {"least": -100, "most": 100}
            low, value, high = (number(name, v, **ends) for v in (estimate.low, estimate.value, estimate.high))
            if not low <= value <= high:
                raise ValueError(f"{name} must lie in its interval, got {value} in [{low}, {high}]")
            whole(f"n of {name}", estimate.n, least=1)
    number("agreement", row.agreement, least=0, most=1)
    number("size_ratio", row.size_ratio, above=0)
    whole("size_bytes", row.size_bytes, least=1)
    for name in ("parameters", "nonzeros", "macs"):
        if getattr(row, name) is not None:
            whole(name, getattr(row, name), least=0)


def _from_json(raw: dict[str, Any]) -> Ledger:
    rows = []
    for r in raw["rows"]:
        nested = {"accuracy": Estimate, "accuracy_change": Estimate, "twin": Twin}
        parts = {key: kind(**r[key]) for key, kind in nested.items() if r[key] is not None}
        refused = tuple(r.get("refused", ()))
        rows.append(Row(**{**r, **parts, "times": tuple(map(_times, r["times"])), "refused": refused}))
        _require_possible(rows[-1])
    cadences, again = tuple(Cadence(**c) for c in raw["cadences"]), tuple(map(_times, raw["again"]))
    timed = (*(r.times for r in rows if not r.refused), *([again] if again else []))
    if not rows or not cadences or any(len(times) != len(cadences) for times in timed):
        raise ValueError("no rows, or a row without times in each cadence")
    shared = {"rows": tuple(rows), "cadences": cadences, "again": again, "input_shape": tuple(raw["input_shape"])}
    return Ledger(**{**raw, **shared})
