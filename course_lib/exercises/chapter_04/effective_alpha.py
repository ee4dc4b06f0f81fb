"""04.5: the α that is left when the soft term was divided by C·T²."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import torch

from course_lib.exercises.engine.exercise import Exercise

ex = Exercise(
    "04.5",
    "The α you get",
    points=2,
    trials=8,  # the fixed cases alone reject every planted mistake
    hints=[
        "By which factor is the soft term too small if it is divided by C, and if T² is forgotten?",
        "Weights α/(C·T²) and 1 − α. They do not sum to 1: divide by their sum.",
    ],
    explanation="""
        $\\alpha' = \\frac{\\alpha}{\\alpha + (1-\\alpha)\\,C\\,T^2}$. At $C = 43$, $T = 4$ an $\\alpha$ of 0.9 becomes
        0.013: the run is called distillation and is training on labels.
    """,
)


@ex.reference
def effective_alpha(alpha: float, classes: int, temperature: float) -> float:
    """The soft term's share if reduction="mean" was used and T² forgotten."""
    # The soft term is α·KL/C instead of α·T²·KL: 1/(C·T²) of what it should be. The hard term keeps 1 − α.
    soft = alpha / (classes * temperature**2)
    return soft / (soft + 1 - alpha)


@ex.case("the page's numbers: of 0.9 there is left 0.013")
def of_the_page() -> tuple[float, int, float]:
    return 0.9, 43, 4.0


@ex.case("T = 1: only the division by C is left")
def no_temperature() -> tuple[float, int, float]:
    return 0.5, 43, 1.0


@ex.case("one class and T = 1: nothing went wrong, α is α")
def nothing_went_wrong() -> tuple[float, int, float]:
    return 0.7, 1, 1.0


@ex.case("α = 1: there is no other term, the share is 1")
def no_hard_term() -> tuple[float, int, float]:
    return 1.0, 43, 4.0


@ex.case("α = 0: there is no soft term, the share is 0")
def no_soft_term() -> tuple[float, int, float]:
    return 0.0, 43, 4.0


@ex.inputs
def random_run(rng: np.random.Generator) -> tuple[float, int, float]:
    return float(rng.choice([0.3, 0.4, 0.6, 0.7, 0.8, 0.95])), int(rng.integers(5, 100)), float(rng.integers(3, 17)) / 2


@ex.mistake("That is the soft term's weight, not its share: the hard term kept 1 − α, so divide by the sum of both.")
def weight_alone(alpha: float, classes: int, temperature: float) -> float:
    return alpha / (classes * temperature**2)


@ex.mistake(
    "That is the ratio of both terms, soft to hard. A share is a part of the whole: divide by the sum of both weights."
)
def ratio_of_both(alpha: float, classes: int, temperature: float) -> float:
    return alpha / (classes * temperature**2) / (1 - alpha)


@ex.mistake(
    "T² has no effect in yours: it is forgotten, or both terms were divided by it. Only the soft term lost its T²: it "
    "is T² times too small."
)
def no_t_squared(alpha: float, classes: int, temperature: float) -> float:
    return effective_alpha(alpha, classes, 1.0)


@ex.mistake(
    "C has no effect in yours: it is forgotten, or both terms were divided by it. reduction='mean' of F.kl_div divides "
    "the soft term alone by C; F.cross_entropy's mean divides by the batch only."
)
def no_division_by_c(alpha: float, classes: int, temperature: float) -> float:
    return effective_alpha(alpha, 1, temperature)


@ex.mistake("Both terms were divided by C·T² in yours, and nothing changed. Only the soft one was computed wrongly.")
def both_divided(alpha: float, classes: int, temperature: float) -> float:
    return alpha


@ex.mistake("You took T for T²: the factor that is missing in the loss is T².")
def t_for_t_squared(alpha: float, classes: int, temperature: float) -> float:
    return effective_alpha(alpha, classes, temperature**0.5)


@ex.mistake("You squared C as well: 'mean' divides by C once. D = C·T².")
def c_squared(alpha: float, classes: int, temperature: float) -> float:
    return effective_alpha(alpha, classes**2, temperature)


@ex.mistake(
    "You multiplied by T², as alpha / classes * temperature**2 does: Python works from left to right. Without T² the "
    "soft term is T² times too small: alpha / (classes * temperature**2)."
)
def times_t_squared(alpha: float, classes: int, temperature: float) -> float:
    return effective_alpha(alpha, classes, 1 / temperature)


@ex.mistake(
    "You multiplied the soft term by C·T², or divided the hard one. Both mistakes make the soft term smaller: divide "
    "it by C·T², and leave the hard one at 1 − α."
)
def times_both(alpha: float, classes: int, temperature: float) -> float:
    soft = alpha * classes * temperature**2
    return soft / (soft + 1 - alpha)


@ex.mistake("You added C and T². One divides after the other: D = C·T².")
def c_plus_t_squared(alpha: float, classes: int, temperature: float) -> float:
    soft = alpha / (classes + temperature**2)
    return soft / (soft + 1 - alpha)


@ex.mistake(
    "alpha / classes * temperature**2 multiplies by T²: Python works from left to right. And it is a weight, no share: "
    "divide alpha / (classes * temperature**2) by the sum of both weights."
)
def weight_with_precedence(alpha: float, classes: int, temperature: float) -> float:
    return alpha / classes * temperature**2


@ex.mistake("soft / soft + 1 − alpha is 1 + 1 − alpha: Python divides before it adds. Write soft / (soft + 1 − alpha).")
def sum_not_in_brackets(alpha: float, classes: int, temperature: float) -> float:
    soft = alpha / (classes * temperature**2)
    return soft / soft + 1 - alpha


@ex.mistake("The sum has 1 in place of 1 − α: the hard term's weight is 1 − α.")
def hard_weight_one(alpha: float, classes: int, temperature: float) -> float:
    soft = alpha / (classes * temperature**2)
    return soft / (soft + 1)


@ex.mistake("That is the hard term's share. α belongs to the soft term.")
def share_of_the_hard_term(alpha: float, classes: int, temperature: float) -> float:
    return 1 - effective_alpha(alpha, classes, temperature)


@ex.mistake("α and 1 − α have changed places: α is the soft term's weight.")
def alpha_of_the_hard_term(alpha: float, classes: int, temperature: float) -> float:
    return effective_alpha(1 - alpha, classes, temperature)


@ex.mistake("That is a percentage. A share lies between 0 and 1, as α does.")
def percent(alpha: float, classes: int, temperature: float) -> float:
    return 100 * effective_alpha(alpha, classes, temperature)


@ex.alternative
def multiplied_out(alpha: float, classes: int, temperature: float) -> float:
    return alpha / (alpha + (1 - alpha) * classes * temperature * temperature)


@ex.alternative
def weights_in_numpy(alpha: float, classes: int, temperature: float) -> np.floating:
    weights = np.array([alpha, 1 - alpha]) / [classes * temperature**2, 1]
    return (weights / weights.sum())[0]


@ex.alternative
def single_precision(alpha: float, classes: int, temperature: float) -> torch.Tensor:
    soft = torch.tensor(alpha, dtype=torch.float32) / classes / temperature / temperature
    return soft / (soft + 1 - alpha)


@ex.alternative
def in_fractions(alpha: float, classes: int, temperature: float) -> Fraction:
    soft = Fraction(alpha) / (classes * Fraction(temperature) ** 2)
    return soft / (soft + 1 - Fraction(alpha))
