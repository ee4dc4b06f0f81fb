"""What the drift study found: an arm's accuracies after each window, and how arms are compared.

The stream and the arms: ``course_lib.experiments.drift``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from course_lib.evaluation import Estimate, paired_seed_interval

CONDITIONS = ("day", "night", "rain")
"""In the order of the stream."""
ARMS = {
    "frozen": "frozen after pruning",
    "fixed": "trained, mask fixed",
    "rechosen": "trained, mask re-chosen",
    "fixed_replay": "mask fixed, replay",
    "rechosen_replay": "mask re-chosen, replay",
    "dense": "dense, trained",
    "dense_replay": "dense, replay",
}
"""Every arm's name and what tables and figures call it."""
DENSE_FROZEN = "dense_frozen"
"""The arm that nobody trains: the dense network as it was before the stream, see ``with_dense_frozen``."""
LABELS = {**ARMS, DENSE_FROZEN: "dense, frozen"}
"""What tables and figures call an arm."""


@dataclass(frozen=True)
class Row:
    """One arm at one time.

    Args:
        arm: one of ``ARMS``.
        seed: of order, views and buffer.
        window: how many windows it has passed.
        condition: of the last one; "day" before the first.
        accuracy: condition → fraction of the held-out images that are right.
        sparsity: the fraction of weights in kernels and matrices that is 0.
        moved: the fraction of the weights left that the mask of the first day had removed.
    """

    arm: str
    seed: int
    window: int
    condition: str
    accuracy: dict[str, float]
    sparsity: float
    moved: float


def with_dense_frozen(rows: Sequence[Row]) -> list[Row]:
    """The rows, and those of the arm ``DENSE_FROZEN``: after each window it is what "dense" was before the first.

    Raises: ValueError: "dense" has no row before the first window.
    """
    dense = [row for row in rows if row.arm == "dense"]
    start = {row.seed: row.accuracy for row in dense if not row.window}
    if not start:
        raise ValueError('the rows hold no arm "dense" before the first window')
    return [*rows, *(replace(row, arm=DENSE_FROZEN, accuracy=start[row.seed]) for row in dense)]


def lost_between(rows: Sequence[Row], arm: str, condition: str, first: int, last: int) -> float:
    """Points of accuracy in ``condition`` that an arm lost between two windows, mean over seeds.

    Raises: ValueError: the arm has no rows of these windows.
    """
    found = {w: [100 * r.accuracy[condition] for r in rows if (r.arm, r.window) == (arm, w)] for w in (first, last)}
    if not all(found.values()):
        raise ValueError(f"no rows of {arm!r} after the windows {first} and {last}")
    return float(np.mean(found[first]) - np.mean(found[last]))


def difference(
    rows: Sequence[Row], arm: str, control: str, conditions: Sequence[str], *, along: bool, level: float = 0.95
) -> Estimate:
    """Points arm − control, paired by seed, with a t-interval over the seeds.

    Args:
        conditions: whose accuracies are averaged.
        along: each window scored in its own condition, all of them; else all conditions after the last window.
        level: of the interval, in (0, 1); among k comparisons 1 − 0.05/k.
    """
    found = {name: scores(rows, name, conditions, along=along) for name in (arm, control)}
    return paired_seed_interval(found[arm], found[control], level)


def scores(rows: Sequence[Row], arm: str, conditions: Sequence[str], *, along: bool) -> dict[int, float]:
    """Seed → mean accuracy; arguments as in ``difference``."""
    own = [row for row in rows if row.arm == arm]
    last = max(row.window for row in own)
    found: dict[int, list[float]] = {}
    for row in own:
        if along and row.window and row.condition in conditions:
            found.setdefault(row.seed, []).append(row.accuracy[row.condition])
        elif not along and row.window == last:
            found.setdefault(row.seed, []).extend(row.accuracy[condition] for condition in conditions)
    return {seed: float(np.mean(values)) for seed, values in found.items()}
