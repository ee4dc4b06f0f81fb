"""05.5: what the teacher says about the classes that an image does not show."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from course_lib.exercises.engine.exercise import Exercise

Batch = tuple[Tensor, Tensor, Tensor, float]

ex = Exercise(
    "05.5",
    "What the teacher says about the other classes",
    points=3,
    trials=8,
    gradient_of=("student_logits",),
    hints=[
        "Leave the label's class out of each row: C − 1 logits remain. A softmax over them renormalizes by itself.",
        "A logit of −1000 is as good as left out: e^(−1000/T) rounds to 0 unless T is about 10 or more.",
        "z[~own].view(-1, C − 1) with own = F.one_hot(labels, C).bool(), for both; then KL(teacher ‖ student).",
    ],
    explanation="""
        $\\mathrm{KL}(p \\Vert q) = \\mathrm{KL}_{target} + (1-p_y)\\,\\mathrm{KL}_{others}$ (Zhao et al. 2022, eq. 6).
        The authors' code subtracts 1000 from the label's logit; `course_lib.distillation.decoupled_loss` leaves the
        class out. At the usual T both give the same number, also for a teacher so sure that the others' probabilities
        round to 0.
    """,
)


@ex.reference
def kl_of_the_others(student_logits: Tensor, teacher_logits: Tensor, labels: Tensor, temperature: float) -> Tensor:
    """Mean over the batch of Σ_{k≠y} p̂_k ln(p̂_k / q̂_k), both at temperature T."""
    images, classes = student_logits.shape
    others = ~F.one_hot(labels, classes).bool()  # (B, C), C − 1 of each row
    log_p = F.log_softmax(teacher_logits[others].view(images, classes - 1) / temperature, dim=1)
    log_q = F.log_softmax(student_logits[others].view(images, classes - 1) / temperature, dim=1)
    return F.kl_div(log_q, log_p, reduction="batchmean", log_target=True)


@ex.case("the page's four classes, which give 0.2007")
def by_hand() -> Batch:
    q, p = torch.tensor([[0.70, 0.10, 0.10, 0.10]]), torch.tensor([[0.90, 0.06, 0.03, 0.01]])
    return q.log(), p.log(), torch.tensor([0]), 1.0


@ex.case("a label in the middle, where the teacher's first choice is another class")
def teacher_errs() -> Batch:
    return torch.tensor([[1.0, 0, 2, -1]]), torch.tensor([[4.0, 2, 1, 0]]), torch.tensor([2]), 2.0


@ex.case("the mean over a batch in which each image leaves out its own label")
def two_images() -> Batch:
    student, teacher = torch.tensor([[1.0, 0, -1], [0.5, 0, 2]]), torch.tensor([[4.0, 2, 0], [-1, 3, 1]])
    return student, teacher, torch.tensor([0, 1]), 3.0


@ex.case("a teacher so sure that the others' probabilities round to 0")
def sure_teacher() -> Batch:
    return torch.tensor([[1.0, 0, 2, -1]]), torch.tensor([[300.0, 2, 1, 0]]), torch.tensor([0]), 2.0


@ex.case("a student whose other logits are 800 apart")
def far_student() -> Batch:
    return torch.tensor([[1.0, -800, 2, -1]]), torch.tensor([[3.0, 2, 1, 0]]), torch.tensor([0]), 2.0


@ex.case("a teacher whose other logits are 800 apart")
def far_teacher() -> Batch:
    return torch.tensor([[1.0, 0, 2, -1]]), torch.tensor([[3.0, 2, -800, 0]]), torch.tensor([0]), 2.0


@ex.case("two classes, where one other leaves nothing to compare")
def two_classes() -> Batch:
    return torch.tensor([[1.0, 0.5], [0, 2]]), torch.tensor([[2.0, -1], [1, 3]]), torch.tensor([0, 1]), 2.0


@ex.inputs
def random_batch(rng: np.random.Generator) -> Batch:
    """In each batch the teacher errs about the first image, and about no other."""
    shape = [(2, 4), (3, 4), (3, 5), (4, 6)][rng.integers(4)]
    student = torch.from_numpy(rng.choice(np.arange(-30, 31), shape, replace=False) / 10).float()
    teacher = torch.from_numpy(rng.choice(np.arange(-60, 61), shape, replace=False) / 10).float()
    labels = teacher.argmax(1)
    labels[0] = (labels[0] + int(rng.integers(1, shape[1]))) % shape[1]
    return student, teacher, labels, float(rng.choice([1.5, 2.5, 3.0, 4.0]))


def _without(logits: Tensor, labels: Tensor) -> Tensor:
    """(B, C) -> (B, C − 1): each row without its label's logit."""
    return logits[~F.one_hot(labels, logits.shape[1]).bool()].view(len(logits), -1)


def _kl(student: Tensor, teacher: Tensor) -> Tensor:
    """(B,) KL(teacher ‖ student) of logits."""
    log_q, log_p = F.log_softmax(student, 1), F.log_softmax(teacher, 1)
    return F.kl_div(log_q, log_p, reduction="none", log_target=True).sum(1)


