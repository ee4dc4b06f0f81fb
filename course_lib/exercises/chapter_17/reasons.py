"""17.4: may a row from a board claim speed?"""

from __future__ import annotations

import copy
from functools import partial

import numpy as np

from course_lib.exercises.chapter_17.board_rows import CASES, Row, board_row
from course_lib.exercises.engine.exercise import Exercise

ex = Exercise(
    "17.4",
    "Why a row's times mean nothing",
    points=3,
    hints=[
        "Five questions, asked one after the other, each adding its word to a list; none depends on another's answer.",
        "An empty list of providers is no provider, so another one ran than was asked for. ``outputs_agree`` has three "
        "values: ask for ``is False``.",
        "Clocks: another number of cores before and after is a change. Else go through the pairs (before, after): "
        "skip those with a None, and compare |after − before| with 0.02 · before.",
    ],
    explanation="""
        None of the five can be seen in the times themselves. A provider that fell back gives a plausible time, an
        emulator too, and a network that computes nonsense may be fast. So each row carries what is needed to judge
        it, and the judge asks before the table is printed, not after somebody wondered.
    """,
)


@ex.reference
def reasons(row: Row, emulated: bool) -> list[str]:
    """Why this row may not claim speed: words, in the order below; [] if it may.

    "unfinished": row["error"] is not None. "emulated": the machine is. "fell back": the first of row["providers"] is
    not row["asked"], or there is none. "disagree": row["outputs_agree"] is False; None says that nobody compared,
    and is no reason. "clocks": row["before"] and row["after"], lists with the clock of each core in kHz, have
    different lengths, or a core's clock afterwards differs by more than 2 % of the one before, upwards or downwards
    (none by exactly 2 %). A clock in these lists may be None: the system does not tell it, and this core is no reason.
    """
    found = {
        "unfinished": row["error"] is not None,
        "emulated": emulated,
        "fell back": row["providers"][:1] != [row["asked"]],
        "disagree": row["outputs_agree"] is False,
        "clocks": len(row["before"]) != len(row["after"]) or any(map(_moved, row["before"], row["after"])),
    }
    return [word for word, holds in found.items() if holds]


def _moved(before: int | None, after: int | None) -> bool:
    return before is not None and after is not None and abs(after - before) > 0.02 * before


@ex.solution
def in_full(row: dict, emulated: bool) -> list[str]:
    """Why this row may not claim speed: words, in the order of the task; [] if it may."""
    found = []
    if row["error"] is not None:
        found.append("unfinished")
    if emulated:
        found.append("emulated")
    if not row["providers"] or row["providers"][0] != row["asked"]:
        found.append("fell back")
    if row["outputs_agree"] is False:
        found.append("disagree")
    changed = len(row["before"]) != len(row["after"])
    for before, after in zip(row["before"], row["after"], strict=False):
        if before is not None and after is not None and abs(after - before) > 0.02 * before:
            changed = True
    if changed:
        found.append("clocks")
    return found


for _asks, _arguments in CASES.items():
    ex.case(_asks)(partial(copy.deepcopy, _arguments))


@ex.inputs
def random_row(rng: np.random.Generator) -> tuple[Row, bool]:
    cores = int(rng.integers(1, 5))
    before = [int(rng.choice([1_000_000, 1_479_000])) for _ in range(cores)]
    after = [int(clock * rng.choice([1.0, 1.0, 1.0, 1.01, 0.9, 1.2])) for clock in before]
    row = board_row(
        error=[None, None, "out of memory"][int(rng.integers(3))],
        asked=["CPU", "CUDA"][int(rng.integers(2))],
        providers=[["CPU"], ["CUDA", "CPU"], []][int(rng.integers(3))],
        outputs_agree=[True, False, None][int(rng.integers(3))],
        before=before,
        after=after if rng.random() < 0.8 else after[:-1],
    )
    return row, bool(rng.random() < 0.3)


@ex.mistake("You return the first reason alone. Whoever mends it should not find the next one only then: list all.")
def first_alone(row, emulated):
    return reasons(row, emulated)[:1]


@ex.mistake("You return whether there are reasons. Which ones is asked for: a list of words.")
def yes_or_no(row, emulated):
    return bool(reasons(row, emulated))


@ex.mistake("The words stand in another order than the task has them.")
def alphabetical(row, emulated):
    return sorted(reasons(row, emulated))


