"""An unfinished training: all that belongs together in one run, and its state on disk after each epoch.

A state names the run that wrote it (recipe, network, loss, training and validation set) and only that run may continue
from it. Nothing is unpickled but tensors and plain values (``weights_only``), and a file that was cut short or altered
is told apart by the checksums inside it.
"""

from __future__ import annotations

import hashlib
import json
import zipfile
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim.lr_scheduler import LRScheduler

from course_lib.data import SignDataset
from course_lib.errors import CourseError
from course_lib.models.modes import Modes
from course_lib.storage.files import atomic_path
from course_lib.training.averaging import WeightAverage
from course_lib.training.constraint import Constraint
from course_lib.training.loss import Loss
from course_lib.training.recipe import History, Recipe


@dataclass
class Run:
    """One training from its first step to its last.

    Args:
        model: the network that is trained.
        train: the images that teach.
        validation: the images that choose the epoch.
        recipe: how to train.
        loss: behind the one interface.
        optimizer: over the model's and the loss's parameters.
        scheduler: stepped once a batch.
        modes: each submodule's mode while training: layers that the caller froze stay frozen.
        history: of the epochs that are done.
        best: the weights of the best epoch on validation, averaged where the recipe says so; None before the first.
        average: of the weights so far; None where the recipe has none.
        constraint: what must hold for the weights after every step.
        first_epoch: the recipe's epoch that this run begins with.
    """

    model: nn.Module
    train: SignDataset
    validation: SignDataset
    recipe: Recipe
    loss: Loss
    optimizer: torch.optim.Optimizer
    scheduler: LRScheduler
    modes: Modes
    history: History = field(default_factory=History)
    best: dict[str, Tensor] | None = None
    average: WeightAverage | None = None
    constraint: Constraint = field(default_factory=Constraint)
    first_epoch: int = 0

    def identity(self) -> dict[str, str]:
        """Names the run: a state may only continue the run that wrote it. Taken before the first step."""
        shapes = {name: list(value.shape) for name, value in self.model.state_dict().items()}
        # Strides and dropout change no shape, but stand in the text that PyTorch prints for a network.
        layers = hashlib.sha256(repr(self.model).encode()).hexdigest()
        train = [self.train.name, list(self.train.images.shape)]
        parts = [asdict(self.recipe), shapes, layers, train, self.loss.identity()]
        # Only where there are any: the states of plain trainings stay valid.
        if (bound := self.constraint.identity()) or self.first_epoch:
            parts += [bound, self.first_epoch]
        text = json.dumps(parts, sort_keys=True)
        return {"fingerprint": text, "data": f"{self.train.digest()} {self.validation.digest()}"}

    def save(self, path: str | Path, identity: dict[str, str]) -> None:
        """Write all that the next epoch depends on, under a temporary name first."""
        state = {
            **identity,
            "model": self.model.state_dict(),
            "loss": self.loss.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "scheduler": self.scheduler.state_dict(),
            "history": asdict(self.history),
            "best": self.best,
            "average": None if self.average is None else self.average.state_dict(),
            "torch_rng": torch.get_rng_state(),
        }
        with atomic_path(path) as part:
            torch.save(state, part)

    def resume_(self, path: str | Path, identity: dict[str, str]) -> None:
        """Continue from a saved state.

        Raises: CourseError: broken, or written by another run.
        """
        mend = f"delete {path} to start afresh"
        state = _read(path, mend)
        if {key: state[key] for key in identity} != identity:
            raise CourseError("belongs to a run with another model, loss, recipe or data", path=path, mend=mend)
        self.model.load_state_dict(state["model"])
        self.loss.load_state_dict(state["loss"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.scheduler.load_state_dict(state["scheduler"])
        self.history, self.best = History(**state["history"]), state["best"]
        if self.average is not None:
            self.average.load_state_dict(state["average"])
        # A network with dropout draws from this generator; the loop itself does not.
        torch.set_rng_state(state["torch_rng"])


_KEYS = {"fingerprint", "data", "model", "loss", "optimizer", "scheduler", "history", "best", "average", "torch_rng"}


def _read(path: str | Path, mend: str) -> dict[str, Any]:
    try:
        # torch.load does not look at the checksums that torch.save wrote.
        with zipfile.ZipFile(path) as archive:
            if damaged := archive.testzip():
                raise zipfile.BadZipFile(f"the checksum of {damaged} differs")
        state = torch.load(path, weights_only=True)
        if missing := sorted(_KEYS - set(state)):
            raise ValueError(f"it lacks {', '.join(missing)}")
    except Exception as error:  # torch.load raises many types for a broken file
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise CourseError(f"not a readable training checkpoint ({reason})", path=path, mend=mend) from error
    return state
