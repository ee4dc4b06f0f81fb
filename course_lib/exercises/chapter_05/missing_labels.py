"""05.2: a batch in which labels are missing: two means over two sets of images."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from course_lib.exercises.engine.exercise import Exercise

Batch = tuple[Tensor, Tensor, Tensor, float, float]

ex = Exercise(
    "05.2",
    "A batch in which labels are missing",
    points=3,
    trials=8,
    gradient_of=("student_logits",),
    hints=[
        "The soft term needs no label: it takes the mean over the whole batch.",
        "The label's term takes the mean over the images whose label is known; if there is none, it is 0.",
        "known = labels >= 0; F.cross_entropy(s[known], labels[known]) if known.any() else 0.",
    ],
    explanation="""
        Two means over two different sets of images: the soft term over the batch, the label's term over the labelled
        part of it. `course_lib.distillation.label_loss` ignores `UNLABELLED` = −1; the `Distiller` puts it wherever
        its `labelled` mask is false.
    """,
)


@ex.reference
def partly_labelled(
    student_logits: Tensor, teacher_logits: Tensor, labels: Tensor, temperature: float, alpha: float
) -> Tensor:
    """The same loss, where a label of −1 means: not known."""
    log_p = F.log_softmax(teacher_logits / temperature, dim=1)  # (B, C)
    log_q = F.log_softmax(student_logits / temperature, dim=1)  # (B, C)
    soft = temperature**2 * F.kl_div(log_q, log_p, reduction="batchmean", log_target=True)  # the whole batch
    known = labels >= 0  # (B,)
    total = F.cross_entropy(student_logits[known], labels[known], reduction="sum")  # of no image: 0
    hard = total / known.sum().clamp(min=1)
    return alpha * soft + (1 - alpha) * hard


TWO_STUDENT, TWO_TEACHER = ((2.0, 0.0, -1.0), (0.0, 1.0, 0.5)), ((3.0, 1.0, 0.0), (0.0, 1.5, 4.0))


@ex.case("a batch in which one label of two is known")
def one_known() -> Batch:
    return torch.tensor(TWO_STUDENT), torch.tensor(TWO_TEACHER), torch.tensor([1, -1]), 2.0, 0.75


@ex.case("a batch without any label, whose label's term is 0")
def none_known() -> Batch:
    return torch.tensor(TWO_STUDENT), torch.tensor(TWO_TEACHER), torch.tensor([-1, -1]), 2.0, 0.75


@ex.case("a batch in which every label is known, as in 05.1")
def all_known() -> Batch:
    return torch.tensor(TWO_STUDENT), torch.tensor(TWO_TEACHER), torch.tensor([1, 0]), 2.0, 0.75


@ex.case("α = 1 and a batch without any label")
def teacher_alone() -> Batch:
    return torch.tensor(TWO_STUDENT), torch.tensor(TWO_TEACHER), torch.tensor([-1, -1]), 3.0, 1.0


@ex.case("logits that are 800 apart, the student's and the teacher's")
def far_logits() -> Batch:
    student, teacher = torch.tensor([[-800.0, 0, 1], [1, 2, 3]]), torch.tensor([[1.0, 2, 0], [0, 1, 800]])
    return student, teacher, torch.tensor([0, -1]), 2.0, 0.5


@ex.inputs
def random_batch(rng: np.random.Generator) -> Batch:
    """Two labels or more are known, at least one is not, and their numbers differ."""
    images, classes, missing = [(3, 2, 1), (3, 4, 1), (4, 3, 1), (5, 4, 1), (5, 3, 2), (5, 4, 3)][rng.integers(6)]
    shape = images, classes
    student = torch.from_numpy(rng.choice(np.arange(-30, 31), shape, replace=False) / 10).float()
    teacher = torch.from_numpy(rng.choice(np.arange(-40, 41), shape, replace=False) / 10).float()
    # No label is the teacher's choice: whoever fills in the one for the other must differ.
    labels = (teacher.argmax(1) + torch.from_numpy(rng.integers(1, classes, images))) % classes
    labels[rng.permutation(images)[:missing]] = -1
    return student, teacher, labels, float(rng.choice([1.5, 2.5, 3.0])), float(rng.choice([0.2, 0.35, 0.6]))


def _soft(student_logits: Tensor, teacher_logits: Tensor, temperature: float) -> Tensor:
    """T²·KL(teacher ‖ student), mean over the batch."""
    log_q, p = F.log_softmax(student_logits / temperature, 1), F.softmax(teacher_logits / temperature, 1)
    return temperature**2 * F.kl_div(log_q, p, reduction="batchmean")


def _hard(student_logits: Tensor, labels: Tensor) -> Tensor:
    """CE over the images whose label is known; 0 if there is none."""
    total = F.cross_entropy(student_logits, labels, ignore_index=-1, reduction="sum")
    return total / (labels >= 0).sum().clamp(min=1)


@ex.mistake(
    "F.cross_entropy stops at a label of −1, which is no class. Leave these images out, or tell it ignore_index=-1."
)
def not_left_out(student_logits, teacher_logits, labels, temperature, alpha):
    return alpha * _soft(student_logits, teacher_logits, temperature) + (1 - alpha) * F.cross_entropy(
        student_logits, labels
    )


@ex.mistake("A batch without any label makes your loss NaN: F.cross_entropy divides 0 by 0. Its label's term is 0.")
def plain_mean(student_logits, teacher_logits, labels, temperature, alpha):
    hard = F.cross_entropy(student_logits, labels, ignore_index=-1)
    return alpha * _soft(student_logits, teacher_logits, temperature) + (1 - alpha) * hard


@ex.mistake(
    "You divided the label's term by the whole batch. The fewer labels a batch has, the less your labels would weigh; "
    "divide by the number of known ones."
)
def divided_by_all(student_logits, teacher_logits, labels, temperature, alpha):
    hard = F.cross_entropy(student_logits, labels, ignore_index=-1, reduction="sum") / len(labels)
    return alpha * _soft(student_logits, teacher_logits, temperature) + (1 - alpha) * hard


@ex.mistake("You summed the label's term over the known images. Divide by how many they are.")
def summed(student_logits, teacher_logits, labels, temperature, alpha):
    hard = F.cross_entropy(student_logits, labels, ignore_index=-1, reduction="sum")
    return alpha * _soft(student_logits, teacher_logits, temperature) + (1 - alpha) * hard


@ex.mistake(
    "−1 counted as a class: as an index it means the last one, without an error. Leave these images out of the label's "
    "term."
)
def last_class(student_logits, teacher_logits, labels, temperature, alpha):
    hard = -F.log_softmax(student_logits, 1)[torch.arange(len(labels)), labels].mean()
    return alpha * _soft(student_logits, teacher_logits, temperature) + (1 - alpha) * hard


@ex.mistake("You made class 0 of each −1: an image whose label is not known would be trained as a 0.")
def class_zero(student_logits, teacher_logits, labels, temperature, alpha):
    hard = F.cross_entropy(student_logits, labels.clamp(min=0))
    return alpha * _soft(student_logits, teacher_logits, temperature) + (1 - alpha) * hard


@ex.mistake("You took labels > 0 for the known ones. Class 0 is a class: known is labels >= 0.")
def zero_unknown(student_logits, teacher_logits, labels, temperature, alpha):
    hard = _hard(student_logits, torch.where(labels > 0, labels, -1))
    return alpha * _soft(student_logits, teacher_logits, temperature) + (1 - alpha) * hard


@ex.mistake(
    "You put the teacher's first choice where a label was missing. That is a method (pseudo-labels), but another one: "
    "here such images count in the soft term only."
)
def filled_in(student_logits, teacher_logits, labels, temperature, alpha):
    hard = F.cross_entropy(student_logits, torch.where(labels < 0, teacher_logits.argmax(1), labels))
    return alpha * _soft(student_logits, teacher_logits, temperature) + (1 - alpha) * hard


@ex.mistake(
    "You dropped the unlabelled images altogether. The teacher has an answer for them too: they stay in the soft term. "
    "That is the whole point of them."
)
def unlabelled_dropped(student_logits, teacher_logits, labels, temperature, alpha):
    known = labels >= 0
    soft = _soft(student_logits[known], teacher_logits[known], temperature) if known.any() else 0 * student_logits.sum()
    return alpha * soft + (1 - alpha) * _hard(student_logits, labels)


@ex.mistake(
    "Without any label your loss is NaN, and with some the soft term is taken over these alone. It is the mean over "
    "the whole batch."
)
def unlabelled_dropped_unguarded(student_logits, teacher_logits, labels, temperature, alpha):
    s, z, y = student_logits[labels >= 0], teacher_logits[labels >= 0], labels[labels >= 0]
    return alpha * _soft(s, z, temperature) + (1 - alpha) * F.cross_entropy(s, y)


@ex.mistake("You summed KL over the whole batch, then divided by the number of known labels: divide it by B.")
def soft_divided_by_known(student_logits, teacher_logits, labels, temperature, alpha):
    count = (labels >= 0).sum().clamp(min=1)
    soft = _soft(student_logits, teacher_logits, temperature) * len(labels) / count
    return alpha * soft + (1 - alpha) * _hard(student_logits, labels)


@ex.mistake(
    "An image without a label gets the whole soft loss, one with a label α times it. In the equation α stands before "
    "the soft term of every image."
)
def mixed_image_by_image(student_logits, teacher_logits, labels, temperature, alpha):
    log_p, log_q = (F.log_softmax(z / temperature, 1) for z in (teacher_logits, student_logits))
    soft = temperature**2 * (log_p.exp() * (log_p - log_q)).sum(1)
    hard = F.cross_entropy(student_logits, labels, ignore_index=-1, reduction="none")
    return torch.where(labels >= 0, alpha * soft + (1 - alpha) * hard, soft).mean()


@ex.mistake("Where no label is known you return the soft term without its weight: the label's term is 0, α stays.")
def no_alpha_without_labels(student_logits, teacher_logits, labels, temperature, alpha):
    soft = _soft(student_logits, teacher_logits, temperature)
    return alpha * soft + (1 - alpha) * _hard(student_logits, labels) if (labels >= 0).any() else soft


@ex.mistake("A batch without any label costs nothing in your loss: the teacher's answers to it are thrown away.")
def nothing_without_labels(student_logits, teacher_logits, labels, temperature, alpha):
    if not (labels >= 0).any():
        return 0 * student_logits.sum()
    return partly_labelled(student_logits, teacher_logits, labels, temperature, alpha)


@ex.mistake("The factor T² is missing in the soft term: its gradient shrinks as 1/T².")
def no_t_squared(student_logits, teacher_logits, labels, temperature, alpha):
    soft = _soft(student_logits, teacher_logits, temperature) / temperature**2
    return alpha * soft + (1 - alpha) * _hard(student_logits, labels)


@ex.mistake("α and 1 − α are swapped: α is the weight of the teacher.")
def alpha_swapped(student_logits, teacher_logits, labels, temperature, alpha):
    return partly_labelled(student_logits, teacher_logits, labels, temperature, 1 - alpha)


@ex.mistake(
    "For logits that are 800 apart your soft term is not finite: softmax rounds to 0, and log(0) = −∞. F.log_softmax "
    "never makes the 0."
)
def log_of_softmax(student_logits, teacher_logits, labels, temperature, alpha):
    p, q = F.softmax(teacher_logits / temperature, 1), F.softmax(student_logits / temperature, 1)
    soft = temperature**2 * (p * (p / q).log()).sum(1).mean()
    return alpha * soft + (1 - alpha) * _hard(student_logits, labels)


@ex.mistake("The value is right, but only the teacher teaches: the label's term is cut off from the student.")
def hard_detached(student_logits, teacher_logits, labels, temperature, alpha):
    hard = _hard(student_logits, labels).item()
    return alpha * _soft(student_logits, teacher_logits, temperature) + (1 - alpha) * hard


@ex.mistake(
    "The value is right, but no gradient reaches the student: with item(), float(), detach(), NumPy or no_grad the "
    "loss is only a number, and nothing can be trained with it."
)
def no_gradient(student_logits, teacher_logits, labels, temperature, alpha):
    return partly_labelled(student_logits, teacher_logits, labels, temperature, alpha).item()


@ex.alternative
def by_mask(student_logits, teacher_logits, labels, temperature, alpha):
    known = labels != -1
    hard = F.cross_entropy(student_logits[known], labels[known]) if known.any() else 0.0
    return alpha * _soft(student_logits, teacher_logits, temperature) + (1 - alpha) * hard


@ex.alternative
def weighted_by_what_is_known(student_logits, teacher_logits, labels, temperature, alpha):
    log_p, log_q = (F.log_softmax(z / temperature, 1) for z in (teacher_logits, student_logits))
    soft = (log_p.exp() * (log_p - log_q)).sum(1).mean() * temperature**2
    known = (labels >= 0).float()
    each = -F.log_softmax(student_logits, 1).gather(1, labels.clamp(min=0)[:, None])[:, 0]
    return soft * alpha + (known * each).sum() / max(1, int(known.sum())) * (1 - alpha)


@ex.alternative
def image_by_image_in_double(student_logits, teacher_logits, labels, temperature, alpha):
    soft, hard, known = 0.0, 0.0, 0
    for s, z, y in zip(student_logits.double(), teacher_logits.double(), labels.tolist(), strict=True):
        log_p, log_q = (z / temperature).log_softmax(0), (s / temperature).log_softmax(0)
        soft = soft + temperature**2 * (log_p.exp() @ (log_p - log_q))
        if y >= 0:
            hard, known = hard - s.log_softmax(0)[y], known + 1
    return alpha * soft / len(labels) + (1 - alpha) * hard / max(known, 1)
