"""How lucky is the best of k? What choosing by a noisy score does to that score.

Choose the best of k candidates on the test set, and its test score is the maximum of k noisy numbers. If each is the
truth plus independent normal noise of standard deviation σ, the winner looks better than it is by σ·e(k), where

    e(k) = ∫ x·k·φ(x)·Φ(x)^{k−1} dx

is the expected maximum of k standard normals, at most √(2 ln k). For k = 50: e = 2.25.

Sources: David and Nagaraja 2003, Order Statistics, eq. 3.1.1; Boucheron, Lugosi and Massart 2013, theorem 2.5 (the
bound).
"""

from __future__ import annotations

import math

import numpy as np


def expected_maximum(k: int) -> float:
    """e(k) = ∫ x·k·φ(x)·Φ(x)^{k−1} dx: how far the best of k independent standard normals lies above 0.

    Raises: ValueError: k < 1. Source: David and Nagaraja 2003, Order Statistics, eq. 3.1.1.

    >>> round(expected_maximum(2), 4), round(expected_maximum(50), 2)  # 1/√π, and 2.25
    (0.5642, 2.25)
    """
    if k < 1:
        raise ValueError(f"k must be at least 1, got {k}")
    from scipy.special import ndtr

    x = np.linspace(-12, 12, 20001)
    density = k * np.exp(-x * x / 2) / math.sqrt(2 * math.pi) * ndtr(x) ** (k - 1)
    return float(np.trapezoid(x * density, x))
