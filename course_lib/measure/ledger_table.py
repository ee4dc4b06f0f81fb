"""A ledger written out: for a terminal, for Markdown and for a notebook.

With one cadence everything about a variant stands in one line (two in a terminal). With several, what a variant is
worth stands in one table, and its times in another.
"""

from __future__ import annotations

from collections.abc import Sequence

from course_lib.measure.ledger_data import LedgerData
from course_lib.measure.row import Row
from course_lib.measure.tables import html_table, markdown_table, quantity, ratio_text, text_table, three_digits
from course_lib.measure.times import Times

WORTH = ("accuracy, %", "change, points", "same class, %", "size", "× smaller", "parameters", "MACs")
TIMES = ("p50, ms", "p95, ms", "× faster", "marks")
Table = tuple[list[str], list[list[str]]]
NOT_INTERLEAVED = "The variants were timed one after the other: no ratio of times is given."


class LedgerTable(LedgerData):
    """A ledger's renderings."""

    def caption(self) -> str:
        """Where and how the rows were measured, in a few sentences."""
        first, isa = self.rows[0], ", ".join(self.machine.get("isa", [])[-4:]) or "no known vector instructions"
        tracks = f" of {first.accuracy.clusters:,} tracks" if first.accuracy.clusters else ""
        runtimes = ", ".join(dict.fromkeys(row.runtime for row in self.rows))
        again = "A/A: the first row's file, timed a second time." if self.again else NOT_INTERLEAVED
        return (
            f"{self.data}: {first.accuracy.n:,} test images{tracks}. Latency: batch {self.input_shape[0]}, "
            f"{self.threads} thread(s), one call a sample, {'; '.join(map(self._paced, range(len(self.cadences))))}; "
            f"after {self.warmup} warm-up calls. {runtimes}, {self.machine.get('cpu', 'unknown')} ({isa}), "
            f"{self.date}. Brackets: 95 % intervals. {again}"
        )

    def _paced(self, at: int) -> str:
        """How one cadence called, and what a call found."""
        cadence = self.cadences[at]
        finds = f" (a call finds {cadence.finds})" if cadence.finds else ""
        if not self.again:
            calls = [len(row.times[at].ms) for row in self.rows if row.times]
            return f"{cadence.name}: {min(calls, default=0)} calls{finds}"
        times, calls = self.again[at], f" of {cadence.calls}" if cadence.calls > 1 else ""
        sessions = f" in {len(times.sessions)} sessions" if len(times.sessions) > 1 else ""
        return f"{cadence.name}: {times.rounds} interleaved rounds{calls}{sessions}{finds}"

    def __str__(self) -> str:
        """What a variant is worth, then what it costs, one table below the other, so that each fits a terminal."""
        tables = [
            _without(self._worth(), ("size", "× smaller")),
            *(self._costs(at) for at in range(len(self.cadences))),
        ]
        names = ["", *(f"{c.name}:\n" if len(self.cadences) > 1 else "" for c in self.cadences)]
        parts = [name + text_table(*table) for name, table in zip(names, tables, strict=True)]
        return "\n".join([self.title, "", "\n\n".join(parts), "", self.caption(), *self.notes()])

    __repr__ = __str__

    def to_markdown(self) -> str:
        """The tables for a README, the caption below, then one line per mark."""
        notes = "".join(f"\n- {note}" for note in self.notes())
        tables = "\n\n".join(markdown_table(*table) for table in self._wide())
        return f"{tables}\n\n{self.caption()}\n{notes}".rstrip() + "\n"

    def _repr_html_(self) -> str:
        first, *more = self._wide()
        notes = [self.caption(), *self.notes()]
        parts = [html_table(*first, caption=self.title, notes=() if more else notes)]
        parts += [
            html_table(*table, caption="Single calls: median, and median of the rounds' ratios", notes=notes)
            for table in more
        ]
        return "".join(parts)

    def tails(self) -> str:
        """The slow calls: p95, p99.9 where a thousand calls allow it, and the slowest call seen, as text."""
        rows = []
        for row in self.rows:
            for times in row.times:
                far = "–" if times.p999 is None else three_digits(times.p999)
                slow = [three_digits(ms) for ms in (times.p50, times.p95)]
                rows.append([row.name, times.cadence, *slow, far, three_digits(times.worst), f"{len(times.ms):,}"])
        return text_table(["variant", "cadence", "p50, ms", "p95, ms", "p99.9, ms", "slowest, ms", "calls"], rows)

    def _wide(self) -> list[Table]:
        """One table that holds all, or with several cadences one of worth and one of times."""
        header, rows = self._worth()
        if len(self.cadences) > 1:
            return [_without_empty_marks((header, rows)), _without_empty_marks(self._all_times())]
        costs = self._costs(0)[1]
        merged = [[*worth, *cost[3:]] for worth, cost in zip(rows, costs, strict=False)]
        if self.again:
            merged.append([costs[-1][0], *[""] * len(WORTH), *costs[-1][3:]])
        return [([*header, *TIMES], merged)]

    def _worth(self) -> Table:
        rows = [[row.name, *_worth(row, first=i == 0)] for i, row in enumerate(self.rows)]
        if len(self.cadences) == 1:
            return ["variant", *WORTH], rows
        letters, marks = self.letters(), []
        for row in self.rows:  # what concerns times stands beside them
            of_times = {mark for times in row.times for mark in self.time_marks(times)} | {"A/A misses 1"}
            marks.append("".join(letters[mark] for mark in self.marks(row) if mark not in of_times))
        return ["variant", *WORTH, "marks"], [[*cells, mark] for cells, mark in zip(rows, marks, strict=True)]

    def _costs(self, at: int) -> Table:
        """Size and the times of one cadence; the A/A row below."""
        letters = self.letters()
        rows = []
        for i, row in enumerate(self.rows):
            times = row.times[at] if row.times else None
            marks = self.marks(row) if len(self.cadences) == 1 or times is None else self.time_marks(times)
            size = [quantity(row.size_bytes, "B"), "–" if i == 0 else f"{row.size_ratio:.1f}"]
            rows.append([row.name, *size, *_times(times), "".join(letters[mark] for mark in marks)])
        if self.again:
            rows.append([self._again(), "", "", *_times(self.again[at]), self._again_marks(at)])
        return ["variant", "size", "× smaller", *TIMES], rows

    def _all_times(self) -> Table:
        """Median and ratio of every cadence side by side, each with its marks."""
        letters, columns = self.letters(), ("p50, ms", "× faster", "marks")
        header = ["variant", *(f"{c.name}: {what}" for c in self.cadences for what in columns)]
        rows = []
        for row in self.rows:
            marks = ["".join(letters[mark] for mark in self.time_marks(t)) for t in row.times]
            rows.append([row.name, *(_paced(row.times, marks) or ["–", "–", ""] * len(self.cadences))])
        if not self.again:
            return header, rows
        marks = [self._again_marks(at) for at in range(len(self.again))]
        return header, [*rows, [self._again(), *_paced(self.again, marks)]]

    def _again(self) -> str:
        return f"A/A: {self.rows[0].name}"

    def _again_marks(self, at: int) -> str:
        letters, times = self.letters(), self.again[at]
        marks = [mark for mark in self.time_marks(times) if mark != "interval includes 1"]
        if times.speedup is not None and not times.speedup.includes(1):
            marks.insert(0, "A/A misses 1")
        return "".join(letters[mark] for mark in marks)


