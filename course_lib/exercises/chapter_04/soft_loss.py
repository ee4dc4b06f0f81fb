"""04.3: the soft-target loss, a number that can train."""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from course_lib.distillation import kl_from_logits, soft_target_loss
from course_lib.exercises.engine.exercise import Exercise

ex = Exercise(
    "04.3",
    "The soft-target loss",
    points=3,
    trials=8,  # the fixed cases alone reject every planted mistake
    gradient_of=("student_logits",),
    hints=[
        "The teacher is p, the first argument of KL; the student is q. Both are taken at temperature T.",
        "Per image Σᵢ pᵢ (log pᵢ − log qᵢ), with log_softmax for both logarithms. Then the mean over images, times T².",
        "F.kl_div(log q, log p, reduction='batchmean', log_target=True): the student's logarithm stands first.",
    ],
    explanation="""
        $T^2 \\cdot \\mathrm{KL}(p_T \\,\\Vert\\, q_T)$, the teacher first, the mean over images. The library's
        `soft_target_loss` adds checks and takes per-pixel logits as well. With `F.kl_div` it is one line, in which
        three arguments can go wrong: `T**2 * F.kl_div(log_q, log_p, reduction="batchmean", log_target=True)`.
    """,
)


@ex.reference
def soft_loss(student_logits: Tensor, teacher_logits: Tensor, temperature: float) -> Tensor:
    """T²·KL(teacher ‖ student) at temperature T, mean over the batch (B, C), in nats."""
    log_p = F.log_softmax(teacher_logits / temperature, dim=-1)  # (B, C)
    log_q = F.log_softmax(student_logits / temperature, dim=-1)  # (B, C)
    kl = (log_p.exp() * (log_p - log_q)).sum(-1)  # (B,): a sum over classes
    # The gradient of KL shrinks as 1/T²: T² keeps its balance with a label's term.
    return temperature**2 * kl.mean()


def _rows(*rows: list[float]) -> Tensor:
    # Not the default type: chapter 04 changes that on its page.
    return torch.tensor(rows, dtype=torch.float64)


@ex.case("one image, at T = 2")
def one_image() -> tuple[Tensor, Tensor, float]:
    return _rows([1, 1, 1]), _rows([2, 0, 0]), 2.0


@ex.case("two images of three classes at T = 3: a mean over images, a sum over classes")
def two_images() -> tuple[Tensor, Tensor, float]:
    return _rows([1, 0, 2], [0, 0, 1]), _rows([3, 1, 0], [0, 4, 1]), 3.0


@ex.case("a student whose logits are the teacher's plus 5: softmax cannot see it, the loss is 0")
def nothing_left_to_learn() -> tuple[Tensor, Tensor, float]:
    return _rows([7, 5, 6], [5, 9, 6]), _rows([2, 0, 1], [0, 4, 1]), 2.0


@ex.case("logits 1000 apart: probabilities round to 0, the loss is large and finite")
def far_apart() -> tuple[Tensor, Tensor, float]:
    student = torch.tensor([[1000.0, 0, 0], [0, 1, 2]], dtype=torch.float32)
    return student, torch.tensor([[0.0, 900, 0], [0, 2, 1]], dtype=torch.float32), 2.0


@ex.inputs
def random_pair(rng: np.random.Generator) -> tuple[Tensor, Tensor, float]:
    images, classes = int(rng.integers(2, 6)), int(rng.integers(6, 9))  # never as many images as classes
    student, teacher = (torch.tensor(rng.normal(0, 3, (images, classes)), dtype=torch.float32) for _ in range(2))
    return student, teacher, float(rng.integers(4, 12)) / 2


def _logs(student: Tensor, teacher: Tensor, temperature: float, axis: int = -1) -> tuple[Tensor, Tensor]:
    """log q and log p at temperature T."""
    return F.log_softmax(student / temperature, axis), F.log_softmax(teacher / temperature, axis)


@ex.mistake(
    "NaN or ∞: softmax first and logarithm after. A probability that rounds to 0 has no logarithm; take "
    "log_softmax(z/T)."
)
def softmax_then_log(student_logits: Tensor, teacher_logits: Tensor, temperature: float) -> Tensor:
    p, q = (teacher_logits / temperature).softmax(-1), (student_logits / temperature).softmax(-1)
    return temperature**2 * (p * (p.log() - q.log())).sum(-1).mean()


@ex.mistake(
    "log(p + 1e-8) hides the −∞ behind a constant: where the student is most wrong, its loss is too small and its "
    "gradient 0. Take log_softmax(z/T)."
)
def small_number_added(student_logits: Tensor, teacher_logits: Tensor, temperature: float) -> Tensor:
    p, q = (teacher_logits / temperature).softmax(-1), (student_logits / temperature).softmax(-1)
    return temperature**2 * (p * ((p + 1e-8).log() - (q + 1e-8).log())).sum(-1).mean()


