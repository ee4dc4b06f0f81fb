"""10.4: the clip of least error."""

from __future__ import annotations

from collections.abc import Sequence
from math import inf

import numpy as np
import torch
from torch import Tensor

from course_lib.exercises.engine.exercise import Exercise

Question = tuple[Tensor, list[float], int]

ex = Exercise(
    "10.4",
    "The clip of least error",
    points=3,
    hints=[
        "For one clip α: S = α / (2^(b−1) − 1), the codes are round(x / S), clamped to ±(2^(b−1) − 1), and "
        "S times them comes back.",
        "The error of a clip is the mean square of x − restored over *all* values, those that were clipped included.",
        "Try every clip and keep the one with the least error: min(clips, key=error).",
    ],
    explanation="""
        A wide clip rounds everything coarsely, a narrow one clips a few values far away; the mean of squares weighs
        both in one currency. Searching over a grid of clips is what the "MSE" observers of real tools do. Where the
        tensor follows a Gaussian or a Laplacian, `optimal_clip` gives the answer without trying.
    """,
)


@ex.reference
def best_clip(x: Tensor, clips: Sequence[float], bits: int) -> float:
    """The clip α of ``clips`` whose symmetric, restricted codes on −α … α have the least mean squared error on x."""
    return min(clips, key=lambda alpha: _error(x, alpha, bits))


@ex.solution
def in_full(x: Tensor, clips: Sequence[float], bits: int) -> float:
    """The clip α of ``clips`` whose symmetric, restricted codes on −α … α have the least mean squared error on x."""
    most = 2 ** (bits - 1) - 1
    errors = {}
    for alpha in clips:
        scale = alpha / most
        restored = scale * torch.round(x / scale).clamp(-most, most)
        errors[alpha] = (x - restored).square().mean().item()
    return min(errors, key=lambda alpha: errors[alpha])


def _restored(x: Tensor, alpha: float, bits: int) -> Tensor:
    most = 2 ** (bits - 1) - 1
    return torch.round(x.double() * most / alpha).clamp(-most, most) * alpha / most


def _error(x: Tensor, alpha: float, bits: int) -> float:
    return (x.double() - _restored(x, alpha, bits)).square().mean().item()


def _error_of(x: Tensor, step: float, low: float, high: float) -> float:
    """Mean squared error of codes low … high with the given step."""
    return float((x.double() - torch.round(x.double() / step).clamp(low, high) * step).square().mean())


def _bell(seed: int, count: int = 11) -> list[float]:
    """Values with one digit, few enough that a message shows them all; + 0 makes −0 a 0."""
    return (np.random.default_rng(seed).laplace(0, 1, count).round(1) + 0.0).tolist()


@ex.case("by hand, two bits: with α = 1 the codes stand for −1, 0, 1, and 3 is off by 2; α = 3 turns the ones into 0")
def by_hand() -> Question:
    return torch.tensor([1.0, -1.0, 0.0, 1.0, -1.0, 1.0, -1.0, 3.0]), [3.0, 1.0], 2


@ex.case("one far value, and nearly all others small: clip it, but not at any price")
def one_far() -> Question:
    return torch.tensor([*_bell(95), 4.0]), [0.8, 1.4, 2.0, 2.6, 3.3, 4.0], 3


@ex.case("the same with more bits: steps are cheap now, clipping is not")
def more_bits() -> Question:
    return torch.tensor([*_bell(95), 4.0]), [0.8, 1.4, 2.0, 2.6, 3.3, 4.0], 6


@ex.case("the far value is negative, and the clips are in no order")
def negative() -> Question:
    return torch.tensor([*_bell(320), -4.0]), [3.2, 4.0, 1.5, 3.6, 2.8, 2.2], 4


@ex.case("three bits, and a far negative value: the codes end at −α as they do at α")
def both_ends() -> Question:
    return torch.tensor([*_bell(1111, 9), -4.5]), [1.0, 1.5, 2.0, 2.5, 3.0, 4.5], 3


@ex.case("values at equal distances: clip nothing")
def uniform() -> Question:
    return torch.linspace(-2, 2, 9), [1.0, 1.5, 2.0, 3.0], 4


@ex.case("a clip beyond the largest value can be the best: its codes fall where the values are")
def on_the_codes() -> Question:
    return torch.tensor([1.0, -1.0, 2.0, 0.0, -2.0, 1.0]), [2.0, 2.5, 3.0], 3


