"""When how much is removed: the fraction as a function of time, and its training in the one loop.

A ``Schedule`` is a table: from time steps[i] on, the fraction levels[i] is removed; before the first, ``initial``. It
is pure, so the fraction in force at a step depends on the step's number alone, and a training that was killed goes on
to the same weights. Time counts whatever the caller counts, epochs or steps, from 0.

* ``constant``: one fraction from the start.
* ``one_shot``: everything at once.
* ``iterative``: in n equal parts, of the *remaining* weights (each round removes the same share of what is left; 20 %
  a round in Frankle & Carbin 2019, arXiv:1803.03635) or of the *total* (each round removes the same number).
* ``cubic``: Zhu & Gupta 2017, arXiv:1710.01878, eq. 1, many weights early, while there are many, and few at the end:

      s_t = s_f + (s_i − s_f)·(1 − (t − t_0)/(n·Δt))³   for t in {t_0, t_0 + Δt, …, t_0 + n·Δt}

``GradualPruning`` lets ``fit`` follow a schedule. A change takes place *before* the first step of its time, so an
epoch is scored after it has trained at its fraction. What is removed stays removed: it is 0 and ranks last.

**Which epoch is chosen.** Validation may choose only among epochs that end at the schedule's target: the best of all
would be a denser one, and the caller would get less pruning than asked for.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal, get_args

import torch
from torch import nn

from course_lib.pruning.masks import Masks, Scope, Unit, enforce_, prunable
from course_lib.training import Constraint

Share = Literal["remaining", "total"]
"""Of what an iterative schedule removes equal parts."""
Time = Literal["epoch", "step"]
"""What a schedule counts."""


@dataclass(frozen=True)
class Schedule:
    """The fraction removed at each time: ``schedule(t)``.

    Args:
        initial: before the first change, in [0, 1).
        steps: the times of the changes, rising, ≥ 0.
        levels: the fraction from each of them on, in [0, 1), none lower than the one before.
    Raises: ValueError naming what is out of range or out of order.

    >>> schedule = Schedule(0.0, steps=(2, 4), levels=(0.5, 0.75))
    >>> [schedule(t) for t in range(6)]
    [0.0, 0.0, 0.5, 0.5, 0.75, 0.75]
    """

    initial: float
    steps: tuple[int, ...]
    levels: tuple[float, ...]

    def __post_init__(self) -> None:
        if len(self.steps) != len(self.levels):
            raise ValueError(f"steps and levels must be equally many, got {len(self.steps)} and {len(self.levels)}")
        for level in (self.initial, *self.levels):
            if not 0 <= level < 1:
                raise ValueError(f"a fraction removed must be in [0, 1), got {level}")
        if any(step < 0 for step in self.steps) or any(a >= b for a, b in pairwise(self.steps)):
            raise ValueError(f"steps must rise and be at least 0, got {self.steps}")
        if any(a > b for a, b in pairwise((self.initial, *self.levels))):
            raise ValueError(f"the fraction must not fall, got {(self.initial, *self.levels)}")

    def __call__(self, time: int) -> float:
        """The fraction in force at ``time``, ≥ 0."""
        reached = [level for step, level in zip(self.steps, self.levels, strict=True) if step <= time]
        return reached[-1] if reached else self.initial

    @property
    def target(self) -> float:
        """The last fraction, in [0, 1)."""
        return self.levels[-1] if self.levels else self.initial

    @property
    def last(self) -> int:
        """The time from which on nothing changes any more."""
        return self.steps[-1] if self.steps else 0


def constant(pruning_ratio: float) -> Schedule:
    """The same fraction at all times, in [0, 1).

    >>> constant(0.5)(0)
    0.5
    """
    return Schedule(pruning_ratio, (), ())


def one_shot(target: float, *, at: int) -> Schedule:
    """Nothing before time ``at``, the whole fraction ``target`` from then on.

    >>> [one_shot(0.9, at=2)(t) for t in (0, 1, 2, 3)]
    [0.0, 0.0, 0.9, 0.9]
    """
    return Schedule(0.0, (at,), (target,))


def iterative(target: float, *, rounds: int, first: int, every: int, of: Share, initial: float = 0.0) -> Schedule:
    """``target`` in equal rounds at first, first + every, …; the first round removes at once.

    Args:
        target, initial: fractions removed, in [0, 1).
        rounds: n ≥ 1.
        first: time of the first round, ≥ 0.
        every: time between rounds, ≥ 1.
        of: "remaining": 1 − s_i = (1 − initial)·((1 − target)/(1 − initial))^(i/n), each round removes the same share
            of what is left; "total": s_i = initial + (target − initial)·i/n, each removes the same number.
    Raises: ValueError naming the argument that is out of range.

    >>> [round(s, 3) for s in iterative(0.875, rounds=3, first=0, every=1, of="remaining").levels]
    [0.5, 0.75, 0.875]
    >>> [round(s, 3) for s in iterative(0.9, rounds=3, first=0, every=1, of="total").levels]
    [0.3, 0.6, 0.9]
    """
    _require_table(rounds, every, initial, target)
    if of not in get_args(Share):
        raise ValueError(f"of must be one of {get_args(Share)}, got {of!r}")
    levels = []
    for i in range(1, rounds):
        if of == "remaining":
            levels.append(1 - (1 - initial) * ((1 - target) / (1 - initial)) ** (i / rounds))
        else:
            levels.append(initial + (target - initial) * i / rounds)
    return Schedule(initial, tuple(first + every * i for i in range(rounds)), _ending(levels, initial, target))


def cubic(target: float, *, rounds: int, first: int, every: int, initial: float = 0.0) -> Schedule:
    """s_t = s_f + (s_i − s_f)·(1 − (t − t_0)/(n·Δt))³ at t = t_0, t_0 + Δt, …, t_0 + n·Δt, constant in between.

    Args:
        target: s_f, in [0, 1).
        rounds: n ≥ 1; the fraction changes n times, first at t_0 + Δt.
        first: t_0 ≥ 0, where it is still ``initial``.
        every: Δt ≥ 1.
        initial: s_i, in [0, 1).
    Raises: ValueError naming the argument that is out of range.
    Source: Zhu & Gupta 2017, arXiv:1710.01878, eq. 1.

    >>> schedule = cubic(0.8, rounds=2, first=1, every=3)
    >>> [round(schedule(t), 3) for t in (0, 1, 3, 4, 6, 7, 8)]
    [0.0, 0.0, 0.0, 0.7, 0.7, 0.8, 0.8]
    """
    _require_table(rounds, every, initial, target)
    levels = [target + (initial - target) * (1 - i / rounds) ** 3 for i in range(1, rounds)]
    steps = tuple(first + every * i for i in range(1, rounds + 1))
    return Schedule(initial, steps, _ending(levels, initial, target))


class GradualPruning(Constraint):
    """Prune by magnitude along a schedule while ``fit`` trains: ``fit(model, …, constraint=GradualPruning(…))``.

    At the start the network gets masks that remove nothing, unless it has some: those stay, and more is removed.

    Args:
        schedule: the fraction removed, in force from before the first step of its time.
        per: what the schedule counts, "epoch" or "step" (of the optimiser).
        scope: "layer": each tensor gives the fraction; "global": all together.
        unit: "weight" or "filter".
        names: of the parameters; by default all with more than one dimension.
    """

    def __init__(
        self, schedule: Schedule, *, per: Time, scope: Scope, unit: Unit = "weight", names: Sequence[str] | None = None
    ):
        for name, value, choices in (("per", per, Time), ("scope", scope, Scope), ("unit", unit, Unit)):
            if value not in get_args(choices):
                raise ValueError(f"{name} must be one of {get_args(choices)}, got {value!r}")
        self.schedule, self.per = schedule, per
        self.scope: Scope = scope
        self.unit: Unit = unit
        self.names = None if names is None else tuple(names)
        self._steps_per_time, self._in_force, self._digest = 1, math.nan, ""

    def start(self, model: nn.Module, epochs: int, steps_per_epoch: int) -> None:
        """Refuses, by a ValueError, a schedule that ends after the training, and masks of other tensors."""
        steps = steps_per_epoch if self.per == "epoch" else 1
        if self.schedule.last * steps >= epochs * steps_per_epoch:
            most = f"{epochs} epochs of {steps_per_epoch} steps"
            raise ValueError(f"the schedule's last change, at {self.per} {self.schedule.last}, is not within {most}")
        chosen, masks = prunable(model, self.names), Masks.of(model)
        if masks and list(masks) != list(chosen):
            raise ValueError(f"the model has masks of {', '.join(masks)}, which are not the parameters to prune")
        if not masks:
            masks = Masks({name: torch.ones_like(p, dtype=torch.bool) for name, p in chosen.items()})
            masks.apply_(model)
        # Not a number equals nothing: the first step sets its masks, also after a resume.
        self._steps_per_time, self._in_force, self._digest = steps, math.nan, masks.digest()

    def before_step(self, model: nn.Module, step: int) -> None:
        """Remove what the schedule says, at a change and at the first step of a process.

        To remove it again from a network that has been pruned to this fraction changes nothing: what is removed ranks
        last, and its number is the same.
        """
        level = self.schedule(step // self._steps_per_time)
        if level != self._in_force:
            masks = Masks.from_fraction(model, level, scope=self.scope, unit=self.unit, names=self.names)
            masks.apply_(model)
            self._in_force = level

    def enforce(self, model: nn.Module) -> None:
        """Zero what the masks remove."""
        enforce_(model)

    def may_be_chosen(self, step: int) -> bool:
        """Whether the target is in force at ``step``."""
        return self.schedule(step // self._steps_per_time) == self.schedule.target

    def identity(self) -> str:
        """The schedule, what it applies to, and the masks at the start."""
        return f"{self.schedule} per {self.per}, {self.scope} {self.unit} {self.names}, from masks {self._digest}"


def _require_table(rounds: int, every: int, initial: float, target: float) -> None:
    for name, value in (("rounds", rounds), ("every", every)):
        if value < 1:
            raise ValueError(f"{name} must be at least 1, got {value}")
    if not 0 <= initial <= target < 1:
        raise ValueError(f"initial and target must be fractions, 0 ≤ initial ≤ target < 1, got {initial} and {target}")


def _ending(levels: list[float], initial: float, target: float) -> tuple[float, ...]:
    """The levels and the target itself; rounding must not lead out of [initial, target]."""
    return (*(min(max(level, initial), target) for level in levels), target)
