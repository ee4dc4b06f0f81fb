"""04.1: what a message costs with a code that was made for another road, in bits."""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from course_lib.distillation import cross_entropy, kl_divergence
from course_lib.exercises.engine.exercise import Exercise

ex = Exercise(
    "04.1",
    "The price of a wrong code, in bits",
    points=2,
    trials=8,  # the fixed cases alone reject every planted mistake
    hints=[
        "The code of q spends −log₂ qᵢ bits on outcome i. How often does outcome i come?",
        "The excess is what you pay less what the best code would cost, which is the entropy of p.",
        "Outcomes with pᵢ = 0 never come: leave them out before you take a logarithm (0 · −∞ is NaN). Leave no other "
        "out: what comes and has no word, qᵢ = 0, costs ∞.",
    ],
    explanation="""
        $\\mathrm{CE}(p, q) = -\\sum_i p_i \\log_2 q_i$ is what you pay, $H(p)$ what the best code would cost, and
        $\\mathrm{KL}(p\\,\\Vert\\,q) = \\mathrm{CE} - H$ the excess. Where $p_i > 0$ and $q_i = 0$ both are $\\infty$:
        the code has no word for what comes. The library's `cross_entropy` and `kl_divergence` do it along the last axis
        of any shape, in nats or bits.
    """,
)


@ex.reference
def price_bits(p: Tensor, q: Tensor) -> tuple[float, float]:
    """CE(p, q) and KL(p‖q): bits a message on average, and those in excess; outcomes from p, the code of q."""
    comes = p > 0  # what never comes costs nothing; 0 · log 0 would be NaN
    p, q = p[comes], q[comes]
    price = -(p * q.log2()).sum()  # ∞ where something comes that has no word
    best_price = -(p * p.log2()).sum()
    return price.item(), (price - best_price).item()


def _of(*numbers: float) -> Tensor:
    # Not the default type: chapter 04 changes that on its page.
    return torch.tensor(numbers, dtype=torch.float64)


@ex.case("four outcomes, and the price of the other way round is another one")
def four_outcomes() -> tuple[Tensor, Tensor]:
    return _of(0.5, 0.25, 0.125, 0.125), _of(0.125, 0.5, 0.125, 0.25)


@ex.case("outcomes that never come, pᵢ = 0, one with a word and one without: they cost nothing")
def some_never_come() -> tuple[Tensor, Tensor]:
    return _of(0.75, 0, 0.25, 0), _of(0.5, 0.25, 0.25, 0)


@ex.case("the right code: no excess")
def the_right_code() -> tuple[Tensor, Tensor]:
    return _of(0.5, 0.25, 0.25), _of(0.5, 0.25, 0.25)


@ex.case("an outcome that comes and has no word, qᵢ = 0: both numbers are ∞")
def no_word() -> tuple[Tensor, Tensor]:
    return _of(0.5, 0.25, 0.25, 0), _of(0.5, 0.5, 0, 0)


@ex.inputs
def random_code(rng: np.random.Generator) -> tuple[Tensor, Tensor]:
    count = int(rng.integers(4, 9))
    p, q = (rng.permutation(np.arange(1, count + 1)) + rng.random(count) for _ in range(2))
    p[0] = q[0] = 0.0  # an outcome that neither comes nor has a word
    p[1] = 0.0  # one that has a word and never comes
    return torch.tensor(p / p.sum()), torch.tensor(q / q.sum())


def _bits(p: Tensor, q: Tensor, kept: Tensor | None = None) -> float:
    """−Σ p·log₂ q over the outcomes ``kept``, p > 0 unless told."""
    kept = p > 0 if kept is None else kept
    return -(p[kept] * q[kept].log2()).sum().item()


@ex.mistake("These are nats: you took the natural logarithm. Bits need log₂; 1 bit is ln 2 = 0.693 nats.")
def in_nats(p: Tensor, q: Tensor) -> tuple[float, float]:
    price, excess = price_bits(p, q)
    return price * math.log(2), excess * math.log(2)


@ex.mistake(
    "NaN: an outcome of probability 0 gives 0 · log 0, which a computer takes for 0 · (−∞). What never comes costs "
    "nothing: leave it out."
)
def nan_where_p_is_0(p: Tensor, q: Tensor) -> tuple[float, float]:
    return -(p * q.log2()).sum().item(), (p * (p / q).log2()).sum().item()


