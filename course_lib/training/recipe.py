"""How to train, and what came of it: the recipe, a batch, and the history."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass, field
from typing import NamedTuple

import torch
from torch import Tensor

from course_lib.arguments import number, one_of, whole
from course_lib.data import Augmentation

PRECISIONS = ("float32", "bfloat16")


def compute_in(precision: str, device: str = "cpu") -> contextlib.AbstractContextManager[object]:
    """A context in which layers compute in ``precision``; in float32 it is none at all.

    Raises: ValueError: another precision than those in ``PRECISIONS``.

    >>> with compute_in("bfloat16"):
    ...     torch.nn.Linear(2, 2)(torch.ones(1, 2)).dtype
    torch.bfloat16
    """
    one_of("precision", precision, PRECISIONS)
    if precision == "float32":
        return contextlib.nullcontext()
    return torch.autocast(device, dtype=getattr(torch, precision))


class Batch(NamedTuple):
    """What a loss may look at besides the logits."""

    images: Tensor  # (B, 3, H, W), float in [0, 1], augmented
    labels: Tensor  # (B,), int64
    indices: Tensor  # (B,), int64: positions in the training set
    view: int  # which augmented view of the set this is
    weight: float = 1.0  # processes · own images / images of the global batch: 1 for a process on its own


@dataclass(frozen=True)
class Recipe:
    """How to train: everything that decides the result besides the network and the data.

    Args:
        epochs: passes over the training set, ≥ 1.
        max_lr: the schedule's peak, > 0.
        batch_size: images a step (of all processes together), ≥ 1.
        schedule: "onecycle" (a fifth of the steps up, then down to nothing) or "cosine" (down from the start).
        optimizer: "adamw" or "sgd" (Nesterov momentum 0.9).
        weight_decay: decoupled for adamw, L2 for sgd; never on biases and BatchNorm.
        augmentation: random views, or None for the plain images.
        views: how many different views to cycle through; None: a new one every epoch.
        label_smoothing: of the default cross-entropy loss only.
        seed: of order and views.
        average: decay, in [0, 1), of the moving average of the weights that is validated and returned in their place;
            0: none. See ``averaging``.
        precision: of the forward pass and its gradients: "float32", or "bfloat16" (``torch.autocast``; weights, their
            updates and the loss stay float32). It halves the time where the processor multiplies bfloat16 matrices
            (AMX), and costs time where it does not.
    Raises: ValueError naming the field that is out of range, TypeError naming the one that is no number.
    """

    epochs: int
    max_lr: float = 3e-3
    batch_size: int = 128
    schedule: str = "onecycle"
    optimizer: str = "adamw"
    weight_decay: float = 0.02
    augmentation: Augmentation | None = field(default_factory=Augmentation)
    views: int | None = None
    label_smoothing: float = 0.0
    seed: int = 0
    average: float = 0.0
    precision: str = "float32"

    def __post_init__(self) -> None:
        for name in ("epochs", "batch_size", "views"):
            if not (name == "views" and self.views is None):
                whole(name, getattr(self, name), least=1)
        whole("seed", self.seed, least=0)
        number("max_lr", self.max_lr, above=0)
        number("weight_decay", self.weight_decay, least=0)
        for name in ("label_smoothing", "average"):
            number(name, getattr(self, name), least=0, below=1)
        one_of("schedule", self.schedule, ("onecycle", "cosine"))
        one_of("optimizer", self.optimizer, ("adamw", "sgd"))
        one_of("precision", self.precision, PRECISIONS)
        if self.augmentation is not None and not isinstance(self.augmentation, Augmentation):
            raise TypeError(f"augmentation must be an Augmentation or None, got {self.augmentation!r}")

    def view(self, epoch: int) -> int:
        """The number of the augmented view that epoch ``epoch`` shows."""
        return epoch if self.views is None else epoch % self.views


@dataclass
class History:
    """What every epoch gave, and which one was the best on validation.

    Args:
        epochs: one dict an epoch: epoch (from 0), loss (mean over images), validation_accuracy (fraction), lr (of the
            last step), seconds.
        best_epoch: from 0; −1 before the first.
        best_accuracy: of that epoch on validation, a fraction.
    """

    epochs: list[dict[str, float]] = field(default_factory=list)
    best_epoch: int = -1
    best_accuracy: float = -1.0

    @property
    def seconds(self) -> float:
        """Wall-clock time of all epochs, in seconds."""
        return sum(row["seconds"] for row in self.epochs)

    def add(self, row: dict[str, float], may_be_chosen: bool = True) -> bool:
        """Append an epoch's row; True if it is the best so far of those that may be chosen (the first of equals)."""
        self.epochs.append(row)
        if not may_be_chosen or row["validation_accuracy"] <= self.best_accuracy:
            return False
        self.best_epoch, self.best_accuracy = int(row["epoch"]), row["validation_accuracy"]
        return True
