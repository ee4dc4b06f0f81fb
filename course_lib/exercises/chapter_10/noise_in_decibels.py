"""10.3: signal to quantization noise, in decibels."""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor

from course_lib.exercises.engine.exercise import Exercise

Question = tuple[Tensor, Tensor]

ex = Exercise(
    "10.3",
    "Signal to quantization noise in dB",
    points=2,
    hints=[
        "The noise is what came back wrong: x − restored. The power of either is the sum (or the mean) of its squares.",
        "A ratio of powers in decibels is 10·log₁₀(signal / noise). Where both are amplitudes it would be 20·log₁₀.",
        "If nothing differs, the noise is 0 and the ratio infinite: float('inf').",
    ],
    explanation="""
        Powers are sums of squares, so halving the step, which halves each error, divides the noise's power by four:
        10·log₁₀(4) = 6.02 dB for each bit. Nothing is subtracted: the power of the mean belongs to the signal, and a
        shift by a constant belongs to the noise. The library's name is `sqnr_db`.
    """,
)


@ex.reference
def sqnr(x: Tensor, restored: Tensor) -> float:
    """10·log₁₀ of the power of x over the power of x − restored, over all values; inf if nothing differs."""
    signal, noise = x.double().square().sum().item(), (x.double() - restored.double()).square().sum().item()
    return math.inf if noise == 0 else 10 * math.log10(signal / noise)


@ex.case("by hand: power 9 + 16 over 0.25 is 100, which is 20 dB")
def by_hand() -> Question:
    return torch.tensor([3.0, 4.0]), torch.tensor([3.0, 3.5])


@ex.case("a shift by a constant is noise, too")
def shifted() -> Question:
    return torch.tensor([1.0, 2.0, 5.0, 4.0]), torch.tensor([1.5, 2.5, 5.5, 4.5])


@ex.case("rows of different power: all values together, not row by row")
def rows() -> Question:
    return torch.tensor([[10.0, -20.0, 30.0], [0.1, 0.2, -0.3]]), torch.tensor([[10.5, -19.0, 30.0], [0.0, 0.2, -0.2]])


@ex.case("more noise than signal: below 0 dB")
def drowned() -> Question:
    return torch.tensor([0.1, -0.2, 0.1]), torch.tensor([1.0, 0.0, -1.0])


@ex.case("nothing differs")
def same() -> Question:
    return torch.tensor([1.0, -2.0]), torch.tensor([1.0, -2.0])


@ex.case("nothing but zeros, and nothing differs: infinity as well, not 0 over 0")
def zeros() -> Question:
    return torch.zeros(3), torch.zeros(3)


@ex.case("a value of 0: no quotient value by value")
def with_a_zero() -> Question:
    return torch.tensor([0.0, 2.0, -1.0, 4.0]), torch.tensor([0.25, 2.0, -1.25, 3.5])


@ex.inputs
def random_values(rng: np.random.Generator) -> Question:
    x = rng.normal(1.0, 2.0, (3, 4)).round(2)
    return torch.tensor(x, dtype=torch.float32), torch.tensor(x + rng.normal(0.1, 0.5, x.shape).round(2)).float()


def _powers(x: Tensor, restored: Tensor) -> tuple[float, float]:
    return x.double().square().sum().item(), (x.double() - restored.double()).square().sum().item()


def _db(ratio: float, factor: float = 10.0) -> float:
    return factor * math.log10(ratio)


@ex.mistake("20·log₁₀ is for amplitudes. Your ratio is already one of powers (squares): 10·log₁₀.")
def twenty(x: Tensor, restored: Tensor) -> float:
    signal, noise = _powers(x, restored)
    return math.inf if noise == 0 else _db(signal / noise, 20)


@ex.mistake("Your ratio is upside down: signal over noise, so that more is better.")
def upside_down(x: Tensor, restored: Tensor) -> float:
    signal, noise = _powers(x, restored)
    return -math.inf if noise == 0 else _db(noise / signal)


@ex.mistake("You took the power of what was restored for the signal. The signal is x, the restored values hold noise.")
def power_of_restored(x: Tensor, restored: Tensor) -> float:
    _, noise = _powers(x, restored)
    return math.inf if noise == 0 else _db(restored.double().square().sum().item() / noise)


@ex.mistake("You took amplitudes (roots of the powers) into 10·log₁₀: that is half of the decibels.")
def roots(x: Tensor, restored: Tensor) -> float:
    signal, noise = _powers(x, restored)
    return math.inf if noise == 0 else _db(signal / noise, 5)


@ex.mistake("That is the natural logarithm. Decibels need log₁₀.")
def natural(x: Tensor, restored: Tensor) -> float:
    signal, noise = _powers(x, restored)
    return math.inf if noise == 0 else 10 * math.log(signal / noise)


@ex.mistake("You added absolute values. Power is the sum of squares.")
def absolute(x: Tensor, restored: Tensor) -> float:
    noise = (x - restored).abs().sum().item()
    return math.inf if noise == 0 else _db(x.abs().sum().item() / noise)


