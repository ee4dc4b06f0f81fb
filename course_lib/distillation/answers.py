"""What a teacher's answers know, and what a loss makes of them: shares of wrong probability, and pushes on logits.

The *share* of class k in the wrong answers to class c is the teacher's mean probability of k on images of c, divided
by what it gives to all classes other than c. Shares of a row sum to 1, whatever the temperature: a sure teacher and
an unsure one can be compared by what they take a sign for.

A *push* is −∂loss/∂(student's logits): what one step of gradient descent does to each class's logit. It shows in one
picture what a loss asks of the student.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch
from numpy.typing import ArrayLike
from torch import Tensor

from course_lib.distillation.losses import label_loss, pseudo_label_loss, soft_target_loss


def wrong_answer_shares(probabilities: ArrayLike, labels: ArrayLike, classes: int) -> np.ndarray:
    """share[c, k] = mean pₖ over the images of class c, over the sum of those of all k ≠ c; 0 on the diagonal.

    Args:
        probabilities: (N, C), of a teacher at some temperature.
        labels: (N,), class ids.
        classes: C.
    Returns: (C, C), float64; each row sums to 1.
    Raises: ValueError: a class has no image.

    >>> wrong_answer_shares([[0.7, 0.2, 0.1], [0.3, 0.4, 0.3], [0.0, 0.5, 0.5]], [0, 1, 2], 3).round(3).tolist()
    [[0.0, 0.667, 0.333], [0.5, 0.0, 0.5], [0.0, 1.0, 0.0]]
    """
    p, y = np.asarray(probabilities, np.float64), np.asarray(labels)
    if missing := sorted(set(range(classes)) - set(y.tolist())):
        raise ValueError(f"labels must hold every class, got none of {missing}")
    means = np.stack([p[y == c].mean(0) for c in range(classes)])
    np.fill_diagonal(means, 0.0)
    return means / means.sum(1, keepdims=True)


def same_group_share(shares: ArrayLike, groups: Sequence[str]) -> float:
    """The share of wrong probability that falls on classes of the true class's own group, mean over the classes.

    Args:
        shares: (C, C), of ``wrong_answer_shares``.
        groups: the group of each of the C classes.
    Returns: a fraction in [0, 1].

    >>> round(same_group_share([[0, 0.75, 0.25], [0.5, 0, 0.5], [0.5, 0.5, 0]], ["limit", "limit", "danger"]), 4)
    0.4167
    """
    same = np.asarray(groups)[:, None] == np.asarray(groups)[None]
    return float((np.asarray(shares, float) * same).sum(1).mean())


def pushes(
    student_logits: Tensor, teacher_logits: Tensor, label: int, temperature: float, alpha: float
) -> dict[str, Tensor]:
    """−∂loss/∂(student's logits) of one image, loss by loss: a positive number lifts the class.

    Args:
        student_logits, teacher_logits: (C,), float; they stay as they are.
        label: the true class.
        temperature, alpha: of the soft targets, and their weight beside the label in "soft targets and label".
    Returns: "label", "pseudo-label" and "soft targets and label" → (C,), in nats per unit of the logit.

    >>> found = pushes(torch.zeros(2), torch.tensor([3.0, 1.0]), 1, temperature=2.0, alpha=0.5)
    >>> {name: [round(x, 3) for x in push.tolist()] for name, push in found.items() if "and" not in name}
    {'label': [-0.5, 0.5], 'pseudo-label': [0.5, -0.5]}
    """
    target, y = torch.as_tensor(teacher_logits)[None], torch.tensor([label])

    def push(loss: Callable[[Tensor], Tensor]) -> Tensor:
        s = torch.as_tensor(student_logits).detach().clone()[None].requires_grad_()
        (slope,) = torch.autograd.grad(loss(s), s)
        return -slope[0]

    soft = push(lambda s: soft_target_loss(s, target, temperature))
    hard = push(lambda s: label_loss(s, y))
    return {
        "label": hard,
        "pseudo-label": push(lambda s: pseudo_label_loss(s, target)),
        "soft targets and label": alpha * soft + (1 - alpha) * hard,
    }
