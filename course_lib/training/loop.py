"""One training loop for everything: teachers, students, pruned and quantized networks.

``fit`` is gradient descent with nine habits built in, each of which the course's measurements rely on:

* **Everything random is a function of (seed, epoch)**: the order of the images and their augmented views. Nothing
  depends on what ran before, so a run that was killed continues to the same weights.
* **Validation chooses.** After each epoch the network is scored on the validation part; the best epoch's weights are
  what the caller gets. The test part is not an argument of this module.
* **The learning rate moves per step** over one cycle (Smith & Topin 2019, arXiv:1708.07120) or a cosine, whose length
  is counted in steps. Stepping a per-epoch schedule per batch is a classic bug: the rate is over before epoch two.
* **The loss is an argument**: ``loss(logits, batch)``, where ``batch`` also tells which images and which view it
  holds. Distillation is a loss, not another loop.
* **A layer that the caller froze stays frozen.** A network in train mode may hold submodules in eval mode (a BatchNorm
  whose statistics must not move any more): every epoch puts each submodule into the mode it came with. A network that
  comes wholly in eval mode, as loaded ones do, is trained wholly.
* **The average of the steps may stand in for the last one** (``Recipe.average``; off by default): validation scores
  the averaged weights, and they are what the caller gets; the steps go on from the weights themselves.
* **Weights may be bound** (``constraint``): masked ones are 0 again after every step, and in the average.
* **Nothing half-written**: the state is saved after each epoch under a temporary name, then renamed.

* **Precision is a choice** (``Recipe.precision``): bfloat16 halves a large network's epoch where the processor has
  matrix units for it. Small students gain little: their time goes elsewhere.

Under ``torchrun`` the same call shares each batch among the processes (``distributed.py``). Industrial loops add
gradient accumulation and data workers; on two cores and 32×32 pixels neither buys time.
"""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from course_lib.data import SignDataset
from course_lib.evaluation.predictions import model_accuracy
from course_lib.models.modes import Modes, modes, restore_modes_
from course_lib.storage.files import require_space, require_writable
from course_lib.training.averaging import WeightAverage
from course_lib.training.constraint import Constraint
from course_lib.training.distributed import (
    average_gradients_,
    replicated,
    require_agreement,
    share_state_,
    total,
    world,
)
from course_lib.training.loss import LossFunction, as_loss
from course_lib.training.optimizer import make_optimizer, make_scheduler, skip_, steps_per_epoch
from course_lib.training.recipe import Batch, History, Recipe, compute_in
from course_lib.training.showing import bar_of, curve_writer
from course_lib.training.state import Run

_STATE_COPIES = 12
"""Of the weights: a state holds weights, best, average and two of the optimiser's, and replaces one as large."""
OnEpoch = Callable[[dict[str, float]], None]
"""Is told an epoch's row of the history."""


def fit(
    model: nn.Module,
    train: SignDataset,
    validation: SignDataset,
    recipe: Recipe,
    *,
    loss: LossFunction | None = None,
    constraint: Constraint | None = None,
    first_epoch: int = 0,
    checkpoint: str | Path | None = None,
    progress: bool = True,
    log_dir: str | Path | None = None,
    on_epoch: OnEpoch | None = None,
) -> History:
    """Train ``model`` in place and leave it with the weights of its best epoch on validation, in eval mode.

    Args:
        loss: (logits (B, C), batch) → scalar; by default cross-entropy with the labels.
        constraint: what must hold for the weights after every step, such as masks; by default nothing.
        first_epoch: order, views and learning rate start there, as if the epochs before it had been trained already.
        checkpoint: where the state is kept after each epoch. If the file is there, training continues from it and
            ends with the same weights as a run that was never interrupted (same machine and number of threads).
        progress: show a bar. log_dir: write TensorBoard curves there (needs the extra ``tensorboard``).
        on_epoch: is told each row of the history, once the state is kept; of several processes only the first's.
    Returns: the history of all epochs, those before a resume included.
    Raises: ValueError: a part is empty, or the recipe has no first_epoch. CourseError: the checkpoint is broken or
        belongs to another run. FloatingPointError: the loss is not finite. KeyboardInterrupt: it says how to continue.
    """
    run = _prepared(model, train, validation, recipe, loss, constraint, first_epoch)
    share_state_(run.model, run.loss)
    identity = {} if checkpoint is None else _resumed_(run, Path(checkpoint))
    run.loss.start(train, recipe, run.optimizer)
    with _stop_told(run, checkpoint), _channels_last(model):
        _run_epochs(run, progress, log_dir, _keeper(run, identity, checkpoint, on_epoch))
    if run.best is not None:
        model.load_state_dict(run.best)
    model.eval()
    return run.history


