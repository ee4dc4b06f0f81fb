"""The optimiser and its learning rate: one group that decays and one that does not, one cycle or a cosine by steps."""

from __future__ import annotations

import warnings

import torch
from torch import nn
from torch.optim.lr_scheduler import CosineAnnealingLR, LRScheduler, OneCycleLR

from course_lib.data import SignDataset
from course_lib.training.recipe import Recipe


def make_optimizer(model: nn.Module, recipe: Recipe, loss: nn.Module | None = None) -> torch.optim.Optimizer:
    """AdamW or SGD over the model's parameters, and the loss's own, with weight decay on matrices and kernels only."""
    owners = [model] if loss is None else [model, loss]
    trained = [p for owner in owners for p in owner.parameters() if p.requires_grad]
    decayed, others = [p for p in trained if p.ndim > 1], [p for p in trained if p.ndim <= 1]
    groups = [{"params": decayed, "weight_decay": recipe.weight_decay}, {"params": others, "weight_decay": 0.0}]
    if recipe.optimizer == "adamw":
        return torch.optim.AdamW(groups, lr=recipe.max_lr)
    return torch.optim.SGD(groups, lr=recipe.max_lr, momentum=0.9, nesterov=True)


def steps_per_epoch(train: SignDataset, recipe: Recipe) -> int:
    """Steps an epoch: the last batch may be smaller.

    >>> import numpy as np
    >>> steps_per_epoch(SignDataset(np.zeros((9, 3, 1, 1), np.uint8), np.zeros(9, int)), Recipe(epochs=1, batch_size=4))
    3
    """
    return -(-len(train) // recipe.batch_size)


def make_scheduler(optimizer: torch.optim.Optimizer, recipe: Recipe, total_steps: int) -> LRScheduler:
    if recipe.schedule == "onecycle":
        # Momentum stays: cycling it as well is a second change that nobody here measured.
        rise = 0.25 if total_steps == 5 else 0.2  # a fifth of five steps is one: torch divides by 1 − 1
        return OneCycleLR(optimizer, recipe.max_lr, total_steps=total_steps, pct_start=rise, cycle_momentum=False)
    return CosineAnnealingLR(optimizer, total_steps)


def skip_(scheduler: LRScheduler, steps: int) -> None:
    """Move the learning rate on by ``steps`` steps that are not trained here."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Detected call of `lr_scheduler.step")  # before the optimiser's: on purpose
        for _ in range(steps):
            scheduler.step()
