"""Reading a comparison of methods honestly: what each interval allows to say, and what many of them do together.

A recorded gain is a mean over seeds with a 95 % interval (Student's t). Three statements are possible about one method:
the interval lies above 0 ("helped"), below 0 ("hurt"), or holds 0: then nothing was shown, which is not the same as
"no effect". With k methods that all do nothing, and independent intervals, at least one would exclude 0 with
probability 1 − 0.95^k. They share the control, so they are not independent; the number still says how careful to be.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from course_lib.experiments.distillation_arms import METHODS
from course_lib.measure import Measurement


@dataclass(frozen=True)
class Gain:
    """A method's gain over the student alone, in points (100 × fraction), with its 95 % interval over n seeds."""

    method: str
    label: str
    value: float
    low: float
    high: float
    n: int

    @property
    def verdict(self) -> str:
        """ "helped" or "hurt" where the interval excludes 0, else "not shown"."""
        return "helped" if self.low > 0 else "hurt" if self.high < 0 else "not shown"


def method_gains(figures: Mapping[str, Measurement]) -> list[Gain]:
    """The recorded gains of the methods in ``METHODS``, the largest first; other figures are left out.

    Args: figures: name → Figure, as ``measure.load_result`` gives them.
    Raises: ValueError: none of the methods is recorded, or one has no interval.
    """
    found = []
    for method, label in METHODS.items():
        figure = figures.get(f"{method}_gain_points")
        if figure is None:
            continue
        if figure.low is None or figure.high is None:
            raise ValueError(f"{method}_gain_points must have an interval, got the value {figure.value:g} alone")
        found.append(Gain(method, label, figure.value, figure.low, figure.high, figure.n))
    if not found:
        raise ValueError(f"figures must hold <method>_gain_points of {', '.join(METHODS)}, got {sorted(figures)}")
    return sorted(found, key=lambda gain: -gain.value)


def verdict_sentence(gains: list[Gain]) -> str:
    """What the intervals say and do not say, in one Markdown paragraph that is true whatever won."""

    names = {v: ", ".join(g.label for g in gains if g.verdict == v) for v in ("helped", "hurt", "not shown")}
    luck = 100 * (1 - 0.95 ** len(gains))
    return " ".join(
        [
            f"**The interval lies above 0** for {names['helped']}." if names["helped"] else "No interval lies above 0.",
            f"**Below 0**: {names['hurt']}." if names["hurt"] else "None lies below 0.",
            f"**It holds 0, so nothing was shown**, for {names['not shown']}." if names["not shown"] else "",
            f"Had all {len(gains)} methods done nothing, at least one interval would still exclude 0 in about "
            f"{luck:.0f} of 100 such studies (if they were independent).",
        ]
    ).replace("  ", " ")
