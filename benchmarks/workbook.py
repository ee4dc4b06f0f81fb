"""Is anything of a learner's lost when a chapter changes? benchmarks/results/workbook.json.

    python benchmarks/workbook.py             print the result (some minutes)
    python benchmarks/workbook.py --record    also write benchmarks/results/workbook.json
    python benchmarks/workbook.py --only 04   some chapters; is not recorded

Every case of ``workbook_trial.cases`` is run on every committed chapter, in folders of its own: the copy is made, a
learner edits it, an author edits the chapter, perhaps a file is damaged, and the copy is updated. Then every version of
every chapter that git's history holds is worked through and brought up to date to the committed one, with its base and
without. Counted are the lines and answers that the learner typed and those that the new copy lacks.

The control: a copy that is overwritten by the chapter must lose all of them, or nothing was counted.
"""

from __future__ import annotations

import argparse
import copy
import statistics
import subprocess
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from random import Random

from workbook_trial import edits
from workbook_trial.cases import CASES, WORKED
from workbook_trial.trial import Outcome, compare, try_case

from course_lib.measure import Measurement, record
from course_lib.storage.files import ROOT
from course_lib.workbook import Workbook, update
from course_lib.workbook.base import base_of, chapter_view, guessed
from course_lib.workbook.cells import cells_of, is_published
from course_lib.workbook.merge import merge
from course_lib.workbook.notebook import NotANotebook, dump, parse

NOTEBOOKS = ROOT / "notebooks"
EVERYTHING = edits.all_of(WORKED, edits.edit_text, edits.edit_code)
REPEATS = 5


def chapters(only: Sequence[str] = ()) -> list[Path]:
    """The committed chapters."""
    return [path for path in sorted(NOTEBOOKS.glob("*.ipynb")) if not only or path.name.startswith(tuple(only))]


def add(found: Counter[str], outcome: Outcome, where: str) -> None:
    """Add one outcome to the sums; prints what was lost."""
    found.update(
        trials=1,
        lines=outcome.lines,
        answers=outcome.answers,
        lost_lines=len(outcome.lost_lines),
        lost_answers=len(outcome.lost_answers),
        wrong=len(outcome.wrong),
    )
    for problem in [*outcome.lost_lines, *outcome.lost_answers, *outcome.wrong]:
        print(f"{where}: LOST OR WRONG: {problem}", flush=True)


def all_cases(paths: Sequence[Path]) -> Counter[str]:
    """Every case on every chapter."""
    found: Counter[str] = Counter()
    for path in paths:
        for seed, (name, case) in enumerate(CASES.items()):
            with tempfile.TemporaryDirectory() as folder:
                add(found, try_case(case, path, Path(folder), seed), f"{path.stem}, {name}")
        print(f"{path.stem}: {len(CASES)} cases", flush=True)
    return found


def earlier_versions(path: Path) -> Iterator[dict]:
    """The versions of a chapter that git's history holds, the committed one left out."""
    name = path.relative_to(ROOT).as_posix()

    def git(*arguments: str) -> bytes:
        return subprocess.run(["git", *arguments], cwd=ROOT, capture_output=True, check=False).stdout

    seen = {path.read_bytes()}
    for commit in git("log", "--format=%H", "--", name).decode().split():
        content = git("show", f"{commit}:{name}")
        if content and content not in seen:
            seen.add(content)
            try:
                yield parse(content)
            except NotANotebook:
                continue


def history(paths: Sequence[Path]) -> Counter[str]:
    """Every earlier version worked through and brought up to date, with its base and without."""
    found: Counter[str] = Counter()
    for path in paths:
        now = parse(path.read_bytes())
        for number, before in enumerate(earlier_versions(path)):
            if not all(map(is_published, before["cells"])):
                continue
            own = copy.deepcopy(before)
            EVERYTHING(own, Random(number))
            view = chapter_view(now["cells"])
            for base in (base_of(chapter_view(before["cells"])), guessed(cells_of(own["cells"]), view)):
                cells = merge(base, own["cells"], now["cells"]).cells
                result = parse(dump({**now, "cells": cells}))
                add(found, compare(before, own, now, result), f"{path.stem}, version {number} back")
    return found


