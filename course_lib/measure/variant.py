"""A variant: something that classifies images and can be shipped, whatever runs it.

A name, a callable from a batch to logits, the file and its counts. The ledger and its benchmark know nothing else;
each runtime under ``deploy`` makes variants of its files.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Variant:
    """Something that classifies images and can be shipped.

    Args:
        name: of the row.
        predict: (B, 3, H, W) float32 in [0, 1] -> (B, classes) logits.
        file: its path.
        size_bytes: all files to ship.
        parameters: elements of weights and biases; None where unknown.
        nonzeros: of them, those that are not 0; None where unknown.
        macs: multiply-accumulates for one image; None where unknown.
        runtime: name and version.
        provider: the backend that runs.
        requested_provider: the backend that was asked for.
        batch: the only batch size it takes; None for any.
        twin: name of a variant that must give the same classes; None for none.
        twin_agreement: the least fraction of images for which it must.
    """

    name: str
    predict: Callable[[np.ndarray], np.ndarray]
    file: str
    size_bytes: int
    parameters: int | None
    nonzeros: int | None
    macs: int | None
    runtime: str
    provider: str
    requested_provider: str
    batch: int | None = None
    twin: str | None = None
    twin_agreement: float | None = None


def predict_classes(variant: Variant, images: np.ndarray, batch: int) -> np.ndarray:
    """(N,) predicted class ids, computed in batches; a variant with a fixed batch gets its last one padded.

    Raises: ValueError: the logits are not (B, classes) or hold nan.

    >>> mean = lambda batch: batch.mean((2, 3))  # a "network" whose class is the brightest channel
    >>> variant = Variant("mean", mean, "mean.py", 1, None, None, None, "NumPy", "CPU", "CPU")
    >>> predict_classes(variant, np.eye(3, dtype=np.float32).reshape(3, 3, 1, 1), batch=2).tolist()
    [0, 1, 2]
    """
    size = variant.batch or batch
    parts = []
    for start in range(0, len(images), size):
        part = np.ascontiguousarray(images[start : start + size])
        short = size - len(part) if variant.batch else 0
        padded = np.concatenate([part, np.zeros((short, *part.shape[1:]), part.dtype)]) if short else part
        logits = np.asarray(variant.predict(padded))[: len(part)]
        if logits.ndim != 2 or len(logits) != len(part) or np.isnan(logits).any():
            raise ValueError(f"variant {variant.name!r} must give (B, classes) logits without nan, got {logits.shape}")
        parts.append(logits.argmax(1))
    return np.concatenate(parts)
