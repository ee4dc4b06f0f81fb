"""Which channels stay: an importance for each channel of a group, and a ratio, give the channels to keep.

An importance judges a *group*'s channels, since they go together: a filter may be weak in one layer of a residual stage
and strong in the next. ``importance.norms`` is the plainest, the norm of all filters that make the channel.

Two scopes. "layer" removes the same fraction of every group, whatever its scale. "global" ranks the channels of all
groups in one list and lets the fractions differ; that asks for an importance whose values can be compared between
groups, which a norm, larger in layers with larger kernels, is not.
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import nn

from course_lib.pruning.groups import DependencyGraph
from course_lib.pruning.importance import Importance
from course_lib.pruning.ranking import Ranking, rank_channels


def choose(
    graph: DependencyGraph,
    model: nn.Module,
    importance: Importance,
    pruning_ratio: float,
    *,
    scope: Literal["layer", "global"],
    multiple: int = 1,
    minimum: int = 1,
) -> dict[str, tuple[int, ...]]:
    """The channels of each prunable group to keep, for ``cut``: those of the highest importance.

    Args:
        graph, model: ``dependency_graph(model, …)`` and its network.
        importance: of the channels of one group; of equal values the channel of lower position is kept.
        pruning_ratio: the fraction of the prunable channels to remove, in [0, 1).
        scope: "layer": of every group; "global": of all groups together, by one ranking.
        multiple: a group that loses channels keeps a multiple of it, the nearest, and at least one.
        minimum: every layer of a group keeps so many of its channels, or all if it has fewer, whatever ratio and
            multiple say.
    Returns: a group's name → the channels kept, ascending; every prunable group is named.
    Raises: ValueError: pruning_ratio, scope, multiple or minimum is out of range, or an importance has another shape
        or is not finite.

    >>> from course_lib.pruning import dependency_graph, norms
    >>> net = nn.Sequential(nn.Conv2d(1, 3, 1, bias=False), nn.Flatten(), nn.Linear(3, 2))
    >>> _ = net[0].weight.data.copy_(torch.tensor([3.0, 1.0, -4.0]).view(3, 1, 1, 1))
    >>> choose(dependency_graph(net, torch.zeros(1, 1, 1, 1)), net, norms(2), 0.34, scope="layer")
    {'0': (0, 2)}
    """
    _check(pruning_ratio, scope, multiple, minimum)
    ranking = rank_channels(model, graph, importance, minimum=minimum)
    counts = {}
    for (name, size), left in zip(ranking.sizes.items(), _counts(ranking, pruning_ratio, scope), strict=True):
        count = left if left == size else min(size, max(minimum, multiple, multiple * round(left / multiple)))
        counts[name] = max(round(count), ranking.least[name])
    return ranking.keep(counts)


def _counts(ranking: Ranking, pruning_ratio: float, scope: str) -> list[float]:
    """How many channels of each group the ratio leaves, before they are rounded."""
    # Rounded: 1 − 0.95 is 0.050000000000000044, which would move a count that lies half-way between two multiples.
    left, sizes = round(1 - pruning_ratio, 12), list(ranking.sizes.values())
    if scope == "layer" or not sizes:
        return [left * size for size in sizes]
    owners = torch.arange(len(sizes)).repeat_interleave(torch.tensor(sizes))
    order = torch.cat(list(ranking.scores.values())).argsort(descending=True, stable=True)
    survivors = owners[order[: round(left * sum(sizes))]]
    return [float(count) for count in torch.bincount(survivors, minlength=len(sizes))]


def _check(pruning_ratio: float, scope: str, multiple: int, minimum: int) -> None:
    if not 0 <= pruning_ratio < 1:
        raise ValueError(f"pruning_ratio must be in [0, 1), got {pruning_ratio}")
    if scope not in ("layer", "global"):
        raise ValueError(f'scope must be "layer" or "global", got {scope!r}')
    if multiple < 1 or minimum < 1:
        raise ValueError(f"multiple and minimum must be at least 1, got {multiple} and {minimum}")
