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
    middle, found = len(counts) // 2, []
    for reach in range(levels // 2, middle + 1):
        start = middle - reach
        inside = counts[start : len(counts) - start]
        p = inside.astype(np.float64)
        p[0] += counts[:start].sum()
        p[-1] += counts[len(counts) - start :].sum()
        found.append(_divergence(p, _spread(inside, p != 0, levels)))
    return np.array(found)


def _spread(inside: np.ndarray, used: np.ndarray, levels: int) -> np.ndarray:
    """The counts of each group, evenly over those of its bins that are used; bins that fit no group: into the last."""
    size = len(inside) // levels
    groups = inside[: size * levels].reshape(levels, size).sum(1).astype(np.float64)
    groups[-1] += inside[size * levels :].sum()
    among = used[: size * levels].reshape(levels, size)
    shares = np.divide(groups, among.sum(1), out=np.zeros(levels), where=among.any(1))
    spread = np.zeros(len(inside))
    spread[: size * levels] = np.repeat(shares, size)
    return spread


def _divergence(p: np.ndarray, q: np.ndarray, floor: float = 1e-4) -> float:
    """KL(p ‖ q) of counts, both made smooth: a little of what is there goes to each empty bin. inf: all are empty."""
    smooth = []
    for counts in (p, q):
        empty = counts == 0
        if empty.all():
            return math.inf
        taken = floor * empty.sum() / (~empty).sum()
        if taken >= 1:
            return math.inf
        smooth.append(counts + floor * empty - taken * ~empty)
    p, q = (counts / counts.sum() for counts in smooth)
    return float((p * np.log(p / q)).sum())
