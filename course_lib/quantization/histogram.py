"""Count numbers as they stream by, in bounded memory, with a result that does not depend on how they were cut.

The bins have the width of a power of two, 2^e, and 0 lies on an edge. A number beyond the last bin doubles the width
and adds neighbours in pairs, as often as needed. Bin k of the wider grid is exactly the bins 2k and 2k + 1 of the
finer one, so the counts are those that the wider grid would have given from the start; and the width in the end depends
on the largest |x| alone. Batches may come in any order and size, and histograms of several processes may be merged: the
result is the same to the last count. (PyTorch's HistogramObserver stretches its bins to the data and spreads old counts
evenly over new ones: an approximation that depends on the order.)
"""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor

BINS = 4096
"""On both sides of 0 together. The width is 1/2048 to 1/1024 of the largest |x|."""
_FINEST = -126  # 2^-126 is the smallest normal float32
_AT_ONCE = 2**16  # numbers: what is made of them on the way to a count stays in the processor's cache


def finite_ends(x: Tensor) -> tuple[Tensor, Tensor]:
    """The smallest and the largest value, float32, () each, of a tensor that is not empty.

    Raises: ValueError: NaN or infinite values.

    >>> finite_ends(torch.tensor([3.0, -1.0]))
    (tensor(-1.), tensor(3.))
    """
    low, high = torch.aminmax(x.detach().float())
    if not bool(low.isfinite() and high.isfinite()):
        raise ValueError("x holds NaN or infinite values, which no range can hold")
    return low, high


class Histogram:
    """Counts of a stream of numbers.

    Args:
        bins: a multiple of 4, half on each side of 0.
    Raises: ValueError: another number of bins.

    >>> import torch
    >>> histogram = Histogram(8)
    >>> histogram.update(torch.tensor([0.1, 0.3, -0.9]))
    >>> histogram.width, histogram.counts.tolist()
    (0.25, [1, 0, 0, 0, 1, 1, 0, 0])
    >>> histogram.update(torch.tensor([1.5]))  # beyond 4 · 0.25: twice as wide
    >>> histogram.width, histogram.counts.tolist()
    (0.5, [0, 0, 1, 0, 2, 0, 0, 1])
    """

    def __init__(self, bins: int = BINS):
        if isinstance(bins, bool) or not isinstance(bins, int) or bins < 4 or bins % 4:
            raise ValueError(f"bins must be a positive multiple of 4, got {bins!r}")
        self.counts = np.zeros(bins, np.int64)
        self.low, self.high = math.inf, -math.inf  # the smallest and largest number so far
        self._exponent = _FINEST

    @property
    def bins(self) -> int:
        """How many, on both sides of 0 together."""
        return len(self.counts)

    @property
    def width(self) -> float:
        """Of a bin, a power of two."""
        return 2.0**self._exponent

    @property
    def total(self) -> int:
        """How many numbers were counted."""
        return int(self.counts.sum())

    @property
    def edges(self) -> np.ndarray:
        """float64 (bins + 1,): where the bins begin, and the last one ends; each holds its lower edge."""
        return (np.arange(self.bins + 1) - self.bins // 2) * self.width

    def update(self, x: Tensor) -> None:
        """Count the numbers of a tensor, float32, any shape; an empty one changes nothing.

        Raises: ValueError: NaN or infinite values; nothing is counted then.
        """
        values = x.detach().float().flatten()
        if values.numel() == 0:
            return
        low, high = (float(end) for end in finite_ends(values))
        self._widen(_exponent_for(low, high, self.bins))
        for part in values.split(_AT_ONCE):
            self.counts += torch.bincount(self._places(part), minlength=self.bins).numpy()
        self.low, self.high = min(self.low, low), max(self.high, high)

    def _places(self, values: Tensor) -> Tensor:
        """The bin of each number, int32 (N,)."""
        places = values.mul(1 / self.width).floor_().int()  # exact, as the width is a power of two …
        if self._exponent > 0:  # … but that a tiny number below 0 may become 0
            places -= ((values < 0) & (places == 0)).int()
        places += self.bins // 2
        return places

    def merge(self, other: Histogram) -> None:
        """Add what another histogram counted.

        Raises: ValueError: it has another number of bins.
        """
        if other.bins != self.bins:
            raise ValueError(f"histograms of {self.bins} and {other.bins} bins cannot be merged")
        exponent = max(self._exponent, other._exponent)
        self._widen(exponent)
        self.counts += _in_pairs(other.counts, exponent - other._exponent)
        self.low, self.high = min(self.low, other.low), max(self.high, other.high)

    def _widen(self, exponent: int) -> None:
        if exponent > self._exponent:
            self.counts = _in_pairs(self.counts, exponent - self._exponent)
            self._exponent = exponent


def _exponent_for(low: float, high: float, bins: int) -> int:
    """The least e with −2^e · bins/2 ≤ low and high < 2^e · bins/2."""
    exponent = _FINEST
    reach = max(-low, high)
    if reach > 0:
        exponent = max(exponent, math.frexp(reach / (bins // 2))[1] - 1)
    while not (-(2.0**exponent) * (bins // 2) <= low and high < 2.0**exponent * (bins // 2)):
        exponent += 1
    return exponent


def _in_pairs(counts: np.ndarray, times: int) -> np.ndarray:
    """Neighbours added, so many times over; both sides keep 0 as their common edge."""
    half = len(counts) // 2
    for _ in range(min(times, len(counts).bit_length())):  # after that, all is in the two middle bins
        wider = np.zeros_like(counts)
        pairs = counts.reshape(-1, 2).sum(1)
        wider[half // 2 : half // 2 + half] = pairs
        counts = wider
    return counts
