"""17.4, its mistakes about clocks: which cores are looked at, and by how much a clock may move."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from course_lib.exercises.chapter_17.board_rows import Row
from course_lib.exercises.chapter_17.reasons import _moved, ex, reasons


def _judged(row: Row, emulated: bool, changed: Callable[[list[tuple[Any, Any]]], bool]) -> list[str]:
    """The answer with another question about the clocks of cores that are told before and after."""
    words = [word for word in reasons(row, emulated) if word != "clocks"]
    known = [(b, a) for b, a in zip(row["before"], row["after"], strict=False) if None not in (b, a)]
    return words + ["clocks"] * (len(row["before"]) != len(row["after"]) or bool(known and changed(known)))


@ex.mistake("You look for clocks that fell. One that rose spoils the comparison just as much.")
def fell_alone(row, emulated):
    pairs = zip(row["before"], row["after"], strict=False)
    lower = [a if a is None or b is None else min(a, b) for b, a in pairs]
    return reasons(row | {"after": lower + row["after"][len(lower) :]}, emulated)


@ex.mistake("You look for clocks that rose. One that fell spoils the comparison just as much.")
def rose_alone(row, emulated):
    pairs = zip(row["before"], row["after"], strict=False)
    higher = [a if a is None or b is None else max(a, b) for b, a in pairs]
    return reasons(row | {"after": higher + row["after"][len(higher) :]}, emulated)


@ex.mistake("Any difference of a clock counts for you. Up to 2 % is how a fixed clock is read twice.")
def no_tolerance(row, emulated):
    return _judged(row, emulated, lambda known: any(b != a for b, a in known))


@ex.mistake("You took 2 % of the clock afterwards. It is 2 % of the one before.")
def of_the_clock_after(row, emulated):
    return reasons(row | {"before": row["after"], "after": row["before"]}, emulated)


@ex.mistake("You compared the mean clock. One core that fell and one that rose are two changes.")
def mean_clock(row, emulated):
    return _judged(row, emulated, lambda known: _moved(sum(b for b, _ in known), sum(a for _, a in known)))


@ex.mistake("You looked at the first core alone. Each has its own clock.")
def first_core(row, emulated):
    same = len(row["before"]) == len(row["after"])
    after = [*row["after"][:1], *row["before"][1:]] if same else row["after"]
    return reasons(row | {"after": after}, emulated)


@ex.mistake("A core that was switched off or on is a change: compare the lengths, too.")
def cut_to_the_shorter(row, emulated):
    least = min(len(row["before"]), len(row["after"]))
    return reasons(row | {"before": row["before"][:least], "after": row["after"][:least]}, emulated)


@ex.mistake(
    "A clock in the lists may be None, and None cannot be subtracted: the system does not tell it. Skip this core."
)
def none_subtracted(row, emulated):
    words = reasons(row | {"before": [], "after": []}, emulated)
    before, after = row["before"], row["after"]
    moved = len(before) != len(after) or any(abs(a - b) > 0.02 * b for b, a in zip(before, after, strict=True))
    return words + ["clocks"] * moved


@ex.mistake("A clock that the system does not tell (None) is no change.")
def none_is_a_change(row, emulated):
    words = [word for word in reasons(row, emulated) if word != "clocks"]
    pairs = list(zip(row["before"], row["after"], strict=False))
    lengths = len(row["before"]) != len(row["after"])
    changed = lengths or any((b is None) != (a is None) or _moved(b, a) for b, a in pairs)
    return words + ["clocks"] * changed


@ex.mistake("One clock that the system does not tell made you skip all. The other cores' still count.")
def none_skips_all(row, emulated):
    words = [word for word in reasons(row, emulated) if word != "clocks"]
    lengths = len(row["before"]) != len(row["after"])
    told = None not in (*row["before"], *row["after"])
    changed = lengths or (told and any(map(_moved, row["before"], row["after"])))
    return words + ["clocks"] * changed


@ex.mistake(
    "You compared with a fixed number of kHz. 2 % of the clock before is more for a fast core than for a slow one."
)
def fixed_number_of_khz(row, emulated):
    return _judged(row, emulated, lambda known: any(abs(a - b) > 20_000 for b, a in known))


@ex.mistake("You took 2 % of the larger clock. It is 2 % of the one before.")
def of_the_larger(row, emulated):
    return _judged(row, emulated, lambda known: any(abs(a - b) > 0.02 * max(a, b) for b, a in known))


@ex.mistake("You let clocks move by 20 %. It is 2 %: 0.02.")
def twenty_percent(row, emulated):
    return _judged(row, emulated, lambda known: any(abs(a - b) > 0.2 * b for b, a in known))


@ex.mistake("You let clocks move by a factor of 2 and more. It is 2 %: 0.02.")
def two_hundred_percent(row, emulated):
    return _judged(row, emulated, lambda known: any(abs(a - b) > 2 * b for b, a in known))


@ex.mistake("You ask whether all clocks changed. One core that changed is enough.")
def every_core(row, emulated):
    return _judged(row, emulated, lambda known: all(_moved(b, a) for b, a in known))


@ex.mistake("You compared the fastest core's clock alone. Each core counts.")
def fastest_core(row, emulated):
    return _judged(row, emulated, lambda known: _moved(max(b for b, _ in known), max(a for _, a in known)))


@ex.mistake("You sorted the clocks. Each core is compared with itself.")
def sorted_clocks(row, emulated):
    return _judged(
        row,
        emulated,
        lambda known: any(map(_moved, sorted(b for b, _ in known), sorted(a for _, a in known))),
    )


@ex.mistake("Your list has a word for each core that changed. Each word stands in it once.")
def word_for_each_core(row, emulated):
    words = reasons(row, emulated)
    pairs = zip(row["before"], row["after"], strict=False)
    moved = sum(_moved(b, a) for b, a in pairs) if len(row["before"]) == len(row["after"]) else 0
    return words + ["clocks"] * (moved - 1)
