"""05.1: the loss of Hinton, Vinyals and Dean with both its terms, for logits of any size."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from course_lib.exercises.engine.exercise import Exercise

Batch = tuple[Tensor, Tensor, Tensor, float, float]

ex = Exercise(
    "05.1",
    "The distillation loss with T and α",
    points=3,
    trials=8,
    gradient_of=("student_logits",),
    hints=[
        "Two terms. The soft one compares softmax(teacher/T) with softmax(student/T); the other is F.cross_entropy.",
        "F.kl_div(log q, p, reduction='batchmean') is KL(p ‖ q), p the teacher; F.log_softmax gives log q.",
        "alpha · T² · F.kl_div(F.log_softmax(s/T, 1), F.softmax(t/T, 1), reduction='batchmean') + (1 − alpha) · "
        "F.cross_entropy(s, labels).",
    ],
    explanation="""
        $L = \\alpha T^2\\,\\mathrm{KL}(p_T \\Vert q_T) + (1-\\alpha)\\,\\mathrm{CE}(y, q_1)$ (Hinton et al. 2015,
        section 2), averaged over the batch. The library's version also refuses T ≤ 0, other shapes and NaN, leaves out
        labels that are not known, and sends no gradient into the teacher.
    """,
)


@ex.reference
def loss_with_t_and_alpha(
    student_logits: Tensor, teacher_logits: Tensor, labels: Tensor, temperature: float, alpha: float
) -> Tensor:
    """α·T²·KL(teacher ‖ student) + (1 − α)·CE(label, student), mean over the batch."""
    log_p = F.log_softmax(teacher_logits / temperature, dim=1)  # (B, C)
    log_q = F.log_softmax(student_logits / temperature, dim=1)  # (B, C)
    soft = temperature**2 * F.kl_div(log_q, log_p, reduction="batchmean", log_target=True)
    hard = F.cross_entropy(student_logits, labels)  # at T = 1
    return alpha * soft + (1 - alpha) * hard


@ex.case("the page's four numbers, which give 0.5685")
def by_hand() -> Batch:
    return torch.tensor([[0.0, 0.0]]), torch.tensor([[2.0, 0.0]]), torch.tensor([0]), 2.0, 0.5


@ex.case("the mean over the batch, with a weight that is not one half")
def two_images() -> Batch:
    student, teacher = torch.tensor([[1.0, 0, -1], [0.5, 0, 2]]), torch.tensor([[4.0, 2, 0], [-1, 3, 1]])
    return student, teacher, torch.tensor([0, 2]), 3.0, 0.9


@ex.case("a student whose logits are 800 apart")
def far_student() -> Batch:
    return torch.tensor([[-800.0, 0, 1]]), torch.tensor([[1.0, 2, 0]]), torch.tensor([1]), 2.0, 0.5


@ex.case("a label that the student rules out, with logits 800 apart")
def far_label() -> Batch:
    return torch.tensor([[-800.0, 0, 1]]), torch.tensor([[1.0, 2, 0]]), torch.tensor([0]), 2.0, 0.5


@ex.case("a teacher whose logits are 800 apart")
def far_teacher() -> Batch:
    return torch.tensor([[1.0, 2, 3]]), torch.tensor([[800.0, 0, 1]]), torch.tensor([0]), 2.0, 0.25


@ex.case("α = 1, where the label counts nothing")
def teacher_alone() -> Batch:
    return torch.tensor([[1.0, 0, -1]]), torch.tensor([[4.0, 2, 0]]), torch.tensor([1]), 1.5, 1.0


@ex.inputs
def random_batch(rng: np.random.Generator) -> Batch:
    """Logits with one decimal, no two of them equal, so that no choice among classes is a tie."""
    shape = [(2, 3), (2, 4), (3, 4), (3, 5)][rng.integers(4)]
    student = torch.from_numpy(rng.choice(np.arange(-30, 31), shape, replace=False) / 10).float()
    teacher = torch.from_numpy(rng.choice(np.arange(-60, 61), shape, replace=False) / 10).float()
    labels = torch.from_numpy(rng.integers(0, shape[1], shape[0]))
    return student, teacher, labels, float(rng.choice([1.5, 2.5, 3.0, 4.0])), float(rng.choice([0.2, 0.35, 0.7, 0.9]))


def _kl(student: Tensor, teacher: Tensor) -> Tensor:
    """KL(teacher ‖ student) of logits, mean over the batch."""
    return F.kl_div(F.log_softmax(student, 1), F.softmax(teacher, 1), reduction="batchmean")


def _by_hand(student: Tensor, teacher: Tensor) -> Tensor:
    """The same for each image, written out; turned round, its gradient differs from F.kl_div's where q is 0."""
    log_p, log_q = F.log_softmax(teacher, 1), F.log_softmax(student, 1)
    return (log_p.exp() * (log_p - log_q)).sum(1)


