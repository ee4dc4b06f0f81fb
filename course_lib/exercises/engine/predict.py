"""Predict first: a guess that is locked once given, answered by the chapter's own measurement, and scored.

A guess costs nothing and earns no points. It is there because a surprise teaches, and because an engineer should learn
how well calibrated their guesses are: ``sure`` is how sure you are, in per cent, and ``progress()`` sets it beside how
often you were right.

    guess = None                        # in the chapter's cell: your answer instead of None
    predict("02.p", guess, sure=70)     # None changes nothing; the first guess is kept
    reveal("02.p", optimism)            # where the chapter has measured

Guesses lie beside the progress (``record``); where nothing is kept, they last as long as the kernel.
"""

from __future__ import annotations

import datetime
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from course_lib.errors import CourseError
from course_lib.exercises.engine import record
from course_lib.exercises.engine.display import Note
from course_lib.exercises.engine.registry import prediction

_session: dict[str, dict[str, Any]] = {}


@dataclass(frozen=True)
class Choice:
    """A question with named answers.

    Args:
        id: "02.p".
        question: in a few words.
        options: letter -> (low, high): it is right where low ≤ measured < high; or letter -> the name measured.
        unit: of the measured number.
    """

    id: str
    question: str
    options: Mapping[str, tuple[float, float] | str]
    unit: str = ""

    def parse(self, guess: Any) -> str:
        """The option that is meant: "c", "C" and "(c)" alike, or its name, also with a word more ("hint loss").

        Raises: ValueError: none is, or more than one.
        """
        text = str(guess).strip().strip("()").strip().casefold()
        if found := [letter for letter in self.options if text == letter.casefold()]:
            return found[0]
        names = {letter: _letters(value) for letter, value in self.options.items() if isinstance(value, str)}
        meant = [letter for letter, name in names.items() if name and name in _letters(text)]
        if len(meant) == 1:
            return meant[0]
        raise ValueError(f"choose one of {', '.join(self.shown(letter) for letter in self.options)}")

    def shown(self, guess: Any) -> str:
        """The option as a learner knows it: its name, or its letter."""
        name = self.options.get(guess)
        return name if isinstance(name, str) else f"({guess})" if guess in self.options else str(guess)

    def right(self, guess: Any, measured: Any) -> bool:
        """Whether the guess is the option that was measured."""
        return guess == self.answer(measured)

    def answer(self, measured: Any) -> str:
        """The option that the measurement falls into. Raises: ValueError: none."""
        for letter, value in self.options.items():
            if isinstance(value, str):
                if str(measured).casefold() == value.casefold():
                    return letter
            elif value[0] <= float(measured) < value[1]:
                return letter
        raise ValueError(f"{self.id}: no option holds {measured!r}")

    def told(self, measured: Any) -> str:
        """The measurement and the option it stands for, in words."""
        if isinstance(measured, str):
            return self.shown(self.answer(measured))
        return f"{float(measured):.3g} {self.unit}".rstrip() + f", which is ({self.answer(measured)})"


@dataclass(frozen=True)
class Number:
    """A question for a number.

    Args:
        id: "00.p1".
        question: in a few words.
        unit: of the number.
        factor: right if guess and measurement differ by at most this factor, > 1.
        distance: right if they differ by at most this, in ``unit``.
    """

    id: str
    question: str
    unit: str = ""
    factor: float | None = None
    distance: float | None = None

    def parse(self, guess: Any) -> float:
        """The guess as a number; 0 is one. Raises: ValueError: it is none, or not finite."""
        number = float(guess)
        if isinstance(guess, bool) or not math.isfinite(number):
            raise ValueError("give a number")
        return number

    def right(self, guess: Any, measured: Any) -> bool:
        """Whether the guess is near enough."""
        guess, measured = float(guess), float(measured)
        if self.distance is not None:
            return abs(guess - measured) <= self.distance
        factor = self.factor or 1.0
        return guess > 0 and measured > 0 and max(guess / measured, measured / guess) <= factor

    def told(self, measured: Any) -> str:
        """The measurement with its unit."""
        return self.shown(measured)

    def shown(self, guess: Any) -> str:
        """A number with its unit."""
        return f"{float(guess):.3g} {self.unit}".rstrip()


Prediction = Choice | Number