@ex.mistake(
    "You took variances, so the mean was subtracted from signal and noise. A constant shift would be no error at all."
)
def variances(x: Tensor, restored: Tensor) -> float:
    noise = (x.double() - restored.double()).var(correction=0).item()
    return math.inf if noise < 1e-12 else _db(x.double().var(correction=0).item() / noise)


@ex.mistake("You subtracted the signal's mean. The power of the mean belongs to the signal.")
def variance_of_signal(x: Tensor, restored: Tensor) -> float:
    _, noise = _powers(x, restored)
    return math.inf if noise == 0 else _db(x.double().var(correction=0).item() * x.numel() / noise)


@ex.mistake("You compared the mean of one with the sum of the other. Take the same of both: sums, or means.")
def mean_over_sum(x: Tensor, restored: Tensor) -> float:
    signal, noise = _powers(x, restored)
    return math.inf if noise == 0 else _db(signal / x.numel() / noise)


@ex.mistake("You took the largest value squared for the signal: that is the peak ratio (PSNR). Asked is the power.")
def peak(x: Tensor, restored: Tensor) -> float:
    _, noise = _powers(x, restored)
    return math.inf if noise == 0 else _db(x.double().abs().max().item() ** 2 * x.numel() / noise)


@ex.mistake(
    "You measured the noise alone. It must be compared with the signal: small noise on a small signal is no merit."
)
def noise_alone(x: Tensor, restored: Tensor) -> float:
    _, noise = _powers(x, restored)
    return math.inf if noise == 0 else _db(1 / noise)


@ex.mistake("You averaged decibels over the rows. Add up the powers of all values first, then take one logarithm.")
def by_row(x: Tensor, restored: Tensor) -> float:
    pairs = [_powers(a, b) for a, b in zip(torch.atleast_2d(x), torch.atleast_2d(restored), strict=True)]
    return math.inf if all(noise == 0 for _, noise in pairs) else sum(_db(s / n) for s, n in pairs) / len(pairs)


@ex.mistake("You returned the ratio itself. Asked are decibels: 10·log₁₀ of it.")
def plain_ratio(x: Tensor, restored: Tensor) -> float:
    signal, noise = _powers(x, restored)
    return math.inf if noise == 0 else signal / noise


@ex.mistake("Where nothing differs you do not return infinity. No noise is not a little noise: do not add a constant.")
def epsilon(x: Tensor, restored: Tensor) -> float:
    signal, noise = _powers(x, restored)
    return float(10 * torch.tensor(signal / max(noise, 1e-9)).log10())


@ex.mistake(
    "You divide 0 by 0 where x is 0 and nothing differs: NaN. Ask first whether the noise is 0; then it is inf."
)
def zero_over_zero(x: Tensor, restored: Tensor) -> float:
    signal, noise = torch.tensor(_powers(x, restored))
    return float(10 * (signal / noise).log10())


@ex.mistake("Where x is 0 and nothing differs you return −inf, the logarithm of the signal 0. No noise is inf, always.")
def signal_of_zero(x: Tensor, restored: Tensor) -> float:
    return sqnr(x, restored) if x.any() else -math.inf


@ex.mistake("You squared the sum of the errors. Errors of both signs cancel there: square each, then add.")
def square_of_the_sum(x: Tensor, restored: Tensor) -> float:
    noise = (x.double() - restored.double()).sum().item() ** 2
    return math.inf if noise < 1e-12 else _db(x.double().square().sum().item() / noise)


@ex.mistake(
    "You took a ratio for each value and averaged: one value without error makes it infinite. Add up powers first."
)
def mean_of_ratios(x: Tensor, restored: Tensor) -> float:
    ratios = (x.double() / (x.double() - restored.double())).square()
    return float(10 * ratios.mean().log10())


@ex.mistake("You took a logarithm for each value and averaged the decibels. Add up the powers of all values first.")
def mean_of_decibels(x: Tensor, restored: Tensor) -> float:
    return float((10 * (x.double() / (x.double() - restored.double())).square().log10()).mean())


@ex.alternative
def with_numpy(x: Tensor, restored: Tensor) -> np.floating:
    a, b = x.numpy().astype(float), restored.numpy().astype(float)
    with np.errstate(divide="ignore"):
        return 10 * np.log10(np.mean(a**2) / np.mean((a - b) ** 2)) if (a != b).any() else np.float64(np.inf)


@ex.alternative
def with_norms(x: Tensor, restored: Tensor) -> Tensor:
    noise = torch.linalg.norm((x - restored).flatten())
    return 20 * torch.log10(torch.linalg.norm(x.flatten()) / noise).masked_fill(noise == 0, torch.inf)


@ex.alternative
def written_out(x: Tensor, restored: Tensor) -> float:
    pairs = list(zip(x.flatten().tolist(), restored.flatten().tolist(), strict=True))
    noise = math.fsum((a - b) ** 2 for a, b in pairs)
    if not noise:
        return float("inf")
    return (math.log10(math.fsum(a * a for a, _ in pairs)) - math.log10(noise)) * 10
