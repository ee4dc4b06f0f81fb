"""How far the exercise engine may be trusted: benchmarks/results/engine.json.

    python benchmarks/engine.py                     print the figures (about an hour on two cores)
    python benchmarks/engine.py --only faults       one part: faults, verdicts, answers, mutants, or survivors: those
                                                    mutants again that survived the recorded run
    python benchmarks/engine.py --record            also write the file; with --only, that part of it

* **faults**: code that may hurt the notebook's process, each in a process of its own; how many does it survive?
* **verdicts**: is the verdict on the same answer the same in 20 rounds?
* **answers**: wrong answers that are planted nowhere; how many are accepted?
* **mutants**: the engine, broken in one place; how many do its tests find?

The parts stand in ``engine_trial``. At most two processes run at a time.
"""

from __future__ import annotations

import argparse
import dataclasses
import datetime
import os
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from engine_trial import answers, faults, mutants, verdicts

from course_lib.measure import Measurement, load_result, record
from course_lib.storage.files import RESULTS

Figures = dict[str, Measurement]


def _faults() -> Figures:
    return faults.figures(faults.try_all(list(faults.load().values())))


def _verdicts() -> Figures:
    return verdicts.figures(verdicts.try_all())


def _answers() -> Figures:
    return answers.figures(answers.try_all(answers.load()))


def _mutants() -> Figures:
    table = mutants.load()
    mutants.check_table(table)
    return mutants.figures(mutants.try_all(table))


def _survivors() -> Figures:
    """Tests were added since: the mutants that survived the recorded run are tried again, the others stay killed."""
    note, table = load_result("engine")["figures"]["mutants_killed"].note or "", mutants.load()
    names = note.removeprefix("survived: ").split(", ")
    again = mutants.try_all([mutant for mutant in table if mutant.name in names])
    found = mutants.figures({mutant.name: True for mutant in table} | again)
    killed = found["mutants_killed"]
    meaning = f"{killed.meaning}; {len(again)} that survived the first run were tried again with the tests added since"
    return found | {"mutants_killed": dataclasses.replace(killed, meaning=meaning)}


PARTS: dict[str, Callable[[], Figures]] = {
    "faults": _faults,
    "answers": _answers,
    "verdicts": _verdicts,
    "mutants": _mutants,
}
AGAIN: dict[str, tuple[str, Callable[[], Figures]]] = {"survivors": ("mutants", _survivors)}
"""What measures a part again from its record: name -> the part, and how."""


def main() -> None:
    """Measure, print, and record if asked."""
    parser = argparse.ArgumentParser(description="Measure how far the exercise engine may be trusted.")
    parser.add_argument("--record", action="store_true", help="write benchmarks/results/engine.json")
    parser.add_argument(
        "--only", choices=[*PARTS, *AGAIN], help="one part; --record then keeps the others' figures as they are"
    )
    options = parser.parse_args()
    os.environ["COURSE_PROGRESS"] = "off"
    figures: Figures = {}
    runs = {name: (name, run) for name, run in PARTS.items()}
    if options.only:
        runs = {options.only: (runs | AGAIN)[options.only]}
    for name, (_, run) in runs.items():
        start = time.monotonic()
        figures |= run()
        print(f"{name}: {(time.monotonic() - start) / 60:.1f} minutes", flush=True)
    for name, figure in figures.items():
        note = f" ({figure.note})" if figure.note else ""
        print(f"{name}: {figure.value:g}, target {figure.target}, n = {figure.n}{note}")
    if options.record:
        print(f"Written: {write(figures, [part for part, _ in runs.values()])}")


def write(figures: Figures, parts: Sequence[str], folder: Path = RESULTS) -> Path:
    """Record these parts' figures, beside those of the parts that were recorded before; each part keeps its date."""
    days, kept = dict.fromkeys(parts, datetime.datetime.now(datetime.UTC).date().isoformat()), {}
    if len(parts) < len(PARTS):
        before = load_result("engine", folder)
        kept, days = before["figures"], {**before["parts"], **days}
    command, seeds = "python benchmarks/engine.py --record", list(range(verdicts.ROUNDS))
    extra = {"parts": days}
    return record("engine", command, kept | figures, seeds=seeds, threads=1, extra=extra, folder=folder)


if __name__ == "__main__":
    main()
