"""07.3: the cubic schedule: many weights early, few at the end."""

from __future__ import annotations

import numpy as np
import torch

from course_lib.exercises.engine.exercise import Exercise

Question = tuple[int, float, float, int, int, int]

ex = Exercise(
    "07.3",
    "The cubic schedule",
    points=2,
    hints=[
        "How many of the n changes are over at this step? (step − first) // every, but never below 0 or above rounds.",
        "The fraction of the way is i / rounds. What is left of it, 1 − i / rounds, to the third power, is what is "
        "left of the distance between initial and target.",
        "target + (initial − target) · (1 − i / rounds)³ is initial at i = 0 and target at i = rounds.",
    ],
    explanation="""
        Equation 1 of Zhu and Gupta (2017). The slope at the beginning is three times that of a straight line, and 0 at
        the end: most weights go while many are left and the network has most of its training before it. The library's
        `cubic` makes the same curve as a table for `GradualPruning`.
    """,
)


@ex.reference
def cubic_fraction(step: int, initial: float, target: float, first: int, every: int, rounds: int) -> float:
    """The fraction removed at ``step``; it changes at first + every, …, first + rounds·every."""
    done = min(max((step - first) // every, 0), rounds)
    return target + (initial - target) * (1 - done / rounds) ** 3


@ex.case("halfway: 0.8 · (1 − ⅛) = 0.7")
def halfway() -> Question:
    return 4, 0.0, 0.8, 1, 3, 2


@ex.case("just before the first change")
def before_the_first_change() -> Question:
    return 3, 0.0, 0.8, 1, 3, 2


@ex.case("between two changes nothing changes")
def between() -> Question:
    return 27, 0.0, 0.9, 10, 5, 5


@ex.case("before the schedule begins it is initial")
def before() -> Question:
    return 2, 0.25, 0.9, 10, 4, 4


@ex.case("at the last change it is target")
def at_the_end() -> Question:
    return 26, 0.25, 0.9, 10, 4, 4


@ex.case("long after the end it is target")
def after() -> Question:
    return 1000, 0.25, 0.9, 10, 4, 4


@ex.case("a network that is pruned already: initial counts")
def initial_counts() -> Question:
    return 18, 0.5, 0.9, 10, 4, 4


@ex.inputs
def random_time(rng: np.random.Generator) -> Question:
    first, every, rounds = int(rng.integers(1, 9)), int(rng.integers(2, 6)), int(rng.integers(3, 7))
    step = first + int(rng.integers(1, rounds)) * every + int(rng.integers(0, every))
    return step, float(rng.choice([0.1, 0.2, 0.3])), float(rng.choice([0.8, 0.9, 0.95])), first, every, rounds


def _done(step: int, first: int, every: int, rounds: int) -> int:
    return min(max((step - first) // every, 0), rounds)


@ex.mistake("That is a straight line. What is left of the way is raised to the third power.")
def linear(step: int, initial: float, target: float, first: int, every: int, rounds: int) -> float:
    return target + (initial - target) * (1 - _done(step, first, every, rounds) / rounds)


@ex.mistake("You squared what is left of the way. The schedule is cubic: the third power.")
def squared(step: int, initial: float, target: float, first: int, every: int, rounds: int) -> float:
    return target + (initial - target) * (1 - _done(step, first, every, rounds) / rounds) ** 2


@ex.mistake(
    "You raised the way done to the third power: few weights go early and many at the end. Raise what is left, "
    "1 − i / rounds."
)
def slow_start(step: int, initial: float, target: float, first: int, every: int, rounds: int) -> float:
    return initial + (target - initial) * (_done(step, first, every, rounds) / rounds) ** 3


@ex.mistake("Your curve begins at 0. It begins at initial: the network may have been pruned before.")
def from_zero(step: int, initial: float, target: float, first: int, every: int, rounds: int) -> float:
    return cubic_fraction(step, 0.0, target, first, every, rounds)


@ex.mistake("initial and target have changed places: the fraction removed rises.")
def turned_round(step: int, initial: float, target: float, first: int, every: int, rounds: int) -> float:
    return cubic_fraction(step, target, initial, first, every, rounds)


@ex.mistake(
    "Your fraction also changes between the changes. It stands still for ``every`` steps, so that the network can "
    "recover: use // and not /."
)
def continuous(step: int, initial: float, target: float, first: int, every: int, rounds: int) -> float:
    done = min(max((step - first) / every, 0), rounds)
    return target + (initial - target) * (1 - done / rounds) ** 3


@ex.mistake(
    "Before the schedule begins, your curve runs backwards below initial: (step − first) // every is negative there. "
    "Cut it off at 0."
)
def no_lower_end(step: int, initial: float, target: float, first: int, every: int, rounds: int) -> float:
    return target + (initial - target) * (1 - min((step - first) // every, rounds) / rounds) ** 3


@ex.mistake("After the last change your curve goes on beyond target. Cut the number of changes off at rounds.")
def no_upper_end(step: int, initial: float, target: float, first: int, every: int, rounds: int) -> float:
    return target + (initial - target) * (1 - max((step - first) // every, 0) / rounds) ** 3


@ex.mistake("Your first change comes at ``first``. There the fraction is still initial: it changes ``every`` steps on.")
def one_early(step: int, initial: float, target: float, first: int, every: int, rounds: int) -> float:
    return cubic_fraction(step + every, initial, target, first, every, rounds)


@ex.mistake("You count from step 0. The schedule begins at ``first``.")
def first_forgotten(step: int, initial: float, target: float, first: int, every: int, rounds: int) -> float:
    return cubic_fraction(step, initial, target, 0, every, rounds)


@ex.mistake("You returned the fraction that is kept. Asked is the fraction removed.")
def kept(step: int, initial: float, target: float, first: int, every: int, rounds: int) -> float:
    return 1 - cubic_fraction(step, initial, target, first, every, rounds)


@ex.mistake("You returned per cent. A fraction lies between 0 and 1.")
def in_percent(step: int, initial: float, target: float, first: int, every: int, rounds: int) -> float:
    return 100 * cubic_fraction(step, initial, target, first, every, rounds)


@ex.alternative
def by_cases(step: int, initial: float, target: float, first: int, every: int, rounds: int) -> float:
    if step <= first:
        return initial
    if step >= first + rounds * every:
        return target
    left = 1 - ((step - first) // every) / rounds
    return initial * left**3 + target * (1 - left**3)


@ex.alternative
def with_numpy(step: int, initial: float, target: float, first: int, every: int, rounds: int) -> np.float32:
    done = np.clip(np.floor((step - first) / every), 0, rounds)
    return np.float32(target + (initial - target) * np.power(1 - done / rounds, 3))


@ex.alternative
def from_a_table(step: int, initial: float, target: float, first: int, every: int, rounds: int) -> torch.Tensor:
    table = target + (initial - target) * (1 - torch.arange(rounds + 1, dtype=torch.float64) / rounds) ** 3
    changes = first + every * torch.arange(1, rounds + 1)
    return table[int((changes <= step).sum())]