def _resumed_(run: Run, checkpoint: Path) -> dict[str, str]:
    """The run's identity; the run goes on from its state if there is one. Asks for the state's place beforehand."""
    identity = run.identity()
    size = sum(value.numel() * value.element_size() for value in run.model.state_dict().values())
    require_space(require_writable(checkpoint.parent), _STATE_COPIES * size)
    if checkpoint.exists():
        run.resume_(checkpoint, identity)
    require_agreement("unfinished training", json.dumps([identity, len(run.history.epochs)]))
    return identity


def epoch_batches(train: SignDataset, recipe: Recipe, epoch: int) -> Iterator[Batch]:
    """The batches of one epoch: in a new order, augmented, the last one smaller; a function of (seed, epoch).

    Of several processes each gets its own part of every batch.
    """
    rank, processes = world()
    order = np.random.default_rng((recipe.seed, epoch)).permutation(len(train))
    view = recipe.view(epoch)
    table = recipe.augmentation.table(len(train), view) if recipe.augmentation else None
    for start in range(0, len(order), recipe.batch_size):
        # Sorted: reads of a memory-mapped set go forward; order within a batch means nothing.
        whole = np.sort(order[start : start + recipe.batch_size])
        own = whole[rank::processes]
        indices = own if len(own) else whole[:1]  # more processes than images: this one works along, with weight 0
        images, labels = train.batch(indices)
        if recipe.augmentation is not None and table is not None:
            images = recipe.augmentation.apply(images, table[indices])
        yield Batch(images, labels, torch.from_numpy(indices), view, len(own) * processes / len(whole))


def _prepared(
    model: nn.Module,
    train: SignDataset,
    validation: SignDataset,
    recipe: Recipe,
    loss: LossFunction | None,
    constraint: Constraint | None,
    first_epoch: int,
) -> Run:
    for part, dataset in (("train", train), ("validation", validation)):
        if len(dataset) == 0:
            raise ValueError(f"{part} must hold at least one image, got {dataset!r}")
    if not 0 <= first_epoch < recipe.epochs:
        raise ValueError(f"first_epoch must be in 0..{recipe.epochs - 1}, got {first_epoch}")
    objective, bound, steps = (
        as_loss(loss, recipe.label_smoothing),
        constraint or Constraint(),
        steps_per_epoch(train, recipe),
    )
    bound.start(model, recipe.epochs, steps)
    optimizer = make_optimizer(model, recipe, objective)
    scheduler = make_scheduler(optimizer, recipe, steps * recipe.epochs)
    skip_(scheduler, steps * first_epoch)
    average = WeightAverage(model, recipe.average) if recipe.average else None
    frozen = _training_modes(model)
    return Run(
        model, train, validation, recipe, objective, optimizer, scheduler, frozen,
        average=average, constraint=bound, first_epoch=first_epoch,
    )  # fmt: skip


def _training_modes(model: nn.Module) -> Modes:
    """Each submodule's mode while the model trains: as it came, or train mode for all of a model in eval mode."""
    return modes(model) if model.training else [(module, True) for module, _ in modes(model)]


def _keeper(run: Run, identity: dict[str, str], checkpoint: str | Path | None, on_epoch: OnEpoch | None) -> OnEpoch:
    """What is done with an epoch's row: the state is saved first, so that what is told is kept."""

    def kept(row: dict[str, float]) -> None:
        if checkpoint:
            run.save(checkpoint, identity)
        if on_epoch is not None:
            on_epoch(row)

    return kept


