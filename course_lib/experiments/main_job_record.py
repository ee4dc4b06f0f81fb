"""The main job's recorded figures: the same files measured in several fresh processes, then one record a processor.

python -m course_lib.experiments.main_job_record DATA FOLDER NUMBER     one session, as ``measure_sessions`` starts it
"""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from course_lib.data import load
from course_lib.evaluation import Estimate
from course_lib.experiments.main_job import FINAL, MAIN_ROWS, SMALL, TEACHER, Say, measure_files
from course_lib.experiments.processes import run_fresh
from course_lib.measure import (
    BACK_TO_BACK,
    IN_TURN,
    THIRTY_A_SECOND,
    Ledger,
    Measurement,
    Row,
    Times,
    has_dot_product,
    pool_sessions,
    ratio_of_rounds,
    record,
)
from course_lib.storage.files import read_json, write_json

MODULE = "course_lib.experiments.main_job_record"
PACES = {BACK_TO_BACK: 40, IN_TURN: 200, THIRTY_A_SECOND: 40}
"""Rounds of each cadence in a session; five sessions give a thousand calls at 30 a second, enough for p99.9."""
SESSIONS = 5
FIGURES = {
    BACK_TO_BACK.name: "latency_ratio",
    IN_TURN.name: "latency_ratio_single",
    THIRTY_A_SECOND.name: "latency_ratio_30_hz",
}


def measure_sessions(
    data: str,
    files: dict[str, Path],
    title: str,
    out: str | Path,
    sessions: int = SESSIONS,
    say: Say = lambda line: None,
) -> Ledger:
    """Measure the files in fresh processes, one after another, and pool what they found.

    Args:
        data: as ``data.load`` takes it. files: name -> ONNX file, the reference first. title: of the ledger.
        out: folder for ``sessions.json`` (what to measure) and ``session_<k>.json``. sessions: ≥ 1; three or more for
            a record.
    Raises: ValueError: no session. CourseError: a session failed; its last words are told.
    """
    if sessions < 1:
        raise ValueError(f"sessions must be at least 1, got {sessions}")
    out, ledgers = Path(out), []
    paths = {name: str(Path(path).resolve()) for name, path in files.items()}
    write_json(out / "sessions.json", {"title": title, "files": paths})
    for number in range(1, sessions + 1):
        say(f"session {number} of {sessions}, in a process of its own")
        run_fresh(MODULE, [data, str(out), str(number)], f"session {number}", path=out)
        ledgers.append(Ledger.load(out / f"session_{number}.json"))
    return pool_sessions(ledgers)


def measure_session(data: str, out: str | Path, number: int) -> Ledger:
    """Measure what ``sessions.json`` in ``out`` names, and save it as ``session_<number>.json``."""
    what = read_json(Path(out) / "sessions.json", mend="course bench journey")
    ledger = measure_files(what["files"], load(data).test, what["title"], PACES)
    ledger.save(Path(out) / f"session_{number}.json")
    return ledger


def record_main_job(ledger: Ledger, key: str, command: str, *, folder: str | Path | None = None) -> Path:
    """Write ``<folder>/journey_<key>__<processor>.json`` from a ledger of the main job.

    Args: folder: of the results; by default the one that README is made from.
    """
    figures = {**_worth_figures(ledger), **_time_figures(ledger)}
    extra = {
        "ledger": {
            "title": ledger.title,
            "caption": ledger.caption(),
            "sessions": ledger.sessions,
            "rows": [_row(row) | {"marks": ledger.marks(row)} for row in ledger],
            "again": [_times(times) for times in ledger.again],
        }
    }
    notes, name = _with_notes(figures, ledger), f"journey_{key}"
    place = {} if folder is None else {"folder": folder}
    return record(
        name, command, notes, seeds=[ledger.seed], threads=ledger.threads, extra=extra, by_processor=True, **place
    )


def _worth_figures(ledger: Ledger) -> dict[str, Measurement]:
    """Accuracy and bytes of the teacher, the final network and, where there is one, the small one."""
    where = f"on the test part of {ledger.data}"
    teacher = _accuracy(ledger[TEACHER].accuracy, f"teacher FP32 {where}")
    figures = {"teacher_accuracy": teacher, **_worth(ledger[FINAL], "final INT8", where, "≤ 0.5", "≥ 50")}
    if SMALL in [row.name for row in ledger]:
        small = _worth(ledger[SMALL], "small INT8", where, None, "≥ 95")
        figures |= {f"small_{name.removeprefix('final_')}": figure for name, figure in small.items()}
    return figures


