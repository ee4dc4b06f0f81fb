"""Search for the fractions to remove from each group, under a budget, by trying: Optuna proposes, validation judges.

A trial is an *appetite* for each group, in [0.05, 1]: the proportional rule (``proportional_path``) removes channels in
these proportions until the budget is met. So every trial meets it, and none is spent on networks that are too large;
equal appetites are the uniform rule, and they are the first trial: what is found is at least as good on validation.

A trial's score is the mean over parts of the validation set. After each part the mean so far is reported, and a trial
whose best mean so far lies below the median of the others' means at that part is given up (the median rule of Golovin
et al. 2017, "Google Vizier"). The proposals come from the tree-structured Parzen estimator (Bergstra et al. 2011).
Sampler, pruner and seed are named here: Optuna's defaults change between versions.

The best of many trials on one validation set looks better than it is, the more trials the better (see
``evaluation.expected_maximum``). Report another part.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, cast

from torch import nn

from course_lib.errors import CourseError
from course_lib.pruning.allocation import first_within, proportional_path
from course_lib.pruning.costs import Cost
from course_lib.pruning.cutting import cut
from course_lib.pruning.groups import DependencyGraph
from course_lib.pruning.progress import shown
from course_lib.pruning.ranking import Ranking
from course_lib.pruning.sensitivities import Score

LEAST_APPETITE = 0.05
"""A group of the smallest appetite loses a twentieth of what one of the largest loses."""
WARM_UP = 5
"""Trials that are always scored on all parts, before the median rule is applied."""


@dataclass(frozen=True)
class SearchTrial:
    """One allocation that was tried.

    Args:
        number: in the order of trials, from 0; 0 is the uniform rule.
        counts: a group's name → how many channels it keeps.
        cost: of the allocation, in the cost's unit.
        scores: of the parts that were scored, in their order.
        given_up: whether the median rule stopped it before the last part.
    """

    number: int
    counts: dict[str, int]
    cost: float
    scores: tuple[float, ...]
    given_up: bool

    @property
    def score(self) -> float:
        """The mean over the parts that were scored."""
        return math.fsum(self.scores) / len(self.scores)


@dataclass(frozen=True)
class SearchResult:
    """All allocations that were tried.

    Args:
        trials: in their order.
    """

    trials: tuple[SearchTrial, ...]

    @property
    def best(self) -> SearchTrial:
        """The trial of the highest score among those not given up; of equals the first."""
        return max((trial for trial in self.trials if not trial.given_up), key=lambda trial: trial.score)


def search_allocation(
    model: nn.Module,
    graph: DependencyGraph,
    ranking: Ranking,
    cost: Cost,
    budget: float,
    parts: Sequence[Score],
    *,
    trials: int,
    seed: int,
    multiple: int = 1,
    progress: bool = False,
) -> SearchResult:
    """Try allocations that meet the budget, and return the history, the best one named.

    Args:
        model, graph, ranking: the network, which stays as it is, its graph and ``rank_channels(model, graph, …)``.
        cost, budget, multiple: as for ``uniform_allocation``.
        parts: a score on each of some equal parts of the validation set, in the order in which they are asked. Each
            gets the trial's cut network, which the first may change (re-estimate statistics) for the others.
        trials: how many, at least 1; the first is the uniform rule.
        seed: decides all proposals. The same seed, network and scores give the same history.
        progress: show a bar.
    Raises: CourseError: Optuna is not installed. ValueError: there are no parts or trials, the budget cannot be met, or
        a score is not finite.
    """
    if not parts or trials < 1:
        raise ValueError(f"parts and trials must be at least 1, got {len(parts)} and {trials}")
    study, given_up = _study(seed)
    study.enqueue_trial(dict.fromkeys(ranking.orders, 1.0))
    history: list[SearchTrial] = []
    for number in shown(range(trials), trials, "trial", progress):
        asked = study.ask()
        appetites = {name: asked.suggest_float(name, LEAST_APPETITE, 1.0) for name in ranking.orders}
        counts = first_within(proportional_path(ranking, appetites, multiple=multiple), cost, budget)
        scores = _scores(asked, cut(model, graph, ranking.keep(counts)), parts)
        trial = SearchTrial(number, counts, cost(counts), scores, given_up=len(scores) < len(parts))
        study.tell(asked, None if trial.given_up else trial.score, given_up if trial.given_up else None)
        history.append(trial)
    return SearchResult(tuple(history))


class _Asked(Protocol):
    """What is used of ``optuna.Trial``."""

    def suggest_float(self, name: str, low: float, high: float) -> float: ...

    def report(self, value: float, step: int) -> None: ...

    def should_prune(self) -> bool: ...


class _Study(Protocol):
    """What is used of ``optuna.Study``."""

    def enqueue_trial(self, params: dict[str, float]) -> None: ...

    def ask(self) -> _Asked: ...

    def tell(self, trial: _Asked, values: float | None, state: object) -> object: ...


def _study(seed: int) -> tuple[_Study, object]:
    """A study in memory, and the state by which it is told that a trial was given up."""
    try:
        import optuna  # pyright: ignore[reportMissingImports]
    except ImportError as error:
        raise CourseError("Optuna is not installed", mend='pip install -e ".[search]"') from error

    sampler = optuna.samplers.TPESampler(seed=seed, multivariate=True, n_startup_trials=2 * WARM_UP)
    pruner = optuna.pruners.MedianPruner(n_startup_trials=WARM_UP)
    verbosity = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.WARNING)  # it logs that there is a study
    try:
        study = optuna.create_study(direction="maximize", sampler=sampler, pruner=pruner)
    finally:
        optuna.logging.set_verbosity(verbosity)
    return cast(_Study, study), optuna.trial.TrialState.PRUNED


def _scores(asked: _Asked, network: nn.Module, parts: Sequence[Score]) -> tuple[float, ...]:
    """The scores of the parts, up to the one at which the median rule gives the network up."""
    scores: list[float] = []
    for number, part in enumerate(parts):
        score = float(part(network))
        if not math.isfinite(score):
            raise ValueError(f"a score must be finite, got {score} on part {number}")
        scores.append(score)
        asked.report(math.fsum(scores) / len(scores), number)
        if len(scores) < len(parts) and asked.should_prune():
            break
    return tuple(scores)