@ex.mistake("That is the whole KL, the label included. Leave the label's class out, and renormalize what remains.")
def whole_kl(student_logits: Tensor, teacher_logits: Tensor, labels: Tensor, temperature: float) -> Tensor:
    return _kl(student_logits / temperature, teacher_logits / temperature).mean()


@ex.mistake(
    "You left the label out of the sum but did not renormalize: the C − 1 probabilities must sum to 1 again, the "
    "teacher's and the student's."
)
def not_renormalized(student_logits: Tensor, teacher_logits: Tensor, labels: Tensor, temperature: float) -> Tensor:
    log_p, log_q = (_without(F.log_softmax(z / temperature, 1), labels) for z in (teacher_logits, student_logits))
    return (log_p.exp() * (log_p - log_q)).sum(1).mean()


@ex.mistake("You renormalized the teacher's answer and not the student's: q̂ must sum to 1 over the C − 1 others, too.")
def student_not_renormalized(
    student_logits: Tensor, teacher_logits: Tensor, labels: Tensor, temperature: float
) -> Tensor:
    log_q = _without(F.log_softmax(student_logits / temperature, 1), labels)
    log_p = F.log_softmax(_without(teacher_logits, labels) / temperature, 1)
    return (log_p.exp() * (log_p - log_q)).sum(1).mean()


@ex.mistake(
    "You set the label's logit to 0. That is no exclusion: e⁰ = 1 stays in the softmax. Take it out, or use a very "
    "negative number."
)
def set_to_zero(student_logits: Tensor, teacher_logits: Tensor, labels: Tensor, temperature: float) -> Tensor:
    own = F.one_hot(labels, student_logits.shape[1]).bool()
    s, z = student_logits.masked_fill(own, 0), teacher_logits.masked_fill(own, 0)
    return _kl(s / temperature, z / temperature).mean()


@ex.mistake(
    "You set the label's logit to −∞: its probability is then 0 in both answers, and 0 · (−∞ + ∞) is NaN. A large "
    "finite number such as −1000 gives 0."
)
def set_to_minus_infinity(student_logits: Tensor, teacher_logits: Tensor, labels: Tensor, temperature: float) -> Tensor:
    own = F.one_hot(labels, student_logits.shape[1]).bool()
    s, z = student_logits.masked_fill(own, -torch.inf), teacher_logits.masked_fill(own, -torch.inf)
    return _kl(s / temperature, z / temperature).mean()


@ex.mistake("You kept the factor 1 − p_y. That is how much plain KL listens to this part; decoupling drops it.")
def weighted_by_doubt(student_logits: Tensor, teacher_logits: Tensor, labels: Tensor, temperature: float) -> Tensor:
    p_y = F.softmax(teacher_logits / temperature, 1).gather(1, labels[:, None])[:, 0]
    each = _kl(_without(student_logits, labels) / temperature, _without(teacher_logits, labels) / temperature)
    return ((1 - p_y) * each).mean()


@ex.mistake(
    "You left out the teacher's first choice. It is the label that is left out: where the teacher errs, its wrong "
    "first choice is part of what is compared."
)
def first_choice_left_out(student_logits: Tensor, teacher_logits: Tensor, labels: Tensor, temperature: float) -> Tensor:
    choice = teacher_logits.argmax(1)
    return _kl(_without(student_logits, choice) / temperature, _without(teacher_logits, choice) / temperature).mean()


@ex.mistake("You left the first image's label out of every row. Each image leaves out its own.")
def first_label_for_all(student_logits: Tensor, teacher_logits: Tensor, labels: Tensor, temperature: float) -> Tensor:
    return kl_of_the_others(student_logits, teacher_logits, labels[:1].expand_as(labels), temperature)


@ex.mistake(
    "You left out the student's first choice. It is the label that is left out, whatever the two networks answer."
)
def students_choice_left_out(
    student_logits: Tensor, teacher_logits: Tensor, labels: Tensor, temperature: float
) -> Tensor:
    return kl_of_the_others(student_logits, teacher_logits, student_logits.argmax(1), temperature)


@ex.mistake("That is the cross-entropy −Σ p̂ ln q̂: it never reaches 0. KL takes off the teacher's entropy: ln(p̂ / q̂).")
def cross_entropy(student_logits: Tensor, teacher_logits: Tensor, labels: Tensor, temperature: float) -> Tensor:
    p = F.softmax(_without(teacher_logits, labels) / temperature, 1)
    return F.cross_entropy(_without(student_logits, labels) / temperature, p)


@ex.mistake("That is the other part: how sure the two are of the label. Asked for is what they say of the others.")
def target_part(student_logits: Tensor, teacher_logits: Tensor, labels: Tensor, temperature: float) -> Tensor:
    pair = []
    for z in (student_logits / temperature, teacher_logits / temperature):
        pair.append(torch.stack([z.gather(1, labels[:, None])[:, 0], _without(z, labels).logsumexp(1)], 1))
    return _kl(*pair).mean()