def _run_epochs(run: Run, progress: bool, log_dir: str | Path | None, kept: OnEpoch) -> None:
    """Every epoch that is not done yet: train, score, keep the best."""
    rank, first = world()[0], run.first_epoch + len(run.history.epochs)
    steps = (run.recipe.epochs - first) * steps_per_epoch(run.train, run.recipe)
    forward = replicated(run.model)
    with curve_writer(log_dir) as write, bar_of(steps, progress and rank == 0) as bar:
        for epoch in range(first, run.recipe.epochs):
            row = _run_epoch(run, forward, epoch, bar)
            run.loss.end_epoch()
            share_state_(run.model, buffers_only=True)
            _score(run, row)
            bar.set_postfix_str(f"epoch {epoch + 1}, validation {row['validation_accuracy']:.2%}")
            write(row)
            if rank == 0:
                kept(row)


def _score(run: Run, row: dict[str, float]) -> None:
    """Validate the epoch, by the averaged weights if there are any, and keep them if they are the best so far."""
    if run.average is not None:
        run.average.share_()
    with contextlib.nullcontext() if run.average is None else run.average.shown_in(run.model):
        if run.average is not None:
            run.constraint.enforce(run.model)
        row["validation_accuracy"] = model_accuracy(run.model, run.validation)
        last_step = (int(row["epoch"]) + 1) * steps_per_epoch(run.train, run.recipe) - 1
        if run.history.add(row, run.constraint.may_be_chosen(last_step)):
            run.best = {key: value.clone() for key, value in run.model.state_dict().items()}


def _run_epoch(run: Run, forward: nn.Module, epoch: int, bar: Any) -> dict[str, float]:
    """Train on every batch once; the epoch's row without its validation accuracy."""
    started, summed, lr = time.perf_counter(), 0.0, 0.0
    device = next(run.model.parameters()).device
    own = list(run.loss.parameters())
    first_step = epoch * steps_per_epoch(run.train, run.recipe)
    restore_modes_(run.modes)
    for step, batch in enumerate(epoch_batches(run.train, run.recipe, epoch)):
        run.constraint.before_step(run.model, first_step + step)
        images = batch.images.to(device).contiguous(memory_format=torch.channels_last)
        batch = batch._replace(images=images, labels=batch.labels.to(device))
        run.optimizer.zero_grad(set_to_none=True)
        with compute_in(run.recipe.precision, device.type):
            logits = forward(images)
        value = run.loss(logits.to(torch.promote_types(logits.dtype, torch.float32)), batch)
        _require_finite(value, epoch, step)
        (value if world()[1] == 1 else value * batch.weight).backward()
        average_gradients_(own)
        lr = run.optimizer.param_groups[0]["lr"]
        run.optimizer.step()
        run.constraint.enforce(run.model)
        run.scheduler.step()
        if run.average is not None:
            run.average.update_(run.model)
        summed += value.item() * len(batch.labels) if batch.weight else 0.0
        bar.update()
    mean = total(summed) / len(run.train)
    return {"epoch": epoch, "loss": mean, "lr": lr, "seconds": time.perf_counter() - started}


@contextlib.contextmanager
def _stop_told(run: Run, checkpoint: str | Path | None) -> Iterator[None]:
    """Ctrl-C says how far the training came and how to continue."""
    try:
        yield
    except KeyboardInterrupt:
        done = run.first_epoch + len(run.history.epochs)
        kept = "nothing was kept: give checkpoint=…"
        if checkpoint:
            begun = Path(checkpoint).exists()
            kept = f"the same call continues from {checkpoint}" if begun else "no epoch was finished: begin again"
            # The call may be made again with this very network, and a state is known by the weights it began with.
            run.return_to_start_()
        raise KeyboardInterrupt(f"training stopped after {done} of {run.recipe.epochs} epochs; {kept}") from None


@contextlib.contextmanager
def _channels_last(model: nn.Module) -> Iterator[None]:
    """The network's tensors in the order that convolutions are fastest in; afterwards as before."""
    model.to(memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue]  (missing in torch's stubs)
    try:
        yield
    finally:
        model.to(memory_format=torch.contiguous_format)  # pyright: ignore[reportCallIssue]


def _require_finite(value: Tensor, epoch: int, step: int) -> None:
    if not torch.isfinite(value):
        raise FloatingPointError(f"the loss is {value.item()} in epoch {epoch + 1}, step {step + 1}: lower max_lr")
