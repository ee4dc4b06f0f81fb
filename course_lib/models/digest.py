"""One digest of a network: what a cache entry, a table of logits and an unfinished training know it by."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping

import numpy as np
from torch import Tensor, nn


def weights_sha256(model: nn.Module) -> str:
    """SHA-256 over the network as PyTorch prints it, and over each tensor of its state by name.

    Strides and dropout change no tensor, but stand in the printed text. Nothing about the device or the order in memory
    counts.

    >>> layer = nn.Linear(2, 1)
    >>> before = weights_sha256(layer)
    >>> _ = layer.weight.data.zero_()
    >>> weights_sha256(layer) == before
    False
    """
    return state_sha256(model.state_dict(), repr(model))


def state_sha256(state: Mapping[str, Tensor], title: str = "") -> str:
    """SHA-256 over a text and each tensor by name.

    >>> state_sha256({"a": nn.Linear(2, 2).weight}) == state_sha256({"b": nn.Linear(2, 2).weight})
    False
    """
    digest = hashlib.sha256(title.encode())
    for name, value in state.items():
        digest.update(name.encode() + np.ascontiguousarray(value.detach().cpu().numpy()).tobytes())
    return digest.hexdigest()
