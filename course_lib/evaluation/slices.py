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

import numpy as np
from numpy.typing import ArrayLike
from torch import Tensor

from course_lib.evaluation import Estimate, accuracy


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
) -> dict[str, Estimate]:
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


def confident_mistakes(logits: Tensor, labels: ArrayLike, groups: ArrayLike, count: int) -> np.ndarray:
    """Indices of the wrong answers given with the highest top probability, at most one a sign: (≤ count,).

    Args: logits (N, C). labels, groups (N,). count ≥ 1.
    """
    confidence, predicted = (values.numpy() for values in logits.softmax(1).max(1))
    wrong = np.flatnonzero(predicted != np.asarray(labels))
    order = wrong[np.argsort(-confidence[wrong], kind="stable")]
    _, first = np.unique(np.asarray(groups)[order], return_index=True)
    return order[np.sort(first)][:count]
