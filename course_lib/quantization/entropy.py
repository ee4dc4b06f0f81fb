"""The range that keeps a distribution's shape: TensorRT's calibrator, by KL divergence.

It asks how the *shape* is kept, not how far values are moved: so it may clip hard, and a tensor whose few large values
matter is not for it. Migacz 2017, "8-bit inference with TensorRT", slides 32 to 38.
"""

from __future__ import annotations

import math

import numpy as np

from course_lib.quantization.observers import HistogramObserver, Range, require_seen


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
        reach = (int(np.argmin(divergences)) + self.levels // 2) * seen.width
        return self._inside(-reach, reach)


def shape_divergences(counts: np.ndarray, levels: int) -> np.ndarray:
    """KL divergences of ``Entropy``, in nats: for a reach of levels/2, levels/2 + 1, … half of the bins.

    Args: counts: of bins that lie evenly about 0. levels: groups of bins inside the reach.

    >>> shape_divergences(np.array([0, 0, 3, 5, 5, 3, 0, 0]), 4).argmin()
    np.int64(0)
    """
    middle, below = len(counts) // 2, np.concatenate([[0], np.cumsum(counts)])
    return np.array([_divergence(counts, below, middle - r, levels) for r in range(levels // 2, middle + 1)])


def _divergence(counts: np.ndarray, below: np.ndarray, start: int, levels: int) -> float:
    """KL(p ‖ q) of the bins from start to as far from the end. Args: below: how many values lie below each edge."""
    stop = len(counts) - start
    p = counts[start:stop].astype(np.float64)
    p[0] += below[start]
    p[-1] += below[-1] - below[stop]
    used, q, size = p > 0, np.zeros_like(p), len(p) // levels
    # The counts of each group, evenly over those of its bins that are used; bins that fit no group: into the last.
    edges = np.arange(start, start + size * levels + 1, size)
    groups = np.diff(below[edges])
    groups[-1] += below[stop] - below[edges[-1]]
    among = np.add.reduceat(used[: size * levels], edges[:-1] - start, dtype=np.int64)
    q[: size * levels].reshape(levels, size)[:] = np.where(among > 0, groups / np.maximum(among, 1), 0)[:, None]
    p, q = _smooth(p), _smooth(q)
    return math.inf if p is None or q is None else float((p * np.log(p / q)).sum())


def _smooth(counts: np.ndarray, floor: float = 1e-4) -> np.ndarray | None:
    """Probabilities; a little of what is there goes to each empty bin. None: too little is there."""
    used = counts > 0
    held = np.count_nonzero(used)
    taken = floor * (len(counts) - held) / max(held, 1)
    if held == 0 or taken >= 1:
        return None
    counts = np.where(used, counts - taken, floor)
    return counts / counts.sum()