def _worth(row: Row, what: str, where: str, drop_target: str | None, size_target: str) -> dict[str, Measurement]:
    change = row.accuracy_change
    assert change is not None  # the row is not the first
    lost = Measurement(
        -change.value,
        "points",
        row.accuracy.n,
        f"teacher FP32 − {what}, the same images {where}, paired by sign",
        low=-change.high,
        high=-change.low,
        target=drop_target,
    )
    size = f"bytes of the teacher's FP32 ONNX file / of the {what} file"
    return {
        "final_accuracy": _accuracy(row.accuracy, f"{what} {where}"),
        "accuracy_drop_points": lost,
        "size_ratio": Measurement(row.size_ratio, "×", 1, size, target=size_target),
    }


def _time_figures(ledger: Ledger) -> dict[str, Measurement]:
    """Teacher over final in each cadence, and the A/A ratio beside it; only back to back has a target."""
    target = "≥ 50" if has_dot_product(ledger.machine.get("isa", ())) else "≥ 25"
    found = {}
    for times, again in zip(ledger[FINAL].times, ledger.again, strict=True):
        name = FIGURES[times.cadence]
        how = (
            f"batch 1, {ledger.threads} thread, ONNX Runtime, single calls {times.cadence}, {ledger.sessions} sessions"
        )
        goal = target if times.cadence == BACK_TO_BACK.name else None
        assert times.speedup is not None
        assert again.speedup is not None
        found[name] = _ratio(times.speedup, f"teacher FP32 / final INT8, {how}", goal)
        found[f"{name}_aa"] = _ratio(again.speedup, f"A/A: teacher FP32 / the same file under a second name, {how}")
    found["aa_furthest_percent"] = _furthest(ledger)
    return found


def _furthest(ledger: Ledger) -> Measurement:
    """How far the A/A ratio of a single session lies from 1, at most, over sessions and cadences."""
    pairs = zip(ledger[TEACHER].times, ledger.again, strict=True)
    sessions = [pair for one, other in pairs for pair in zip(one.sessions, other.sessions, strict=True)]
    off = [ratio_of_rounds(one, other, ledger.seed).percent_from_one for one, other in sessions]
    meaning = "the same file under two names, the session and cadence in which they differ most"
    return Measurement(max(off), "%", len(off), meaning, target="≤ 2")


def _ratio(ratio: Estimate, meaning: str, target: str | None = None) -> Measurement:
    return Measurement(ratio.value, "×", ratio.independent, meaning, ratio.low, ratio.high, target)


def _accuracy(accuracy: Estimate, meaning: str) -> Measurement:
    how = "by bootstrap over signs" if accuracy.clusters else "Wilson's, each image being a sign of its own"
    meaning = f"{meaning}; interval {how}"
    return Measurement(accuracy.value, "", accuracy.n, meaning, low=accuracy.low, high=accuracy.high)


def _row(row: Row) -> dict[str, Any]:
    """A row as it is recorded: everything but the single calls."""
    plain = dataclasses.asdict(dataclasses.replace(row, times=()))
    return {**plain, "times": [_times(times) for times in row.times]}


def _times(times: Times) -> dict[str, Any]:
    speedup = None if times.speedup is None else dataclasses.asdict(times.speedup)
    summary = {"p50_ms": times.p50, "p95_ms": times.p95, "p999_ms": times.p999, "slowest_ms": times.worst}
    return {"cadence": times.cadence, **summary, "calls": len(times.ms), "busy": times.busy, "speedup": speedup}


def _with_notes(figures: dict[str, Measurement], ledger: Ledger) -> dict[str, Measurement]:
    """A missed target is recorded too; its note says at which step the points were lost."""
    values = [100 * ledger[name].accuracy.value for name in MAIN_ROWS]
    steps = zip(("distilling into the student", "pruning", "INT8"), values, values[1:], strict=False)
    lost = "missed; points lost by " + ", by ".join(f"{step}: {before - after:.2f}" for step, before, after in steps)
    notes = {name: lost if f.unit == "points" else "missed in this measurement" for name, f in figures.items()}
    return {name: figure.explained(notes[name]) for name, figure in figures.items()}


def main(arguments: Sequence[str]) -> None:
    """Measure one session."""
    data, out, number = arguments
    measure_session(data, out, int(number))


if __name__ == "__main__":
    main(sys.argv[1:])
