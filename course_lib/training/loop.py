"""One training loop for everything: teachers, students, pruned and quantized networks.

``fit`` is gradient descent with five habits built in, each of which the course's measurements rely on:

* **Everything random is a function of (seed, epoch)**: the order of the images and their augmented views. Nothing
  depends on what ran before, so a run that was killed continues to the same weights.
* **Validation chooses.** After each epoch the network is scored on the validation part; the best epoch's weights are
  what the caller gets. The test part is not an argument of this module.
* **The learning rate moves per step** over one cycle (Smith & Topin 2019, arXiv:1708.07120) or a cosine, whose length
  is counted in steps. Stepping a per-epoch schedule per batch is a classic bug: the rate is over before epoch two.
* **The loss is an argument**: ``loss(logits, batch)``, where ``batch`` also tells which images and which view it
  holds. Distillation is a loss, not another loop.
* **Nothing half-written**: the state is saved after each epoch under a temporary name, then renamed.

Under ``torchrun`` the same call shares each batch among the processes (``distributed.py``). Industrial loops add mixed
precision, gradient accumulation and data workers; on two cores and 32×32 pixels none of them buys time.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

from course_lib.data import SignDataset
from course_lib.errors import CourseError
from course_lib.evaluation.predictions import model_accuracy
from course_lib.training.distributed import average_gradients_, replicated, share_state_, total, world
from course_lib.training.recipe import Batch, History, LearnedLoss, Loss, Recipe
from course_lib.training.state import fingerprint, load_state, save_state


def fit(
    model: nn.Module,
    train: SignDataset,
    validation: SignDataset,
    recipe: Recipe,
    *,
    loss: Loss | None = None,
    checkpoint: str | Path | None = None,
    progress: bool = True,
    log_dir: str | Path | None = None,
) -> History:
    """Train ``model`` in place and leave it with the weights of its best epoch on validation, in eval mode.

    Args:
        loss: (logits (B, C), batch) → scalar; by default cross-entropy with the labels.
        checkpoint: where the state is kept after each epoch. If the file is there, training continues from it and
            ends with the same weights as a run that was never interrupted (same machine, same number of threads).
        progress: show a progress bar.
        log_dir: write TensorBoard curves there (needs the extra ``tensorboard``).
    Returns: the history of all epochs, those before a resume included.
    Raises:
        ValueError: ``train`` or ``validation`` is empty.
        CourseError: the checkpoint is broken or belongs to another run.
        FloatingPointError: the loss is no longer finite (names epoch and step).
        KeyboardInterrupt: Ctrl-C; its message says how to continue.
    """
    for part, dataset in (("train", train), ("validation", validation)):
        if len(dataset) == 0:
            raise ValueError(f"{part} must hold at least one image, got {dataset!r}")
    loss = loss or _cross_entropy(recipe.label_smoothing)
    steps = -(-len(train) // recipe.batch_size)
    optimizer = make_optimizer(model, recipe, loss)
    scheduler = _scheduler(optimizer, recipe, steps * recipe.epochs)
    history, best, run = (
        History(),
        None,
        fingerprint(model, train, recipe, loss.identity() if isinstance(loss, LearnedLoss) else ""),
    )
    if checkpoint is not None and Path(checkpoint).exists():
        fields, best = load_state(checkpoint, model, loss, optimizer, scheduler, run)
        history = History(**fields)
    first = len(history.epochs)
    if isinstance(loss, LearnedLoss):
        loss.start(train, recipe, optimizer)
    model.to(memory_format=torch.channels_last)
    rank = world()[0]
    share_state_(*(m for m in (model, loss) if isinstance(m, nn.Module)))
    forward = replicated(model)
    try:
        with _writer(log_dir) as write, _bar((recipe.epochs - first) * steps, progress and rank == 0) as bar:
            for epoch in range(first, recipe.epochs):
                row = _run_epoch(model, forward, train, recipe, epoch, loss, optimizer, scheduler, bar)
                if isinstance(loss, LearnedLoss):
                    loss.end_epoch()
                share_state_(model, buffers_only=True)
                row["validation_accuracy"] = model_accuracy(model, validation)
                history.epochs.append(row)
                if row["validation_accuracy"] > history.best_accuracy:
                    history.best_epoch, history.best_accuracy = epoch, row["validation_accuracy"]
                    best = {key: value.clone() for key, value in model.state_dict().items()}
                bar.set_postfix_str(f"epoch {epoch + 1}, validation {row['validation_accuracy']:.2%}")
                write(row)
                if checkpoint is not None and rank == 0:
                    save_state(checkpoint, model, loss, optimizer, scheduler, asdict(history), best, run)
    except KeyboardInterrupt:
        done = len(history.epochs)
        kept = f"the same call continues from {checkpoint}" if checkpoint else "nothing was kept: give checkpoint=…"
        raise KeyboardInterrupt(f"training stopped after {done} of {recipe.epochs} epochs; {kept}") from None
    finally:
        model.to(memory_format=torch.contiguous_format)
    if best is not None:
        model.load_state_dict(best)
    model.eval()
    return history


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


def make_optimizer(model: nn.Module, recipe: Recipe, loss: Loss | None = None) -> torch.optim.Optimizer:
    """AdamW or SGD over the model's parameters, and the loss's own, with weight decay on matrices and kernels only."""
    owners = [model, loss] if isinstance(loss, nn.Module) else [model]
    trained = [p for owner in owners for p in owner.parameters() if p.requires_grad]
    decayed, others = [p for p in trained if p.ndim > 1], [p for p in trained if p.ndim <= 1]
    groups = [{"params": decayed, "weight_decay": recipe.weight_decay}, {"params": others, "weight_decay": 0.0}]
    if recipe.optimizer == "adamw":
        return torch.optim.AdamW(groups, lr=recipe.max_lr)
    return torch.optim.SGD(groups, lr=recipe.max_lr, momentum=0.9, nesterov=True)


def _scheduler(optimizer: torch.optim.Optimizer, recipe: Recipe, total_steps: int):
    if recipe.schedule == "onecycle":
        # Momentum stays: cycling it as well is a second change that nobody here measured.
        rise = 0.25 if total_steps == 5 else 0.2  # a fifth of five steps is one: torch divides by 1 − 1
        return torch.optim.lr_scheduler.OneCycleLR(
            optimizer, recipe.max_lr, total_steps=total_steps, pct_start=rise, cycle_momentum=False
        )
    return torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, total_steps)


def _run_epoch(model, forward, train, recipe, epoch, loss, optimizer, scheduler, bar) -> dict[str, float]:
    started, summed, processes = time.perf_counter(), 0.0, world()[1]
    device = next(model.parameters()).device
    own = list(loss.parameters()) if isinstance(loss, nn.Module) else []
    model.train()
    for step, batch in enumerate(epoch_batches(train, recipe, epoch)):
        images = batch.images.to(device).contiguous(memory_format=torch.channels_last)
        batch = batch._replace(images=images, labels=batch.labels.to(device))
        optimizer.zero_grad(set_to_none=True)
        value = loss(forward(images), batch)
        if not torch.isfinite(value):
            raise FloatingPointError(f"the loss is {value.item()} in epoch {epoch + 1}, step {step + 1}: lower max_lr")
        (value if processes == 1 else value * batch.weight).backward()
        average_gradients_(own)
        lr = optimizer.param_groups[0]["lr"]
        optimizer.step()
        scheduler.step()
        summed += value.item() * len(batch.labels) if batch.weight else 0.0
        bar.update()
    mean = total(summed) / len(train) if processes > 1 else summed / len(train)
    return {"epoch": epoch, "loss": mean, "lr": lr, "seconds": time.perf_counter() - started}


def _cross_entropy(label_smoothing: float) -> Loss:
    return lambda logits, batch: F.cross_entropy(logits, batch.labels, label_smoothing=label_smoothing)


@contextlib.contextmanager
def _bar(total: int, visible: bool):
    from tqdm.auto import tqdm

    with tqdm(total=total, unit="batch", disable=not visible, leave=False) as bar:
        yield bar


@contextlib.contextmanager
def _writer(log_dir: str | Path | None):
    if log_dir is None:
        yield lambda row: None
        return
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError as error:
        raise CourseError("TensorBoard is not installed", mend='pip install -e ".[tensorboard]"') from error
    with SummaryWriter(str(log_dir)) as writer:
        yield lambda row: [writer.add_scalar(k, v, int(row["epoch"])) for k, v in row.items() if k != "epoch"]