@ex.case("values that are not around 0")
def shifted() -> Question:
    return torch.tensor([round(value + 1.0, 1) for value in _bell(236, 10)]), [1.0, 1.6, 2.2, 2.8, 3.4, 4.0, 5.0], 4


@ex.case("two bits, and no clip that is the largest value")
def between() -> Question:
    return torch.tensor([*_bell(819, 9), 5.2]), [1.0, 1.5, 2.0, 2.5, 3.5, 5.0, 6.5], 2


@ex.inputs
def random_values(rng: np.random.Generator) -> Question:
    """The best clip is not the largest, and not best by a hair."""
    while True:
        bits, far = int(rng.integers(2, 5)), float(rng.choice([-1, 1]) * rng.uniform(3, 5))
        x = torch.tensor([*rng.laplace(0, 1, 11), far]).round(decimals=1).float() + 0.0
        clips = [float(c) for c in rng.permutation(np.linspace(0.6, float(x.abs().max()), 8)).round(1)]
        best, second = sorted(clips, key=lambda clip: _error(x, clip, bits))[:2]
        if best < max(clips) and _error(x, second, bits) > 1.02 * _error(x, best, bits):
            return x, clips, bits


@ex.mistake("You took the largest absolute value: nothing is clipped, and one far value makes all steps coarse.")
def largest_value(x: Tensor, clips: Sequence[float], bits: int) -> float:
    return min(clips, key=lambda alpha: abs(alpha - float(x.abs().max())))


@ex.mistake("You took the largest clip. It clips least and rounds most.")
def largest_clip(x: Tensor, clips: Sequence[float], bits: int) -> float:
    return max(clips)


@ex.mistake("You took the smallest clip. It has the finest steps, and clips most.")
def smallest_clip(x: Tensor, clips: Sequence[float], bits: int) -> float:
    return min(clips)


@ex.mistake("You never clamped the codes: then nothing is clipped, and the smallest steps win by far.")
def never_clamped(x: Tensor, clips: Sequence[float], bits: int) -> float:
    return min(clips, key=lambda alpha: _error_of(x, alpha / (2 ** (bits - 1) - 1), -inf, inf))


@ex.mistake("Your codes reach −2^(b−1). Restricted ones end at −(2^(b−1) − 1): both ends of −α … α are the clip.")
def not_restricted(x: Tensor, clips: Sequence[float], bits: int) -> float:
    most = 2 ** (bits - 1) - 1
    return min(clips, key=lambda alpha: _error_of(x, alpha / most, -most - 1, most))


@ex.mistake("You left the clipped values out of the mean. They have the largest errors: that is the price of a clip.")
def inside_alone(x: Tensor, clips: Sequence[float], bits: int) -> float:
    def inside(alpha: float) -> float:
        kept = x[x.abs() <= alpha]
        return _error(kept, alpha, bits) if len(kept) else 0.0

    return min(clips, key=inside)


@ex.mistake("You compared the largest errors. One far value then decides alone; asked is the mean of the squares.")
def largest_error(x: Tensor, clips: Sequence[float], bits: int) -> float:
    return min(clips, key=lambda alpha: float((x.double() - _restored(x, alpha, bits)).abs().max()) + 1e-9 * alpha)


@ex.mistake("You compared mean absolute errors. Squares weigh the few large errors of clipping more.")
def absolute(x: Tensor, clips: Sequence[float], bits: int) -> float:
    return min(clips, key=lambda alpha: float((x.double() - _restored(x, alpha, bits)).abs().mean()))


@ex.mistake("You measured the error in steps. A step of another clip is another length: compare in units of x.")
def in_steps(x: Tensor, clips: Sequence[float], bits: int) -> float:
    return min(clips, key=lambda alpha: _error(x, alpha, bits) / alpha**2)


@ex.mistake("You gave each clip 2^b − 1 steps on one side. On one side of 0 there are 2^(b−1) − 1.")
def one_side_has_all(x: Tensor, clips: Sequence[float], bits: int) -> float:
    return min(clips, key=lambda alpha: _error(x, alpha, bits + 1))


@ex.mistake("Your step is α / 2^(b−1), so that α itself has no code. The last code, 2^(b−1) − 1, stands for α.")
def one_step_more(x: Tensor, clips: Sequence[float], bits: int) -> float:
    most = 2 ** (bits - 1)
    return min(clips, key=lambda alpha: _error_of(x, alpha / most, 1 - most, most - 1))


