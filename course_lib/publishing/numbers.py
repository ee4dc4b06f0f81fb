"""How README writes a measured number, and what it calls the data that it was measured on."""

from __future__ import annotations

from course_lib.measure import Measurement

DATA = {"rendered": "rendered signs", "gtsrb": "real signs (GTSRB)"}
"""Data key → its name in tables."""


def shortfall(figure: Measurement) -> str:
    """What became of the figure's target, "" where it was reached or there is none.

    >>> shortfall(Measurement(0.9, "points", 3, "points lost", low=0.5, high=1.3, target="≤ 1.0"))
    'not established'
    """
    return "missed" if figure.met is False else "not established" if figure.established is False else ""


def number_text(figure: Measurement, digits: int | None = None, *, unit: bool = True) -> str:
    """The number as README shows it: fractions as per cent, the interval in brackets.

    Args:
        digits: behind the point; by default two for points and fractions, one for ratios.
        unit: write % or × behind the value; off where the column's head says it.

    >>> number_text(Measurement(20.5, "×", 3, "times faster", low=20.1, high=20.9))
    '20.5 × [20.1, 20.9]'
    """
    factor, sign, usual = (100, " %", 2) if figure.unit == "" else (1, "" if figure.unit == "points" else " ×", 1)
    digits = (2 if figure.unit == "points" else usual) if digits is None else digits
    text = f"{factor * figure.value:.{digits}f}{sign if unit else ''}"
    if figure.low is not None and figure.high is not None:
        text += f" [{factor * figure.low:.{digits}f}, {factor * figure.high:.{digits}f}]"
    return text.replace("-", "−")


def number_and_target(figure: Measurement) -> str:
    """The number with two digits and without its unit, and its target where that was missed or is not established.

    >>> number_and_target(Measurement(0.9, "points", 3, "points lost", low=0.5, high=1.3, target="≤ 1.0"))
    '0.90 [0.50, 1.30] (target ≤ 1.0: not established)'
    """
    short = shortfall(figure)
    return number_text(figure, 2, unit=False) + (f" (target {figure.target}: {short})" if short else "")


def capital(words: str) -> str:
    """With a capital first letter, the others as they are (``str.capitalize`` would write Gtsrb).

    >>> capital("real signs (GTSRB)")
    'Real signs (GTSRB)'
    """
    return words[:1].upper() + words[1:]
