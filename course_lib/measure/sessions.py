"""Several sessions, one ledger: a figure that is recorded must hold beyond the process that found it.

Within a process the rounds agree, because memory lies where it lies and the neighbours are the same ones. The next
process gets other addresses and other neighbours. So the same ledger is measured in several fresh processes, and the
intervals of its ratios cover them (``evaluation.ratio_over_sessions``).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from course_lib.measure.ledger import Ledger
from course_lib.measure.row import Row
from course_lib.measure.times import Times, ratio_of


def pool_sessions(ledgers: Sequence[Ledger]) -> Ledger:
    """One ledger with the times of all sessions; accuracy, bytes and counts are the first one's.

    Args: ledgers: of the same variants, measured in the same cadences, each in a process of its own.
    Raises: ValueError: none, or they differ in anything but their times and their date.
    """
    if not ledgers:
        raise ValueError("ledgers must hold at least one session, got none")
    first = ledgers[0]
    if not first.again:
        raise ValueError("ledgers must hold interleaved rounds; these variants were timed one after the other")
    for number, other in enumerate(ledgers[1:], start=2):
        if what := _difference(first, other):
            raise ValueError(f"session {number} is another measurement than session 1: {what} differ")
    columns = [[ledger.rows[i].times for ledger in ledgers] for i in range(len(first.rows))]
    times = [_joined(column) for column in columns]
    rows = tuple(
        replace(row, times=_with_ratio(own, None if i == 0 else times[0], first.seed))
        for i, (row, own) in enumerate(zip(first.rows, times, strict=True))
    )
    again = _with_ratio(_joined([ledger.again for ledger in ledgers]), times[0], first.seed)
    return replace(first, rows=rows, again=again, date=max(ledger.date for ledger in ledgers))


def _difference(one: Ledger, other: Ledger) -> str:
    """What makes two ledgers two measurements, "" if nothing."""
    for name in ("data", "cadences", "threads", "warmup", "seed", "input_shape", "machine", "versions"):
        if getattr(one, name) != getattr(other, name):
            return f"the {name}"
    return "" if [_untimed(row) for row in one] == [_untimed(row) for row in other] else "the rows"


def _untimed(row: Row) -> Row:
    return replace(row, times=())


def _joined(sessions: Sequence[tuple[Times, ...]]) -> tuple[Times, ...]:
    """The times of one variant in all sessions, cadence by cadence, without a ratio yet."""
    return tuple(
        Times(same[0].cadence, tuple(s for times in same for s in times.sessions), _lowest(same))
        for same in zip(*sessions, strict=True)
    )


def _lowest(same: Sequence[Times]) -> float | None:
    return min((times.busy for times in same if times.busy is not None), default=None)


def _with_ratio(own: tuple[Times, ...], reference: tuple[Times, ...] | None, seed: int) -> tuple[Times, ...]:
    if reference is None:
        return own
    return tuple(
        replace(times, speedup=ratio_of(slow, times, seed)) for slow, times in zip(reference, own, strict=True)
    )