def _soft(student: Tensor, teacher: Tensor, temperature: float) -> Tensor:
    """The right soft term."""
    return temperature**2 * _kl(student / temperature, teacher / temperature)


@ex.mistake("The factor T² is missing: the soft term's gradient shrinks as 1/T², and so would its weight.")
def no_t_squared(s, t, labels, temperature, alpha):
    return alpha * _kl(s / temperature, t / temperature) + (1 - alpha) * F.cross_entropy(s, labels)


@ex.mistake("The factor is T², not T: the gradient of the soft term shrinks as 1/T² when T grows.")
def t_not_squared(s, t, labels, temperature, alpha):
    return alpha * _soft(s, t, temperature) / temperature + (1 - alpha) * F.cross_entropy(s, labels)


@ex.mistake("T² stands before the label's term, too. It belongs to the soft term alone, whose gradient T has shrunk.")
def t_squared_before_both(s, t, labels, temperature, alpha):
    return alpha * _soft(s, t, temperature) + temperature**2 * (1 - alpha) * F.cross_entropy(s, labels)


@ex.mistake("α and 1 − α are swapped: here α is the weight of the teacher. (Packages differ: always read which.)")
def alpha_swapped(s, t, labels, temperature, alpha):
    return (1 - alpha) * _soft(s, t, temperature) + alpha * F.cross_entropy(s, labels)


@ex.mistake("The label's term has no weight: multiply it by 1 − α, so that α = 1 means the teacher alone.")
def label_without_weight(s, t, labels, temperature, alpha):
    return alpha * _soft(s, t, temperature) + F.cross_entropy(s, labels)


@ex.mistake("The soft term has no weight: multiply it by α.")
def soft_without_weight(s, t, labels, temperature, alpha):
    return _soft(s, t, temperature) + (1 - alpha) * F.cross_entropy(s, labels)


@ex.mistake("You divided by T in the label's term, too. The student answers at T = 1 when it is used: take it there.")
def label_at_t(s, t, labels, temperature, alpha):
    return alpha * _soft(s, t, temperature) + (1 - alpha) * F.cross_entropy(s / temperature, labels)


@ex.mistake("Every image counts alike: you weigh the soft term by how sure the teacher is. Its doubts teach as well.")
def weighed_by_confidence(s, t, labels, temperature, alpha):
    weighed = F.softmax(t, 1).amax(1) * _by_hand(s / temperature, t / temperature)
    return alpha * temperature**2 * weighed.mean() + (1 - alpha) * F.cross_entropy(s, labels)


@ex.mistake("F.cross_entropy takes logits and applies log_softmax itself; given probabilities, softmax runs twice.")
def cross_entropy_of_probabilities(s, t, labels, temperature, alpha):
    return alpha * _soft(s, t, temperature) + (1 - alpha) * F.cross_entropy(F.softmax(s, 1), labels)


@ex.mistake("reduction='mean' divides by B·C, so the soft term weighs C times too little. 'batchmean' divides by B.")
def mean_over_classes(s, t, labels, temperature, alpha):
    return alpha * _soft(s, t, temperature) / s.shape[1] + (1 - alpha) * F.cross_entropy(s, labels)


@ex.mistake("You summed the soft term over the batch, and not the label's: take the mean of both.")
def sum_over_batch(s, t, labels, temperature, alpha):
    return alpha * _soft(s, t, temperature) * len(labels) + (1 - alpha) * F.cross_entropy(s, labels)


