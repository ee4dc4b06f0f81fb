"""The average of a network's weights along its training: smoother than any of its steps, and free at run time.

Steps at a high learning rate jump about a minimum; their mean lies inside it (Polyak & Juditsky 1992). Kept is an
exponential moving average (EMA), one copy of the network and one multiplication a weight and step: after step n,

    average ← d·average + (1 − d)·weights,    d = min(decay, (1 + n) / (10 + n)),

where n counts the steps averaged before. The first step's weights are taken as they are, and the smaller d at the
start lets go of them: with 0.999 alone, more than a third of the first weights would be left after 1,000 steps.

BatchNorm's running mean and variance are averaged along with the weights, by the same d: the statistics of one late
step belong to that step's weights. Counters are copied. (The exact way, a pass over the training images with the
averaged weights, costs a pass for each validation.)

Source: Izmailov et al. 2018, arXiv:1803.05407 (averaging), TensorFlow's ``ExponentialMovingAverage`` (the smaller d at
the start); ``torch.optim.swa_utils.AveragedModel`` gives the same numbers (tested).
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import torch
from torch import nn

from course_lib.training.distributed import share_values_


class WeightAverage:
    """The moving average of all weights and buffers of one network.

    Args:
        model: whose weights are averaged; it is never changed but inside ``shown_in``.
        decay: in (0, 1); about 1/(1 − decay) steps count.

    >>> layer = nn.Linear(1, 1, bias=False)
    >>> average = WeightAverage(layer, decay=0.25)
    >>> for value in (1.0, 2.0, 4.0):
    ...     _ = nn.init.constant_(layer.weight, value)
    ...     average.update_(layer)
    >>> with average.shown_in(layer):  # 1; then 2/11·1 + 9/11·2; then 0.25 of that + 0.75·4
    ...     round(layer.weight.item(), 4)
    3.4545
    >>> layer.weight.item()
    4.0
    """

    def __init__(self, model: nn.Module, decay: float):
        self.decay, self.steps = decay, 0
        self.values = {name: value.detach().clone() for name, value in model.state_dict().items()}

    @torch.no_grad()
    def update_(self, model: nn.Module) -> None:
        """Take in the weights that a step has left in ``model``."""
        kept = min(self.decay, (1 + self.steps) / (10 + self.steps)) if self.steps else 0.0
        for name, value in model.state_dict().items():
            if value.is_floating_point():
                self.values[name].lerp_(value, 1 - kept)
            else:
                self.values[name].copy_(value)
        self.steps += 1

    @contextlib.contextmanager
    def shown_in(self, model: nn.Module) -> Iterator[None]:
        """Within the block ``model`` has the averaged weights; afterwards, also after an error, its own again."""
        own = {name: value.detach().clone() for name, value in model.state_dict().items()}
        model.load_state_dict(self.values)
        try:
            yield
        finally:
            model.load_state_dict(own)

    def share_(self) -> None:
        """Every process gets process 0's average: BatchNorm's statistics are each process's own."""
        share_values_(self.values.values())

    def state_dict(self) -> dict[str, Any]:
        """All that a resumed training needs."""
        return {"steps": self.steps, "values": self.values}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue from what ``state_dict`` gave."""
        self.steps = state["steps"]
        for name, value in self.values.items():
            value.copy_(state["values"][name])