@ex.mistake("Your step is α / 2^(b−1), and −α alone has a code. Symmetric, restricted: ±α have ±(2^(b−1) − 1).")
def one_step_more_below(x: Tensor, clips: Sequence[float], bits: int) -> float:
    most = 2 ** (bits - 1)
    return min(clips, key=lambda alpha: _error_of(x, alpha / most, -most, most - 1))


@ex.mistake("Your step is α / 2^(b−1), and your last code 2^(b−1), which b bits do not hold. It is 2^(b−1) − 1.")
def one_code_too_many(x: Tensor, clips: Sequence[float], bits: int) -> float:
    most = 2 ** (bits - 1)
    return min(clips, key=lambda alpha: _error_of(x, alpha / most, -most, most))


@ex.mistake(
    "You always used 127. That is 8 bits; with b bits the last code is 2^(b−1) − 1, and fewer bits clip earlier."
)
def always_127(x: Tensor, clips: Sequence[float], bits: int) -> float:
    return min(clips, key=lambda alpha: _error(x, alpha, 8))


@ex.mistake("You clipped, but did not round: without the error of rounding the widest clip always wins.")
def clipped_alone(x: Tensor, clips: Sequence[float], bits: int) -> float:
    return min(clips, key=lambda alpha: (float((x - x.clamp(-alpha, alpha)).square().mean()), alpha))


@ex.mistake("You compared the means of the errors, not of their squares: errors of both signs cancel.")
def signed_errors(x: Tensor, clips: Sequence[float], bits: int) -> float:
    return min(clips, key=lambda alpha: abs(float((x.double() - _restored(x, alpha, bits)).mean())))


@ex.mistake("You picked the worst clip. Less error is better.")
def worst(x: Tensor, clips: Sequence[float], bits: int) -> float:
    return max(clips, key=lambda alpha: _error(x, alpha, bits))


@ex.mistake("You returned the position of the clip. Asked is the clip.")
def position(x: Tensor, clips: Sequence[float], bits: int) -> int:
    return list(clips).index(best_clip(x, clips, bits))


@ex.mistake("You returned the least error. Asked is the clip that has it.")
def error_itself(x: Tensor, clips: Sequence[float], bits: int) -> float:
    return min(_error(x, alpha, bits) for alpha in clips)


@ex.mistake("You returned the step S of the best clip. Asked is the clip α.")
def step_itself(x: Tensor, clips: Sequence[float], bits: int) -> float:
    return best_clip(x, clips, bits) / (2 ** (bits - 1) - 1)


@ex.mistake("Your step is 2α / (2^b − 1), that of asymmetric codes: here α is 2^(b−1) − 1 steps from 0.")
def asymmetric_step(x: Tensor, clips: Sequence[float], bits: int) -> float:
    most = 2 ** (bits - 1) - 1
    return min(clips, key=lambda alpha: _error_of(x, 2 * alpha / (2**bits - 1), -most - 1, most))


@ex.alternative
def with_numpy(x: Tensor, clips: Sequence[float], bits: int) -> float:
    values, most = x.numpy().astype(float)[:, None], 2 ** (bits - 1) - 1
    steps = np.asarray(clips) / most  # (K,)
    restored = np.clip(np.rint(values / steps), -most, most) * steps
    return float(np.asarray(clips)[((values - restored) ** 2).sum(0).argmin()])


@ex.alternative
def with_a_loop(x: Tensor, clips: Sequence[float], bits: int) -> float:
    best, least, most = 0.0, float("inf"), 2 ** (bits - 1) - 1
    for alpha in clips:
        total = 0.0
        for value in x.tolist():
            code = max(-most, min(most, round(value / alpha * most)))
            total += (value - code * alpha / most) ** 2
        if total < least:
            best, least = alpha, total
    return best


@ex.alternative
def clipped_first(x: Tensor, clips: Sequence[float], bits: int) -> Tensor:
    errors = []
    for alpha in clips:
        step = alpha / (2 ** (bits - 1) - 1)
        errors.append(torch.linalg.vector_norm(x - step * (x.clamp(-alpha, alpha) / step).round()))
    return torch.tensor(clips)[torch.stack(errors).argmin()]