@ex.mistake(
    "The student's log(q + 1e-8) hides the −∞ behind a constant: where the student is most wrong, its loss is too "
    "small and its gradient 0. Take log_softmax(z/T)."
)
def small_number_added_in_kl_div(student_logits: Tensor, teacher_logits: Tensor, temperature: float) -> Tensor:
    p, q = (teacher_logits / temperature).softmax(-1), (student_logits / temperature).softmax(-1)
    return temperature**2 * F.kl_div((q + 1e-8).log(), p, reduction="batchmean")


@ex.mistake(
    "F.kl_div's first argument is a logarithm: with two softmaxes comes out a number without meaning, even a negative "
    "one. F.kl_div(log_softmax(student/T), softmax(teacher/T))."
)
def two_softmaxes(student_logits: Tensor, teacher_logits: Tensor, temperature: float) -> Tensor:
    p, q = (teacher_logits / temperature).softmax(-1), (student_logits / temperature).softmax(-1)
    return temperature**2 * F.kl_div(q, p, reduction="batchmean")


@ex.mistake("F.kl_div got the teacher's logarithm as if it were a probability: say log_target=True.")
def log_target_missing(student_logits: Tensor, teacher_logits: Tensor, temperature: float) -> Tensor:
    log_q, log_p = _logs(student_logits, teacher_logits, temperature)
    return temperature**2 * F.kl_div(log_q, log_p, reduction="batchmean")


@ex.mistake(
    "The factor T² is missing: the gradient then shrinks as 1/T², and the temperature silently becomes a weight."
)
def no_t_squared(student_logits: Tensor, teacher_logits: Tensor, temperature: float) -> Tensor:
    return soft_target_loss(student_logits, teacher_logits, temperature) / temperature**2


@ex.mistake(
    "T where T² belongs: one factor 1/T comes from the chain rule, another because the two distributions approach each "
    "other."
)
def t_for_t_squared(student_logits: Tensor, teacher_logits: Tensor, temperature: float) -> Tensor:
    return soft_target_loss(student_logits, teacher_logits, temperature) / temperature


@ex.mistake("You divided by T². The gradient of KL shrinks as 1/T² already: the factor T² makes up for it.")
def over_t_squared(student_logits: Tensor, teacher_logits: Tensor, temperature: float) -> Tensor:
    return soft_target_loss(student_logits, teacher_logits, temperature) / temperature**4


@ex.mistake(
    "Swapped: this is KL(student ‖ teacher). The teacher weighs. F.kl_div(input, target) computes KL(target ‖ input), "
    "so the student's logarithm goes first."
)
def swapped(student_logits: Tensor, teacher_logits: Tensor, temperature: float) -> Tensor:
    log_p, log_q = _logs(student_logits, teacher_logits, temperature)
    return temperature**2 * F.kl_div(log_q, log_p, reduction="batchmean", log_target=True)


@ex.mistake("The sign: Σ p·(log p − log q), the teacher's logarithm less the student's. A KL is never negative.")
def sign(student_logits: Tensor, teacher_logits: Tensor, temperature: float) -> Tensor:
    return -soft_target_loss(student_logits, teacher_logits, temperature)


@ex.mistake("The student weighs in yours: Σ q·(log p − log q). The teacher's p must weigh, whoever is subtracted.")
def weighed_by_the_student(student_logits: Tensor, teacher_logits: Tensor, temperature: float) -> Tensor:
    return -swapped(student_logits, teacher_logits, temperature)


@ex.mistake(
    "reduction='mean' divides by the number of classes too, as .mean() over everything does: the loss is C times too "
    "small. 'batchmean' divides by the batch only; a KL is a sum over classes."
)
def mean_over_classes_too(student_logits: Tensor, teacher_logits: Tensor, temperature: float) -> Tensor:
    log_q, log_p = _logs(student_logits, teacher_logits, temperature)
    # What reduction="mean" gives, without the warning that PyTorch then prints.
    return temperature**2 * F.kl_div(log_q, log_p, reduction="none", log_target=True).mean()


@ex.mistake(
    "This is the sum over the batch: a larger batch would then train with a larger learning rate. Take the mean."
)
def sum_over_images(student_logits: Tensor, teacher_logits: Tensor, temperature: float) -> Tensor:
    return soft_target_loss(student_logits, teacher_logits, temperature) * len(student_logits)


@ex.mistake("These are the losses image by image, (B,). Take their mean: a loss is one number.")
def one_an_image(student_logits: Tensor, teacher_logits: Tensor, temperature: float) -> Tensor:
    return temperature**2 * kl_from_logits(teacher_logits / temperature, student_logits / temperature)


@ex.mistake("The logits were not divided by T: multiplying by T² alone changes nothing about what is taught.")
def not_softened(student_logits: Tensor, teacher_logits: Tensor, temperature: float) -> Tensor:
    return temperature**2 * soft_target_loss(student_logits, teacher_logits, 1.0)


@ex.mistake("The temperature is not in it: divide both logits by T, and multiply the loss by T².")
def no_temperature(student_logits: Tensor, teacher_logits: Tensor, temperature: float) -> Tensor:
    return soft_target_loss(student_logits, teacher_logits, 1.0)