@ex.mistake("You look whether the provider asked for is *among* those of the session. The first one is what ran.")
def among(row, emulated):
    words = [word for word in reasons(row, emulated) if word != "fell back"]
    if row["asked"] not in row["providers"]:
        words.insert(sum(word in ("unfinished", "emulated") for word in words), "fell back")
    return words


@ex.mistake("You compare all providers with the one asked for. Others may stand behind it; the first one is what ran.")
def only_one(row, emulated):
    return reasons(row | {"providers": row["providers"] if len(row["providers"]) == 1 else []}, emulated)


@ex.mistake("You look at the last provider. The first one is what ran; the last is where it would have fallen back to.")
def last_provider(row, emulated):
    return reasons(row | {"providers": row["providers"][::-1]}, emulated)


@ex.mistake("Without any provider you found none that fell back. Then the one asked for did not run either.")
def none_is_fine(row, emulated):
    return reasons(row | {"providers": row["providers"] or [row["asked"]]}, emulated)


@ex.mistake("None in outputs_agree says that nobody compared. Only False is a disagreement.")
def none_disagrees(row, emulated):
    return reasons(row | {"outputs_agree": bool(row["outputs_agree"])}, emulated)


@ex.mistake("You took an error without words for none. Ask whether it is None.")
def empty_error(row, emulated):
    return reasons(row | {"error": row["error"] or None}, emulated)


@ex.mistake("You stopped at the error. The other questions are asked all the same.")
def stopped_at_error(row, emulated):
    return ["unfinished"] if row["error"] is not None else reasons(row, emulated)


@ex.mistake("An emulated machine is missing. Its outputs are worth something, its times are not.")
def emulation_forgotten(row, emulated):
    return reasons(row, False)


@ex.mistake("You find a fall back only where the CPU ran instead. Any other provider than the one asked for is one.")
def to_the_cpu_alone(row, emulated):
    providers = row["providers"] if row["providers"][:1] in ([], ["CPU"]) else [row["asked"]]
    return reasons(row | {"providers": providers}, emulated)


@ex.mistake("You joined the words to one text. A list of words is asked for.")
def joined(row, emulated):
    return ", ".join(reasons(row, emulated))


@ex.mistake("A set keeps no order. A list of words is asked for, in the order of the task.")
def as_a_set(row, emulated):
    return set(reasons(row, emulated))


@ex.mistake("Without a reason you return None. An empty list is asked for: [].")
def none_for_no_reason(row, emulated):
    return reasons(row, emulated) or None


@ex.alternative
def as_a_generator(row, emulated):
    def told():
        if row["error"] is not None:
            yield "unfinished"
        if emulated:
            yield "emulated"
        if next(iter(row["providers"]), None) != row["asked"]:
            yield "fell back"
        if row["outputs_agree"] is not None and not row["outputs_agree"]:
            yield "disagree"
        if len(row["before"]) != len(row["after"]) or any(
            100 * abs(a - b) > 2 * b for b, a in zip(row["before"], row["after"], strict=True) if a and b
        ):
            yield "clocks"

    return list(told())


@ex.alternative
def with_a_table(row, emulated):
    words = ["unfinished", "emulated", "fell back", "disagree", "clocks"]
    before, after = copy.copy(row["before"]), list(row["after"])
    told = [(b, a) for b, a in zip(before, after, strict=False) if b is not None and a is not None]
    flags = [
        row["error"] is not None,
        emulated,
        not (row["providers"] and row["providers"][0] == row["asked"]),
        row["outputs_agree"] == False,  # noqa: E712  None is not equal to it
        len(before) != len(after) or any(a > 1.02 * b or a < 0.98 * b for b, a in told),
    ]
    return [word for word, flag in zip(words, flags, strict=True) if flag]


@ex.alternative
def with_numpy(row, emulated):
    before, after = (np.array(row[at], dtype=float) for at in ("before", "after"))
    changed = before.shape != after.shape or bool((np.abs(after - before) > 0.02 * before).any())  # NaN: False
    flags = {
        "unfinished": row["error"] is not None,
        "emulated": emulated,
        "fell back": (row["providers"] or [None])[0] != row["asked"],
        "disagree": row["outputs_agree"] is False,
        "clocks": changed,
    }
    return tuple(word for word in flags if flags[word])
