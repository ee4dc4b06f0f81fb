"""The Ledger: one row per variant of a model, all measured in one run, and marks for what may not be claimed.

Compression is a trade, and a trade is honest only when both sides stand in one table: accuracy on the same images,
bytes of the file that is shipped, latency on one machine in one interleaved run. The first row is the reference that
every ratio and difference refers to. Rows where compression lost stay in the table.

A number can be right and still not support a sentence. So a row carries *marks*:

* ``interval includes 1``: the speed-up may be none at all;
* ``outputs disagree``: a variant that should compute the same function as its twin does not;
* ``provider fell back``: another backend ran than the one that was asked for;
* ``emulated machine``: outputs are valid, times mean nothing;
* ``few images`` and ``few rounds``: the sample is too small for the claim it would be used for.

This module knows nothing about a runtime. A variant is a name, a callable from a batch to logits, a file and its counts
(``measure.variant``), ``measure.benchmark`` makes the rows; ONNX files become variants in ``deploy.onnx``. A ledger
saves to JSON and loads back exactly, raw latency samples included, so that any pair of rows can be compared later.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from course_lib.errors import CourseError
from course_lib.evaluation import Estimate, bootstrap_ratio
from course_lib.measure.tables import html_table, markdown_table, quantity, text_table, three_digits
from course_lib.storage.files import read_json, write_json

SCHEMA = 2
# Below these a mark is set. 1,000 independent images near 98 % give ± 0.9 point; a p95 of 20 rounds is its slowest.
FEW_CLUSTERS, FEW_ROUNDS = 100, 20
FEW_IMAGES = 1000

HEADER = ("variant", "accuracy, %", "change, points", "same class, %", "size", "× smaller", "parameters")
HEADER += ("MACs", "p50, ms", "p95, ms", "× faster", "marks")
WORTH = ("variant", "accuracy, %", "change, points", "same class, %", "parameters", "MACs")
COST = ("variant", "size", "× smaller", "p50, ms", "p95, ms", "× faster", "marks")
MARKS = {
    "interval includes 1": "the speed-up may be none at all: do not call the variant faster or slower",
    "outputs disagree": "the outputs differ from the twin's by more than was stated: not the same function",
    "provider fell back": "another execution provider ran than the one that was asked for",
    "emulated machine": "the processor is emulated: outputs are valid, times and ratios of times are not",
    "few images": f"fewer than {FEW_IMAGES} images or {FEW_CLUSTERS} tracks: accuracy differences are mostly noise",
    "few rounds": f"fewer than {FEW_ROUNDS} rounds: p95 and the speed-up's interval are guesses",
}


@dataclass(frozen=True)
class Twin:
    """Another row that this variant should agree with.

    Args:
        name: of the other row.
        expected_agreement: the least fraction of equal predictions.
        agreement: the fraction that was found.
    """

    name: str
    expected_agreement: float
    agreement: float


@dataclass(frozen=True)
class Row:
    """One measured variant; the first row is the reference of all.

    Args:
        name: the variant's.
        file: its file's name.
        accuracy: fraction right on the test images.
        agreement: fraction of test images with the same predicted class as the first row; 1.0 in the first.
        accuracy_change: accuracy minus the first row's, in points, paired; None in the first.
        size_bytes: all files that must be shipped.
        size_ratio: the first row's bytes over these.
        parameters: None where the file does not tell, as for the next two.
        nonzeros: parameters that are not 0.
        macs: multiply-accumulates for one image.
        latency_ms_p50: median, ms per call.
        latency_ms_p95: what 5 % of the samples exceed, ms per call.
        latency_samples_ms: one a round, ms per call.
        calls_per_sample: calls that one sample averages.
        speedup: the first row's latency over this one's, ×; None in the first.
        runtime: name and version.
        provider: the backend that ran.
        requested_provider: the backend that was asked for.
        twin: the row that it should agree with, or None.
    """

    name: str
    file: str
    accuracy: Estimate
    agreement: float
    accuracy_change: Estimate | None
    size_bytes: int
    size_ratio: float
    parameters: int | None
    nonzeros: int | None
    macs: int | None
    latency_ms_p50: float
    latency_ms_p95: float
    latency_samples_ms: tuple[float, ...]
    calls_per_sample: int
    speedup: Estimate | None
    runtime: str
    provider: str
    requested_provider: str
    twin: Twin | None = None


@dataclass(frozen=True, repr=False)  # the generated repr would print every latency sample
class Ledger:
    """Rows measured together, and the conditions that they share. The first row is the reference.

    Args:
        title: what the table is about.
        data: name of the data, "rendered" or "gtsrb".
        rows: one a variant.
        input_shape: of the timed call, batch first.
        threads: of every variant.
        warmup: calls of each variant before the clock started.
        repeats: interleaved rounds.
        seed: of the rounds' order and the bootstrap.
        date: ISO.
        machine: as ``measure.machine_summary`` tells it.
        versions: package -> version.
    """

    title: str
    data: str
    rows: tuple[Row, ...]
    input_shape: tuple[int, ...]
    threads: int
    warmup: int
    repeats: int
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

    def speedup(self, reference: str, other: str) -> Estimate:
        """How many times faster ``other`` is than ``reference``, from the paired rounds of this run."""
        times = (self[name].latency_samples_ms for name in (reference, other))
        return bootstrap_ratio(*times, seed=self.seed)

    def marks(self, row: Row) -> tuple[str, ...]:
        """What may not be claimed from this row: keys of ``MARKS``."""
        found = {
            "interval includes 1": row.speedup is not None and row.speedup.includes(1),
            "outputs disagree": row.twin is not None and row.twin.agreement < row.twin.expected_agreement,
            "provider fell back": row.provider != row.requested_provider,
            "emulated machine": bool(self.machine.get("emulated")),
            "few images": row.accuracy.n < FEW_IMAGES or row.accuracy.independent < FEW_CLUSTERS,
            "few rounds": len(row.latency_samples_ms) < FEW_ROUNDS,
        }
        return tuple(mark for mark, holds in found.items() if holds)

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

    def caption(self) -> str:
        """Where and how the rows were measured, in one line."""
        m, first = self.machine, self.rows[0]
        isa = ", ".join(m.get("isa", [])[-4:]) or "no known vector instructions"
        tracks = f" of {first.accuracy.clusters:,} tracks" if first.accuracy.clusters else ""
        return (
            f"{self.data}: {first.accuracy.n:,} test images{tracks}. Latency: batch {self.input_shape[0]}, "
            f"{self.threads} thread(s), {self.repeats} interleaved rounds after {self.warmup} warm-up calls, "
            f"{', '.join(dict.fromkeys(row.runtime for row in self.rows))}, "
            f"{m.get('cpu', 'unknown')} ({isa}), {self.date}. Brackets: 95 % intervals."
        )

    def notes(self) -> list[str]:
        """One line per mark that occurs: its letter in the table, and what may not be claimed."""
        letters = self._letters()
        return [f"{letters[mark]}: {mark}. {MARKS[mark]}" for mark in letters]

    def __str__(self) -> str:
        """Two tables, one below the other, so that both fit a terminal: what a variant is worth, what it costs."""
        header, rows = self._cells()
        worth, cost = (text_table(*_columns(header, rows, part)) for part in (WORTH, COST))
        return "\n".join([self.title, "", worth, "", cost, "", self.caption(), *self.notes()])

    __repr__ = __str__

    def to_markdown(self) -> str:
        """The table for a README, its caption below, then one line per mark."""
        notes = "".join(f"\n- {note}" for note in self.notes())
        return f"{markdown_table(*self._cells())}\n\n{self.caption()}\n{notes}".rstrip() + "\n"

    def _repr_html_(self) -> str:
        return html_table(*self._cells(), caption=self.title, notes=[self.caption(), *self.notes()])

    def _letters(self) -> dict[str, str]:
        """Mark -> letter, for the marks that occur."""
        found = {mark for row in self.rows for mark in self.marks(row)}
        return dict(zip((mark for mark in MARKS if mark in found), "abcdef", strict=False))

    def _cells(self) -> tuple[list[str], list[list[str]]]:
        letters = self._letters()
        return list(HEADER), [
            _cells(row, "".join(letters[mark] for mark in self.marks(row)), first=i == 0)
            for i, row in enumerate(self.rows)
        ]


def _columns(header: list[str], rows: list[list[str]], names: tuple[str, ...]) -> tuple[list[str], list[list[str]]]:
    index = [header.index(name) for name in names]
    return [header[i] for i in index], [[row[i] for i in index] for row in rows]


def _cells(row: Row, marks: str, *, first: bool) -> list[str]:
    a, change, speed = row.accuracy, row.accuracy_change, row.speedup
    return [
        row.name,
        f"{100 * a.value:.2f} [{100 * a.low:.1f}, {100 * a.high:.1f}]",
        "–" if change is None else _signed(f"{change.value:+.2f} [{change.low:+.2f}, {change.high:+.2f}]"),
        "–" if first else f"{100 * row.agreement:.1f}",
        quantity(row.size_bytes, "B"),
        "–" if first else f"{row.size_ratio:.1f}",
        quantity(row.parameters) + _nonzero_part(row),
        quantity(row.macs),
        three_digits(row.latency_ms_p50),
        three_digits(row.latency_ms_p95),
        "–" if speed is None else f"{speed.value:.2f} [{speed.low:.2f}, {speed.high:.2f}]",
        marks,
    ]


def _signed(text: str) -> str:
    """With the minus sign of mathematics, which is as wide as the plus."""
    return text.replace("-", "−")


def _nonzero_part(row: Row) -> str:
    """Says how many are not zero, where it matters (under 99 %)."""
    if row.nonzeros is None or not row.parameters or row.nonzeros >= 0.99 * row.parameters:
        return ""
    return f" ({100 * row.nonzeros / row.parameters:.0f} % ≠ 0)"


def _from_json(raw: dict[str, Any]) -> Ledger:
    rows = []
    for r in raw["rows"]:
        nested = {"accuracy": Estimate, "accuracy_change": Estimate, "speedup": Estimate, "twin": Twin}
        parts = {key: kind(**r[key]) for key, kind in nested.items() if r[key] is not None}
        rows.append(Row(**{**r, **parts, "latency_samples_ms": tuple(r["latency_samples_ms"])}))
    if not rows:
        raise ValueError("no rows")
    return Ledger(**{**raw, "rows": tuple(rows), "input_shape": tuple(raw["input_shape"])})
