"""The state of an unfinished training: written after each epoch, read when the same call is made again.

A state names the run that wrote it (recipe, shapes, training set) and only that run may continue from it. Nothing is
unpickled but tensors and plain values (``weights_only``), and a file that was cut short or altered is told apart by
the checksums inside it.
"""

from __future__ import annotations

import json
import zipfile
from dataclasses import asdict
from typing import TYPE_CHECKING

import torch
from torch import nn

from course_lib.errors import CourseError
from course_lib.storage.files import atomic_path

if TYPE_CHECKING:
    from course_lib.data import SignDataset
    from course_lib.training.recipe import Recipe


def fingerprint(model: nn.Module, train: SignDataset, recipe: Recipe, loss: str) -> dict[str, str]:
    """Names the run: a checkpoint may only continue the run that wrote it."""
    shapes = {name: list(value.shape) for name, value in model.state_dict().items()}
    text = json.dumps([asdict(recipe), shapes, train.name, list(train.images.shape), loss], sort_keys=True)
    return {"fingerprint": text, "data": train.digest()}


def save_state(path, model, loss, optimizer, scheduler, history, best, run) -> None:
    """Write all that the next epoch depends on, under a temporary name first."""
    state = {
        **run,
        "model": model.state_dict(),
        "loss": loss.state_dict() if isinstance(loss, nn.Module) else {},
        "optimizer": optimizer.state_dict(),
        "scheduler": scheduler.state_dict(),
        "history": history,
        "best": best,
        "torch_rng": torch.get_rng_state(),
    }
    with atomic_path(path) as part:
        torch.save(state, part)


def load_state(path, model, loss, optimizer, scheduler, run):
    """Restore in place; returns the history's fields and the best weights so far.

    Raises: CourseError: broken, or written by another run.
    """
    mend = f"delete {path} to start afresh"
    try:
        # torch.load does not look at the checksums that torch.save wrote.
        with zipfile.ZipFile(path) as archive:
            if damaged := archive.testzip():
                raise zipfile.BadZipFile(f"the checksum of {damaged} differs")
        state = torch.load(path, weights_only=True)
        found = {"fingerprint": state["fingerprint"], "data": state["data"]}
    except Exception as error:  # torch.load raises many types for a broken file
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise CourseError(f"not a readable training checkpoint ({reason})", path=path, mend=mend) from error
    if found != run:
        raise CourseError("belongs to a run with another model, loss, recipe or training set", path=path, mend=mend)
    model.load_state_dict(state["model"])
    if isinstance(loss, nn.Module):
        loss.load_state_dict(state["loss"])
    optimizer.load_state_dict(state["optimizer"])
    scheduler.load_state_dict(state["scheduler"])
    # A network with dropout draws from this generator; the loop itself does not.
    torch.set_rng_state(state["torch_rng"])
    return state["history"], state["best"]
