"""Train and eval mode, submodule by submodule: the one guard that the whole library uses.

``model.train()`` and ``model.eval()`` set the flag of every submodule. A network may hold layers whose mode is not the
root's, and on purpose: a BatchNorm that is frozen while the rest trains (fine-tuning on small batches,
quantization-aware training after its statistics were fixed) stands at ``training=False`` in a network at
``training=True``. Whoever restores only the root's flag with ``model.train(was_training)`` unfreezes it, without an
error, and the statistics of the deployed network then move with every batch.

So a mode is a dict, one flag for each submodule; it is read before, and put back after.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from torch import nn

Modes = list[tuple[nn.Module, bool]]


def modes(model: nn.Module) -> Modes:
    """Each submodule (the model itself first) with its own ``training`` flag, to be given to ``restore_modes_``.

    >>> [training for _, training in modes(nn.Sequential(nn.Dropout().eval()))]
    [True, False]
    """
    return [(module, module.training) for module in model.modules()]


def restore_modes_(kept: Modes) -> None:
    """Put every submodule back into the mode that ``modes`` read."""
    for module, training in kept:
        module.training = training


@contextlib.contextmanager
def eval_mode(model: nn.Module) -> Iterator[None]:
    """Within the block every submodule is in eval mode; afterwards, also after an error, each is as it was.

    >>> import torch
    >>> model = nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2))
    >>> model[1].training = False  # a frozen layer in a network that trains
    >>> with eval_mode(model):
    ...     model.training
    False
    >>> model.training, model[1].training
    (True, False)
    """
    kept = modes(model)
    model.eval()
    try:
        yield
    finally:
        restore_modes_(kept)