def control(paths: Sequence[Path]) -> Counter[str]:
    """Copies that are overwritten by the chapter instead of being brought up to date."""
    found: Counter[str] = Counter()
    for path in paths:
        before = parse(path.read_bytes())
        own = copy.deepcopy(before)
        WORKED(own, Random(0))
        outcome = compare(before, own, before, before)
        found.update(answers=outcome.answers, lost_answers=len(outcome.lost_answers))
    return found


def waits(paths: Sequence[Path]) -> tuple[float, float]:
    """Seconds that ``make lab`` waits: all copies up to date; all chapters changed. Medians of ``REPEATS``."""
    current, changed = [], []
    with tempfile.TemporaryDirectory() as folder:
        book = Workbook(Path(folder) / "workbook", Path(folder) / "notebooks")
        book.notebooks.mkdir()
        for number in range(REPEATS + 1):
            for path in paths:
                notebook = parse(path.read_bytes())
                notebook["cells"][0]["source"] = f"{edits.source(notebook['cells'][0])} {number}"
                (book.notebooks / path.name).write_bytes(dump(edits.published(notebook)))
            for times in (changed, current):
                start = time.perf_counter()
                update(book=book)
                times.append(time.perf_counter() - start)
    return statistics.median(current[1:]), statistics.median(changed[1:])


def figures(paths: Sequence[Path]) -> dict[str, Measurement]:
    """All that is recorded."""
    tried, past, overwritten = all_cases(paths), history(paths), control(paths)
    current, changed = waits(paths)
    both = tried + past
    where = f"in {tried['trials']} updates of {len(paths)} chapters, {len(CASES)} cases each"
    back = f"{past['trials']} updates from the earlier versions in git's history, with their base and without"
    count = {"n": both["trials"], "unit": ""}
    lost = {"unit": "", "target": "≤ 0"}
    kinds = f"update of {len(paths)} copies"
    found = {
        "update_cases": Measurement(len(CASES), "", len(paths), "cases, each run on every chapter", target="≥ 20"),
        "updates": Measurement(tried["trials"], "", len(paths), "updates: cases × chapters"),
        "history_updates": Measurement(past["trials"], "", len(paths), back),
        "lines_typed": Measurement(
            both["lines"], meaning=f"lines that the learner typed, {where}, and {back}", **count
        ),
        "lines_lost": Measurement(both["lost_lines"], n=both["lines"], meaning="not in the new copy", **lost),
        "answers": Measurement(both["answers"], meaning="answers and predictions given there", **count),
        "answers_lost": Measurement(both["lost_answers"], n=both["answers"], meaning="not whole in the copy", **lost),
        "chapter_cells_wrong": Measurement(
            both["wrong"], n=both["trials"], meaning="missing, twice, or back though deleted", **lost
        ),
        "answers_lost_by_overwriting": Measurement(
            overwritten["lost_answers"], "", overwritten["answers"], "control: the chapter written over each copy"
        ),
    }
    for name, seconds, how in (("up_to_date", current, "that are up to date"), ("all_changed", changed, "all behind")):
        found[f"seconds_{name}"] = Measurement(round(seconds, 2), "s", REPEATS, f"{kinds} {how}, median")
    return found


def main() -> None:
    """Measure, print, and record if asked."""
    parser = argparse.ArgumentParser(description="Count what updates of the workbook lose.")
    parser.add_argument("--record", action="store_true", help="write benchmarks/results/workbook.json")
    parser.add_argument("--only", nargs="+", default=[], help="some chapters, by their numbers; is not recorded")
    options = parser.parse_args()
    if options.record and options.only:
        parser.error("--record takes all chapters")
    found = figures(chapters(options.only))
    for name, figure in found.items():
        print(f"{name}: {figure.value:g} {figure.unit} (n = {figure.n}) {figure.meaning}")
    if options.record:
        seeds = list(range(len(CASES)))
        print(f"Written: {record('workbook', 'python benchmarks/workbook.py --record', found, seeds=seeds, threads=1)}")


if __name__ == "__main__":
    main()
