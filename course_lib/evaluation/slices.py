"""Where a classifier errs: accuracy slice by slice, which class is taken for which, and its most confident mistakes.

**Where?** A *slice* is a subset named by something known about the image: its native size, the weather. Slices are cut
at fixed values where the axis has natural ones, and at quartiles of the set otherwise. Small slices have wide
intervals: a slice's accuracy without its interval is a rumour. Many slices also mean that the worst one is partly bad
luck (``evaluation.selection``).

**Which for which?** The confusion matrix counts C[i, j] = images of true class i that were called j. Rows divided by
their sums are recalls; columns divided by theirs are precisions. Mixing the two up is the classic error.

How sure a network is when it errs: ``evaluation.calibration``. Industrial tools add hundreds of automatic slices and
then must correct for having looked at hundreds; here a chapter names its slices before it looks.
"""

from __future__ import annotations

import itertools
import math
import re

import numpy as np
from numpy.typing import ArrayLike
from torch import Tensor

from course_lib.evaluation.estimate import Estimate
from course_lib.evaluation.intervals import accuracy


def quartile_names(values: ArrayLike, unit: str = "", digits: int = 2) -> np.ndarray:
    """(N,) names of the quarter each value lies in: "15–19 px", …; equal edges are merged, so there may be fewer.

    Args: values (N,): finite numbers. unit: written after the numbers. digits: after the decimal point.
    Raises: ValueError: empty or not finite.

    >>> quartile_names([1, 2, 3, 4], "px", digits=0).tolist()
    ['1–2 px', '2–2 px', '2–3 px', '3–4 px']
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

    >>> found = accuracy_by_slice([0, 1, 1], [0, 1, 0], ["day", "day", "night"])
    >>> {name: (score.value, score.n) for name, score in found.items()}
    {'day': (1.0, 2), 'night': (0.0, 1)}
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

    >>> confusion_matrix([0, 0, 1], [0, 1, 1], 2).tolist()
    [[1, 1], [0, 1]]
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

    >>> recall_matrix([0, 0, 1], [0, 1, 1], 2).tolist()
    [[0.5, 0.5], [0.0, 1.0]]
    """
    counts = confusion_matrix(labels, predictions, num_classes).astype(float)
    return counts / np.maximum(counts.sum(1, keepdims=True), 1)


def confident_mistakes(logits: Tensor, labels: ArrayLike, groups: ArrayLike, count: int) -> np.ndarray:
    """Indices of the wrong answers given with the highest top probability, at most one a sign: (≤ count,).

    Args: logits (N, C). labels, groups (N,). count ≥ 1.

    >>> import torch
    >>> logits = torch.tensor([[3.0, 0.0], [9.0, 0.0], [0.0, 1.0]])
    >>> confident_mistakes(logits, labels=[1, 1, 1], groups=[7, 8, 9], count=2).tolist()
    [1, 0]
    """
    confidence, predicted = (values.numpy() for values in logits.softmax(1).max(1))
    wrong = np.flatnonzero(predicted != np.asarray(labels))
    order = wrong[np.argsort(-confidence[wrong], kind="stable")]
    _, first = np.unique(np.asarray(groups)[order], return_index=True)
    return order[np.sort(first)][:count]
