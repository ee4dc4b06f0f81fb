"""04.2: a logarithm of softmax that is finite for any finite logits."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from course_lib.exercises.chapter_04.calls import torch_calls
from course_lib.exercises.engine.exercise import Exercise

ex = Exercise(
    "04.2",
    "A log-softmax that never breaks",
    points=3,
    trials=8,  # the fixed cases alone reject every planted mistake
    gradient_of=("logits",),
    hints=[
        "log softmax(z)ₖ = zₖ − log Σ exp zⱼ: no quotient is left. What overflows now?",
        "log Σ exp zⱼ = m + log Σ exp(zⱼ − m) for every m. With m = max z no exponent is above 0, and one is 0.",
        "Divide by T first. z.amax(-1, keepdim=True) keeps an axis of length 1, so that it can be subtracted.",
    ],
    explanation="""
        $\\log\\mathrm{softmax}(z)_k = z_k - m - \\log \\sum_j e^{z_j - m}$ with $m = \\max_j z_j$: each exponent is
        $\\le 0$, so nothing overflows, and one is exactly 0, so the sum is at least 1 and its logarithm finite. This is
        `torch.nn.functional.log_softmax`.
    """,
)


@ex.reference
def stable_log_softmax(logits: Tensor, temperature: float) -> Tensor:
    """log softmax(z/T) along the last axis: z/T − m − log Σ exp(z/T − m), with m the largest of z/T."""
    z = logits / temperature
    shifted = z - z.amax(-1, keepdim=True)  # every exponent is ≤ 0, and one is 0
    return shifted - shifted.exp().sum(-1, keepdim=True).log()


def _rows(*rows: list[float], dtype: torch.dtype = torch.float64) -> Tensor:
    # Not the default type: chapter 04 changes that on its page.
    return torch.tensor(rows, dtype=dtype)


@ex.case("four numbers by hand, T = 1: minus ln 2, 2 ln 2, 3 ln 2 and 3 ln 2")
def by_hand() -> tuple[Tensor, float]:
    return _rows([math.log(4), math.log(2), 0, 0]), 1.0


@ex.case("two images at T = 2")
def two_images() -> tuple[Tensor, float]:
    return _rows([2, 1, 0], [0, 5, 3]), 2.0


@ex.case("logits of 10⁴, a little apart: exp overflows")
def far_above() -> tuple[Tensor, float]:
    return _rows([1e4, 1e4 - 1, 1e4 - 3], [9998, 1e4, 1e4]), 1.0


@ex.case("logits of −10⁴, a little apart: every exp is 0")
def far_below() -> tuple[Tensor, float]:
    return _rows([-1e4, 1 - 1e4], [-1e4, 3 - 1e4], [2 - 1e4, -1e4]), 0.5


@ex.case("logits of ±10⁴ in one row, at T = 4, as many images as classes")
def far_apart() -> tuple[Tensor, float]:
    return _rows([1e4, 0, -1e4], [1e4, 1e4, 1e4], [-1e4, -1e4, 0], dtype=torch.float32), 4.0


@ex.case("a class 200 below the others: its probability rounds to 0 in float32, its logarithm is −201")
def rounds_to_zero() -> tuple[Tensor, float]:
    return _rows([0, -200, 1], [3, 2, -30], dtype=torch.float32), 1.0


@ex.inputs
def random_logits(rng: np.random.Generator) -> tuple[Tensor, float]:
    rows, classes = int(rng.integers(2, 5)), int(rng.integers(5, 8))
    return torch.tensor(rng.normal(0, 5, (rows, classes)), dtype=torch.float32), float(rng.integers(3, 12)) / 2


@ex.rule
def without_the_library(fn: Callable, logits: Tensor, temperature: float) -> str | None:
    """The task says "without F.log_softmax"; F.cross_entropy holds it too. torch.logsumexp is allowed."""
    used = torch_calls(fn, logits, temperature) & {"log_softmax", "special_log_softmax", "cross_entropy"}
    if not used:
        return None
    return f"torch's {min(used)} computed your numbers: the task is to write it without"


@ex.mistake(
    "−∞: softmax first, logarithm after. PyTorch's softmax does not overflow, but probabilities below 10⁻⁴⁵ round to 0 "
    "and their logarithm is lost. Stay with logarithms: zₖ − log Σ exp zⱼ."
)
def softmax_then_log(logits: Tensor, temperature: float) -> Tensor:
    return (logits / temperature).softmax(-1).log()


@ex.mistake(
    "softmax first, then log(p + 1e-8): no −∞, and no logarithm either. Every class below 10⁻⁸ gets −18.4, whatever "
    "its logit. Stay with logarithms: zₖ − log Σ exp zⱼ."
)
def small_number_added(logits: Tensor, temperature: float) -> Tensor:
    return ((logits / temperature).softmax(-1) + 1e-8).log()


@ex.mistake(
    "softmax first, then clamp(1e-12): no −∞, and no logarithm either. Every class below 10⁻¹² gets −27.6, whatever "
    "its logit. Stay with logarithms: zₖ − log Σ exp zⱼ."
)
def clamped(logits: Tensor, temperature: float) -> Tensor:
    return (logits / temperature).softmax(-1).clamp(1e-12).log()


@ex.mistake("∞: exp(10,000) has no float. Subtract the largest logit before exp: the result stays the same.")
def not_shifted(logits: Tensor, temperature: float) -> Tensor:
    z = logits / temperature
    return z - z.exp().sum(-1, keepdim=True).log()


@ex.mistake("You subtracted the mean: exponents can still be far above 0 and overflow. Subtract the largest.")
def mean_subtracted(logits: Tensor, temperature: float) -> Tensor:
    z = logits / temperature
    shifted = z - z.mean(-1, keepdim=True)
    return shifted - shifted.exp().sum(-1, keepdim=True).log()


@ex.mistake("You subtracted the smallest: then every exponent is ≥ 0, and they overflow. Subtract the largest.")
def smallest_subtracted(logits: Tensor, temperature: float) -> Tensor:
    z = logits / temperature
    shifted = z - z.amin(-1, keepdim=True)
    return shifted - shifted.exp().sum(-1, keepdim=True).log()


@ex.mistake(
    "One maximum for the whole batch: a row far below it has nothing but exponents that round to 0, and log 0 = −∞. "
    "Each row needs its own."
)
def one_maximum_for_all(logits: Tensor, temperature: float) -> Tensor:
    z = logits / temperature
    shifted = z - z.amax()
    return shifted - shifted.exp().sum(-1, keepdim=True).log()


@ex.mistake("You took the largest over the batch, for each class; it must be the image's own: amax(-1).")
def maximum_over_images(logits: Tensor, temperature: float) -> Tensor:
    z = logits / temperature
    shifted = z - z.amax(0, keepdim=True)
    return shifted - shifted.exp().sum(-1, keepdim=True).log()


@ex.mistake(
    "You subtracted the largest of the logits before they were divided by T: z/T then lies far from it, and exp "
    "overflows or rounds to 0. m must be the largest of z/T."
)
def maximum_of_undivided(logits: Tensor, temperature: float) -> Tensor:
    shifted = logits / temperature - logits.amax(-1, keepdim=True)
    return shifted - shifted.exp().sum(-1, keepdim=True).log()


@ex.mistake("You did not add m back: log Σ exp zⱼ = m + log Σ exp(zⱼ − m), so zₖ − m − log Σ exp(zⱼ − m).")
def shift_not_added_back(logits: Tensor, temperature: float) -> Tensor:
    z = logits / temperature
    return z - (z - z.amax(-1, keepdim=True)).exp().sum(-1, keepdim=True).log()


@ex.mistake("The sign of m: log Σ exp zⱼ = m + log Σ exp(zⱼ − m), and it is subtracted: zₖ − m − log Σ exp(zⱼ − m).")
def shift_with_the_wrong_sign(logits: Tensor, temperature: float) -> Tensor:
    z = logits / temperature
    m = z.amax(-1, keepdim=True)
    return z + m - (z - m).exp().sum(-1, keepdim=True).log()


@ex.mistake("The temperature is missing: divide the logits by T before everything else.")
def no_temperature(logits: Tensor, temperature: float) -> Tensor:
    return stable_log_softmax(logits, 1.0)


@ex.mistake("You multiplied by T. A temperature divides: z/T.")
def multiplied_by_temperature(logits: Tensor, temperature: float) -> Tensor:
    return stable_log_softmax(logits, 1 / temperature)


@ex.mistake("You divided the result by T instead of the logits: its exponentials do not sum to 1 any more.")
def result_divided(logits: Tensor, temperature: float) -> Tensor:
    return stable_log_softmax(logits, 1.0) / temperature


@ex.mistake("Only the z in front was divided by T: the sum runs over exp(z/T) as well.")
def sum_without_temperature(logits: Tensor, temperature: float) -> Tensor:
    return logits / temperature - logits.logsumexp(-1, keepdim=True)


@ex.mistake("Only the sum runs over exp(z/T): the z in front of it must be divided by T too.")
def sum_alone_with_temperature(logits: Tensor, temperature: float) -> Tensor:
    shifted = logits - logits.amax(-1, keepdim=True)
    return shifted - (shifted / temperature).exp().sum(-1, keepdim=True).log()


@ex.mistake("These are probabilities: their logarithm is asked for.")
def probabilities(logits: Tensor, temperature: float) -> Tensor:
    return stable_log_softmax(logits, temperature).exp()


@ex.mistake("The sign: these are −log softmax. The logarithm of a probability is at most 0.")
def minus_log_softmax(logits: Tensor, temperature: float) -> Tensor:
    return -stable_log_softmax(logits, temperature)


@ex.mistake("You subtracted the sum itself: its logarithm is missing.")
def logarithm_missing(logits: Tensor, temperature: float) -> Tensor:
    z = logits / temperature
    shifted = z - z.amax(-1, keepdim=True)
    return shifted - shifted.exp().sum(-1, keepdim=True)


@ex.mistake("These are z/T less their largest: the logarithm of the sum, log Σ exp(zⱼ − m), is not subtracted.")
def sum_missing(logits: Tensor, temperature: float) -> Tensor:
    z = logits / temperature
    return z - z.amax(-1, keepdim=True)


@ex.mistake("You summed over the batch: classes are on the last axis.")
def over_images(logits: Tensor, temperature: float) -> Tensor:
    return stable_log_softmax(logits.T, temperature).T


@ex.mistake(
    "keepdim=True is missing: the maxima are (B,), and (B, C) − (B,) lines them up with the classes. That fails, or, "
    "with as many images as classes, subtracts other images' numbers."
)
def no_keepdim(logits: Tensor, temperature: float) -> Tensor:
    z = logits / temperature
    shifted = z - z.amax(-1)
    return shifted - shifted.exp().sum(-1, keepdim=True).log()


@ex.mistake(
    "keepdim=True is missing in the sum: its logarithm is (B,), and (B, C) − (B,) lines it up with the classes. That "
    "fails, or, with as many images as classes, subtracts other images' numbers."
)
def no_keepdim_in_the_sum(logits: Tensor, temperature: float) -> Tensor:
    z = logits / temperature
    shifted = z - z.amax(-1, keepdim=True)
    return shifted - shifted.exp().sum(-1).log()


@ex.mistake("The numbers are right, the gradient is that of zₖ/T alone: you detached the sum. Only m may be detached.")
def sum_detached(logits: Tensor, temperature: float) -> Tensor:
    z = logits / temperature
    return z - torch.logsumexp(z, -1, keepdim=True).detach()


@ex.mistake("The numbers are right, and F.log_softmax computed them. Once, write out what it does; later, use it.")
def the_library(logits: Tensor, temperature: float) -> Tensor:
    return F.log_softmax(logits / temperature, dim=-1)


@ex.mistake("These are bits, log₂. The logarithm of losses is the natural one.")
def in_bits(logits: Tensor, temperature: float) -> Tensor:
    return stable_log_softmax(logits, temperature) / math.log(2)


@ex.alternative
def by_logsumexp(logits: Tensor, temperature: float) -> Tensor:
    z = logits / temperature
    return z - torch.logsumexp(z, -1, keepdim=True)


@ex.alternative
def loop_over_images(logits: Tensor, temperature: float) -> Tensor:
    rows = []
    for image in logits / temperature:
        below = image - image.max().detach()  # a number that is added and taken away sends no gradient
        rows.append(below - torch.stack([torch.exp(z) for z in below]).sum().log())
    return torch.stack(rows)


@ex.alternative
def shifted_before_dividing(logits: Tensor, temperature: float) -> Tensor:
    below = (logits - logits.max(dim=1, keepdim=True).values) / temperature
    return below - below.exp().sum(dim=1, keepdim=True).log()


@ex.alternative
def column_by_column(logits: Tensor, temperature: float) -> Tensor:
    z = (logits / temperature).T  # (C, B)
    total = z[0]
    for column in z[1:]:
        total = torch.logaddexp(total, column)
    return (z - total).T
