"""Training on several processes: each takes a part of every batch, and all step with the same mean gradient.

``torchrun --nproc-per-node 2 script.py`` starts the script twice and tells each copy its rank through environment
variables. Inside ``process_group()`` the course's ``training.fit`` then shares its batches:

* The *global* batch stays what the recipe says. Process r of R takes every R-th image of it, so that R processes do the
  work of one, not R times as much; epochs, steps and learning rates mean the same.
* ``DistributedDataParallel`` averages the gradients over processes. Averages of unequal parts are not the average of
  the whole: a batch of 57 images is 29 and 28. Each process therefore weighs its loss by R·(own images)/(all images).
* BatchNorm is the one thing that is not the same: its mean and variance are those of the process's own part. Networks
  without it train to the single process's losses up to the order of additions (tested at 1e-5 relative); the course's
  networks differ by what half a batch's statistics differ. ``nn.SyncBatchNorm`` removes that on GPUs; it has no CPU
  version.
* Process 0 saves, and its BatchNorm statistics count: they are sent to all before each validation. What it saved is
  read only after ``wait_for_all``, and ``require_agreement`` stops all where one of them read something else.

gloo carries the gradients between CPUs, nccl between GPUs. On two cores of one machine none of this is faster; it is
here because the same script must run where it is.

Sources: Li et al. 2020, arXiv:2006.15704 (DDP); torchrun's documentation for the environment variables.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import time
from collections.abc import Iterable, Iterator
from datetime import timedelta
from typing import Any

import torch
from torch import Tensor, distributed, nn

from course_lib.errors import CourseError

JOIN_S = 60.0
"""Seconds that a process waits for the others to start; torch is slow to import where many do it at once."""
_MEND = "start it by: torchrun --nproc-per-node N SCRIPT, or unset WORLD_SIZE"
_ANOTHER_STOPPED = ("Connection closed by peer", "Connection reset by peer", "Broken pipe", "gloo", "NCCL")


@contextlib.contextmanager
def process_group() -> Iterator[tuple[int, int]]:
    """Join the other processes if torchrun started us, and leave them at the end; yields (rank, processes).

    Raises: CourseError if torchrun's variables are there but the processes cannot be joined within ``JOIN_S`` seconds,
        or if another process stops later.

    >>> with process_group() as (rank, processes):  # not started by torchrun: alone
    ...     rank, processes
    (0, 1)
    """
    if _processes_wanted() < 2 or distributed.is_initialized():
        yield world()
        return
    backend = "nccl" if torch.cuda.is_available() else "gloo"
    try:
        if backend == "nccl":
            torch.cuda.set_device(int(os.environ["LOCAL_RANK"]))
        from torch.distributed.rendezvous import rendezvous

        store, rank, processes = next(rendezvous("env://", timeout=timedelta(seconds=JOIN_S)))
        _wait_for_all_to_come(store, processes)
        distributed.init_process_group(backend, store=store, rank=rank, world_size=processes)
    except (ValueError, RuntimeError, KeyError) as error:
        if isinstance(error, CourseError):
            raise
        raise CourseError(f"the other processes cannot be joined ({str(error).splitlines()[0]})", mend=_MEND) from error
    try:
        yield world()
    except RuntimeError as error:
        if isinstance(error, CourseError) or not any(words in str(error) for words in _ANOTHER_STOPPED):
            raise
        raise CourseError(
            "another of the processes has stopped", mend="see what it says, then start all again"
        ) from error
    finally:
        distributed.destroy_process_group()


def _processes_wanted() -> int:
    text = os.environ.get("WORLD_SIZE", "1")
    if not text.isascii() or not text.isdigit():
        raise CourseError(f"WORLD_SIZE must be a number of processes, got {text!r}", mend=_MEND)
    return int(text)


def _wait_for_all_to_come(store: Any, processes: int) -> None:
    """Count the processes that came; without this the wait would last half an hour, and say nothing."""
    came, deadline = store.add("course/came", 1), time.monotonic() + JOIN_S
    while came < processes:
        if time.monotonic() > deadline:
            raise CourseError(f"{came} of {processes} processes came within {JOIN_S:g} s", mend=_MEND)
        time.sleep(0.1)
        came = store.add("course/came", 0)


def world() -> tuple[int, int]:
    """(rank, processes); (0, 1) for a process on its own.

    >>> world()
    (0, 1)
    """
    if not (distributed.is_available() and distributed.is_initialized()):
        return 0, 1
    return distributed.get_rank(), distributed.get_world_size()


def replicated(model: nn.Module) -> nn.Module:
    """The model whose backward pass averages gradients over processes; the model itself for a process on its own."""
    if world()[1] == 1:
        return model
    # Buffers are left alone in the forward pass: each process's BatchNorm runs on its own part.
    return nn.parallel.DistributedDataParallel(model, broadcast_buffers=False)


def average_gradients_(parameters: list[nn.Parameter]) -> None:
    """For parameters outside the replicated model, such as a loss's projections."""
    processes = world()[1]
    if processes > 1:
        for parameter in parameters:
            if parameter.grad is not None:
                distributed.all_reduce(parameter.grad)
                parameter.grad /= processes


def share_state_(*modules: nn.Module, buffers_only: bool = False) -> None:
    """Every process gets process 0's values."""
    for module in modules:
        share_values_(module.buffers() if buffers_only else module.state_dict().values())


def share_values_(values: Iterable[Tensor]) -> None:
    """Every process gets process 0's values of these tensors."""
    if world()[1] > 1:
        for value in values:
            distributed.broadcast(value, src=0)


def wait_for_all() -> None:
    """Go on when every process has come here."""
    if world()[1] > 1:
        distributed.barrier()


def require_agreement(what: str, value: str) -> None:
    """Raise unless every process holds the same value.

    Args:
        what: it is, such as "the teacher". value: any text.
    Raises: CourseError: in every process, if two of them differ.
    """
    if world()[1] == 1:
        return
    number = int.from_bytes(hashlib.sha256(value.encode()).digest()[:7], "little")
    least, most = (torch.tensor(number, device=_device()) for _ in range(2))
    distributed.all_reduce(least, distributed.ReduceOp.MIN)
    distributed.all_reduce(most, distributed.ReduceOp.MAX)
    if least != most:
        raise CourseError(f"the processes do not have the same {what}", mend="see that all read the same files")


def _device() -> str:
    """Where tensors must lie that are sent: nccl only carries a GPU's."""
    return "cuda" if distributed.get_backend() == "nccl" else "cpu"


def total(value: float) -> float:
    """Sum over processes.

    >>> total(2.5)
    2.5
    """
    if world()[1] == 1:
        return value
    number: Tensor = torch.tensor(value, dtype=torch.float64, device=_device())
    distributed.all_reduce(number)
    return number.item()
