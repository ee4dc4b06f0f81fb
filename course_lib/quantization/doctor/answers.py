"""Which answers flipped: each way, by class, by slice."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike


@dataclass(frozen=True)
class Flips:
    """Answers of a set, or of a part of it, that differ.

    Args:
        images: that were compared.
        flipped: that get another answer.
        to_right: of these, that the suspect alone answers rightly; None without labels.
        to_wrong: of these, that the reference alone answers rightly; None without labels.
    """

    images: int
    flipped: int
    to_right: int | None = None
    to_wrong: int | None = None

    @property
    def agreement(self) -> float:
        """Share of the images that get the same answer, in 0..1; 1 without images."""
        return 1 - self.flipped / self.images if self.images else 1.0

    def __str__(self) -> str:
        each = "" if self.to_wrong is None else f" ({self.to_wrong} to wrong, {self.to_right} to right)"
        return f"{self.flipped} of {self.images} answers flipped{each}"


@dataclass(frozen=True)
class Answers:
    """How two models' answers differ.

    Args:
        all: on all images.
        reference_accuracy: in 0..1; None without labels.
        suspect_accuracy: in 0..1; None without labels.
        by_class: name of a class -> its flips: the label, or the reference's answer without labels.
        by_slice: attribute: value -> its flips.
        changes: the most frequent changes, (the reference's answer, the suspect's, how often).
    """

    all: Flips
    reference_accuracy: float | None
    suspect_accuracy: float | None
    by_class: dict[str, Flips]
    by_slice: dict[str, Flips]
    changes: tuple[tuple[int, int, int], ...]


def compare_answers(
    reference: np.ndarray,
    suspect: np.ndarray,
    labels: ArrayLike | None = None,
    attributes: Mapping[str, ArrayLike] | None = None,
) -> Answers:
    """Compare two models' logits (N, C).

    Args: labels: (N,). attributes: name -> (N,) values; each value is a slice.
    Raises: ValueError: logits, labels or attributes of different lengths.

    >>> found = compare_answers(np.eye(3), np.eye(3)[[0, 1, 1]], labels=[0, 1, 2])
    >>> str(found.all), found.changes
    ('1 of 3 answers flipped (1 to wrong, 0 to right)', ((2, 1, 1),))
    """
    if reference.shape != suspect.shape:
        raise ValueError(
            f"both models must give logits of one shape, got {list(reference.shape)} and {list(suspect.shape)}"
        )
    one, other = reference.argmax(1), suspect.argmax(1)
    right = None if labels is None else np.asarray(labels)
    for name, values in {"labels": right, **(attributes or {})}.items():
        if values is not None and np.asarray(values).shape != one.shape:
            raise ValueError(f"{name} must be ({len(one)},), one for each image, got {list(np.asarray(values).shape)}")

    classes = one if right is None else right
    pairs, counts = np.unique(np.stack([one, other], 1)[one != other], axis=0, return_counts=True)
    order = np.argsort(-counts, kind="stable")[:10]
    return Answers(
        _flips(np.ones(len(one), bool), one, other, right),
        None if right is None else float((one == right).mean()),
        None if right is None else float((other == right).mean()),
        {str(name): _flips(classes == name, one, other, right) for name in np.unique(classes)},
        {
            f"{name}: {value}": _flips(np.asarray(values) == value, one, other, right)
            for name, values in (attributes or {}).items()
            for value in np.unique(np.asarray(values))
        },
        tuple((int(pairs[i][0]), int(pairs[i][1]), int(counts[i])) for i in order),
    )


def _flips(inside: np.ndarray, one: np.ndarray, other: np.ndarray, right: np.ndarray | None) -> Flips:
    """Of the images in a part. Args: inside (N,): which they are. one, other, right (N,): answers and labels."""
    flipped = inside & (one != other)
    if right is None:
        return Flips(int(inside.sum()), int(flipped.sum()))
    counts = [int((flipped & (answer == right)).sum()) for answer in (other, one)]
    return Flips(int(inside.sum()), int(flipped.sum()), *counts)