def predict(id: str, guess: Any, sure: float | None = None) -> Note:
    """Lock a guess.

    Args:
        id: the prediction, "02.p".
        guess: your answer; None for none yet, which changes nothing.
        sure: how sure you are that it will count as right, in per cent.
    Returns: a note; a guess that cannot be understood is told so and not locked.
    Raises: ValueError: there is no such prediction.
    """
    asked, locked = prediction(id), _locked(id)
    if guess is None and locked is None:
        return Note(f"○ {id} No guess yet. Write one and run this cell again; nothing depends on it but your surprise.")
    if locked is None:
        try:
            value, certainty = asked.parse(guess), _certainty(sure)
        except (ValueError, TypeError) as error:
            return Note(f"○ {id} Not locked: {error}. You gave {guess!r}.")
        late = bool(_all().get(id))  # revealed, and not guessed
        entry = {"guess": value, "sure": certainty, "day": datetime.date.today().isoformat(), "late": late}
        note = _keep(id, entry)
        then = "The answer was shown before, so it does not count." if late else "The chapter will measure it."
        return Note(f"● {id} Locked: {_shown(entry, asked)}. {then} {note}".rstrip())
    try:
        same = guess is None or asked.parse(guess) == locked["guess"]
    except (ValueError, TypeError):
        same = False
    return Note(f"● {id} Locked: {_shown(locked, asked)}." + ("" if same else " The first guess counts."))


def reveal(id: str, measured: Any) -> Note:
    """Answer a guess with what was measured.

    Args:
        id: the prediction.
        measured: the number (or, for named options, the name) that the chapter has just found.
    Returns: a note that tells the measurement, and whether the guess was right.
    Raises: ValueError: there is no such prediction, the measurement is not finite, or no option holds it.
    """
    asked = prediction(id)
    if not isinstance(measured, str) and not math.isfinite(float(measured)):
        raise ValueError(f"{id}: {measured} is no measurement")
    told, locked = asked.told(measured), _locked(id)
    if locked is None:
        if not _all().get(id):
            _keep(id, {"revealed": datetime.date.today().isoformat()})
        return Note(f"○ {id} {asked.question}: {told}.")
    right = asked.right(locked["guess"], measured)
    if locked.get("right") != right:
        _keep(id, {**locked, "right": right})
    mark, verdict = ("✓", "Right.") if right else ("✗", "Not this time: what did you expect, and why?")
    if locked.get("late"):
        mark, verdict = "○", "You had seen the answer, so it does not count."
    return Note(f"{mark} {id} {asked.question}: {told}. You said {_shown(locked, asked)}. {verdict}")


@dataclass(frozen=True)
class Score:
    """How the guesses did that were made before the answer was shown.

    Args:
        right: number of right ones.
        answered: number of those whose answer was shown.
        sure: mean per cent over those that said how sure; None if none did.
        right_of_sure: number of right ones among those.
        told_sure: number of those that said how sure.
    """

    right: int
    answered: int
    sure: float | None
    right_of_sure: int
    told_sure: int


def scored() -> Score:
    """The score of all predictions that were revealed."""
    entries = [e for e in _all().values() if isinstance(e, dict) and isinstance(e.get("right"), bool)]
    entries = [e for e in entries if not e.get("late")]
    told = [e for e in entries if isinstance(e.get("sure"), int | float)]
    sure = sum(float(e["sure"]) for e in told) / len(told) if told else None
    right, right_of_sure = (sum(e["right"] for e in some) for some in (entries, told))
    return Score(right, len(entries), sure, right_of_sure, len(told))


def _letters(text: str) -> str:
    """Letters and digits alone, in lower case."""
    return "".join(c for c in text.casefold() if c.isalnum())


def _certainty(sure: float | None) -> float | None:
    if sure is not None and not (isinstance(sure, int | float) and 0 <= sure <= 100):
        raise ValueError(f"sure is per cent, 0 to 100, got {sure!r}")
    return sure


def _shown(entry: dict[str, Any], asked: Prediction) -> str:
    return asked.shown(entry["guess"]) + (f", {entry['sure']:g} % sure" if entry.get("sure") is not None else "")


def _all() -> dict[str, Any]:
    return {**record.part(record.read()[0], "predictions"), **_session}


def _locked(id: str) -> dict[str, Any] | None:
    entry = _all().get(id)
    return entry if isinstance(entry, dict) and "guess" in entry else None


def _keep(id: str, entry: dict[str, Any]) -> str:
    """Write an entry down, or keep it for this kernel where nothing can be written; returns a note."""

    def add(content: dict[str, Any]) -> None:
        content["predictions"] = {**record.part(content, "predictions"), id: entry}

    note = record.change(add, "Your guess counts in this session only")
    if note or not _is_kept():
        _session[id] = entry
    return note


def _is_kept() -> bool:
    try:
        return record.path() is not None
    except CourseError:
        return False
