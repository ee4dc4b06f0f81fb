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
* Process 0 saves, and its BatchNorm statistics count: they are sent to all before each validation.

gloo carries the gradients between CPUs, nccl between GPUs. On two cores of one machine none of this is faster; it is
here because the same script must run where it is.

Sources: Li et al. 2020, arXiv:2006.15704 (DDP); torchrun's documentation for the environment variables.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable, Iterator

import torch
from torch import Tensor, distributed, nn

from course_lib.errors import CourseError


@contextlib.contextmanager
def process_group() -> Iterator[tuple[int, int]]:
    """Join the other processes if torchrun started us, and leave them at the end; yields (rank, processes).

    Raises: CourseError if torchrun's variables are there but the processes cannot be joined.

    >>> with process_group() as (rank, processes):  # not started by torchrun: alone
    ...     rank, processes
    (0, 1)
    """
    if int(os.environ.get("WORLD_SIZE", "1")) < 2 or distributed.is_initialized():
        yield world()
        return
    backend = "nccl" if torch.cuda.is_available() else "gloo"
    try:
        if backend == "nccl":
            torch.cuda.set_device(int(os.environ["LOCAL_RANK"]))
        distributed.init_process_group(backend)
    except (ValueError, RuntimeError, KeyError) as error:
        reason = str(error).splitlines()[0]
        mend = "start it by: torchrun --nproc-per-node N SCRIPT, or unset WORLD_SIZE"
        raise CourseError(f"the other processes cannot be joined ({reason})", mend=mend) from error
    try:
        yield world()
    finally:
        distributed.destroy_process_group()


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


def total(value: float) -> float:
    """Sum over processes.

    >>> total(2.5)
    2.5
    """
    if world()[1] == 1:
        return value
    # nccl only carries GPU tensors.
    device = "cuda" if distributed.get_backend() == "nccl" else "cpu"
    number: Tensor = torch.tensor(value, dtype=torch.float64, device=device)
    distributed.all_reduce(number)
    return number.item()
