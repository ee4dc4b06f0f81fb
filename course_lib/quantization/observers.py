"""Which range shall the codes span? Observers look at batch after batch of a tensor, and then say.

Codes beyond the range are clipped; a wide range makes every step coarse. The smallest and the largest value clip
nothing, and one outlier makes all steps coarse. The others clip on purpose:

* ``MinMax``: nothing is clipped.
* ``MovingAverage``: the ends follow the batches' ends slowly, as PyTorch's MovingAverageMinMaxObserver. It depends on
  the order of the batches, by its nature, and cannot be merged.
* ``Percentile``: as many values are clipped as asked, half at each end where there are two.
* ``LeastSquares``: the range with the least mean squared error, rounding and clipping together.
* ``Entropy`` (``entropy.py``): the range whose codes keep the distribution's shape, by KL divergence, as TensorRT's
  calibrator.

All but MovingAverage give the same range however the data were cut into batches, and whichever process saw them: the
last three are computed from one ``Histogram``, exactly mergeable; a range is right to one of its bins.

Krishnamoorthi 2018, arXiv:1806.08342, section 3.1; Wu et al. 2020, arXiv:2004.09602, section 3.1; Migacz 2017, "8-bit
inference with TensorRT" (entropy).
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from typing import Self

import numpy as np
import torch
from torch import Tensor

from course_lib.quantization.affine import Affine, Codes, from_range
from course_lib.quantization.histogram import BINS, Histogram, finite_ends

Range = tuple[Tensor, Tensor]


class Observer(ABC):
    """Sees a tensor in batches; says which range its codes shall span.

    There is one range for the whole tensor, so batches may have any shapes. An axis with ranges of its own is for
    weights, which are there all at once: see ``min_max``.
    """

    @abstractmethod
    def update(self, x: Tensor) -> None:
        """See one batch, any shape. Raises: ValueError: NaN or infinite values."""

    @abstractmethod
    def merge(self, other: Self) -> None:
        """Take over what another one saw. Raises: ValueError: it is of another kind or has other settings."""

    @abstractmethod
    def ends(self) -> Range:
        """Lowest and highest value of the range, float32, (). Raises: ValueError: nothing was seen."""

    def affine(self, codes: Codes, *, symmetric: bool = False) -> Affine:
        """Scale and zero point of the range."""
        return from_range(*self.ends(), codes, symmetric=symmetric)


def _pair(low: float, high: float) -> Range:
    return torch.tensor(low, dtype=torch.float32), torch.tensor(high, dtype=torch.float32)


class MinMax(Observer):
    """The smallest and the largest value. Matches: torch.ao's MinMaxObserver.

    >>> observer = MinMax()
    >>> observer.update(torch.tensor([1.0, -2.0]))
    >>> observer.update(torch.tensor([0.5]))
    >>> [end.item() for end in observer.ends()]
    [-2.0, 1.0]
    """

    def __init__(self) -> None:
        self.low, self.high = math.inf, -math.inf

    def update(self, x: Tensor) -> None:
        if x.numel():
            low, high = (float(end) for end in finite_ends(x))
            self.low, self.high = min(self.low, low), max(self.high, high)

    def merge(self, other: Self) -> None:
        _require_same(self, other, ())
        self.low, self.high = min(self.low, other.low), max(self.high, other.high)

    def ends(self) -> Range:
        require_seen(self.low <= self.high)
        return _pair(self.low, self.high)


class MovingAverage(Observer):
    """Ends that move a fraction of the way to each batch's ends. Matches: torch.ao's MovingAverageMinMaxObserver.

    Args: rate: the fraction, in (0, 1].
    Raises: ValueError: a rate outside.
    """

    def __init__(self, rate: float = 0.01) -> None:
        if not 0 < rate <= 1:
            raise ValueError(f"rate must be in (0, 1], got {rate}")
        self.rate = rate
        self._ends: Range | None = None

    def update(self, x: Tensor) -> None:
        if x.numel() == 0:
            return
        low, high = finite_ends(x)
        if self._ends is None:
            self._ends = low, high
        else:
            old_low, old_high = self._ends
            self._ends = old_low + self.rate * (low - old_low), old_high + self.rate * (high - old_high)

    def merge(self, other: Self) -> None:
        raise ValueError("moving averages depend on the order of their batches and cannot be merged; use MinMax")

    def ends(self) -> Range:
        if self._ends is None:
            require_seen(False)
        assert self._ends is not None
        return self._ends


class HistogramObserver(Observer):
    """What the observers that look at the whole distribution share.

    Args: bins: of the histogram.
    """

    def __init__(self, bins: int = BINS) -> None:
        self.histogram = Histogram(bins)

    def update(self, x: Tensor) -> None:
        self.histogram.update(x)

    def merge(self, other: Self) -> None:
        _require_same(self, other, self._settings())
        self.histogram.merge(other.histogram)

    def _settings(self) -> tuple[str, ...]:
        """Names of the attributes in which two that are merged must agree."""
        return ()

    def _inside(self, low: float, high: float) -> Range:
        """The range, not beyond what was seen, and 0."""
        return _pair(max(low, min(self.histogram.low, 0.0)), min(high, max(self.histogram.high, 0.0)))


class Percentile(HistogramObserver):
    """The range that leaves out (100 − percent) % of the values; one-sided where all values have one sign.

    Args: percent: kept, in (50, 100]. bins: of the histogram; the ends are right to one of them.
    Raises: ValueError: a percentage outside.

    >>> observer = Percentile(80)
    >>> observer.update(torch.arange(101) / 100.0)
    >>> round(observer.ends()[1].item(), 2)
    0.8
    """

    def __init__(self, percent: float = 99.99, bins: int = BINS) -> None:
        super().__init__(bins)
        if not 50 < percent <= 100:
            raise ValueError(f"percent must be in (50, 100], got {percent}")
        self.percent = percent

    def _settings(self) -> tuple[str, ...]:
        return ("percent",)

    def ends(self) -> Range:
        seen = self.histogram
        require_seen(seen.total > 0)
        out = 1 - self.percent / 100
        if seen.low >= 0:
            return self._inside(0.0, self._quantile(1 - out))
        if seen.high <= 0:
            return self._inside(self._quantile(out), 0.0)
        return self._inside(self._quantile(out / 2), self._quantile(1 - out / 2))

    def _quantile(self, fraction: float) -> float:
        """Where the cumulative count reaches the fraction, by a straight line within the bin."""
        counts, edges = self.histogram.counts, self.histogram.edges
        reached = np.concatenate([[0], np.cumsum(counts)])
        wanted = fraction * reached[-1]
        place = min(int(np.searchsorted(reached, wanted, side="left")), len(counts))
        if place == 0:
            return self.histogram.low
        inside = (wanted - reached[place - 1]) / max(1, counts[place - 1])
        return float(edges[place - 1] + inside * self.histogram.width)


class LeastSquares(HistogramObserver):
    """The range with the least mean squared error of the codes, over a grid of narrower and narrower ranges.

    The error of a range is taken at the middle of each bin. Both ends are searched in turn, each with the other one
    held: from the widest range down to a fifth of it.

    Args: codes: that will span the range. symmetric: whether both ends reach equally far. bins: of the histogram.

    >>> observer = LeastSquares(Codes(4, signed=False))
    >>> observer.update(torch.cat([torch.linspace(0, 1, 1000), torch.tensor([20.0])]))
    >>> observer.ends()[1].item() < 20
    True
    """

    STEPS = 80

    def __init__(self, codes: Codes, *, symmetric: bool = False, bins: int = BINS) -> None:
        super().__init__(bins)
        self.codes, self.symmetric = codes, symmetric

    def _settings(self) -> tuple[str, ...]:
        return ("codes", "symmetric")

    def ends(self) -> Range:
        seen = self.histogram
        require_seen(seen.total > 0)
        low, high = lowest, highest = min(seen.low, 0.0), max(seen.high, 0.0)
        fractions = np.linspace(1, 0.2, self.STEPS)
        if self.symmetric:
            reach = fractions * max(-low, high)
            best = reach[self.errors(-reach, reach).argmin()]
            return _pair(-best, best)
        for _ in range(2):
            if highest > 0:
                high = (fractions * highest)[self.errors(low, fractions * highest).argmin()]
            if lowest < 0:
                low = (fractions * lowest)[self.errors(fractions * lowest, high).argmin()]
        return _pair(low, high)

    def errors(self, lows: np.ndarray | float, highs: np.ndarray | float) -> np.ndarray:
        """Mean squared error of the codes of each range, float64 (R,), in units of x².

        Args: lows, highs: of R ranges, (R,), or one end for all.
        """
        ends = np.broadcast_arrays(np.atleast_1d(lows), highs)
        bottoms, tops = (torch.tensor(one, dtype=torch.float32) for one in ends)
        affine = from_range(bottoms, tops, self.codes, symmetric=self.symmetric, axis=0)
        scales, zeros = (x.double().unsqueeze(1).numpy() for x in (affine.scale, affine.zero_point))
        held = np.flatnonzero(self.histogram.counts)
        middles = self.histogram.edges[held] + self.histogram.width / 2
        steps = np.rint(middles / scales)  # (R, bins that hold anything)
        np.clip(steps, self.codes.low - zeros, self.codes.high - zeros, out=steps)
        steps *= scales
        steps -= middles
        np.square(steps, out=steps)
        steps *= self.histogram.counts[held]
        return steps.sum(1) / self.histogram.total


def require_seen(seen: bool) -> None:
    """Raise ValueError unless something was seen."""
    if not seen:
        raise ValueError("no value was observed: calibrate with at least one batch")


def _require_same(one: Observer, other: Observer, settings: tuple[str, ...]) -> None:
    if type(one) is not type(other):
        raise ValueError(f"a {type(one).__name__} cannot be merged with a {type(other).__name__}")
    for name in settings:
        if getattr(one, name) != getattr(other, name):
            raise ValueError(f"observers with {name} {getattr(one, name)} and {getattr(other, name)} cannot be merged")