@ex.mistake(
    "NaN in the excess: where p is 0, p · log p is 0 · (−∞), and a code with a word for it does not help. What never "
    "comes costs nothing: leave it out of both numbers."
)
def nan_in_the_excess(p: Tensor, q: Tensor) -> tuple[float, float]:
    return _bits(p, q), (p * (p.log2() - q.log2())).sum().item()


@ex.mistake(
    "You left out all outcomes with qᵢ = 0. Something that comes and has no word is not free: it cannot be sent, and "
    "the price is ∞. Leave out only what never comes, pᵢ = 0."
)
def no_word_is_free(p: Tensor, q: Tensor) -> tuple[float, float]:
    kept = (p > 0) & (q > 0)
    return _bits(p, q, kept), _bits(p, q, kept) - _bits(p, p, kept)


@ex.mistake(
    "You left out all outcomes with qᵢ = 0 from the price, not from the entropy. Something that comes and has no word "
    "costs ∞; leave out what never comes, pᵢ = 0, and nothing else."
)
def no_word_is_free_in_the_price(p: Tensor, q: Tensor) -> tuple[float, float]:
    price = _bits(p, q, (p > 0) & (q > 0))
    return price, price - _bits(p, p)


@ex.mistake(
    "nan_to_num mends what was not broken as well: it turns the ∞ of an outcome that comes and has no word into a "
    "large number. Leave out what never comes (p > 0), and let ∞ be ∞."
)
def nan_to_num(p: Tensor, q: Tensor) -> tuple[float, float]:
    price = -(p * q.log2()).nan_to_num().sum()
    return price.item(), (price + (p * p.log2()).nan_to_num().sum()).item()


@ex.mistake(
    "+ 1e-8 gives everything a word: an outcome that comes and has none costs 26.6 bits in yours. It cannot be sent, "
    "and the price is ∞. Leave out what never comes (p > 0), and no ε is needed."
)
def small_number_added(p: Tensor, q: Tensor) -> tuple[float, float]:
    price = -(p * (q + 1e-8).log2()).sum()
    return price.item(), (price + (p * (p + 1e-8).log2()).sum()).item()


@ex.mistake(
    "clamp(1e-12) gives everything a word: an outcome that comes and has none costs 39.9 bits in yours. It cannot be "
    "sent, and the price is ∞. Leave out what never comes (p > 0), and no ε is needed."
)
def clamped(p: Tensor, q: Tensor) -> tuple[float, float]:
    price = -(p * q.clamp(1e-12).log2()).sum()
    return price.item(), (price + (p * p.clamp(1e-12).log2()).sum()).item()


@ex.mistake(
    "math.log2(0) raises an error, where the logarithm tends to −∞. An outcome that comes and has no word costs ∞: "
    'return float("inf"), or take torch.log2, which knows it.'
)
def plain_logarithm(p: Tensor, q: Tensor) -> tuple[float, float]:
    pairs = [(a, b) for a, b in zip(p.tolist(), q.tolist(), strict=True) if a > 0]
    return -sum(a * math.log2(b) for a, b in pairs), sum(a * math.log2(a / b) for a, b in pairs)


@ex.mistake(
    "You divided by qᵢ = 0. An outcome that comes and has no word costs ∞; with log p − log q instead of log(p/q) in "
    "torch it comes out by itself."
)
def plain_division(p: Tensor, q: Tensor) -> tuple[float, float]:
    pairs = [(a, b) for a, b in zip(p.tolist(), q.tolist(), strict=True) if a > 0]
    excess = sum(a * math.log2(a / b) for a, b in pairs)
    return excess + _bits(p, p), excess


@ex.mistake(
    "You swapped the arguments: outcomes come from p, so p weighs; the code is q's, so q stands in the logarithm."
)
def swapped(p: Tensor, q: Tensor) -> tuple[float, float]:
    return price_bits(q, p)


@ex.mistake("You swapped the arguments, over the outcomes with p > 0: p must weigh, and q stand in the logarithm.")
def swapped_over_what_comes(p: Tensor, q: Tensor) -> tuple[float, float]:
    kept = p > 0
    q = torch.where(kept, q, 0.0)
    return _bits(q, p), _bits(q, p) - _bits(q, q)


