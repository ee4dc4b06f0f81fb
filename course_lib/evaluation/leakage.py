"""Does the test part hold signs that were trained on? Frames of one physical sign are near copies of one another.

A leak turns the test's question from "can it read signs?" into "does it remember this sign?";
``experiments.split_discipline`` measures by how much that flatters a network.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike


def leak_fraction(train_groups: ArrayLike, test_groups: ArrayLike) -> float:
    """Fraction of test images whose physical sign also stands in the training part, in [0, 1].

    Args: train_groups (N,), test_groups (M,): the sign that each image shows.
    Raises: ValueError: no test image.

    >>> leak_fraction([1, 1, 2], [2, 3, 3, 1])
    0.5
    """
    test_groups = np.asarray(test_groups)
    if test_groups.size == 0:
        raise ValueError("test_groups must hold at least one image, got none")
    return float(np.isin(test_groups, np.asarray(train_groups)).mean())
