"""Soft-target distillation: the student learns the teacher's whole distribution, not only the label.

At temperature T a network's answer is p_T = softmax(z/T). The loss of Hinton, Vinyals & Dean (2015,
arXiv:1503.02531, section 2) is

    L = α · T² · KL(p_teacher,T ‖ p_student,T) + (1 − α) · CE(label, p_student,1).

Two details decide whether it works. KL's first argument is the teacher: the student must put mass wherever the teacher
does. And the factor T²: the gradient of the KL term with respect to the student's logits is (q_T − p_T)/T, and the
difference itself shrinks as 1/T, so without T² the soft term would fade as 1/T² when T grows.

A logit belongs to the exact picture it was computed from. ``teacher_logits`` therefore computes one table for each
augmented view that the student's recipe will show, and ``distillation_training_loss`` reads the row of that view and
that image. Running the teacher inside the training loop gives the same numbers, once every epoch instead of once.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from course_lib.data.dataset import SignDataset
from course_lib.training import Batch, Loss, Recipe


def soft_target_loss(student_logits: Tensor, teacher_logits: Tensor, temperature: float) -> Tensor:
    """T²·KL(p_teacher ‖ p_student) at temperature T, mean over the batch, in nats.

    Args:
        student_logits, teacher_logits: (B, C), float; the teacher's need no gradient.
        temperature: T > 0.
    Returns: scalar ≥ 0; 0 where the two distributions are equal.
    Raises: ValueError for unequal shapes or T ≤ 0.
    Source: Hinton et al. 2015, arXiv:1503.02531, section 2.
    Matches: T²·torch.nn.KLDivLoss(reduction="batchmean", log_target=True) on log-softmaxes.
    """
    _check_logits(student_logits, teacher_logits)
    if not temperature > 0:
        raise ValueError(f"temperature must be positive, got {temperature}")
    log_p = F.log_softmax(teacher_logits / temperature, dim=-1)  # (B, C)
    log_q = F.log_softmax(student_logits / temperature, dim=-1)  # (B, C)
    # reduction="mean" would divide by B·C: the weight of the loss would then depend on C.
    kl = F.kl_div(log_q, log_p, reduction="batchmean", log_target=True)
    return temperature**2 * kl


def distillation_loss(
    student_logits: Tensor, teacher_logits: Tensor, labels: Tensor, *, temperature: float, alpha: float
) -> Tensor:
    """α·T²·KL(teacher ‖ student) + (1 − α)·CE(label, student), mean over the batch, in nats.

    Args:
        student_logits, teacher_logits: (B, C), float.
        labels: (B,), int64.
        temperature: T > 0, of the soft term only; the label's term is taken at T = 1.
        alpha: weight of the soft term, in [0, 1].
    Raises: ValueError for alpha outside [0, 1], T ≤ 0 or unequal shapes.
    Source: Hinton et al. 2015, arXiv:1503.02531, section 2.
    """
    if not 0 <= alpha <= 1:
        raise ValueError(f"alpha must be in [0, 1], got {alpha}")
    soft = soft_target_loss(student_logits, teacher_logits, temperature)
    return alpha * soft + (1 - alpha) * F.cross_entropy(student_logits, labels)


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
        targets = teacher_table[batch.view % views if views == 1 else batch.view, batch.indices]  # (B, C)
        return distillation_loss(student_logits, targets, batch.labels, temperature=temperature, alpha=alpha)

    return loss


def _check_logits(student_logits: Tensor, teacher_logits: Tensor) -> None:
    if student_logits.shape != teacher_logits.shape or student_logits.ndim != 2:
        raise ValueError(
            f"student_logits and teacher_logits must both be (B, C), "
            f"got {tuple(student_logits.shape)} and {tuple(teacher_logits.shape)}"
        )
