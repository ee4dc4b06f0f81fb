"""The one contract that every image set of the course keeps.

Images lie in one uint8 array (N, 3, H, W): a fourth of the memory of floats, mappable from disk, and exactly what a
camera delivers. ``dataset[i]`` gives a float tensor in [0, 1] and an integer label; everything known about each image
(its native size, its blur, the weather, …) stands beside it in ``attributes``, so that a chapter can ask *where* a
network fails. ``groups`` says which physical sign an image shows: images of one sign are no independent evidence, so
splits and intervals go by group.

Training reads whole batches (``batch``), not single items: converting 128 images at once is about ten times faster
than 128 calls, and at this size a worker process costs more than it saves.
"""

from __future__ import annotations

import hashlib
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset


class SignDataset(Dataset):
    """Images with labels, groups and per-image attributes.

    Args:
        images: uint8 (N, 3, H, W), RGB.
        labels: integers (N,), 0 ≤ label < classes.
        groups: integers (N,), the physical sign an image shows; by default every image is its own.
        attributes: name → array (N,).
        name, split: what the set is called in tables ("rendered", "test").
        num_classes: C.
    Raises: ValueError naming the array whose shape, dtype or range is wrong.
    """

    def __init__(
        self,
        images: np.ndarray,
        labels: np.ndarray,
        *,
        groups: np.ndarray | None = None,
        attributes: dict[str, np.ndarray] | None = None,
        name: str = "signs",
        split: str = "all",
        num_classes: int = 43,
    ):
        if images.ndim != 4 or images.shape[1] != 3 or images.dtype != np.uint8:
            raise ValueError(f"images must be uint8 (N, 3, H, W), got {images.dtype} {images.shape}")
        count = len(images)
        labels = np.asarray(labels)
        if labels.shape != (count,) or not np.issubdtype(labels.dtype, np.integer):
            raise ValueError(f"labels must be {count} integers, got {labels.dtype} {labels.shape}")
        if count and (labels.min() < 0 or labels.max() >= num_classes):
            raise ValueError(f"labels must be in 0..{num_classes - 1}, got {labels.min()}..{labels.max()}")
        self.images, self.labels = images, labels.astype(np.int64)
        groups = np.arange(count) if groups is None else np.asarray(groups)
        if not np.issubdtype(groups.dtype, np.integer):
            raise ValueError(f"groups must be {count} integers, got {groups.dtype} {groups.shape}")
        self.groups = groups.astype(np.int64)
        self.attributes = dict(attributes or {})
        for key, values in {"groups": self.groups, **self.attributes}.items():
            if np.shape(values) != (count,):
                raise ValueError(f"{key} must have one value an image ({count},), got {np.shape(values)}")
        self.name, self.split, self.num_classes = name, split, num_classes

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        image = torch.from_numpy(np.array(self.images[index]))  # (3, H, W)
        return image.float() / 255, int(self.labels[index])

    def __repr__(self) -> str:
        side = f"{self.images.shape[2]}×{self.images.shape[3]}"
        signs = len(np.unique(self.groups))
        return f"SignDataset({self.name}/{self.split}: {len(self):,} images {side} of {signs:,} signs)"

    def batch(self, indices: np.ndarray | Tensor) -> tuple[Tensor, Tensor]:
        """Images (B, 3, H, W), float32 in [0, 1], and labels (B,), int64, of these indices.

        >>> grey = np.full((4, 3, 2, 2), 51, np.uint8)
        >>> images, labels = SignDataset(grey, np.arange(4)).batch(np.array([3, 0]))
        >>> tuple(images.shape), round(float(images.max()), 6), labels.tolist()
        ((2, 3, 2, 2), 0.2, [3, 0])
        """
        indices = np.asarray(indices)
        images = torch.from_numpy(np.ascontiguousarray(self.images[indices]))
        return images.float().div_(255), torch.from_numpy(self.labels[indices])

    def tensors(self) -> tuple[Tensor, Tensor]:
        """All images (N, 3, H, W), uint8, and labels (N,), int64, copied into memory."""
        return torch.from_numpy(np.array(self.images)), torch.from_numpy(self.labels.copy())

    def digest(self) -> str:
        """SHA-256 over labels, groups and every pixel: other data, another digest. A second for some 500 MB."""
        digest = hashlib.sha256(str(self.images.shape).encode())
        for array in (self.labels, self.groups):
            digest.update(np.ascontiguousarray(array).tobytes())
        for start in range(0, len(self), 4096):  # a set that is mapped from the disk is not read as a whole
            digest.update(np.ascontiguousarray(self.images[start : start + 4096]).tobytes())
        return digest.hexdigest()

    def subset(self, indices: np.ndarray, *, split: str | None = None) -> SignDataset:
        """The images at ``indices`` (or where a Boolean mask is true) with everything known about them."""
        indices = np.asarray(indices)
        if indices.dtype == bool:
            indices = np.flatnonzero(indices)
        return SignDataset(
            self.images[indices],
            self.labels[indices],
            groups=self.groups[indices],
            attributes={key: values[indices] for key, values in self.attributes.items()},
            name=self.name,
            split=split or self.split,
            num_classes=self.num_classes,
        )


