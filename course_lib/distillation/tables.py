"""The teacher's logits, computed once and kept: training on them costs no teacher.

A logit belongs to the exact picture it was computed from. ``teacher_logits`` therefore computes one table for each
augmented view that the student's recipe will show, and ``distillation_training_loss`` reads the row of that view and
that image. Running the teacher inside the training loop gives the same numbers, once every epoch instead of once.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn

from course_lib.data.dataset import SignDataset
from course_lib.distillation.losses import distillation_loss
from course_lib.training import Batch, Loss, Recipe


def teacher_logits(
    teacher: nn.Module, train: SignDataset, recipe: Recipe, *, batch_size: int = 256, progress: bool = True
) -> Tensor:
    """The teacher's logits for every view of ``recipe`` and every training image: (views, N, C), float32.

    The teacher runs in eval mode and without gradients, whatever mode the caller left it in (and is left in again).
    Args:
        recipe: one with ``views`` set (without augmentation, one view is enough).
    Raises: ValueError if ``recipe`` shows a new view every epoch: nothing could be reused.
    """
    from tqdm.auto import tqdm

    if recipe.augmentation is not None and recipe.views is None:
        raise ValueError("recipe.views must be a number: a new view every epoch leaves nothing to reuse")
    views = 1 if recipe.augmentation is None else recipe.views
    starts = range(0, len(train), batch_size)
    was_training, out = teacher.training, None
    teacher.eval()
    try:
        with (
            torch.inference_mode(),
            tqdm(total=views * len(starts), unit="batch", disable=not progress, leave=False) as bar,
        ):
            for view in range(views):
                table = recipe.augmentation.table(len(train), view) if recipe.augmentation else None
                for start in starts:
                    indices = np.arange(start, min(start + batch_size, len(train)))
                    images, _ = train.batch(indices)
                    if recipe.augmentation is not None and table is not None:
                        images = recipe.augmentation.apply(images, table[indices])
                    logits = teacher(images.contiguous(memory_format=torch.channels_last))
                    if out is None:
                        out = torch.empty(views, len(train), logits.shape[1])
                    out[view, indices] = logits
                    bar.update()
    finally:
        teacher.train(was_training)
    if out is None:
        raise ValueError("the training set is empty")
    return out.clone()


def distillation_training_loss(teacher_table: Tensor, *, temperature: float, alpha: float) -> Loss:
    """The loss that ``training.fit`` takes: each batch with the teacher's logits of its own view and images.

    Args:
        teacher_table: (views, N, C) from ``teacher_logits``.
    """
    views = len(teacher_table)

    def loss(student_logits: Tensor, batch: Batch) -> Tensor:
        targets = teacher_table[0 if views == 1 else batch.view, batch.indices]  # (B, C)
        return distillation_loss(student_logits, targets, batch.labels, temperature=temperature, alpha=alpha)

    return loss
