"""What a student can be told about its teacher's answers: every loss on logits.

At temperature T a network's answer is p_T = softmax(z/T). The loss of Hinton, Vinyals & Dean (2015,
arXiv:1503.02531, section 2) is

    L = α · T² · KL(p_teacher,T ‖ p_student,T) + (1 − α) · CE(label, p_student,1).

Two details decide whether it works. KL's first argument is the teacher: the student must put mass wherever the teacher
does. And the factor T²: the gradient of the KL term with respect to the student's logits is (q_T − p_T)/T, and the
difference itself shrinks as 1/T, so without T² the soft term would fade as 1/T² when T grows.

The others change what is told. A *pseudo-label* keeps the teacher's first choice alone. *Label smoothing* tells every
image the same thing about the classes it does not show. *Decoupled* distillation (Zhao et al. 2022, arXiv:2203.08679)
splits KL into "how sure of the label" and "what among the others", which KL itself weighs by 1 − p(label): a sure
teacher silences the second part, the one that holds its knowledge.

**Conventions.** All losses are in nats, averaged over the batch (``batchmean``); per-pixel logits (B, C, H, W) are
averaged over B·H·W. Half-precision logits are computed in float32, float64 stays. A label of ``UNLABELLED`` marks an
image without one: it counts in no label's term. Each value is checked once, at the end: a NaN anywhere in the logits
makes the loss NaN, and only then is it worth the time to look for where.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional as F

from course_lib.arguments import number, tensors

UNLABELLED = -1


def soft_target_loss(student_logits: Tensor, teacher_logits: Tensor, temperature: float) -> Tensor:
    """T²·KL(p_teacher ‖ p_student) at temperature T, mean over the batch, in nats.

    Args:
        student_logits, teacher_logits: (B, C) or (B, C, …), float; no gradient flows into the teacher's.
        temperature: T > 0.
    Returns: scalar ≥ 0; 0 where the two distributions are equal.
    Raises: ValueError for unequal shapes, T ≤ 0 or NaN logits.
    Source: Hinton et al. 2015, arXiv:1503.02531, section 2.
    Matches: T²·torch.nn.KLDivLoss(reduction="batchmean", log_target=True) on log-softmaxes.

    >>> student, teacher = torch.tensor([[0.0, 0.0]]), torch.tensor([[2 * math.log(3), 0.0]])
    >>> [round(soft_target_loss(student, teacher, temperature=t).item(), 4) for t in (1, 2)]
    [0.3681, 0.5232]
    """
    tensors(student_logits=student_logits, teacher_logits=teacher_logits)
    student, teacher = _pair(student_logits, teacher_logits)
    _check_temperature(temperature)
    log_p = F.log_softmax(teacher / temperature, dim=1)  # (N, C)
    log_q = F.log_softmax(student / temperature, dim=1)  # (N, C)
    # reduction="mean" would divide by N·C: the weight of the loss would then depend on C.
    kl = F.kl_div(log_q, log_p, reduction="sum", log_target=True)
    return _finite(kl * (temperature**2 / len(student)), student_logits=student, teacher_logits=teacher)


def label_loss(student_logits: Tensor, labels: Tensor, *, smoothing: float = 0.0) -> Tensor:
    """CE(label, student) in nats, mean over the labelled images; 0 if there is none.

    Args:
        student_logits: (B, C) or (B, C, …), float.
        labels: (B,) or (B, …), int64; ``UNLABELLED`` where unknown.
        smoothing: ε in [0, 1): the target is (1 − ε)·label + ε/C on every class, the label's included.
    Raises: ValueError for other shapes, ε outside [0, 1), labels out of range, or NaN logits.
    Source: label smoothing: Szegedy et al. 2016, arXiv:1512.00567, section 7.
    Matches: torch.nn.functional.cross_entropy(label_smoothing=ε, ignore_index=UNLABELLED) where an image is labelled.

    >>> logits = torch.tensor([[math.log(3), 0.0], [0.0, 0.0]])
    >>> round(label_loss(logits, torch.tensor([0, UNLABELLED])).item(), 4)  # log 4/3, of the one labelled image
    0.2877
    """
    tensors(student_logits=student_logits, labels=labels)
    if not 0 <= smoothing < 1:
        raise ValueError(f"smoothing must be in [0, 1), got {smoothing}")
    student = _rows("student_logits", student_logits)
    labels = _flat_labels(labels, student_logits)
    known = (labels != UNLABELLED).sum().clamp(min=1)
    total = F.cross_entropy(student, labels, ignore_index=UNLABELLED, label_smoothing=smoothing, reduction="sum")
    return _finite(total / known, student_logits=student)


def distillation_loss(
    student_logits: Tensor, teacher_logits: Tensor, labels: Tensor, *, temperature: float, alpha: float
) -> Tensor:
    """α·T²·KL(teacher ‖ student) + (1 − α)·CE(label, student), mean over the batch, in nats.

    Args:
        student_logits, teacher_logits: (B, C) or (B, C, …), float.
        labels: (B,) or (B, …), int64; unlabelled images count in the soft term only.
        temperature: T > 0, of the soft term only; the label's term is taken at T = 1.
        alpha: weight of the soft term, in [0, 1].
    Raises: ValueError for alpha outside [0, 1], T ≤ 0, unequal shapes or NaN logits.
    Source: Hinton et al. 2015, arXiv:1503.02531, section 2.

    >>> student, teacher = torch.tensor([[0.0, 0.0]]), torch.tensor([[2 * math.log(3), 0.0]])
    >>> round(distillation_loss(student, teacher, torch.tensor([0]), temperature=2, alpha=0.5).item(), 4)
    0.6082
    """
    tensors(student_logits=student_logits, teacher_logits=teacher_logits, labels=labels)
    if not 0 <= alpha <= 1:
        raise ValueError(f"alpha must be in [0, 1], got {alpha}")
    soft = soft_target_loss(student_logits, teacher_logits, temperature)
    return alpha * soft + (1 - alpha) * label_loss(student_logits, labels)


def pseudo_label_loss(student_logits: Tensor, teacher_logits: Tensor, *, min_confidence: float = 0.0) -> Tensor:
    """CE(argmax of the teacher, student): the teacher as a labeller that never says how sure it was.

    Args:
        student_logits, teacher_logits: (B, C) or (B, C, …), float.
        min_confidence: in [0, 1): images whose largest teacher probability is lower are left out.
    Returns: scalar ≥ 0, mean over the images that are left; 0 if none is.
    Raises: ValueError for unequal shapes, min_confidence outside [0, 1), or NaN logits.
    Source: Lee 2013, "Pseudo-Label", ICML workshop, eq. 15; the threshold: Sohn et al. 2020, arXiv:2001.07685, eq. 4.

    >>> student, teacher = torch.zeros(2, 2), torch.tensor([[0.0, 5.0], [0.1, 0.0]])
    >>> round(pseudo_label_loss(student, teacher, min_confidence=0.9).item(), 4)  # log 2, of the first image alone
    0.6931
    """
    tensors(student_logits=student_logits, teacher_logits=teacher_logits)
    if not 0 <= min_confidence < 1:
        raise ValueError(f"min_confidence must be in [0, 1), got {min_confidence}")
    student, teacher = _pair(student_logits, teacher_logits)
    confidence, choice = F.softmax(teacher, dim=1).max(1)
    _finite(confidence.sum(), teacher_logits=teacher)  # argmax of NaN is a class like any other
    return label_loss(student, torch.where(confidence >= min_confidence, choice, UNLABELLED))


def decoupled_loss(
    student_logits: Tensor, teacher_logits: Tensor, labels: Tensor, *, temperature: float, alpha: float, beta: float
) -> Tensor:
    """T²·(α·KL_target + β·KL_others): KL split at the label, each part with its own weight, in nats.

    KL_target compares (p_y, 1 − p_y), how much goes to the label y; KL_others compares the answers among the other
    classes, renormalized without y. With p_y the teacher's probability of the label,

        KL(p ‖ q) = KL_target + (1 − p_y)·KL_others,

    so ordinary distillation is α = 1 and, image by image, β = 1 − p_y.

    Args:
        student_logits, teacher_logits: (B, C) or (B, C, …), float, C ≥ 2.
        labels: (B,) or (B, …), int64; images that are ``UNLABELLED`` are left out.
        temperature: T > 0. alpha, beta: ≥ 0, not mixing weights.
    Raises: ValueError for unequal shapes, T ≤ 0, a negative weight, labels out of range, or NaN logits.
    Source: Zhao et al. 2022, arXiv:2203.08679, eqs. 6 and 7.
    Matches: the authors' mdistiller, which subtracts 1000 from the label's logit instead of leaving it out.

    >>> student, teacher = torch.zeros(1, 3), torch.tensor([[2.0, 1.0, 0.0]])
    >>> weights = {"temperature": 1.0, "alpha": 0.0, "beta": 1.0}
    >>> round(decoupled_loss(student, teacher, torch.tensor([0]), **weights).item(), 4)
    0.1109
    """  # fmt: skip
    tensors(student_logits=student_logits, teacher_logits=teacher_logits, labels=labels)
    student, teacher = _pair(student_logits, teacher_logits)
    _check_temperature(temperature)
    for name, weight in (("alpha", alpha), ("beta", beta)):
        number(name, weight, least=0)
    labels = _flat_labels(labels, student_logits)
    known = labels != UNLABELLED
    count, classes = max(1, int(known.sum())), student.shape[1]
    own = F.one_hot(labels[known], classes).bool()
    log_q, log_p = (F.log_softmax(z[known] / temperature, dim=1) for z in (student, teacher))
    target = F.kl_div(_on_and_off(log_q, own), _on_and_off(log_p, own), reduction="sum", log_target=True)
    other_q, other_p = (F.log_softmax(z[~own].view(-1, classes - 1), dim=1) for z in (log_q, log_p))
    others = F.kl_div(other_q, other_p, reduction="sum", log_target=True)
    total = (alpha * target + beta * others) * (temperature**2 / count)
    return _finite(total, student_logits=student, teacher_logits=teacher)


def _on_and_off(log_p: Tensor, own: Tensor) -> Tensor:
    """log (p_y, 1 − p_y), (N, 2); the second as a sum over the others, since 1 − p_y rounds to 0 for a sure network."""
    others = log_p[~own].view(len(log_p), own.shape[1] - 1)
    return torch.stack([log_p[own], torch.logsumexp(others, dim=1)], dim=1)


def _rows(name: str, logits: Tensor) -> Tensor:
    """(B, C, …) → (B·…, C), at least float32."""
    if not logits.is_floating_point():
        raise ValueError(f"{name} must be floating point, got {logits.dtype}")
    if logits.ndim < 2 or logits.shape[1] < 2 or logits.numel() == 0:
        raise ValueError(f"{name} must be (B, C) or (B, C, …) with B ≥ 1, C ≥ 2, got {tuple(logits.shape)}")
    if logits.dtype in (torch.float16, torch.bfloat16):
        logits = logits.float()
    return logits if logits.ndim == 2 else logits.movedim(1, -1).flatten(0, -2)


def _pair(student_logits: Tensor, teacher_logits: Tensor) -> tuple[Tensor, Tensor]:
    if student_logits.shape != teacher_logits.shape:
        raise ValueError(
            "student_logits and teacher_logits must have one shape (B, C) or (B, C, …), "
            f"got {tuple(student_logits.shape)} and {tuple(teacher_logits.shape)}"
        )
    return _rows("student_logits", student_logits), _rows("teacher_logits", teacher_logits).detach()


def _flat_labels(labels: Tensor, logits: Tensor) -> Tensor:
    wanted = (logits.shape[0], *logits.shape[2:])
    if labels.shape != wanted or labels.dtype != torch.int64:
        raise ValueError(f"labels must be int64 {wanted}, got {labels.dtype} {tuple(labels.shape)}")
    if labels.min() < UNLABELLED or labels.max() >= logits.shape[1]:
        raise ValueError(
            f"labels must be in 0..{logits.shape[1] - 1}, or {UNLABELLED} for none, "
            f"got {int(labels.min())}..{int(labels.max())}"
        )
    return labels.flatten()


def _check_temperature(temperature: float) -> None:
    if not (temperature > 0 and math.isfinite(temperature)):
        raise ValueError(f"temperature must be positive, got {temperature}")


def _finite(value: Tensor, **logits: Tensor) -> Tensor:
    """The loss as it is; if it is NaN, the reason why."""
    if value.isnan():
        for name, rows in logits.items():
            if broken := int((~rows.isfinite()).any(1).sum()):
                raise ValueError(f"{name} must be finite, got NaN or ±inf in {broken} of {len(rows)} rows")
    return value
