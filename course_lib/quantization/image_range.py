"""Are calibration images what a network sees? Ranges taken from others are wrong, and no later step would tell.

The networks of this course see RGB in [0, 1]. Bytes that nobody divided, and images normalized by mean and deviation,
lie outside: an error. Images that were divided twice lie inside, and nearly every activation is then clipped in use: a
warning, since a camera in a dark room makes small numbers, too.

One image may be dark, or of one grey; many together are not. Over all training images of both kinds of signs, the
darkest eight of the real ones span 17 of the 255 codes, those of the rendered ones 28. So a warning for a narrow range
needs eight images that span less than 1/16, which is 15.9 codes.
"""

from __future__ import annotations

import math
import warnings

import numpy as np
import torch
from torch import Tensor

MANY, NARROW = 8, 1 / 16
TWICE_DIVIDED = 1.01 / 255


class ImageRangeWarning(UserWarning):
    """Calibration images lie in [0, 1], and can hardly be what the network sees."""


def require_images(images: Tensor | np.ndarray) -> None:
    """Refuse calibration images outside [0, 1], and warn of those that can hardly be meant.

    Args: images: (N, C, H, W), all together; N ≥ 1.
    Raises: ValueError: no image, or values that are not finite or outside [0, 1]; it names their range.
    Warns: ImageRangeWarning: a constant, images divided by 255 twice, or eight and more that span less than 1/16.

    >>> require_images(torch.tensor([[[[0.0, 128.0, 255.0]]]]))
    Traceback (most recent call last):
    ValueError: images must lie in [0, 1], got 0 … 255: divide bytes by 255
    """
    if len(images) == 0:
        raise ValueError("there must be at least one calibration image")
    low, high = (float(end) for end in torch.as_tensor(images).aminmax())
    if not (math.isfinite(low) and math.isfinite(high)):
        raise ValueError("images must be finite and in [0, 1], got NaN or infinite values")
    if low < 0 or high > 1:
        raise ValueError(f"images must lie in [0, 1], got {low:.4g} … {high:.4g}: {_mend(low, high)}")
    doubt = _doubt(low, high, len(images))
    if doubt:
        words = f"calibration images lie in {low:.4g} … {high:.4g}: {doubt}; the network sees [0, 1]"
        warnings.warn(words, ImageRangeWarning, stacklevel=3)


def _mend(low: float, high: float) -> str:
    """What such a range looks like, and what to do."""
    if low >= 0 and 2 < high <= 255:
        return "divide bytes by 255"
    if low >= -0.25 and high <= 1.25:
        return "clip them, as resizing and noise may overshoot"
    if low >= -1 and high <= 1:
        return "they look scaled to −1 … 1; add 1 and halve them"
    if -10 <= low < 0 and high <= 10:
        return "they look normalized by mean and deviation; multiply by the deviation and add the mean"
    return "divide them by the largest value that they could have"


def _doubt(low: float, high: float, count: int) -> str | None:
    """Why images in [0, 1] can hardly be meant, if so."""
    if low == high:
        return "every pixel has the same value"
    if high <= TWICE_DIVIDED:
        return "were they divided by 255 twice?"
    if count >= MANY and high - low < NARROW:
        return f"{count} images together span less than 1/16"
    return None
