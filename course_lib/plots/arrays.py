"""What figures are given, as matplotlib wants it: plain arrays of numbers, and pictures with the colours last."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import ArrayLike


def floats(values: ArrayLike | torch.Tensor) -> np.ndarray:
    """The same numbers in float64; PyTorch's tensors warn when NumPy converts them itself."""
    return values.detach().double().numpy() if isinstance(values, torch.Tensor) else np.asarray(values, float)


def picture(image: ArrayLike | torch.Tensor) -> np.ndarray:
    """(3, H, W) → (H, W, 3), the values as they are."""
    return np.moveaxis(np.asarray(image), 0, -1)