@ex.mistake("KL is turned round: you computed KL(student ‖ teacher). The teacher's p̂ weighs the logarithms.")
def turned_round(student_logits: Tensor, teacher_logits: Tensor, labels: Tensor, temperature: float) -> Tensor:
    return _kl(_without(teacher_logits, labels) / temperature, _without(student_logits, labels) / temperature).mean()


@ex.mistake("The temperature does nothing in your answer: divide both networks' logits by T.")
def no_temperature(student_logits: Tensor, teacher_logits: Tensor, labels: Tensor, temperature: float) -> Tensor:
    return _kl(_without(student_logits, labels), _without(teacher_logits, labels)).mean()


@ex.mistake("You divided only the teacher's logits by T. Both answers are compared at the same temperature.")
def teacher_alone_at_t(student_logits: Tensor, teacher_logits: Tensor, labels: Tensor, temperature: float) -> Tensor:
    return _kl(_without(student_logits, labels), _without(teacher_logits, labels) / temperature).mean()


@ex.mistake("T² belongs to the loss L_DKD, before the bracket. KL_others itself has no such factor.")
def times_t_squared(student_logits: Tensor, teacher_logits: Tensor, labels: Tensor, temperature: float) -> Tensor:
    return temperature**2 * kl_of_the_others(student_logits, teacher_logits, labels, temperature)


@ex.mistake("You divided by B·(C − 1), as reduction='mean' does. Sum over the classes; the mean is over the batch.")
def mean_over_classes(student_logits: Tensor, teacher_logits: Tensor, labels: Tensor, temperature: float) -> Tensor:
    return kl_of_the_others(student_logits, teacher_logits, labels, temperature) / (student_logits.shape[1] - 1)


@ex.mistake("You summed over the batch: a batch twice as large would cost twice as much. Take the mean.")
def sum_over_batch(student_logits: Tensor, teacher_logits: Tensor, labels: Tensor, temperature: float) -> Tensor:
    return len(labels) * kl_of_the_others(student_logits, teacher_logits, labels, temperature)


@ex.mistake(
    "For a very sure network your answer is not finite: softmax gives the others exactly 0, and 0 / 0 does not "
    "renormalize. Take log_softmax over the C − 1 logits, not probabilities divided by their sum."
)
def probabilities_divided(student_logits: Tensor, teacher_logits: Tensor, labels: Tensor, temperature: float) -> Tensor:
    p, q = (_without(F.softmax(z / temperature, 1), labels) for z in (teacher_logits, student_logits))
    p, q = p / p.sum(1, keepdim=True), q / q.sum(1, keepdim=True)
    return (p * (p / q).log()).sum(1).mean()


@ex.mistake(
    "For logits that are 800 apart your answer is not finite: softmax rounds to 0, and log(0) = −∞. F.log_softmax "
    "never makes the 0."
)
def log_of_softmax(student_logits: Tensor, teacher_logits: Tensor, labels: Tensor, temperature: float) -> Tensor:
    p, q = (F.softmax(_without(z, labels) / temperature, 1) for z in (teacher_logits, student_logits))
    return (p * (p / q).log()).sum(1).mean()


@ex.mistake(
    "The value is right, but no gradient reaches the student: with item(), float(), detach(), NumPy or no_grad the "
    "loss is only a number, and nothing can be trained with it."
)
def no_gradient(student_logits: Tensor, teacher_logits: Tensor, labels: Tensor, temperature: float) -> float:
    return kl_of_the_others(student_logits, teacher_logits, labels, temperature).item()


@ex.alternative
def subtracting(student_logits: Tensor, teacher_logits: Tensor, labels: Tensor, temperature: float) -> Tensor:
    far = 1000 * F.one_hot(labels, student_logits.shape[1])  # mdistiller's way
    log_q = F.log_softmax(student_logits / temperature - far, 1)
    p = F.softmax(teacher_logits / temperature - far, 1)
    return F.kl_div(log_q, p, reduction="batchmean")


@ex.alternative
def image_by_image_in_double(
    student_logits: Tensor, teacher_logits: Tensor, labels: Tensor, temperature: float
) -> Tensor:
    costs: list[Tensor] = []
    for s, z, y in zip(student_logits.double(), teacher_logits.double(), labels.tolist(), strict=True):
        others = [k for k in range(len(s)) if k != y]
        log_p, log_q = (z[others] / temperature).log_softmax(0), (s[others] / temperature).log_softmax(0)
        costs.append(log_p.exp() @ (log_p - log_q))
    return torch.stack(costs).sum() / len(costs)


@ex.alternative
def from_log_probabilities(
    student_logits: Tensor, teacher_logits: Tensor, labels: Tensor, temperature: float
) -> Tensor:
    classes = student_logits.shape[1]
    columns = torch.stack([torch.tensor([k for k in range(classes) if k != y]) for y in labels.tolist()])
    log_p, log_q = (F.log_softmax(z / temperature, 1).gather(1, columns) for z in (teacher_logits, student_logits))
    log_p, log_q = log_p - log_p.logsumexp(1, keepdim=True), log_q - log_q.logsumexp(1, keepdim=True)
    return (log_p.exp() * (log_p - log_q)).sum(1).mean()
