"""Recorded figures: every number quoted outside a notebook stands in a file written by the run that measured it.

``record`` writes benchmarks/results/<name>.json; README and slides are generated from these files. A figure that missed
its target is recorded like any other, and must say why: ``record`` refuses a miss without a note.
"""

from __future__ import annotations

import dataclasses
import datetime
import math
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from course_lib.errors import CourseError
from course_lib.evaluation.estimate import Estimate
from course_lib.measure.machine import machine_summary, processor_key, versions
from course_lib.measure.without_dot_products import COMMAND, HIDDEN
from course_lib.storage.files import RESULTS, read_json, write_json

_TARGET = re.compile(r"(≤|≥|<|>)\s*(-?\d+(?:\.\d+)?)")
_NAME = re.compile(r"[a-z][a-z0-9_]*")
ADDED = "added"
"""The key under which a record says which of its figures another command has measured."""


@dataclass(frozen=True)
class Measurement:
    """One measured number as it is recorded and quoted.

    Args:
        value: in ``unit``.
        unit: "×", "points", "ms", …; "" for a fraction.
        n: how many independent things were measured.
        meaning: what was divided by what, on which data, in words.
        low: lower end of its 95 % interval, if it has one.
        high: upper end of that interval.
        target: such as "≥ 50" or "≤ 1.0", in the same unit.
        note: why a target was missed, or what limits the number.

    >>> size = Measurement(51.1, "×", 1, "bytes of the teacher's file / of the final one", target="≥ 50")
    >>> size.met, str(size)
    (True, '51.1 ×, n = 1')
    """

    value: float
    unit: str
    n: int
    meaning: str
    low: float | None = None
    high: float | None = None
    target: str | None = None
    note: str | None = None

    @classmethod
    def of(
        cls, estimate: Estimate, unit: str, meaning: str, *, digits: int = 3, target: str | None = None
    ) -> Measurement:
        """A value with its interval, rounded.

        >>> Measurement.of(Estimate(0.12345, 0.1, 0.2, 3, "points"), "points", "ours − theirs", digits=2)
        Measurement(value=0.12, unit='points', n=3, meaning='ours − theirs', low=0.1, high=0.2, target=None, note=None)
        """
        value, low, high = (round(float(number), digits) for number in (estimate.value, estimate.low, estimate.high))
        return cls(value, unit, estimate.n, meaning, low, high, target)

    @property
    def met(self) -> bool | None:
        """Whether the value reaches the target; None without one."""
        if self.target is None:
            return None
        return self._reaches(self.value)

    @property
    def established(self) -> bool | None:
        """Whether the whole interval reaches the target; without an interval as ``met``.

        >>> loss = Measurement(0.93, "points", 100, "accuracy lost", low=0.5, high=1.3, target="≤ 1.0")
        >>> loss.met, loss.established
        (True, False)
        """
        if self.target is None or self.low is None or self.high is None:
            return self.met
        return self._reaches(self.low) and self._reaches(self.high)

    @property
    def possible(self) -> bool | None:
        """Whether an end of the interval reaches the target; without an interval as ``met``.

        >>> Measurement(2.8, "points", 3, "accuracy lost", low=1.3, high=4.3, target="≤ 2.5").possible
        True
        """
        if self.target is None or self.low is None or self.high is None:
            return self.met
        return self._reaches(self.low) or self._reaches(self.high)

    def explained(self, why: str) -> Measurement:
        """With ``why`` as its note if it misses its target, else as it is.

        >>> Measurement(17.0, "×", 1, "bytes / bytes", target="≥ 50").explained("a large header").note
        'a large header'
        """
        return dataclasses.replace(self, note=why) if self.met is False else self

    def _reaches(self, value: float) -> bool:
        sign, bound = _target(self.target or "")
        return {"≤": value <= bound, "≥": value >= bound, "<": value < bound, ">": value > bound}[sign]

    def __str__(self) -> str:
        interval = "" if self.low is None else f" [{self.low}, {self.high}]"
        return f"{self.value}{interval} {self.unit}, n = {self.n}"

    def __post_init__(self) -> None:
        if any(v is not None and not math.isfinite(v) for v in (self.value, self.low, self.high)):
            raise ValueError(f"a figure must be finite, got {self.value}, [{self.low}, {self.high}]")
        ends = [end for end in (self.low, self.high) if end is not None]
        if len(ends) == 1 or ends != sorted(ends):
            raise ValueError(f"low and high must both be given, low ≤ high, got {self.low} and {self.high}")
        if self.n < 1 or not self.meaning.strip():
            raise ValueError(f"a figure needs n ≥ 1 and a meaning, got n={self.n}, meaning={self.meaning!r}")
        if self.target is not None:
            _target(self.target)


def _target(text: str) -> tuple[str, float]:
    """Sign and bound of a target."""
    match = _TARGET.fullmatch(text.strip())
    if match is None:
        raise ValueError(f'target must read like "≥ 50" or "≤ 1.0", got {text!r}')
    return match[1], float(match[2])