@ex.mistake(
    "Only the teacher was softened: the student is then pulled towards a flat answer at T = 1. Compare both at the "
    "same temperature."
)
def teacher_alone_softened(student_logits: Tensor, teacher_logits: Tensor, temperature: float) -> Tensor:
    return temperature**2 * kl_from_logits(teacher_logits / temperature, student_logits).mean()


@ex.mistake("Only the student was softened. Compare both at the same temperature.")
def student_alone_softened(student_logits: Tensor, teacher_logits: Tensor, temperature: float) -> Tensor:
    return temperature**2 * kl_from_logits(teacher_logits, student_logits / temperature).mean()


@ex.mistake("You multiplied the logits by T. A temperature divides them.")
def multiplied_by_temperature(student_logits: Tensor, teacher_logits: Tensor, temperature: float) -> Tensor:
    return temperature**2 * kl_from_logits(teacher_logits * temperature, student_logits * temperature).mean()


@ex.mistake(
    "This is T² times the cross-entropy: the same gradient, but it never reaches 0, since the teacher's entropy is "
    "still in it. KL subtracts it."
)
def cross_entropy(student_logits: Tensor, teacher_logits: Tensor, temperature: float) -> Tensor:
    p = F.softmax(teacher_logits / temperature, -1)
    return temperature**2 * F.cross_entropy(student_logits / temperature, p)


@ex.mistake(
    "You took the teacher's first choice as a label: what it thinks of the other classes is lost. Its whole softmax is "
    "the target."
)
def teacher_s_first_choice(student_logits: Tensor, teacher_logits: Tensor, temperature: float) -> Tensor:
    return temperature**2 * F.cross_entropy(student_logits / temperature, teacher_logits.argmax(-1))


@ex.mistake(
    "This is a mean-squared error on logits: softmax does not see a constant that is added, and this punishes it."
)
def squared_logits(student_logits: Tensor, teacher_logits: Tensor, temperature: float) -> Tensor:
    return F.mse_loss(student_logits, teacher_logits)


@ex.mistake("The softmax runs over the batch: classes are on the last axis.")
def over_images(student_logits: Tensor, teacher_logits: Tensor, temperature: float) -> Tensor:
    log_q, log_p = _logs(student_logits, teacher_logits, temperature, axis=0)
    return temperature**2 * F.kl_div(log_q, log_p, reduction="batchmean", log_target=True)


@ex.mistake("These are bits: the task asks for nats, the unit of the natural logarithm.")
def in_bits(student_logits: Tensor, teacher_logits: Tensor, temperature: float) -> Tensor:
    return soft_target_loss(student_logits, teacher_logits, temperature) / math.log(2)


@ex.mistake(
    "The number is right, and nothing can be trained with it: .item(), float(), torch.no_grad() or a .detach() of the "
    "student cuts the gradient off. Return the tensor, and let at most the teacher be detached."
)
def cut_off(student_logits: Tensor, teacher_logits: Tensor, temperature: float) -> Tensor:
    return soft_loss(student_logits.detach(), teacher_logits, temperature)


@ex.mistake(
    "For a student far from its teacher this is ∞: torch.distributions takes a probability that rounded to 0 for one "
    "that is 0. Stay with log_softmax."
)
def by_distributions(student_logits: Tensor, teacher_logits: Tensor, temperature: float) -> Tensor:
    p, q = (torch.distributions.Categorical(logits=z / temperature) for z in (teacher_logits, student_logits))
    return temperature**2 * torch.distributions.kl_divergence(p, q).mean()


@ex.alternative
def by_torch(student_logits: Tensor, teacher_logits: Tensor, temperature: float) -> Tensor:
    log_q, log_p = _logs(student_logits, teacher_logits, temperature)
    return temperature**2 * F.kl_div(log_q, log_p, reduction="batchmean", log_target=True)


@ex.alternative
def with_probabilities(student_logits: Tensor, teacher_logits: Tensor, temperature: float) -> Tensor:
    p = torch.softmax(teacher_logits / temperature, dim=1)
    log_q = torch.log_softmax(student_logits / temperature, dim=1)
    return F.kl_div(log_q, p, reduction="sum") / p.shape[0] * temperature * temperature


@ex.alternative
def price_less_entropy(student_logits: Tensor, teacher_logits: Tensor, temperature: float) -> Tensor:
    log_q, log_p = _logs(student_logits, teacher_logits, temperature)
    p = log_p.exp()
    return temperature**2 * (-(p * log_q).sum(-1) + (p * log_p).sum(-1)).mean()


@ex.alternative
def loop_over_images(student_logits: Tensor, teacher_logits: Tensor, temperature: float) -> Tensor:
    total = torch.zeros((), dtype=student_logits.dtype)
    for s, t in zip(student_logits / temperature, teacher_logits / temperature, strict=True):
        log_q, log_p = s - s.logsumexp(0), t - t.logsumexp(0)
        total = total + (log_p.exp() * (log_p - log_q)).sum()
    return total * temperature**2 / len(student_logits)


@ex.alternative
def the_library(student_logits: Tensor, teacher_logits: Tensor, temperature: float) -> Tensor:
    return soft_target_loss(student_logits, teacher_logits, temperature)