@ex.mistake("You summed both terms over the batch: a batch twice as large would cost twice as much. Take the mean.")
def both_summed(student_logits, teacher_logits, labels, temperature, alpha):
    return len(labels) * loss_with_t_and_alpha(student_logits, teacher_logits, labels, temperature, alpha)


@ex.mistake(
    "KL is turned round: you computed KL(student ‖ teacher). F.kl_div takes the student's log-probabilities first and "
    "the teacher's probabilities second."
)
def kl_turned_round(s, t, labels, temperature, alpha):
    return alpha * _soft(t, s, temperature) + (1 - alpha) * F.cross_entropy(s, labels)


@ex.mistake("KL is turned round: you computed KL(student ‖ teacher). The teacher's probabilities weigh: Σ p ln(p/q).")
def kl_turned_round_by_hand(s, t, labels, temperature, alpha):
    soft = temperature**2 * _by_hand(t / temperature, s / temperature).mean()
    return alpha * soft + (1 - alpha) * F.cross_entropy(s, labels)


@ex.mistake("You gave F.kl_div the student's probabilities. Its first argument must be log-probabilities.")
def kl_div_of_probabilities(student_logits, teacher_logits, labels, temperature, alpha):
    p, q = F.softmax(teacher_logits / temperature, 1), F.softmax(student_logits / temperature, 1)
    soft = temperature**2 * F.kl_div(q, p, reduction="batchmean")
    return alpha * soft + (1 - alpha) * F.cross_entropy(student_logits, labels)


@ex.mistake("You gave F.kl_div the teacher's log-probabilities: there it wants probabilities, or log_target=True.")
def log_target_not_told(student_logits, teacher_logits, labels, temperature, alpha):
    log_p, log_q = F.log_softmax(teacher_logits / temperature, 1), F.log_softmax(student_logits / temperature, 1)
    soft = temperature**2 * F.kl_div(log_q, log_p, reduction="batchmean")
    return alpha * soft + (1 - alpha) * F.cross_entropy(student_logits, labels)


@ex.mistake("The temperature does nothing in your loss: divide both networks' logits by T before the softmax.")
def no_temperature(s, t, labels, temperature, alpha):
    return alpha * _kl(s, t) + (1 - alpha) * F.cross_entropy(s, labels)


@ex.mistake("You divided only the teacher's logits by T. Both answers are compared at the same temperature.")
def teacher_alone_at_t(s, t, labels, temperature, alpha):
    return alpha * temperature**2 * _kl(s, t / temperature) + (1 - alpha) * F.cross_entropy(s, labels)


@ex.mistake("You divided only the student's logits by T. Both answers are compared at the same temperature.")
def student_alone_at_t(s, t, labels, temperature, alpha):
    return alpha * temperature**2 * _kl(s / temperature, t) + (1 - alpha) * F.cross_entropy(s, labels)


@ex.mistake("Your softmax runs over the images (axis 0). Each image has a distribution over the classes: axis 1.")
def softmax_over_images(student_logits, teacher_logits, labels, temperature, alpha):
    p, log_q = F.softmax(teacher_logits / temperature, 0), F.log_softmax(student_logits / temperature, 0)
    soft = temperature**2 * F.kl_div(log_q, p, reduction="batchmean")
    return alpha * soft + (1 - alpha) * F.cross_entropy(student_logits, labels)


@ex.mistake(
    "Your soft term is a cross-entropy, −Σ p ln q. Its gradient is that of KL, but not its value: the teacher's "
    "entropy is still in it, and the loss never reaches 0."
)
def cross_entropy_with_teacher(student_logits, teacher_logits, labels, temperature, alpha):
    soft = temperature**2 * F.cross_entropy(student_logits / temperature, F.softmax(teacher_logits / temperature, 1))
    return alpha * soft + (1 - alpha) * F.cross_entropy(student_logits, labels)


@ex.mistake("For logits that are 800 apart your soft term is not finite: softmax rounds to 0. Use F.log_softmax.")
def log_of_softmax(student_logits, teacher_logits, labels, temperature, alpha):
    p, q = F.softmax(teacher_logits / temperature, 1), F.softmax(student_logits / temperature, 1)
    soft = temperature**2 * (p * (p / q).log()).sum(1).mean()
    return alpha * soft + (1 - alpha) * F.cross_entropy(student_logits, labels)


