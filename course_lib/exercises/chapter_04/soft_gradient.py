"""04.4: the gradient of the soft-target loss, by hand."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from course_lib.distillation import soft_target_loss
from course_lib.exercises.chapter_04.calls import torch_calls
from course_lib.exercises.engine.exercise import Exercise

ex = Exercise(
    "04.4",
    "The gradient of the soft-target loss, by hand",
    points=3,
    trials=8,  # the fixed cases alone reject every planted mistake
    hints=[
        "For one image and T = 1 the gradient is q − p.",
        "The student's logits enter as s/T: the chain rule gives a factor 1/T. The loss has a factor T². What is left?",
        "The loss is a mean over B images, so each image's gradient is divided by B.",
    ],
    explanation="""
        $\\frac{\\partial}{\\partial s}\\; \\frac{T^2}{B}\\,\\mathrm{KL} = \\frac{T^2}{B} \\cdot \\frac{1}{T}(q_T - p_T)
        = \\frac{T}{B}(q_T - p_T)$. It looks as if it grew with $T$; it does not, because $q_T - p_T$ itself shrinks as
        $1/T$.
    """,
)


@ex.reference
def soft_gradient(student_logits: Tensor, teacher_logits: Tensor, temperature: float) -> Tensor:
    """∂/∂(student's logits) of the mean over the batch of T²·KL: T·(q_T − p_T)/B, (B, C)."""
    q = (student_logits / temperature).softmax(-1)
    p = (teacher_logits / temperature).softmax(-1)
    return temperature * (q - p) / len(student_logits)  # T² of the loss times 1/T of the chain rule


def _rows(*rows: list[float]) -> Tensor:
    # Not the default type: chapter 04 changes that on its page.
    return torch.tensor(rows, dtype=torch.float64)


@ex.case("the page's four numbers, at T = 2")
def four_numbers() -> tuple[Tensor, Tensor, float]:
    return _rows([1, 1, 1, 1]), _rows([3, 1, 0, 0]), 2.0


@ex.case("two images of three classes, at T = 3")
def two_images() -> tuple[Tensor, Tensor, float]:
    return _rows([1, 0, 2], [0, 0, 1]), _rows([3, 1, 0], [0, 4, 1]), 3.0


@ex.case("a student whose logits are the teacher's plus 5: the gradient is 0")
def nothing_left_to_learn() -> tuple[Tensor, Tensor, float]:
    return _rows([7, 5, 6]), _rows([2, 0, 1]), 2.0


@ex.case("logits 1000 apart: exp overflows, the gradient is finite")
def far_apart() -> tuple[Tensor, Tensor, float]:
    student = torch.tensor([[1000.0, 0, 2], [0, 1, -3]], dtype=torch.float32)
    return student, torch.tensor([[0.0, 1000, 1], [0, 0, 1]], dtype=torch.float32), 4.0


@ex.inputs
def random_pair(rng: np.random.Generator) -> tuple[Tensor, Tensor, float]:
    images, classes = int(rng.integers(2, 6)), int(rng.integers(6, 9))  # never as many images as classes
    student, teacher = (torch.tensor(rng.normal(0, 3, (images, classes)), dtype=torch.float32) for _ in range(2))
    return student, teacher, float(rng.integers(4, 12)) / 2


@ex.rule
def without_autograd(fn: Callable, student_logits: Tensor, teacher_logits: Tensor, temperature: float) -> str | None:
    """The task says "without autograd"."""
    if not torch_calls(fn, student_logits, teacher_logits, temperature) & {"grad", "backward"}:
        return None
    return "autograd computed your numbers: the task is to write the formula"


@ex.mistake(
    "The sign: the gradient is q − p. Where the student gives too much, the gradient is positive, and a step against "
    "it lowers the logit."
)
def sign(student_logits: Tensor, teacher_logits: Tensor, temperature: float) -> Tensor:
    return -soft_gradient(student_logits, teacher_logits, temperature)


@ex.mistake("The factor T² is missing: this is the gradient of KL alone, (q − p)/(T·B).")
def no_t_squared(student_logits: Tensor, teacher_logits: Tensor, temperature: float) -> Tensor:
    return soft_gradient(student_logits, teacher_logits, temperature) / temperature**2


@ex.mistake("The chain rule is missing: z enters as z/T, so one factor 1/T remains: T²·(1/T) = T.")
def no_chain_rule(student_logits: Tensor, teacher_logits: Tensor, temperature: float) -> Tensor:
    return soft_gradient(student_logits, teacher_logits, temperature) * temperature


@ex.mistake(
    "Both factors are missing: q − p alone belongs to T = 1. T² from the loss times 1/T from the chain rule is T."
)
def neither_factor(student_logits: Tensor, teacher_logits: Tensor, temperature: float) -> Tensor:
    return soft_gradient(student_logits, teacher_logits, temperature) / temperature


@ex.mistake("The loss is a mean over the batch: divide by the number of images.")
def not_over_images(student_logits: Tensor, teacher_logits: Tensor, temperature: float) -> Tensor:
    return soft_gradient(student_logits, teacher_logits, temperature) * len(student_logits)


@ex.mistake("You divided by the number of classes too, as reduction='mean' does. Divide by the batch only.")
def over_classes_too(student_logits: Tensor, teacher_logits: Tensor, temperature: float) -> Tensor:
    return soft_gradient(student_logits, teacher_logits, temperature) / student_logits.shape[1]


@ex.mistake("You divided by the number of classes in place of the number of images: the loss is a mean over the batch.")
def over_classes(student_logits: Tensor, teacher_logits: Tensor, temperature: float) -> Tensor:
    images, classes = student_logits.shape
    return soft_gradient(student_logits, teacher_logits, temperature) * images / classes


@ex.mistake(
    "q − p alone: two factors are missing, T (T² from the loss, 1/T from the chain rule) and 1/B from the mean."
)
def difference_alone(student_logits: Tensor, teacher_logits: Tensor, temperature: float) -> Tensor:
    return soft_gradient(student_logits, teacher_logits, temperature) * len(student_logits) / temperature


@ex.mistake("You took the mean over the batch. The gradient has one row an image, (B, C); each is divided by B.")
def mean_of_the_rows(student_logits: Tensor, teacher_logits: Tensor, temperature: float) -> Tensor:
    return soft_gradient(student_logits, teacher_logits, temperature).sum(0)


@ex.mistake("The softmaxes are taken at T = 1: divide the logits by T first.")
def softmax_at_one(student_logits: Tensor, teacher_logits: Tensor, temperature: float) -> Tensor:
    return temperature * soft_gradient(student_logits, teacher_logits, 1.0)


@ex.mistake("The temperature is not in it: divide the logits by T before softmax, and multiply by T afterwards.")
def no_temperature(student_logits: Tensor, teacher_logits: Tensor, temperature: float) -> Tensor:
    return soft_gradient(student_logits, teacher_logits, 1.0)


@ex.mistake("Only the teacher was softened. Both softmaxes are taken at T.")
def teacher_alone_softened(student_logits: Tensor, teacher_logits: Tensor, temperature: float) -> Tensor:
    return soft_gradient(student_logits * temperature, teacher_logits, temperature)


@ex.mistake("Only the student was softened. Both softmaxes are taken at T.")
def student_alone_softened(student_logits: Tensor, teacher_logits: Tensor, temperature: float) -> Tensor:
    return soft_gradient(student_logits, teacher_logits * temperature, temperature)


@ex.mistake("You multiplied the logits by T. A temperature divides them: softmax(z/T).")
def multiplied_by_temperature(student_logits: Tensor, teacher_logits: Tensor, temperature: float) -> Tensor:
    return temperature**2 * soft_gradient(student_logits, teacher_logits, 1 / temperature)


@ex.mistake("You divided the softmaxes by T. Divide the logits, before softmax; afterwards multiply by T.")
def divided_after_softmax(student_logits: Tensor, teacher_logits: Tensor, temperature: float) -> Tensor:
    return soft_gradient(student_logits, teacher_logits, 1.0) / temperature


@ex.mistake("You took the teacher's first choice as a hard label: what it thinks of the other classes is lost.")
def teacher_s_first_choice(student_logits: Tensor, teacher_logits: Tensor, temperature: float) -> Tensor:
    p = F.one_hot(teacher_logits.argmax(-1), teacher_logits.shape[1])
    return temperature * ((student_logits / temperature).softmax(-1) - p) / len(student_logits)


@ex.mistake("That is the limit for T → ∞. At a finite T the softmaxes decide: T·(q − p)/B.")
def the_limit(student_logits: Tensor, teacher_logits: Tensor, temperature: float) -> Tensor:
    s, z = (logits - logits.mean(-1, keepdim=True) for logits in (student_logits, teacher_logits))
    return (s - z) / student_logits.numel()


@ex.mistake("That is the difference of log-probabilities. The gradient is one of probabilities: q − p.")
def difference_of_logarithms(student_logits: Tensor, teacher_logits: Tensor, temperature: float) -> Tensor:
    log_q, log_p = (F.log_softmax(z / temperature, -1) for z in (student_logits, teacher_logits))
    return temperature * (log_q - log_p) / len(student_logits)


@ex.mistake(
    "This is the gradient of the reverse, KL(student ‖ teacher). The loss has the teacher first: its gradient is q "
    "− p, without logarithms."
)
def of_the_reverse(student_logits: Tensor, teacher_logits: Tensor, temperature: float) -> Tensor:
    log_q, log_p = (F.log_softmax(z / temperature, -1) for z in (student_logits, teacher_logits))
    slopes = log_q - log_p
    mean = (log_q.exp() * slopes).sum(-1, keepdim=True)
    return temperature * log_q.exp() * (slopes - mean) / len(student_logits)


@ex.mistake("The softmax runs over the batch: classes are on the last axis.")
def over_the_batch(student_logits: Tensor, teacher_logits: Tensor, temperature: float) -> Tensor:
    q, p = ((z / temperature).softmax(0) for z in (student_logits, teacher_logits))
    return temperature * (q - p) / len(student_logits)


@ex.mistake(
    "The numbers are right, and autograd computed them. Write the formula instead: T² from the loss, 1/T from the "
    "chain rule, 1/B from the mean, times q − p."
)
def by_autograd(student_logits: Tensor, teacher_logits: Tensor, temperature: float) -> Tensor:
    with torch.enable_grad():
        z = student_logits.detach().clone().requires_grad_()
        return torch.autograd.grad(soft_target_loss(z, teacher_logits, temperature), z)[0]


@ex.alternative
def from_logarithms(student_logits: Tensor, teacher_logits: Tensor, temperature: float) -> Tensor:
    log_q, log_p = (F.log_softmax(z / temperature, -1) for z in (student_logits, teacher_logits))
    return temperature * (log_q.exp() - log_p.exp()) / student_logits.shape[0]


@ex.alternative
def in_numpy(student_logits: Tensor, teacher_logits: Tensor, temperature: float) -> np.ndarray:
    def soften(z: np.ndarray) -> np.ndarray:
        e = np.exp((z - z.max(1, keepdims=True)) / temperature)
        return e / e.sum(1, keepdims=True)

    return (soften(student_logits.numpy()) - soften(teacher_logits.numpy())) * (temperature / len(student_logits))


@ex.alternative
def factor_by_factor(student_logits: Tensor, teacher_logits: Tensor, temperature: float) -> Tensor:
    rows = []
    for s, z in zip(student_logits.double(), teacher_logits.double(), strict=True):
        of_kl = (torch.softmax(s / temperature, 0) - torch.softmax(z / temperature, 0)) / temperature  # the page's (6)
        rows.append(temperature**2 * of_kl / len(student_logits))
    return torch.stack(rows)


@ex.alternative
def through_the_jacobian(student_logits: Tensor, teacher_logits: Tensor, temperature: float) -> Tensor:
    # −Σᵢ pᵢ·∂ log qᵢ/∂zₖ with ∂ log qᵢ/∂zₖ = (δᵢₖ − qₖ)/T.
    q, p = ((z / temperature).softmax(-1) for z in (student_logits, teacher_logits))
    jacobian = (torch.eye(q.shape[1], dtype=q.dtype) - q[:, None, :]) / temperature  # (B, C, C)
    return -(temperature**2) / len(q) * torch.einsum("bi,bik->bk", p, jacobian)
