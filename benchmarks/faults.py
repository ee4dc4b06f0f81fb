"""What the course does when something breaks: benchmarks/results/faults.json.

    python benchmarks/faults.py                 print the figures, and every fault that was not answered well
    python benchmarks/faults.py --only writers  one part: writers or commands
    python benchmarks/faults.py --record        also write the file

* **writers**: no space, an I/O error, Ctrl-C and a kill at each event on the disk, and writes that come back short, for
  every writer of the course (``fault_trial.writers``);
* **commands**: the command line as a process, in front of a fault of the table ``fault_trial.commands``.

A fault is *answered well* if one clear line names it, or if it is healed, or if all is right in spite of it. *Silently
wrong*: nothing was said, and what is there is not what it should be. A few processes run at a time.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

from fault_trial import command, commands, sweep, writers
from fault_trial.result import ANSWERED, TRACEBACK, UNCLEAR, WRONG, Result

from course_lib.measure import Measurement, record


def try_writers() -> Iterator[Result]:
    """Every fault of every writer, over an old content and for the first time."""
    memory = Path("/dev/shm")
    with tempfile.TemporaryDirectory(dir=memory if os.access(memory, os.W_OK) else None) as base:
        for writer in writers.WRITERS:
            for again in (False, True):
                yield from sweep.faults(writer, Path(base) / f"{writer.name}_{again}".replace(" ", "_"), again=again)


def try_commands() -> Iterator[Result]:
    """Every case of the table, each as a process."""
    with tempfile.TemporaryDirectory() as base:
        for case in commands.CASES:
            yield command.tried(case, Path(base))


PARTS: dict[str, Callable[[], Iterator[Result]]] = {"writers": try_writers, "commands": try_commands}


def figures(results: list[Result]) -> dict[str, Measurement]:
    """The recorded numbers of these results."""
    count, n = Counter(result.outcome for result in results), len(results)
    why = "; ".join(f"{r.group}: {r.fault}" for r in results if r.outcome != ANSWERED)[:500]
    meaning = {
        "faults_tried": ("faults brought about", n, "≥ 500"),
        "answered_well": ("faults that ended in one clear line, or in what is right", count[ANSWERED], None),
        "unclear": ("faults answered by another line or status than is expected", count[UNCLEAR], None),
        "silently_wrong": ("faults after which nothing was said and something was wrong", count[WRONG], "≤ 0"),
        "tracebacks": ("faults that ended in a traceback", count[TRACEBACK], "≤ 0"),
    }
    return {
        name: Measurement(value, "", n, text, target=target).explained(why or "none was tried")
        for name, (text, value, target) in meaning.items()
    }


def main() -> None:
    """Try, print, and record if asked."""
    parser = argparse.ArgumentParser(description="Bring faults about, and see how they are answered.")
    parser.add_argument("--record", action="store_true", help="write benchmarks/results/faults.json")
    parser.add_argument("--only", choices=list(PARTS), help="one part; nothing is recorded then")
    options = parser.parse_args()
    results: list[Result] = []
    for name in [options.only] if options.only else PARTS:
        start = time.monotonic()
        for result in PARTS[name]():
            results.append(result)
            if result.outcome != ANSWERED:
                print(f"{result.outcome}: {result.group}: {result.fault}: {result.found}", flush=True)
        print(f"{name}: {(time.monotonic() - start) / 60:.1f} minutes", flush=True)
    found = figures(results)
    for name, figure in found.items():
        print(f"{name}: {figure.value:g}")
    if options.record and not options.only:
        extra = {"faults_by_group": dict(Counter(result.group for result in results))}
        print(f"Written: {record('faults', 'python benchmarks/faults.py --record', found, seeds=[0], extra=extra)}")


if __name__ == "__main__":
    main()
