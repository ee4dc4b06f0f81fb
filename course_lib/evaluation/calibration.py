"""How sure is a classifier, and how sure should it be?

A network is *calibrated* if among its answers given with confidence 0.8, 80 % are right. Networks trained to zero
training loss are over-confident. The expected calibration error sums up by how much:

    ECE = Σ_m (n_m/N)·|accuracy_m − confidence_m|

*Temperature scaling* divides all logits by one number T > 0, chosen to minimise the negative log-likelihood on
validation:

    T* = argmin_T  −(1/N) Σᵢ log softmax(zᵢ / T)[yᵢ]

Dividing by T keeps the order of the logits, so no answer changes, only its confidence. In β = 1/T the loss is convex
(log-sum-exp of linear functions minus a linear one), so a bounded search finds the one minimum.

Source: Guo et al. 2017, arXiv:1706.04599, eq. 3 and section 4.2.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import ArrayLike
from torch import Tensor
from torch.nn import functional as F

from course_lib.arguments import numeric, tensors

BETA_RANGE = (1 / 20, 20.0)  # 1/T; a network that needs more is broken, not miscalibrated


@dataclass(frozen=True)
class ReliabilityBin:
    """Images whose confidence lies in (low, high].

    Args:
        low: lower edge, a fraction; not in the bin.
        high: upper edge, a fraction; in the bin.
        count: how many images.
        accuracy: fraction of them that is right; nan if there is none.
        confidence: their mean top probability; nan if there is none.
    """

    low: float
    high: float
    count: int
    accuracy: float
    confidence: float


@dataclass(frozen=True)
class Calibration:
    """Expected calibration error and the table that it sums up.

    Args:
        ece: in [0, 1].
        bins: the reliability table, from low confidence to high.
    """

    ece: float
    bins: tuple[ReliabilityBin, ...]


def expected_calibration_error(probabilities: ArrayLike, labels: ArrayLike, bins: int) -> Calibration:
    """ECE = Σ_m (n_m/N)·|accuracy_m − confidence_m| over M equal-width bins of the top probability.

    Args:
        probabilities: (N, C), rows in [0, 1] that sum to 1 (softmax output, not logits).
        labels: (N,) class ids.
        bins: M; bin m holds confidences in ((m−1)/M, m/M]. Guo et al. use 15. The value depends on M: state it.
    Raises: ValueError: shapes that do not fit, rows that are not distributions, bins < 1.
    Source: Guo et al. 2017, eq. 3.

    >>> found = expected_calibration_error([[0.9, 0.1], [0.7, 0.3]], [0, 1], bins=2)
    >>> round(found.ece, 3), found.bins[1].count
    (0.3, 2)
    """
    p, y = numeric("probabilities", probabilities).astype(float), numeric("labels", labels)
    if p.ndim != 2 or y.shape != p.shape[:1] or len(p) == 0:
        raise ValueError(f"probabilities must be (N, C) and labels (N,), got {p.shape} and {y.shape}")
    if not (p.min() >= 0 and np.allclose(p.sum(1), 1, atol=1e-3)):
        raise ValueError("probabilities must be rows in [0, 1] that sum to 1; apply softmax to logits first")
    if bins < 1:
        raise ValueError(f"bins must be at least 1, got {bins}")
    confidence, right = p.max(1), p.argmax(1) == y
    edges = np.linspace(0, 1, bins + 1)
    index = np.clip(np.searchsorted(edges, confidence, side="left") - 1, 0, bins - 1)
    table = []
    for m in range(bins):
        inside = index == m
        means = (right[inside].mean(), confidence[inside].mean()) if inside.any() else (math.nan, math.nan)
        table.append(ReliabilityBin(float(edges[m]), float(edges[m + 1]), int(inside.sum()), *map(float, means)))
    ece = sum(b.count / len(p) * abs(b.accuracy - b.confidence) for b in table if b.count)
    return Calibration(float(ece), tuple(table))


def fit_temperature(logits: Tensor, labels: ArrayLike) -> float:
    """The T > 0 that minimises the cross-entropy of softmax(logits / T), in 0.05..20.

    Args: logits (N, C), of the validation part. labels (N,).
    Raises: ValueError: shapes that do not fit, or logits that are not finite.
    Source: Guo et al. 2017, section 4.2.

    >>> sure = torch.tensor([[4.0, 0.0]] * 4)  # 98 % sure, and right three times out of four
    >>> round(fit_temperature(sure, [0, 0, 0, 1]), 2)  # 4 / ln 3
    3.64
    """
    tensors(logits=logits)
    labels = torch.as_tensor(numeric("labels", labels))
    if logits.ndim != 2 or labels.shape != logits.shape[:1] or len(logits) == 0:
        raise ValueError(f"logits must be (N, C) and labels (N,), got {tuple(logits.shape)}, {tuple(labels.shape)}")
    if not torch.isfinite(logits).all():
        raise ValueError("logits must be finite")
    from scipy.optimize import minimize_scalar  # costs import time that most callers need not pay

    z = logits.double()
    result = minimize_scalar(
        lambda beta: F.cross_entropy(beta * z, labels).item(),
        bounds=BETA_RANGE,
        method="bounded",
        options={"xatol": 1e-6},
    )
    return 1 / float(result.x)


def coverage_curve(
    confidence: ArrayLike, right: ArrayLike, thresholds: Sequence[float]
) -> tuple[np.ndarray, np.ndarray]:
    """(coverage, accuracy) at each threshold: the fraction of images with confidence ≥ threshold, and of these the
    fraction that is right.

    Args: confidence (N,) in [0, 1]. right (N,) 1 where the answer is right. thresholds (M,).
    Returns: two arrays (M,); accuracy is nan where nothing is covered.

    >>> coverage, right = coverage_curve([0.9, 0.6], [1, 0], [0.5, 0.8])
    >>> coverage.tolist(), right.tolist()
    ([1.0, 0.5], [0.5, 1.0])
    """
    confidence, right = np.asarray(confidence, float), np.asarray(right, float)
    kept = confidence[None] >= np.asarray(thresholds, float)[:, None]  # (M, N)
    count = kept.sum(1)
    hits = (kept * right).sum(1)
    return count / len(right), np.divide(hits, count, out=np.full(len(count), math.nan), where=count > 0)