@ex.mistake("The excess is turned round: KL(p‖q) has p as its weight. You computed KL(q‖p).")
def excess_turned_round(p: Tensor, q: Tensor) -> tuple[float, float]:
    return _bits(p, q), price_bits(q, p)[1]


@ex.mistake("The two numbers are in the other order: first the mean price, then the excess.")
def excess_first(p: Tensor, q: Tensor) -> tuple[float, float]:
    price, excess = price_bits(p, q)
    return excess, price


@ex.mistake("The second number is the entropy of p, what the best code costs. The excess is what you pay beyond it.")
def entropy_second(p: Tensor, q: Tensor) -> tuple[float, float]:
    return _bits(p, q), _bits(p, p)


@ex.mistake("The first number is the entropy of p, what the best code costs. You pay the code of q.")
def entropy_first(p: Tensor, q: Tensor) -> tuple[float, float]:
    return _bits(p, p), price_bits(p, q)[1]


@ex.mistake("The first number is the excess alone. The message costs the entropy as well: CE = H + KL.")
def excess_twice(p: Tensor, q: Tensor) -> tuple[float, float]:
    excess = price_bits(p, q)[1]
    return excess, excess


@ex.mistake("The second number is the whole price again. The excess is what is left after the entropy of p.")
def price_twice(p: Tensor, q: Tensor) -> tuple[float, float]:
    price = _bits(p, q)
    return price, price


@ex.mistake("The sign: the logarithm of a probability is negative, a number of bits is not.")
def sign(p: Tensor, q: Tensor) -> tuple[float, float]:
    price, excess = price_bits(p, q)
    return -price, -excess


@ex.mistake("You subtracted the entropy of q. The best code for what comes from p costs the entropy of p.")
def less_the_entropy_of_q(p: Tensor, q: Tensor) -> tuple[float, float]:
    return _bits(p, q), _bits(p, q) - _bits(q, q)


@ex.mistake("You took the mean over the outcomes. The weights pᵢ make the mean already: sum.")
def mean_over_outcomes(p: Tensor, q: Tensor) -> tuple[float, float]:
    price, excess = price_bits(p, q)
    return price / len(p), excess / len(p)


@ex.mistake("You returned the mean price alone. Two numbers are asked for: the price, and what of it is in excess.")
def price_alone(p: Tensor, q: Tensor) -> float:
    return _bits(p, q)


@ex.mistake("You returned the excess alone. Two numbers are asked for: the mean price, and what of it is in excess.")
def excess_alone(p: Tensor, q: Tensor) -> float:
    return price_bits(p, q)[1]


@ex.alternative
def plain_python(p: Tensor, q: Tensor) -> tuple[float, float]:
    price = excess = 0.0
    for a, b in zip(p.tolist(), q.tolist(), strict=True):
        if a > 0:
            price += a * (-math.log2(b) if b else math.inf)
            excess += a * (math.log2(a / b) if b else math.inf)
    return price, excess


@ex.alternative
def in_numpy(p: Tensor, q: Tensor) -> np.ndarray:
    a, b = p.numpy(), q.numpy()
    with np.errstate(divide="ignore"):
        price = -np.sum(a * np.log2(b, out=np.zeros_like(b), where=a > 0))
        return np.array([price, price + np.sum(a * np.log2(a, out=np.zeros_like(a), where=a > 0))])


@ex.alternative
def xlogy_in_nats(p: Tensor, q: Tensor) -> Tensor:
    terms = torch.where(p > 0, torch.special.xlogy(p, q), 0.0), torch.special.xlogy(p, p)
    price, best = (-t.sum() / math.log(2) for t in terms)
    return torch.stack([price, price - best])


@ex.alternative
def single_precision(p: Tensor, q: Tensor) -> list[Tensor]:
    a, b = p.float(), q.float()
    excess = F.kl_div(b.log(), a, reduction="none")[a > 0].sum() / math.log(2)
    return [excess + torch.special.entr(a).sum() / math.log(2), excess]


@ex.alternative
def the_library(p: Tensor, q: Tensor) -> tuple[Tensor, Tensor]:
    return cross_entropy(p, q, unit="bits"), kl_divergence(p, q, unit="bits")
