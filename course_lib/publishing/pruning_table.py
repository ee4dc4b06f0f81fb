"""README's table of the teacher with fewer channels: points lost and time left at three budgets of MACs."""

from __future__ import annotations

from pathlib import Path

from course_lib.measure import load_result
from course_lib.measure.tables import markdown_table
from course_lib.publishing.numbers import DATA, number_and_target
from course_lib.storage.files import RESULTS

SHARES = ("half", "quarter", "tenth")


def pruning_table(folder: str | Path = RESULTS) -> str:
    """One row a data set and budget, as Markdown; a target that is missed or not established is marked.

    Raises: CourseError: a recorded file is missing or broken.
    """
    rows = []
    for key, words in DATA.items():
        figures = load_result(f"pruning_{key}", folder)["figures"]
        for share in SHARES:
            macs, weights = (figures[f"{what}_ratio_at_{share}_macs"].value for what in ("macs", "parameter"))
            cells = [number_and_target(figures[f"{what}_at_{share}_macs"]) for what in ("drop_points", "latency_ratio")]
            rows.append([words, f"{100 * macs:.0f} %", f"{100 * weights:.0f} %", *cells])
    return markdown_table(["", "MACs left", "weights left", "points lost", "time left, ×"], rows)
