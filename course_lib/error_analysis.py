"""Where a classifier errs, how sure it is when it errs, and how much a chosen score flatters.

One accuracy hides three questions that decide whether a network may drive.

**Where?** A *slice* is a subset named by something known about the image: its native size, the weather. Slices are cut
at fixed values where the axis has natural ones, and at quartiles of the set otherwise. Small slices have wide
intervals: a slice's accuracy without its interval is a rumour. Many slices also mean that the worst one is partly bad
luck (see the last question).

**Which for which?** The confusion matrix counts C[i, j] = images of true class i that were called j. Rows divided by
their sums are recalls; columns divided by theirs are precisions. Mixing the two up is the classic error.

**How sure?** A network is *calibrated* if among its answers given with confidence 0.8, 80 % are right. Networks trained
to zero training loss are over-confident. *Temperature scaling* divides all logits by one number T > 0, chosen to
minimise the negative log-likelihood on validation:

    T* = argmin_T  −(1/N) Σᵢ log softmax(zᵢ / T)[yᵢ]

Dividing by T keeps the order of the logits, so no answer changes, only its confidence. In β = 1/T the loss is convex
(log-sum-exp of linear functions minus a linear one), so a bounded search finds the one minimum.

**How lucky?** Choose the best of k candidates on the test set, and its test score is the maximum of k noisy numbers.
If each is the truth plus independent normal noise of standard deviation σ, the winner looks better than it is by
σ·e(k), where e(k) = ∫ x·k·φ(x)·Φ(x)^{k−1} dx is the expected maximum of k standard normals, at most √(2 ln k).
For k = 50: e = 2.25.

Sources: Guo et al. 2017, arXiv:1706.04599, section 4.2 (temperature scaling); Boucheron, Lugosi and Massart 2013,
theorem 2.5 (the bound). Industrial tools add hundreds of automatic slices and then must correct for having looked at
hundreds; here a chapter names its slices before it looks.
"""

from __future__ import annotations

import itertools
import math
import re
from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import ArrayLike
from torch import Tensor
from torch.nn import functional as F

from course_lib.measure import Accuracy, accuracy

BETA_RANGE = (1 / 20, 20.0)  # 1/T; a network that needs more is broken, not miscalibrated


def quartile_names(values: ArrayLike, unit: str = "", digits: int = 2) -> np.ndarray:
    """(N,) names of the quarter each value lies in: "15–19 px", …; equal edges are merged, so there may be fewer.

    Args: values (N,): finite numbers. unit: written after the numbers. digits: after the decimal point.
    Raises: ValueError: empty or not finite.
    """
    values = np.asarray(values, float)
    if values.ndim != 1 or values.size == 0 or not np.isfinite(values).all():
        raise ValueError(f"values must be (N,) finite numbers, got shape {values.shape}")
    edges = np.unique(np.quantile(values, [0, 0.25, 0.5, 0.75, 1]))
    if len(edges) == 1:
        edges = np.repeat(edges, 2)
    # Intervals (a, b], the first one closed: a value on an edge belongs to the lower quarter.
    quarter = np.clip(np.searchsorted(edges, values, side="left") - 1, 0, len(edges) - 2)
    names = [f"{a:.{digits}f}–{b:.{digits}f} {unit}".strip() for a, b in itertools.pairwise(edges)]
    return np.array(names)[quarter]


def accuracy_by_slice(
    predictions: ArrayLike, labels: ArrayLike, slices: ArrayLike, groups: ArrayLike | None = None
) -> dict[str, Accuracy]:
    """Accuracy with its 95 % interval in every slice, sorted by the number its name starts with.

    Args:
        predictions, labels: (N,) class ids. slices: (N,) the name of each image's slice.
        groups: (N,) physical sign of each image; None states that images are independent.
    Raises: ValueError: shapes that differ.
    """
    predictions, labels, slices = (np.asarray(values) for values in (predictions, labels, slices))
    if not predictions.shape == labels.shape == slices.shape or slices.ndim != 1:
        raise ValueError(
            f"predictions, labels and slices must be (N,), got {predictions.shape}, {labels.shape}, {slices.shape}"
        )
    found = {}
    for name in sorted(np.unique(slices), key=_leading_number):
        inside = slices == name
        chosen = None if groups is None else np.asarray(groups)[inside]
        found[str(name)] = accuracy(predictions[inside], labels[inside], chosen)
    return found


def _leading_number(name: str) -> tuple[float, str]:
    number = re.match(r"\d+(\.\d+)?", name)
    return (float(number[0]) if number else math.inf, name)


