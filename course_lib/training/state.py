"""An unfinished training: all that belongs together in one run, and its state on disk after each epoch.

A state names the run that wrote it, part by part (``Run.identity``): format, recipe, layers, initial weights, loss with
its teacher or table, training and validation set, threads. Only that run may continue from it, and a refusal says which
part differs: another teacher, other labels or another number of threads would end in weights that no single run gives,
and the card would not tell. Nothing is unpickled but tensors and plain values (``weights_only``), and a file that was
cut short or altered is told apart by the checksums inside it.
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
from course_lib.models.digest import state_sha256
from course_lib.models.modes import Modes
from course_lib.models.saving import save_state
from course_lib.training.averaging import WeightAverage
from course_lib.training.constraint import Constraint
from course_lib.training.loss import Loss
from course_lib.training.recipe import History, Recipe

FORMAT = 2  # of a state: raise it when an older one cannot be continued any more


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
        """Names the run, part by part: a state may only continue the run that wrote it. Taken before the first step."""
        shapes = {name: list(value.shape) for name, value in self.model.state_dict().items()}
        return {
            "format": str(FORMAT),
            "recipe": json.dumps([asdict(self.recipe), self.first_epoch], sort_keys=True),
            # Strides and dropout change no shape, but stand in the text that PyTorch prints for a network.
            "layers": hashlib.sha256(json.dumps([repr(self.model), shapes]).encode()).hexdigest(),
            "initial weights": " ".join(state_sha256(module.state_dict()) for module in (self.model, self.loss)),
            "loss": self.loss.identity(),
            "constraint": self.constraint.identity(),
            "training set": f"{self.train.name} {self.train.digest()}",
            "validation set": self.validation.digest(),
            "number of threads": str(torch.get_num_threads()),
        }

    def __post_init__(self) -> None:
        self._start = [_copy(module.state_dict()) for module in (self.model, self.loss)]

    def return_to_start_(self) -> None:
        """Give the network and the loss the weights that they had when this run was made."""
        for module, state in zip((self.model, self.loss), self._start, strict=True):
            module.load_state_dict(state, strict=False)  # a constraint may have added masks since

    def _holds(self, best: dict[str, Tensor] | None) -> bool:
        own = self.model.state_dict()
        return (
            best is not None and own.keys() == best.keys() and all(torch.equal(own[name], best[name]) for name in own)
        )

    def save(self, path: str | Path, identity: dict[str, str]) -> None:
        """Write all that the next epoch depends on, under a temporary name first."""
        state = {
            "identity": identity,
            "model": self.model.state_dict(),
            "loss": self.loss.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "scheduler": self.scheduler.state_dict(),
            "history": asdict(self.history),
            "best": self.best,
            "average": None if self.average is None else self.average.state_dict(),
            "torch_rng": torch.get_rng_state(),
        }
        save_state(path, state)

    def resume_(self, path: str | Path, identity: dict[str, str]) -> None:
        """Continue from a saved state.

        Raises: CourseError: broken, or written by another run.
        """
        mend = f"delete {path} to start afresh"
        state = _read(path, mend)
        if problem := _difference(state["identity"], identity, finished=self._holds(state["best"])):
            raise CourseError(
                f"belongs to a run with another {problem}", path=path, mend=f"make that run's call again, or {mend}"
            )
        self.model.load_state_dict(state["model"])
        self.loss.load_state_dict(state["loss"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.scheduler.load_state_dict(state["scheduler"])
        self.history, self.best = History(**state["history"]), state["best"]
        if self.average is not None:
            self.average.load_state_dict(state["average"])
        # A network with dropout draws from this generator; the loop itself does not.
        torch.set_rng_state(state["torch_rng"])


_KEYS = {"identity", "model", "loss", "optimizer", "scheduler", "history", "best", "average", "torch_rng"}


def _copy(state: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name: value.detach().clone() for name, value in state.items()}


def _difference(found: Any, wanted: dict[str, str], finished: bool) -> str | None:
    """The parts in which two identities differ, in words; numbers that say something are told.

    Args: finished: the network holds what the run has found so far: it is asked for again, not begun elsewhere.
    """
    if not isinstance(found, dict):
        return "format"
    parts = [name for name in wanted if found.get(name) != wanted[name]]
    if "layers" in parts or finished:
        parts = [name for name in parts if name != "initial weights"]  # they follow from the layers
    told = {"format", "number of threads"}
    shown = [f"{name} ({found.get(name)}, here {wanted[name]})" if name in told else name for name in parts]
    return ", ".join(shown) or None


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
