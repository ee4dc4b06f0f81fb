"""What did the reference machine measure? Text for the ``reference`` of a hardware claim, read from recorded results.

A number that a learner's machine is compared with is recorded by a run (``benchmarks/results/<name>.json``), never
typed into a chapter. A record that is missing or broken must not stop a chapter: the claim then shows only what was
measured here. Of several processors' records the one is taken that, like this machine, has 8-bit dot products or none.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from course_lib.errors import CourseError
from course_lib.measure.machine import cpu_features, has_dot_product
from course_lib.measure.records import load_results
from course_lib.measure.tables import three_digits
from course_lib.storage.files import RESULTS


def reference(name: str, figure: str, *, folder: str | Path = RESULTS) -> str | None:
    """One recorded figure as words, such as "23.2 [22.2, 25.9] × (AMD EPYC, 1 thread)"; None if it is not recorded.

    Args: name: of the recorded result, "measuring"; figure: its key in that file.
    """
    try:
        content = nearest_result(name, folder=folder)
        found, machine = content["figures"][figure], content["machine"]
        where = f"{machine['cpu']}, {machine['threads']} thread{'s' if machine['threads'] != 1 else ''}"
    except (CourseError, KeyError, TypeError):
        return None
    interval = "" if found.low is None else f" [{three_digits(found.low)}, {three_digits(found.high)}]"
    return f"{three_digits(found.value)}{interval} {found.unit}".rstrip() + f" ({where})"


def nearest_result(name: str, *, folder: str | Path = RESULTS) -> dict[str, Any]:
    """The record of a processor that, like this machine, has 8-bit dot products or none; else the first one.

    Raises: CourseError: nothing is recorded under this name, or a file is broken.
    """
    results = load_results(name, folder)
    if not results:
        raise CourseError(f"nothing recorded as {name}", path=folder, mend=f"git checkout -- {folder}")
    here = has_dot_product(cpu_features()["isa"])
    return next((r for r in results if has_dot_product(r["machine"].get("isa", ())) == here), results[0])
