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

    predict: (B, 3, H, W) float32 in [0, 1] -> (B, classes) logits. batch: the only batch size it takes, None for any.
    size_bytes: all files to ship. parameters, nonzeros, macs: None where unknown. runtime: name and version.
    provider: the backend that runs; requested_provider: the one that was asked for.
    twin: name of a variant that must give the same classes for at least ``twin_agreement`` (a fraction) of the images.
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