class Splits(NamedTuple):
    """Train teaches, validation chooses, test is read once, at the end."""

    train: SignDataset  # what the weights are fitted to
    validation: SignDataset  # what epochs, thresholds and pruning ratios are chosen on
    test: SignDataset  # what is reported; no choice may depend on it


def split_by_group(dataset: SignDataset, *, validation: float = 0.15, test: float = 0.2, seed: int = 0) -> Splits:
    """Cut a set in three so that no group (physical sign) has images in two parts.

    Within each class the groups are shuffled with ``seed``, and each part gets at least one of them.

    Args:
        validation, test: fractions of each class's groups, 0 < fraction, together < 1.
    Raises: ValueError for fractions outside that range, a class with fewer than three groups, or a group whose
        images have different labels (numbers of signs that start anew in each class must be made unique first).

    >>> signs = np.repeat(np.arange(10), 3)  # ten signs of one class, three frames each
    >>> whole = SignDataset(np.zeros((30, 3, 1, 1), np.uint8), np.zeros(30, int), groups=signs)
    >>> parts = split_by_group(whole)
    >>> [len(part) for part in parts], len(set(parts.train.groups) & set(parts.test.groups))
    ([18, 6, 6], 0)
    """
    if not (validation > 0 and test > 0 and validation + test < 1):
        raise ValueError(f"validation and test must be positive and sum to less than 1, got {validation}, {test}")
    rng = np.random.default_rng(seed)
    part_of_group: dict[int, int] = {}
    for label in np.unique(dataset.labels):
        groups = np.unique(dataset.groups[dataset.labels == label])
        if len(groups) < 3:
            raise ValueError(f"class {label} has {len(groups)} groups; three parts need at least 3")
        rng.shuffle(groups)
        n_test = min(max(1, round(test * len(groups))), len(groups) - 2)
        n_validation = min(max(1, round(validation * len(groups))), len(groups) - 1 - n_test)
        for position, group in enumerate(groups):
            if int(group) in part_of_group:
                raise ValueError(f"group {group} has images of several classes, {label} among them")
            part_of_group[int(group)] = 2 if position < n_test else 1 if position < n_test + n_validation else 0
    part = np.array([part_of_group[int(group)] for group in dataset.groups])
    return Splits(*(dataset.subset(part == k, split=name) for k, name in enumerate(Splits._fields)))


def split_by_image(dataset: SignDataset, *, validation: float = 0.15, test: float = 0.2, seed: int = 0) -> Splits:
    """The wrong way, kept to be measured: images drawn at random, so that one sign's frames fall in all parts.

    Args:
        validation, test: fractions of the images, 0 < fraction, together < 1.
    Raises: ValueError for fractions outside that range.

    >>> whole = SignDataset(np.zeros((30, 3, 1, 1), np.uint8), np.zeros(30, int), groups=np.repeat(np.arange(3), 10))
    >>> parts = split_by_image(whole)
    >>> len(set(parts.train.groups) & set(parts.test.groups)) > 0  # a sign is in both: the test measures memory
    True
    """
    if not (validation > 0 and test > 0 and validation + test < 1):
        raise ValueError(f"validation and test must be positive and sum to less than 1, got {validation}, {test}")
    order = np.random.default_rng(seed).permutation(len(dataset))
    n_test, n_validation = round(test * len(order)), round(validation * len(order))
    cuts = order[n_test + n_validation :], order[n_test : n_test + n_validation], order[:n_test]
    return Splits(*(dataset.subset(np.sort(cut), split=name) for cut, name in zip(cuts, Splits._fields, strict=True)))