def confusion_matrix(labels: ArrayLike, predictions: ArrayLike, num_classes: int) -> np.ndarray:
    """C[i, j] = number of images of true class i that were called j: (K, K), int64.

    Args: labels, predictions: (N,) class ids in 0..K−1.
    Raises: ValueError: shapes that differ, or an id out of range.
    Matches: sklearn.metrics.confusion_matrix (rows are true classes).
    """
    labels, predictions = np.asarray(labels), np.asarray(predictions)
    if labels.shape != predictions.shape or labels.ndim != 1:
        raise ValueError(f"labels and predictions must be (N,), got {labels.shape} and {predictions.shape}")
    for name, ids in (("labels", labels), ("predictions", predictions)):
        if ids.size and not (ids.min() >= 0 and ids.max() < num_classes):
            raise ValueError(f"{name} must be in 0..{num_classes - 1}, got {ids.min()}..{ids.max()}")
    return np.bincount(labels * num_classes + predictions, minlength=num_classes**2).reshape(num_classes, num_classes)


def recall_matrix(labels: ArrayLike, predictions: ArrayLike, num_classes: int) -> np.ndarray:
    """R[i, j] = of the images of true class i, the fraction that were called j; a class without images gives zeros.

    Args: labels, predictions: (N,) class ids in 0..K−1.
    Matches: sklearn.metrics.confusion_matrix(normalize="true").
    """
    counts = confusion_matrix(labels, predictions, num_classes).astype(float)
    return counts / np.maximum(counts.sum(1, keepdims=True), 1)


def track_standard_error(right: ArrayLike, groups: ArrayLike) -> float:
    """Standard error of the accuracy p when whole tracks are the independent trials, as a fraction.

        SE = √( G/(G−1) · Σ_g (h_g − p·n_g)² ) / N

    Args: right (N,): 1 where the answer is right, else 0. groups (N,): the track each image belongs to, G ≥ 2 of them.
    Source: Cochran 1977, Sampling Techniques, eq. 2.46 (ratio estimator); Field and Welsh 2007 (cluster bootstrap).
    """
    right = np.asarray(right, float)
    _, member = np.unique(np.asarray(groups), return_inverse=True)
    images, hits = np.bincount(member), np.bincount(member, weights=right)  # n_g and h_g, (G,)
    surplus = hits - right.mean() * images  # how many more hits than the average track of this length
    count = len(images)
    return float(np.sqrt(count / (count - 1) * (surplus**2).sum()) / len(right))


def confident_mistakes(logits: Tensor, labels: ArrayLike, groups: ArrayLike, count: int) -> np.ndarray:
    """Indices of the wrong answers given with the highest top probability, at most one a sign: (≤ count,).

    Args: logits (N, C). labels, groups (N,). count ≥ 1.
    """
    confidence, predicted = (values.numpy() for values in logits.softmax(1).max(1))
    wrong = np.flatnonzero(predicted != np.asarray(labels))
    order = wrong[np.argsort(-confidence[wrong], kind="stable")]
    _, first = np.unique(np.asarray(groups)[order], return_index=True)
    return order[np.sort(first)][:count]


def fit_temperature(logits: Tensor, labels: ArrayLike) -> float:
    """The T > 0 that minimises the cross-entropy of softmax(logits / T), in 0.05..20.

    Args: logits (N, C), of the validation part. labels (N,).
    Raises: ValueError: shapes that do not fit, or logits that are not finite.
    Source: Guo et al. 2017, section 4.2.
    """
    labels = torch.as_tensor(np.asarray(labels))
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
    """
    confidence, right = np.asarray(confidence, float), np.asarray(right, float)
    kept = confidence[None] >= np.asarray(thresholds, float)[:, None]  # (M, N)
    count = kept.sum(1)
    hits = (kept * right).sum(1)
    return count / len(right), np.divide(hits, count, out=np.full(len(count), math.nan), where=count > 0)


def expected_maximum(k: int) -> float:
    """e(k) = ∫ x·k·φ(x)·Φ(x)^{k−1} dx: how far the best of k independent standard normals lies above 0.

    Raises: ValueError: k < 1. Source: David and Nagaraja 2003, Order Statistics, eq. 3.1.1.
    """
    if k < 1:
        raise ValueError(f"k must be at least 1, got {k}")
    from scipy.special import ndtr

    x = np.linspace(-12, 12, 20001)
    density = k * np.exp(-x * x / 2) / math.sqrt(2 * math.pi) * ndtr(x) ** (k - 1)
    return float(np.trapezoid(x * density, x))
