"""An allocation says how many channels each group keeps; a ranking says which.

Budgets and searches ask for thousands of allocations, and an importance gives each group's channels one order. So the
importance is asked once, and everything after works on counts: ``{"features.0.0": 24, …}``. The channels of a smaller
count are among those of a larger one.

The order is that of the scores, but for channels without which a layer of the group would be left empty (a group that
several layers feed through a concatenation): those stand first, whatever their scores.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from course_lib.pruning.groups import DependencyGraph, Group
from course_lib.pruning.importance import Importance

Allocation = Mapping[str, int]
"""A group's name → how many of its channels are kept; a group that is not named keeps all."""


@dataclass(frozen=True, eq=False)
class Ranking:
    """The channels of each group in the order in which they are kept.

    Args:
        orders: a group's name → its channels, the one kept longest first.
        scores: a group's name → the importance of its channels, (size,), by position.
        least: a group's name → the fewest channels it can keep.
    """

    orders: Mapping[str, tuple[int, ...]]
    scores: Mapping[str, Tensor]
    least: Mapping[str, int]

    @property
    def sizes(self) -> dict[str, int]:
        """A group's name → its number of channels: the allocation that removes nothing."""
        return {name: len(order) for name, order in self.orders.items()}

    def keep(self, counts: Allocation) -> dict[str, tuple[int, ...]]:
        """The channels that an allocation keeps, ascending, of every ranked group: what ``cut`` takes.

        Raises: ValueError: see ``require``.
        """
        self.require(counts)
        return {name: tuple(sorted(order[: counts.get(name)])) for name, order in self.orders.items()}

    def rungs(self, name: str, multiple: int = 1) -> tuple[int, ...]:
        """The counts that a group may have, descending: all of its channels, then multiples of ``multiple``.

        Kernels work on whole vectors of channels: a count between two multiples costs as much as the upper one.

        Raises: ValueError: multiple is below 1.

        >>> Ranking({"a": (1, 0, 4, 2, 3)}, {"a": torch.zeros(5)}, {"a": 2}).rungs("a", 2)
        (5, 4, 2)
        """
        if multiple < 1:
            raise ValueError(f"multiple must be at least 1, got {multiple}")
        size, least = len(self.orders[name]), self.least[name]
        below = range(multiple * ((size - 1) // multiple), least - 1, -multiple)
        return (size, *(count for count in below if count >= max(1, least)))

    def require(self, counts: Allocation) -> None:
        """Refuse what is no allocation.

        Raises: ValueError naming the group: it is not ranked, or its count is out of range.
        """
        for name, count in counts.items():
            if name not in self.orders:
                raise ValueError(f"no group {name!r} is ranked; ranked are {list(self.orders)}")
            if not self.least[name] <= count <= len(self.orders[name]):
                raise ValueError(f"{name!r} can keep {self.least[name]} to {len(self.orders[name])}, got {count}")


def rank_channels(
    model: nn.Module,
    graph: DependencyGraph,
    importance: Importance,
    *,
    groups: Iterable[str] | None = None,
    minimum: int = 1,
) -> Ranking:
    """Ask an importance once for every group.

    Args:
        model, graph: the network, which stays as it is, and ``dependency_graph(model, …)``.
        importance: of the channels of one group; of equal values the channel of lower position comes first.
        groups: names of those that may lose channels; by default all that are prunable.
        minimum: every layer of a group keeps so many of its channels, or all if it has fewer.
    Raises: ValueError: a group is unknown, named twice or not prunable, minimum is below 1, or an importance has
        another shape or is not finite.

    >>> from course_lib.pruning import dependency_graph, norms
    >>> net = nn.Sequential(nn.Conv2d(1, 3, 1, bias=False), nn.Flatten(), nn.Linear(3, 2))
    >>> _ = net[0].weight.data.copy_(torch.tensor([3.0, 1.0, -4.0]).view(3, 1, 1, 1))
    >>> ranking = rank_channels(net, dependency_graph(net, torch.zeros(1, 1, 1, 1)), norms(2))
    >>> ranking.orders, ranking.keep({"0": 2})
    ({'0': (2, 0, 1)}, {'0': (0, 2)})
    """
    if minimum < 1:
        raise ValueError(f"minimum must be at least 1, got {minimum}")
    orders: dict[str, tuple[int, ...]] = {}
    scores: dict[str, Tensor] = {}
    least: dict[str, int] = {}
    for group in _chosen(graph, groups):
        found = importance(group, model).detach().cpu().double()
        if found.shape != (group.size,) or not torch.isfinite(found).all():
            got = f"shape {list(found.shape)}" if found.shape != (group.size,) else f"{found.tolist()}"
            raise ValueError(f"importance must give {group.size} finite values for {group.name!r}, got {got}")
        order = found.argsort(descending=True, stable=True).tolist()
        held = {c for m in group.members for c in itertools.islice((c for c in order if m.indices[c]), minimum)}
        orders[group.name] = (*(c for c in order if c in held), *(c for c in order if c not in held))
        scores[group.name], least[group.name] = found, max(1, len(held))
    return Ranking(orders, scores, least)


def importance_losses(ranking: Ranking) -> dict[str, Tensor]:
    """What each group loses by keeping only k channels, as the sum of the importances removed: (size + 1,), at k.

    It suits importances that estimate the loss itself and are comparable between groups (``taylor``, ``curvature``).

    >>> order, scores = {"a": (1, 0)}, {"a": torch.tensor([0.5, 2.0])}
    >>> importance_losses(Ranking(order, scores, {"a": 1}))
    {'a': tensor([2.5000, 0.5000, 0.0000])}
    """
    losses = {}
    for name, order in ranking.orders.items():
        removed_last_first = ranking.scores[name][list(order)].flip(0).cumsum(0).flip(0)
        losses[name] = torch.cat([removed_last_first, removed_last_first.new_zeros(1)])
    return losses


def _chosen(graph: DependencyGraph, names: Iterable[str] | None) -> list[Group]:
    if names is None:
        return [group for group in graph.groups if group.prunable]
    asked = list(names)
    found = [graph[name] for name in asked]
    for group in found:
        if not group.prunable:
            raise ValueError(f"the group {group.name!r} cannot be cut: {group.reason}")
    if len(set(asked)) < len(asked):
        raise ValueError(f"groups must be named once, got {asked}")
    return [group for group in graph.groups if group.name in asked]