def record(
    name: str,
    command: str,
    figures: Mapping[str, Measurement],
    *,
    seeds: Sequence[int],
    threads: int | None = None,
    extra: Mapping[str, Any] | None = None,
    by_processor: bool = False,
    folder: str | Path = RESULTS,
) -> Path:
    """Write ``folder``/<name>.json with the figures, this machine, the versions, date, seeds and the command.

    What other commands have added to that file (``add_figures``) stays.

    Args: name: lower case letters, digits, underscores; command: repeats the run; threads: used by the measurement;
        extra: further keys, such as a ledger's rows; by_processor: times decide, so write <name>__<processor>.json
        and leave other processors' files as they are.
    Raises: ValueError: a bad name, no figures, an extra key that is taken, or a missed target without a note.
    """
    if not _NAME.fullmatch(name):
        raise ValueError(f"name must be lower case letters, digits and underscores, got {name!r}")
    content = _content(command, figures, seeds, threads)
    if taken := set(extra or {}) & {*content, ADDED}:
        raise ValueError(f"extra must not hold the keys {sorted(taken)}")
    processor = f"__{processor_key(content['machine'])}" if by_processor else ""
    path = Path(folder) / f"{name}{processor}.json"
    write_json(path, {**content, **(extra or {}), **_kept_additions(path, content)})
    return path


def add_figures(
    name: str,
    command: str,
    figures: Mapping[str, Measurement],
    *,
    seeds: Sequence[int],
    threads: int | None = None,
    folder: str | Path = RESULTS,
) -> Path:
    """Add another command's figures to ``folder``/<name>.json; ``added`` there says which command, machine and date.

    Args: as of ``record``; the command's own earlier figures are replaced.
    Raises:
        CourseError: there is no such record yet, or it is broken.
        ValueError: no figures, a missed target without a note, or a figure that another command has measured.
    """
    path = Path(folder) / f"{name}.json"
    recorded = read_json(path, mend=f"run the command that records {name} first")
    own = _content(command, figures, seeds, threads)
    others = [added for added in recorded.get(ADDED, []) if added["command"] != own["command"]]
    mine = {key for added in recorded.get(ADDED, []) if added not in others for key in added["figures"]}
    kept = {key: figure for key, figure in recorded["figures"].items() if key not in mine}
    if taken := set(kept) & set(figures):
        raise ValueError(f"another command has measured {sorted(taken)}")
    recorded["figures"] = {**kept, **own["figures"]}
    recorded[ADDED] = [*others, {**own, "figures": list(figures)}]
    write_json(path, recorded)
    return path


def _content(
    command: str, figures: Mapping[str, Measurement], seeds: Sequence[int], threads: int | None
) -> dict[str, Any]:
    """What every record says of its figures."""
    if not figures:
        raise ValueError("figures must hold at least one Measurement, got none")
    for key, figure in figures.items():
        if figure.met is False and not figure.note:
            raise ValueError(f"{key} = {figure.value:g} misses its target {figure.target}: give a note that says why")
    return {
        "command": f"{COMMAND} {command}" if os.environ.get(HIDDEN) else command,
        "date": datetime.datetime.now(datetime.UTC).date().isoformat(),
        "machine": machine_summary(threads),
        "versions": versions(),
        "seeds": list(seeds),
        "figures": {key: _as_json(figure) for key, figure in figures.items()},
    }


def _kept_additions(path: Path, content: dict[str, Any]) -> dict[str, Any]:
    """What other commands have added to the record that is written anew; a broken file holds nothing to keep."""
    try:
        old = read_json(path, mend="")
    except CourseError:
        return {}
    mine = content["figures"]
    others = [{**one, "figures": [key for key in one["figures"] if key not in mine]} for one in old.get(ADDED, [])]
    added = {key: old["figures"][key] for one in others for key in one["figures"]}
    return {"figures": {**mine, **added}, ADDED: [one for one in others if one["figures"]]} if added else {}


def load_result(name: str, folder: str | Path = RESULTS) -> dict[str, Any]:
    """The recorded content, with ``figures`` as name -> Measurement; of several processors' the first by name.

    Raises: CourseError: missing, not JSON, or without the fields of a recorded result.
    """
    path = next(iter(_recorded(name, folder)), Path(folder) / f"{name}.json")
    mend = f"git checkout -- benchmarks/results/{path.name}"
    content = read_json(path, mend=mend)
    try:
        known = {field.name for field in dataclasses.fields(Measurement)}
        raw = content["figures"].items()
        figures = {key: Measurement(**{k: v for k, v in values.items() if k in known}) for key, values in raw}
    except (TypeError, KeyError, AttributeError, ValueError) as error:
        raise CourseError(f"not a recorded result ({error})", path=path, mend=mend) from error
    return {**content, "figures": figures}


def load_results(name: str, folder: str | Path = RESULTS) -> list[dict[str, Any]]:
    """What each processor recorded under this name, [] if none did.

    Raises: CourseError: one of the files is broken.
    """
    return [load_result(path.stem, folder) for path in _recorded(name, folder)]


def _recorded(name: str, folder: str | Path) -> list[Path]:
    """The file of this name, and those that processors wrote under it, by name."""
    own = Path(folder) / f"{name}.json"
    return [*([own] if own.is_file() else []), *sorted(Path(folder).glob(f"{name}__*.json"))]


def _as_json(figure: Measurement) -> dict[str, Any]:
    values = {**dataclasses.asdict(figure), "met": figure.met}
    return {key: value for key, value in values.items() if value is not None}
