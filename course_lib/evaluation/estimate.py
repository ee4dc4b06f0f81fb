"""One record for every measured quantity that has an interval: accuracies, differences, ratios and means over seeds."""

from __future__ import annotations

from dataclasses import dataclass, replace


@dataclass(frozen=True)
class Estimate:
    """A value with its 95 % interval.

    Args:
        value: the estimate itself, in ``unit``.
        low: lower end of the interval, in ``unit``.
        high: upper end of the interval, in ``unit``.
        n: how many things were measured: images, paired rounds, trainings.
        unit: "" for a fraction in [0, 1], "points" for percentage points, "×" for a ratio, or that of the scores.
        clusters: the independent things among the n that the interval draws, such as tracks; None: all n are.
        spread: standard deviation between the n, in ``unit`` (n − 1 in the denominator); None where that says nothing.

    >>> gain = Estimate(1.5, 0.5, 2.5, n=5, unit="points")
    >>> gain.includes(0), gain.includes(1), gain.verdict
    (False, True, 'helped')
    """

    value: float
    low: float
    high: float
    n: int
    unit: str = ""
    clusters: int | None = None
    spread: float | None = None

    @property
    def independent(self) -> int:
        """How many independent things the interval rests on: the clusters, or all n."""
        return self.n if self.clusters is None else self.clusters

    def includes(self, number: float) -> bool:
        """Whether the interval holds this number; a ratio that includes 1 does not tell which of the two is larger."""
        return self.low <= number <= self.high

    @property
    def percent(self) -> Estimate:
        """A fraction and its interval in per cent.

        >>> Estimate(0.9, 0.8, 1.0, n=10).percent
        Estimate(value=90.0, low=80.0, high=100.0, n=10, unit='%', clusters=None, spread=None)
        """
        spread = None if self.spread is None else 100 * self.spread
        return replace(self, value=100 * self.value, low=100 * self.low, high=100 * self.high, unit="%", spread=spread)

    @property
    def percent_from_one(self) -> float:
        """How far a ratio lies from 1, in per cent, either way: 0.8 as far as 1.25.

        >>> Estimate(0.8, 0.7, 0.9, n=9, unit="×").percent_from_one
        25.0
        """
        return 100 * (max(self.value, 1 / self.value) - 1)

    @property
    def verdict(self) -> str:
        """What a difference allows to say: "helped" or "hurt" where the interval excludes 0, else "not shown"."""
        return "helped" if self.low > 0 else "hurt" if self.high < 0 else "not shown"
