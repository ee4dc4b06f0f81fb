"""The range that keeps a distribution's shape: TensorRT's calibrator, by KL divergence.

It asks how the *shape* is kept, not how far values are moved: so it may clip hard, and a tensor whose few large values
matter is not for it. Migacz 2017, "8-bit inference with TensorRT", slides 32 to 38.
"""

from __future__ import annotations

import math

import numpy as np

from course_lib.quantization.observers import HistogramObserver, Range, require_seen

FLOOR = 1e-4
"""What an empty bin gets before logarithms are taken, in counts."""
TIE = 1e-12
"""Nats. Reaches whose divergences lie this close differ by rounding alone: the shortest of them is taken."""


class Entropy(HistogramObserver):
    """The symmetric range whose codes keep the distribution's shape best: the least KL divergence.

    For every reach, what lies beyond is counted in the outermost bins (p); the bins inside are added up to as many
    groups as there are levels, and spread evenly over those of the group that hold anything (q). The reach with the
    least KL(p ‖ q) wins.

    Args: levels: groups of bins; 128 as TensorRT has it. bins: of the histogram.
    Matches: onnxruntime.quantization's entropy calibrator, on the same counts.
    Source: Migacz 2017, slides 32 to 38.

    >>> import torch
    >>> observer = Entropy()
    >>> observer.update(torch.cat([torch.linspace(-1, 1, 100_000), torch.tensor([30.0])]))
    >>> observer.ends()[1].item() < 10
    True
    """

    def __init__(self, levels: int = 128, bins: int = 2048) -> None:
        super().__init__(bins)
        if not 2 <= levels <= bins // 2 or levels % 2:
            raise ValueError(f"levels must be even, in 2 … {bins // 2}, got {levels}")
        self.levels = levels

    def _settings(self) -> tuple[str, ...]:
        return ("levels",)

    def ends(self) -> Range:
        seen = self.histogram
        require_seen(seen.total > 0)
        divergences = shape_divergences(seen.counts, self.levels)
        best = int(np.argmax(divergences <= divergences.min() + TIE))
        reach = (best + self.levels // 2) * seen.width
        return self._inside(-reach, reach)


def shape_divergences(counts: np.ndarray, levels: int) -> np.ndarray:
    """KL divergences of ``Entropy``, in nats: for a reach of levels/2, levels/2 + 1, … half of the bins.

    q is the same in all bins of a group, so its logarithm is taken once a group: Σ p·log(p / q) is Σ p·log p over bins
    less Σ P·log q over groups, with P the group's sum of p. Sums of groups are differences of running sums.

    Args: counts: of bins that lie evenly about 0. levels: groups of bins inside the reach.

    >>> shape_divergences(np.array([0, 0, 3, 5, 5, 3, 0, 0]), 4).argmin()
    np.int64(0)
    """
    reach = np.arange(levels // 2, len(counts) // 2 + 1)
    start, stop = len(counts) // 2 - reach, len(counts) - len(counts) // 2 + reach
    length, size, below = stop - start, (stop - start) // levels, _below(counts)
    # A segment is a group of ``size`` bins; the last one holds the bins that fit no group. All: (reaches, segments).
    edges = np.column_stack([start[:, None] + size[:, None] * np.arange(levels + 1), stop])
    width, inside, used = np.diff(edges), np.diff(below[edges]), np.diff(_below(counts > 0)[edges])
    p = inside.copy()
    outer = np.stack([counts[start] + below[start], counts[stop - 1] + below[-1] - below[stop]])
    for bins, segment, holds in ((start, 0, outer[0]), (stop - 1, levels - (width[:, -1] == 0), outer[1])):
        p[range(len(p)), segment] += holds - counts[bins]
        used[range(len(p)), segment] += (holds > 0) & (counts[bins] == 0)
    groups, q = inside[:, :levels], np.zeros(p.shape)
    groups[:, -1] += inside[:, -1]
    np.divide(groups, used[:, :levels], out=q[:, :levels], where=used[:, :levels] > 0)
    taken_p, taken_q = _taken(used.sum(1), length), _taken((width * (q > 0)).sum(1), length)
    possible = (taken_p < 1) & (taken_q < 1)
    taken_p, taken_q = taken_p * possible, taken_q * possible
    q = np.where(q > 0, q - taken_q[:, None], FLOOR)
    cross = ((p - taken_p[:, None] * used + FLOOR * (width - used)) * np.log(q)).sum(1)
    own = _own(counts, start, stop, outer, taken_p) + (length - used.sum(1)) * FLOOR * math.log(FLOOR)
    total = max(below[-1], 1)
    return np.where(possible, (own - cross) / total + np.log((q * width).sum(1) / total), math.inf)


def _below(counts: np.ndarray) -> np.ndarray:
    """How many lie below each edge, and in all: (bins + 1,)."""
    return np.concatenate([[0], np.cumsum(counts)])


def _taken(used: np.ndarray, length: np.ndarray) -> np.ndarray:
    """What each used bin gives for the empty ones, by reach; 1, more than any has, where none is used."""
    return np.where(used > 0, FLOOR * (length - used) / np.maximum(used, 1), 1.0)


def _own(counts: np.ndarray, start: np.ndarray, stop: np.ndarray, outer: np.ndarray, taken: np.ndarray) -> np.ndarray:
    """Σ p·log(p) over the used bins, by reach, with p = count − taken; ``outer`` (2, reaches) are both end bins."""
    held = np.flatnonzero(counts)
    values, found = counts[held].astype(float), np.zeros(len(start))
    slices = zip(np.searchsorted(held, start + 1), np.searchsorted(held, stop - 1), taken, strict=True)
    for number, (first, end, less) in enumerate(slices):
        p = values[first:end] - less
        found[number] = p @ np.log(p)
    ends = np.where(outer > 0, outer - taken, 1.0)
    return found + (ends * np.log(ends)).sum(0)
