"""KL and cross-entropy.

The exercises of chapter 04: what a code costs, a logarithm of softmax that never breaks, the soft-target loss, its
gradient by hand, and what a wrong reduction does to α.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from course_lib.distillation import cross_entropy, kl_divergence, kl_from_logits, soft_target_loss
from course_lib.exercises.engine.exercise import Exercise, Mistake


def _floats(*rows: list[float]) -> Tensor:
    # Not the default type: chapter 04 makes that float64, where 1000 logits apart hardly break anything.
    return torch.tensor(rows, dtype=torch.float32)


def price_bits(p: Tensor, q: Tensor) -> tuple[float, float]:
    """CE(p, q) and KL(p‖q): bits a message on average, and those in excess; outcomes from p, the code of q."""
    return cross_entropy(p, q, unit="bits").item(), kl_divergence(p, q, unit="bits").item()


def _price_inputs(rng: np.random.Generator) -> tuple[Tensor, Tensor]:
    count = int(rng.integers(4, 9))
    p, q = (rng.dirichlet(np.full(count, 2.0)) for _ in range(2))
    p[0] = q[0] = 0.0  # an outcome that neither happens nor is expected
    p[1] = 0.0  # one that is expected and does not happen
    return torch.tensor(p / p.sum()), torch.tensor(q / q.sum())


def _plain_price(p: Tensor, q: Tensor, *, log: Any = math.log2) -> tuple[float, float]:
    pairs = [(a, b) for a, b in zip(p.tolist(), q.tolist(), strict=True) if a > 0]
    return -sum(a * log(b) for a, b in pairs), sum(a * log(a / b) for a, b in pairs)


def _seen(x: Tensor) -> Tensor:
    return torch.where(x > 0, x, 1.0)


price = Exercise(
    id="04.1",
    title="The price of a wrong code, in bits",
    points=2,
    reference=price_bits,
    examples=[
        (torch.tensor([0.5, 0.25, 0.125, 0.125]), torch.tensor([0.25, 0.5, 0.125, 0.125])),
        (torch.tensor([0.75, 0.25, 0.0, 0.0]), torch.tensor([0.5, 0.25, 0.25, 0.0])),
    ],
    inputs=_price_inputs,
    hints=[
        "The code of q spends −log₂ qᵢ bits on outcome i. How often does outcome i come?",
        "The excess is what you pay less what the best code would cost, which is the entropy of p.",
        "Outcomes with pᵢ = 0 never come: leave them out before you take a logarithm (0 · −∞ is NaN).",
    ],
    mistakes=[
        Mistake(
            lambda p, q: _plain_price(p, q, log=math.log),
            "These are nats: you took the natural logarithm. Bits need log₂; 1 bit is ln 2 = 0.693 nats.",
        ),
        Mistake(
            lambda p, q: (-(p * q.log2()).sum().item(), (p * (p / q).log2()).sum().item()),
            "NaN: an outcome of probability 0 gives 0 · log 0, which a computer takes for 0 · (−∞). What never happens "
            "costs nothing: leave it out.",
        ),
        Mistake(
            lambda p, q: (
                -(q * _seen(p).log2()).sum().item(),
                (q * (_seen(q).log2() - _seen(p).log2())).sum().item(),
            ),
            "You swapped the arguments: outcomes come from p, so p weighs; the code is q's, so q stands in the "
            "logarithm.",
        ),
        Mistake(
            lambda p, q: (_plain_price(p, q)[0], -(p * _seen(p).log2()).sum().item()),
            "The second number is the entropy of p, what the best code costs. The excess is what you pay beyond it.",
        ),
        Mistake(
            lambda p, q: (_plain_price(p, q)[1], _plain_price(p, q)[1]),
            "The first number is the excess alone. The message costs the entropy as well: CE = H + KL.",
        ),
        Mistake(
            lambda p, q: tuple(-value for value in _plain_price(p, q)),
            "The sign: the logarithm of a probability is negative, a number of bits is not.",
        ),
        Mistake(
            lambda p, q: (_plain_price(p, q)[0], _plain_price(p, q)[0] + (q * _seen(q).log2()).sum().item()),
            "You subtracted the entropy of q. The best code for what comes from p costs the entropy of p.",
        ),
    ],
    alternatives=[
        _plain_price,
        lambda p, q: (
            -torch.special.xlogy(p, _seen(q)).sum().item() / math.log(2),
            F.kl_div(_seen(q).log(), p, reduction="sum").item() / math.log(2),
        ),
    ],
    explanation="""
        $\\mathrm{CE}(p, q) = -\\sum_i p_i \\log_2 q_i$ is what you pay, $H(p)$ what the best code would cost, and
        $\\mathrm{KL}(p\\,\\Vert\\,q) = \\mathrm{CE} - H$ the excess. The library's `cross_entropy` and `kl_divergence`
        do it along the last axis of any shape, in nats or bits.
    """,
)


def stable_log_softmax(logits: Tensor, temperature: float) -> Tensor:
    """log softmax(z/T) along the last axis: z/T − m − log Σ exp(z/T − m), with m the largest of z/T."""
    z = logits / temperature
    shifted = z - z.amax(-1, keepdim=True)
    return shifted - shifted.exp().sum(-1, keepdim=True).log()


def _log_softmax_inputs(rng: np.random.Generator) -> tuple[Tensor, float]:
    rows, classes = int(rng.integers(2, 5)), int(rng.integers(3, 7))
    return torch.tensor(rng.normal(0, 5, (rows, classes)), dtype=torch.float32), float(rng.uniform(1.5, 6))


def _shifted_by(pick: Any) -> Any:
    """Log-softmax that shifts by ``pick(z)`` and forgets nothing else."""

    def wrong(logits: Tensor, temperature: float) -> Tensor:
        z = logits / temperature
        shifted = z - pick(z)
        return shifted - shifted.exp().sum(-1, keepdim=True).log()

    return wrong


log_softmax = Exercise(
    id="04.2",
    title="A log-softmax that never breaks",
    points=3,
    reference=stable_log_softmax,
    examples=[
        (_floats([math.log(4), math.log(2), 0, 0]), 1.0),
        (_floats([2, 1, 0], [0, 5, 3]), 2.0),
        (_floats([1e4, 0, -1e4], [1e4, 1e4, 1e4], [-1e4, -1e4, 0]), 1.0),
    ],
    inputs=_log_softmax_inputs,
    hints=[
        "log softmax(z)ₖ = zₖ − log Σ exp zⱼ: no quotient is left. What overflows now?",
        "log Σ exp zⱼ = m + log Σ exp(zⱼ − m) for every m. With m = max z no exponent is above 0, and one is 0.",
        "Divide by T first. z.amax(-1, keepdim=True) keeps an axis of length 1, so that it can be subtracted.",
    ],
    mistakes=[
        Mistake(
            lambda logits, temperature: ((logits / temperature).softmax(-1)).log(),
            "−∞: softmax first, logarithm after. PyTorch's softmax does not overflow, but probabilities below 10⁻⁴⁵ "
            "round to 0 and their logarithm is lost. Stay with logarithms: zₖ − log Σ exp zⱼ.",
        ),
        Mistake(
            _shifted_by(lambda z: 0.0),
            "∞: exp(10,000) has no float. Subtract the largest logit before exp: the result stays the same.",
        ),
        Mistake(
            _shifted_by(lambda z: z.mean(-1, keepdim=True)),
            "You subtracted the mean: exponents can still be far above 0 and overflow. Subtract the largest.",
        ),
        Mistake(
            _shifted_by(lambda z: z.amax()),
            "One maximum for the whole batch: a row far below it has nothing but exponents that round to 0, and "
            "log 0 = −∞. Each row needs its own.",
        ),
        Mistake(
            lambda logits, temperature: stable_log_softmax(logits, 1.0),
            "The temperature is missing: divide the logits by T before everything else.",
        ),
        Mistake(
            lambda logits, temperature: stable_log_softmax(logits, 1.0) / temperature,
            "You divided the result by T instead of the logits: its exponentials do not sum to 1 any more.",
        ),
        Mistake(
            lambda logits, temperature: (
                logits / temperature
                - (logits / temperature - (logits / temperature).amax(-1, keepdim=True))
                .exp()
                .sum(-1, keepdim=True)
                .log()
            ),
            "You shifted inside the sum only and did not add m back: log Σ exp zⱼ = m + log Σ exp(zⱼ − m).",
        ),
        Mistake(
            lambda logits, temperature: stable_log_softmax(logits, temperature).exp(),
            "These are probabilities: their logarithm is asked for.",
        ),
        Mistake(
            lambda logits, temperature: stable_log_softmax(logits.transpose(0, -1), temperature).transpose(0, -1),
            "You summed over the batch: classes are on the last axis.",
        ),
    ],
    alternatives=[
        lambda logits, temperature: F.log_softmax(logits / temperature, dim=-1),
        lambda logits, temperature: logits / temperature - torch.logsumexp(logits / temperature, -1, keepdim=True),
    ],
    explanation="""
        $\\log\\mathrm{softmax}(z)_k = z_k - m - \\log \\sum_j e^{z_j - m}$ with $m = \\max_j z_j$: each exponent is
        $\\le 0$, so nothing overflows, and one is exactly 0, so the sum is at least 1 and its logarithm finite. This is
        `torch.nn.functional.log_softmax`.
    """,
)


def _pair_inputs(rng: np.random.Generator) -> tuple[Tensor, Tensor, float]:
    shape = int(rng.integers(2, 6)), int(rng.integers(3, 9))
    student, teacher = (torch.tensor(rng.normal(0, 3, shape), dtype=torch.float32) for _ in range(2))
    return student, teacher, float(rng.uniform(2, 6))


def soft_loss(student_logits: Tensor, teacher_logits: Tensor, temperature: float) -> Tensor:
    """T²·KL(p_teacher ‖ p_student) at temperature T, mean over the batch, in nats."""
    return soft_target_loss(student_logits, teacher_logits, temperature)


def _torch_kl(student: Tensor, teacher: Tensor, temperature: float, reduction: str = "batchmean") -> Tensor:
    log_q, log_p = (F.log_softmax(z / temperature, -1) for z in (student, teacher))
    return F.kl_div(log_q, log_p, reduction=reduction, log_target=True)


def _naive_logs(student: Tensor, teacher: Tensor, temperature: float) -> Tensor:
    p, q = (z / temperature for z in (teacher, student))
    p, q = p.softmax(-1), q.softmax(-1)
    return temperature**2 * (p * (p.log() - q.log())).sum(-1).mean()


loss = Exercise(
    id="04.3",
    title="The soft-target loss",
    points=3,
    reference=soft_loss,
    examples=[
        (_floats([1, 1, 1]), _floats([2, 0, 0]), 2.0),
        (_floats([1000, 0, 0], [0, 1, 2]), _floats([0, 900, 0], [0, 2, 1]), 2.0),
    ],
    inputs=_pair_inputs,
    hints=[
        "The teacher is p, the first argument of KL; the student is q. Both are taken at temperature T.",
        "Per image Σᵢ pᵢ (log pᵢ − log qᵢ), with log_softmax for both logarithms. Then the mean over images, times T².",
        "F.kl_div(log q, log p, reduction='batchmean', log_target=True): the student's logarithm stands first.",
    ],
    mistakes=[
        Mistake(
            _naive_logs,
            "NaN or ∞: softmax first and logarithm after. A probability that rounds to 0 has no logarithm; take "
            "log_softmax(z/T).",
        ),
        Mistake(
            _torch_kl,
            "The factor T² is missing: the gradient then shrinks as 1/T², and the temperature silently becomes a "
            "weight.",
        ),
        Mistake(
            lambda s, t, T: T**2 * _torch_kl(t, s, T),
            "Swapped: this is KL(student ‖ teacher). F.kl_div(input, target) computes KL(target ‖ input), so the "
            "student's logarithm goes first.",
        ),
        Mistake(
            lambda s, t, T: T**2 * _torch_kl(s, t, T, "mean"),
            "reduction='mean' divides by the number of classes too: the loss is C times too small. 'batchmean' "
            "divides by the batch only.",
        ),
        Mistake(
            lambda s, t, T: T**2 * _torch_kl(s, t, T, "sum"),
            "This is the sum over the batch: a larger batch would then train with a larger learning rate. Take the "
            "mean.",
        ),
        Mistake(
            lambda s, t, T: T * _torch_kl(s, t, T),
            "T where T² belongs: one factor 1/T comes from the chain rule, another because the two distributions "
            "approach each other.",
        ),
        Mistake(
            lambda s, t, T: T**2 * _torch_kl(s, t, 1.0),
            "The logits were not divided by T: multiplying by T² alone changes nothing about what is taught.",
        ),
        Mistake(
            lambda s, t, T: (
                T**2
                * (F.softmax(t / T, -1) * (F.softmax(t / T, -1).clamp_min(1e-38).log() - F.log_softmax(s, -1)))
                .sum(-1)
                .mean()
            ),
            "Only the teacher was softened: both must be compared at the same temperature.",
        ),
        Mistake(
            lambda s, t, T: T**2 * F.cross_entropy(s / T, F.softmax(t / T, -1)),
            "This is T² times the cross-entropy: the same gradient, but it never reaches 0, since the teacher's "
            "entropy is still in it. KL subtracts it.",
        ),
        Mistake(
            lambda s, t, T: T**2 * F.kl_div(F.log_softmax(s / T, -1), F.log_softmax(t / T, -1), reduction="batchmean"),
            "F.kl_div got the teacher's logarithm as if it were a probability: say log_target=True.",
        ),
    ],
    alternatives=[
        lambda s, t, T: T**2 * _torch_kl(s, t, T),
        lambda s, t, T: T * T * kl_from_logits(t / T, s / T).mean(),
    ],
    explanation="""
        $T^2 \\cdot \\mathrm{KL}(p_T \\,\\Vert\\, q_T)$, the teacher first, the mean over images. The library's
        `soft_target_loss` adds checks and takes per-pixel logits as well.
    """,
)


def soft_gradient(student_logits: Tensor, teacher_logits: Tensor, temperature: float) -> Tensor:
    """∂/∂(student's logits) of the mean over the batch of T²·KL: T·(q_T − p_T)/B, written out without autograd."""
    q, p = ((z / temperature).softmax(-1) for z in (student_logits, teacher_logits))
    return temperature * (q - p) / len(student_logits)


def _by_autograd(student: Tensor, teacher: Tensor, temperature: float) -> Tensor:
    with torch.enable_grad():
        z = student.detach().clone().requires_grad_()
        return torch.autograd.grad(soft_target_loss(z, teacher, temperature), z)[0]


gradient = Exercise(
    id="04.4",
    title="The gradient of the soft-target loss, by hand",
    points=3,
    reference=soft_gradient,
    examples=[
        (_floats([1, 1, 1, 1]), _floats([3, 1, 0, 0]), 2.0),
        (_floats([1000, 0], [0, 1]), _floats([0, 1000], [0, 0]), 4.0),
    ],
    inputs=_pair_inputs,
    hints=[
        "For one image and T = 1 the gradient is q − p.",
        "z enters as z/T: the chain rule gives a factor 1/T. The loss has a factor T². What is left?",
        "The loss is a mean over B images, so each image's gradient is divided by B.",
    ],
    mistakes=[
        Mistake(
            lambda s, t, T: -soft_gradient(s, t, T),
            "The sign: the gradient is q − p. Where the student gives too much, the gradient is positive, and a step "
            "against it lowers the logit.",
        ),
        Mistake(
            lambda s, t, T: soft_gradient(s, t, T) / T**2,
            "The factor T² is missing: this is the gradient of KL alone, (q − p)/(T·B).",
        ),
        Mistake(
            lambda s, t, T: soft_gradient(s, t, T) * T,
            "The chain rule is missing: z enters as z/T, so one factor 1/T remains: T²·(1/T) = T.",
        ),
        Mistake(
            lambda s, t, T: soft_gradient(s, t, T) / T,
            "Both factors are missing: q − p alone belongs to T = 1. T² from the loss times 1/T from the chain rule "
            "is T.",
        ),
        Mistake(
            lambda s, t, T: soft_gradient(s, t, T) * len(s),
            "The loss is a mean over the batch: divide by the number of images.",
        ),
        Mistake(
            lambda s, t, T: soft_gradient(s, t, T) / s.shape[1],
            "You divided by the number of classes too, as reduction='mean' does. Divide by the batch only.",
        ),
        Mistake(
            lambda s, t, T: T * (s.softmax(-1) - t.softmax(-1)) / len(s),
            "The softmaxes are taken at T = 1: divide the logits by T first.",
        ),
        Mistake(
            lambda s, t, T: T * ((s / T).softmax(-1) - F.one_hot(t.argmax(-1), t.shape[1])) / len(s),
            "You took the teacher's first choice as a hard label: what it thinks of the other classes is lost.",
        ),
        Mistake(
            lambda s, t, T: (s - s.mean(-1, keepdim=True) - t + t.mean(-1, keepdim=True)) / (s.shape[1] * len(s)),
            "That is the limit for T → ∞. At a finite T the softmaxes decide: T·(q − p)/B.",
        ),
    ],
    alternatives=[
        _by_autograd,
        lambda s, t, T: T * (F.log_softmax(s / T, -1).exp() - F.log_softmax(t / T, -1).exp()) / s.shape[0],
    ],
    explanation="""
        $\\frac{\\partial}{\\partial v}\\; \\frac{T^2}{B}\\,\\mathrm{KL} = \\frac{T^2}{B} \\cdot \\frac{1}{T}(q_T - p_T)
        = \\frac{T}{B}(q_T - p_T)$. It looks as if it grew with $T$; it does not, because $q_T - p_T$ itself shrinks as
        $1/T$.
    """,
)


def effective_alpha(alpha: float, classes: int, temperature: float) -> float:
    """The α that soft and hard term really have if reduction="mean" and T² were both got wrong.

    The soft term then is α·KL/C instead of α·T²·KL, 1/(C·T²) of what it should be; the hard term has 1 − α. Both
    weights are divided by their sum, so that they are an α and a 1 − α again.
    """
    soft = alpha / (classes * temperature**2)
    return soft / (soft + 1 - alpha)


def _alpha_inputs(rng: np.random.Generator) -> tuple[float, int, float]:
    return float(rng.uniform(0.3, 0.95)), int(rng.integers(5, 100)), float(rng.uniform(1.5, 8))


weight = Exercise(
    id="04.5",
    title="The α you get",
    points=2,
    reference=effective_alpha,
    examples=[(0.5, 43, 1.0), (0.9, 10, 2.0), (1.0, 43, 4.0), (0.0, 43, 4.0)],
    inputs=_alpha_inputs,
    hints=[
        "By which factor is the soft term too small if it is divided by C, and if T² is forgotten?",
        "Weights α/(C·T²) and 1 − α. They do not sum to 1: divide by their sum.",
    ],
    mistakes=[
        Mistake(
            lambda alpha, classes, temperature: alpha / (classes * temperature**2),
            "That is the soft term's weight, not its share: the hard term kept 1 − α, so divide by the sum of both.",
        ),
        Mistake(
            lambda alpha, classes, temperature: effective_alpha(alpha, classes, 1.0),
            "The missing T² is not in it: the soft term is T² times too small as well.",
        ),
        Mistake(
            lambda alpha, classes, temperature: effective_alpha(alpha, 1, temperature),
            "The division by C, which reduction='mean' does, is not in it.",
        ),
        Mistake(
            lambda alpha, classes, temperature: effective_alpha(alpha, classes, temperature**0.5),
            "You took T for T²: the factor that is missing in the loss is T².",
        ),
        Mistake(
            lambda alpha, classes, temperature: 1 - effective_alpha(alpha, classes, temperature),
            "That is the hard term's share. α belongs to the soft term.",
        ),
        Mistake(
            lambda alpha, classes, temperature: (
                alpha / (alpha + (1 - alpha) / (classes * temperature**2)) if alpha else 0.0
            ),
            "You shrank the hard term; the mistakes are in the soft one.",
        ),
    ],
    alternatives=[
        lambda alpha, classes, temperature: alpha / (alpha + (1 - alpha) * classes * temperature * temperature),
    ],
    explanation="""
        $\\alpha' = \\frac{\\alpha}{\\alpha + (1-\\alpha)\\,C\\,T^2}$. At $C = 43$, $T = 4$ an $\\alpha$ of 0.9 becomes
        0.013: the run is called distillation and is training on labels.
    """,
)
