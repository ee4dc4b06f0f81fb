"""How much a leaking split flatters a model, measured: the same student, the same signs, two ways to split.

Frames of one physical sign are near copies. If images are dealt to train and test at random, nearly every test image
has a sibling in train, and the test score asks "do you remember this sign?" instead of "can you read signs?". What a
car meets is the second question: it has never driven past your training signs.

The measurement needs a truth to compare with, so signs are set aside first that no training, no choosing and no split
ever touches (``unseen``). Then, for each seed, the rest is split twice, by image and by group, a fresh student learns
each train part under one recipe, and it is scored on two sets: its own test part, and the unseen signs. The difference

    optimism = accuracy(own test part) − accuracy(unseen signs)

is what the split made up. It is about 0 for an honest split: never exactly, because both scores are measured on few
signs, and that noise is why several seeds are needed.

Both splits give training parts of nearly the same size, so the random split has no more images to learn from. What it
may have is *more signs* (a few frames of each); its score on unseen signs shows that this is real but smaller than
the optimism. Industrial tools know the honest way as ``GroupKFold`` (scikit-learn) or "split by patient" (medicine).

Source: Stallkamp et al. 2012, section 2.2, who built GTSRB's own parts by track for this reason.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch

from course_lib.data import SignDataset, split_by_group, split_by_image
from course_lib.evaluation import leak_fraction, model_accuracy
from course_lib.models import sign_student
from course_lib.training import Recipe, fit

SPLITS = {"by image": split_by_image, "by track": split_by_group}


@dataclass(frozen=True)
class SplitScore:
    """One student's scores.

    Args:
        split: a key of ``SPLITS``.
        seed: of the split, the first weights, order and views.
        leaked: of the test images, the fraction that shows a sign that train shows too.
        test: accuracy on the split's own test part, a fraction.
        unseen: accuracy on signs that were set aside before any splitting, a fraction.

    >>> SplitScore("by image", 0, leaked=1.0, test=0.75, unseen=0.5).optimism_points
    25.0
    """

    split: str
    seed: int
    leaked: float
    test: float
    unseen: float

    @property
    def optimism_points(self) -> float:
        """100·(test − unseen): percentage points that the split made up."""
        return 100 * (self.test - self.unseen)


def set_signs_aside(dataset: SignDataset, signs_per_class: int, *, seed: int) -> tuple[SignDataset, SignDataset]:
    """(pool, unseen): two sets of images that share no physical sign, each with every class of ``dataset``.

    Args: signs_per_class: how many signs of each class the pool gets; unseen gets as many. A class with fewer than
        twice that number gives the larger half of its signs to the pool.
    Raises: ValueError: signs_per_class < 3, or a class with fewer than four signs.
    """
    if signs_per_class < 3:
        raise ValueError(f"signs_per_class must be at least 3 (train, validation, test), got {signs_per_class}")
    rng = np.random.default_rng(seed)
    pool, unseen = [], []
    for label in np.unique(dataset.labels):
        groups = rng.permutation(np.unique(dataset.groups[dataset.labels == label]))
        if len(groups) < 4:
            raise ValueError(f"class {label} has {len(groups)} signs; setting some aside needs at least 4")
        cut = min(signs_per_class, max(3, -(-len(groups) // 2)))
        pool.append(groups[:cut])
        unseen.append(groups[cut : cut + signs_per_class])
    inside, outside = (np.isin(dataset.groups, np.concatenate(part)) for part in (pool, unseen))
    return dataset.subset(inside, split="pool"), dataset.subset(outside, split="unseen")


def score_split(
    name: str, pool: SignDataset, unseen: SignDataset, recipe: Recipe, *, width: float, seed: int, **options: Any
) -> SplitScore:
    """Split ``pool`` one way, train a fresh student on it, and score it on its own test part and on ``unseen``.

    Args:
        name: "by image" or "by track".
        recipe: how to train; its seed is replaced by ``seed``, which also draws the split and the first weights.
        width: of the student. options: further arguments of ``training.fit``.
    Raises: ValueError: an unknown name, or unseen shares a sign with the pool.
    """
    if name not in SPLITS:
        raise ValueError(f"name must be one of {list(SPLITS)}, got {name!r}")
    if leak_fraction(pool.groups, unseen.groups):
        raise ValueError("unseen must share no sign with pool: its score would be no truth to compare with")
    train, validation, test = SPLITS[name](pool, seed=seed)
    torch.manual_seed(seed)
    student = sign_student(width)
    fit(student, train, validation, replace(recipe, seed=seed), **options)
    leaked = leak_fraction(train.groups, test.groups)
    return SplitScore(name, seed, leaked, model_accuracy(student, test), model_accuracy(student, unseen))