@ex.mistake(
    "The soft term is right, but the label's term takes the logarithm of a softmax, which rounds to 0 for logits that "
    "are 800 apart. F.cross_entropy(student_logits, labels) does not."
)
def log_of_softmax_at_the_label(student_logits, teacher_logits, labels, temperature, alpha):
    hard = -F.softmax(student_logits, 1)[torch.arange(len(labels)), labels].log().mean()
    return alpha * _soft(student_logits, teacher_logits, temperature) + (1 - alpha) * hard


@ex.mistake(
    "The 1e-8 inside the logarithm keeps it finite, and wrong: log(1e-8) is −18.4 where logits that are 800 apart cost "
    "800. F.log_softmax needs no such number."
)
def tiny_number_added(student_logits, teacher_logits, labels, temperature, alpha):
    p, q = F.softmax(teacher_logits / temperature, 1), F.softmax(student_logits / temperature, 1)
    soft = temperature**2 * (p * ((p + 1e-8).log() - (q + 1e-8).log())).sum(1).mean()
    return alpha * soft + (1 - alpha) * F.cross_entropy(student_logits, labels)


@ex.mistake(
    "The clamp keeps the logarithm finite, and wrong: log(1e-7) is −16.1, and a clamped class gets no gradient. Use "
    "F.log_softmax."
)
def clamped(student_logits, teacher_logits, labels, temperature, alpha):
    p, q = (F.softmax(z / temperature, 1).clamp(1e-7) for z in (teacher_logits, student_logits))
    kl = (p * (p / q).log()).sum(1).mean()
    return alpha * temperature**2 * kl + (1 - alpha) * F.cross_entropy(student_logits, labels)


@ex.mistake("The value is right, but only the labels teach: the soft term is cut off from the student (detach, item).")
def soft_detached(s, t, labels, temperature, alpha):
    return alpha * _soft(s, t, temperature).detach() + (1 - alpha) * F.cross_entropy(s, labels)


@ex.mistake("The value is right, but only the teacher teaches: the label's term is cut off from the student.")
def hard_detached(s, t, labels, temperature, alpha):
    return alpha * _soft(s, t, temperature) + (1 - alpha) * F.cross_entropy(s, labels).item()


@ex.mistake(
    "The value is right, but no gradient reaches the student: with item(), float(), detach(), NumPy or no_grad the "
    "loss is only a number, and nothing can be trained with it."
)
def no_gradient(student_logits, teacher_logits, labels, temperature, alpha):
    return loss_with_t_and_alpha(student_logits, teacher_logits, labels, temperature, alpha).item()


@ex.alternative
def written_out(student_logits, teacher_logits, labels, temperature, alpha):
    soft = temperature**2 * _by_hand(student_logits / temperature, teacher_logits / temperature)
    hard = -F.log_softmax(student_logits, 1)[torch.arange(len(labels)), labels]
    return (alpha * soft + (1 - alpha) * hard).mean()


@ex.alternative
def image_by_image_in_double(student_logits, teacher_logits, labels, temperature, alpha):
    total = torch.zeros((), dtype=torch.double)
    for s, z, y in zip(student_logits.double(), teacher_logits.double(), labels, strict=True):
        log_p, log_q = (z / temperature).log_softmax(0), (s / temperature).log_softmax(0)
        total = total + alpha * temperature**2 * (log_p.exp() @ (log_p - log_q)) - (1 - alpha) * s.log_softmax(0)[y]
    return total / len(labels)


@ex.alternative
def with_logsumexp(student_logits, teacher_logits, labels, temperature, alpha):
    p = (teacher_logits / temperature).softmax(1)
    gap = (teacher_logits - student_logits) / temperature  # log p − log q, up to the two normalisers
    normalisers = (student_logits / temperature).logsumexp(1) - (teacher_logits / temperature).logsumexp(1)
    soft = ((p * gap).sum(1) + normalisers).mean()
    hard = (student_logits.logsumexp(1) - student_logits.gather(1, labels[:, None])[:, 0]).mean()
    return alpha * soft * temperature**2 + hard * (1 - alpha)
