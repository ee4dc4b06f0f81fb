"""README's table of real signs beside published networks: by track, and on the official test part (not here).

Two sets of networks stand in it (``experiments.plans``): those trained and tested by track on the official training
part, and those trained on all of its tracks but validation's, which only the official test part can judge. Whoever has
its files runs ``course bench journey --data gtsrb``; until then the column says that nobody did.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from course_lib.experiments.main_job import FINAL, SMALL, TEACHER
from course_lib.measure import load_results, quantity
from course_lib.measure.tables import markdown_table
from course_lib.storage.files import RESULTS

NOT_MEASURED = "not measured here"


class Published(NamedTuple):
    """A network as its authors report it; nothing of it was run here.

    Args:
        name: of the network.
        parameters: how many, in words; "–" where it is not told.
        accuracy: on the official test part, in %.
        source: where it is told.
    """

    name: str
    parameters: str
    accuracy: str
    source: str


PUBLISHED = (
    Published("sqNet", "0.045 M", "99.0", "Luo 2019, doi 10.1049/iet-its.2018.5489, abstract"),
    Published("qNet", "0.29 M", "99.4", "the same"),
    Published("MicronNet", "0.51 M", "98.9", "arXiv:1804.00497"),
    Published("MicronNet-BF", "–", "99.38", "PMC8956430"),
    Published("a distilled and pruned student", "0.8 M", "99.61", "Zhang 2020, doi 10.1007/s12243-019-00731-9"),
    Published("a CNN with spatial transformers", "–", "99.71", "Arcos-García 2018"),
)


def official_table(folder: str | Path = RESULTS) -> str:
    """Teacher, final and small network, by track and on the official test part, above published ones, as Markdown.

    Raises: CourseError: a recorded file is broken.
    """
    by_track, official = (_rows(load_results(f"journey_{key}", folder)) for key in ("gtsrb", "gtsrb_official"))
    header = ["network", "size", "by track, %", "official test part, %", "right of all", "points against its teacher"]
    rows = []
    for name in (TEACHER, FINAL, SMALL):
        ours, there = by_track.get(name), official.get(name)
        known = ours or there
        rows.append(
            [
                name,
                NOT_MEASURED if known is None else quantity(known["size_bytes"], "B"),
                NOT_MEASURED if ours is None else _percent(ours["accuracy"]),
                *([NOT_MEASURED, "–", "–"] if there is None else _official(there)),
            ]
        )
    rows += [[p.name, f"{p.parameters} parameters", "–", p.accuracy, "–", "–"] for p in PUBLISHED]
    sources = "; ".join(f"{p.name}: {p.source}" for p in PUBLISHED)
    return "\n".join(
        [
            markdown_table(header, rows),
            "",
            "Brackets: 95 % intervals, by track bootstrapped over signs, on the official test part Wilson's. The lower "
            f"rows are what authors report; nothing of them was run here. {sources}.",
        ]
    )


def _rows(results: list[dict[str, Any]]) -> dict[str, Mapping[str, Any]]:
    """Name → row of the first recorded journey; the accuracy is the same on every processor but for INT8's rounding."""
    return {row["name"]: row for row in results[0]["ledger"]["rows"]} if results else {}


def _percent(estimate: Mapping[str, Any]) -> str:
    value, low, high = (100 * estimate[key] for key in ("value", "low", "high"))
    return f"{value:.2f} [{low:.2f}, {high:.2f}]"


def _official(row: Mapping[str, Any]) -> list[str]:
    accuracy, change = row["accuracy"], row["accuracy_change"]
    right = round(accuracy["value"] * accuracy["n"])
    against = "–"
    if change is not None:
        against = f"{change['value']:+.2f} [{change['low']:+.2f}, {change['high']:+.2f}]".replace("-", "−")
    return [_percent(accuracy), f"{right:,} of {accuracy['n']:,}", against]
