"""What a ledger holds: rows measured together, their common conditions, and the marks on what may not be claimed.

``ledger_table`` writes it out, ``ledger.Ledger`` keeps it in a file.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from string import ascii_lowercase
from typing import Any

from course_lib.evaluation import Estimate
from course_lib.measure.cadence import Cadence
from course_lib.measure.row import Row
from course_lib.measure.times import Times, ratio_of

# Below these a mark is set. 1,000 independent images near 98 % give ± 0.9 point; a p95 of 20 rounds is its slowest.
FEW_CLUSTERS, FEW_ROUNDS = 100, 20
FEW_IMAGES = 1000
STARVED = 0.9
"""Processor time over wall time; reading both clocks and rounding cost less than the tenth that is left."""
MARKS = {
    "interval includes 1": "the speed-up may be none at all: do not call the variant faster or slower",
    "A/A misses 1": "the first row timed twice is not as fast as itself: the machine was not quiet, measure again",
    "starved": f"the process ran for less than {STARVED:.0%} of the time of its calls: the machine was busy",
    "outputs disagree": "the outputs differ from the twin's by more than was stated: not the same function",
    "provider fell back": "another execution provider ran than the one that was asked for",
    "emulated machine": "the processor is emulated: outputs are valid, times and ratios of times are not",
    "few images": f"fewer than {FEW_IMAGES} images or {FEW_CLUSTERS} tracks: accuracy differences are mostly noise",
    "few rounds": f"fewer than {FEW_ROUNDS} rounds: p95 and the speed-up's interval are guesses",
    "clocks changed": "the board's clocks, governor or power mode were not the same before and after: no times",
    "throttled": "the board ran below the clocks that were set, hot or short of power: no times",
    "other conditions": "timed with another batch or cadence than the table's: no times here",
}


@dataclass(frozen=True, repr=False)  # the generated repr would print every latency sample
class LedgerData:
    """Rows measured together, and the conditions that they share. The first row is the reference.

    Args:
        title: what the table is about.
        data: name of the data, "rendered" or "gtsrb".
        rows: one a variant.
        input_shape: of the timed call, batch first.
        cadences: how calls followed one another; one or more, the first is the one that is meant where none is named.
        again: the times of the first row's file under a second name, one for each cadence: the A/A row; none where the
            variants were timed one after the other, which allows no ratio.
        threads: of every variant.
        warmup: calls of each variant before the clock started, in each cadence.
        seed: of the rounds' order and the bootstrap.
        date: ISO.
        machine: as ``measure.machine_summary`` tells it.
        versions: package -> version.
    """

    title: str
    data: str
    rows: tuple[Row, ...]
    input_shape: tuple[int, ...]
    cadences: tuple[Cadence, ...]
    again: tuple[Times, ...]
    threads: int
    warmup: int
    seed: int
    date: str
    machine: dict[str, Any]
    versions: dict[str, str]

    def __iter__(self) -> Iterator[Row]:
        return iter(self.rows)

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, name: str) -> Row:
        """The row called ``name``. Raises: ValueError: there is none."""
        for row in self.rows:
            if row.name == name:
                return row
        raise ValueError(f"no row {name!r}; there are {', '.join(repr(row.name) for row in self.rows)}")

    def speedup(self, reference: str, other: str, cadence: str | None = None) -> Estimate:
        """How many times faster ``other`` is than ``reference``, from the paired rounds of this run.

        Args: cadence: a name; None: the first.
        Raises: ValueError: there is no such row or cadence, times were refused, or the rounds were not interleaved.
        """
        at = self.index(cadence)
        if not self.again:
            raise ValueError("these variants were timed one after the other: a ratio of times needs interleaved rounds")
        return ratio_of(self[reference].times[at], self[other].times[at], self.seed)

    def index(self, cadence: str | None) -> int:
        """Place among ``cadences`` of the one with this name; None: the first. Raises: ValueError: there is none."""
        names = [c.name for c in self.cadences]
        if cadence is not None and cadence not in names:
            raise ValueError(f"no cadence {cadence!r}; there are {', '.join(map(repr, names))}")
        return 0 if cadence is None else names.index(cadence)

    @property
    def sessions(self) -> int:
        """Processes that the times come from."""
        return next((len(row.times[0].sessions) for row in self.rows if row.times), 0)

    def marks(self, row: Row, cadence: str | None = None) -> tuple[str, ...]:
        """What may not be claimed from this row: keys of ``MARKS``; cadence: of its times only those of this name."""
        chosen = slice(None) if cadence is None else slice(self.index(cadence), self.index(cadence) + 1)
        found = {
            **self._marks_of(row.times[chosen]),
            "A/A misses 1": not all(t.speedup is None or t.speedup.includes(1) for t in self.again[chosen]),
            "outputs disagree": row.twin is not None and row.twin.agreement < row.twin.expected_agreement,
            "provider fell back": row.provider != row.requested_provider,
            "emulated machine": bool(self.machine.get("emulated")),
            "few images": row.accuracy.n < FEW_IMAGES or row.accuracy.independent < FEW_CLUSTERS,
        }
        return tuple(mark for mark in MARKS if found.get(mark) or mark in row.refused)

    def time_marks(self, times: Times) -> tuple[str, ...]:
        """What may not be claimed from these times alone."""
        found = self._marks_of((times,))
        return tuple(mark for mark in MARKS if found.get(mark))

    def _marks_of(self, times: Sequence[Times]) -> dict[str, bool]:
        return {
            "interval includes 1": any(t.speedup is not None and t.speedup.includes(1) for t in times),
            "starved": any(t.busy is not None and t.busy < STARVED for t in times),
            "few rounds": any(t.rounds < FEW_ROUNDS for t in times),
        }

    def notes(self) -> list[str]:
        """One line per mark that occurs: its letter in the table, and what may not be claimed."""
        letters = self.letters()
        return [f"{letters[mark]}: {mark}. {MARKS[mark]}" for mark in letters]

    def letters(self) -> dict[str, str]:
        """Mark -> letter, for the marks that occur."""
        found = {mark for row in self.rows for mark in self.marks(row)}
        found |= {mark for times in self.again for mark in self.time_marks(times) if mark != "interval includes 1"}
        return dict(zip((mark for mark in MARKS if mark in found), ascii_lowercase, strict=False))