def _without(table: Table, names: Sequence[str]) -> Table:
    return _columns(table, [i for i, name in enumerate(table[0]) if name not in names])


def _without_empty_marks(table: Table) -> Table:
    """Without the columns of marks that hold none."""
    header, rows = table
    return _columns(table, [i for i, name in enumerate(header) if "marks" not in name or any(row[i] for row in rows)])


def _columns(table: Table, kept: Sequence[int]) -> Table:
    header, rows = table
    return [header[i] for i in kept], [[row[i] for i in kept] for row in rows]


def _paced(times: Sequence[Times], marks: Sequence[str]) -> list[str]:
    pairs = zip(times, marks, strict=True)
    return [cell for t, mark in pairs for cell in (three_digits(t.p50), ratio_text(t.speedup), mark)]


def _times(times: Times | None) -> list[str]:
    if times is None:
        return ["–", "–", "–"]
    return [three_digits(times.p50), three_digits(times.p95), ratio_text(times.speedup)]


def _worth(row: Row, *, first: bool) -> list[str]:
    a, change = row.accuracy, row.accuracy_change
    return [
        f"{100 * a.value:.2f} [{100 * a.low:.1f}, {100 * a.high:.1f}]",
        "–" if change is None else _signed(f"{change.value:+.2f} [{change.low:+.2f}, {change.high:+.2f}]"),
        "–" if first else f"{100 * row.agreement:.1f}",
        quantity(row.size_bytes, "B"),
        "–" if first else f"{row.size_ratio:.1f}",
        quantity(row.parameters) + _nonzero_part(row),
        quantity(row.macs),
    ]


def _signed(text: str) -> str:
    """With the minus sign of mathematics, which is as wide as the plus."""
    return text.replace("-", "−")


def _nonzero_part(row: Row) -> str:
    """Says how many are not zero, where it matters (under 99 %)."""
    if row.nonzeros is None or not row.parameters or row.nonzeros >= 0.99 * row.parameters:
        return ""
    return f" ({100 * row.nonzeros / row.parameters:.0f} % ≠ 0)"
