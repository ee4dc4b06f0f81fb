"""How much where: the channels each group keeps so that the network costs at most a given fraction of what it did.

A rule is a *path*: allocations from the whole network down to the least that the ranking allows, each a step smaller
than the one before. A budget takes the first allocation on the path that meets it, so that a larger budget never keeps
fewer channels. The rules:

* **Proportional.** Group g loses the fraction t · appetite(g); t grows from 0. With equal appetites it is the uniform
  rule: the same fraction everywhere, the control that others must beat. Layers do not cost the same, nor suffer the
  same, and the uniform rule knows neither.
* **Greedy.** Each step takes, of all groups, the block of channels (down to the next count allowed) that costs the
  least for what it saves:

      price of a block = (loss after − loss before) / (cost before − cost after)

  Losses are numbers per group and count, from a measured curve (``Sensitivity.losses``) or from importances
  (``importance_losses``). They are read as if each group were pruned alone: the loss of two groups together is taken to
  be the sum. A block is never cheaper per channel than those removed before it in its group: a measured loss stops
  growing where the accuracy has reached chance, and what lies past the cliff would otherwise seem free.

Costs are any callable on counts (``predicted_macs``, a ``LatencyTable``); where a block saves nothing, as a latency
may not fall between two multiples of a vector's length, the block reaches down to the next count that saves.

He et al. 2018 (AMC, arXiv:1802.03494) learn the fractions by reinforcement; Yang et al. 2018 (NetAdapt,
arXiv:1804.03230) are greedy with a short fine-tuning and a measured table in each step.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping

import torch
from torch import Tensor

from course_lib.pruning.costs import Cost
from course_lib.pruning.ranking import Allocation, Ranking


def uniform_allocation(ranking: Ranking, cost: Cost, budget: float, *, multiple: int = 1) -> dict[str, int]:
    """The same fraction of every group removed, the smallest that meets the budget.

    Args:
        ranking: the groups and their sizes.
        cost: of an allocation.
        budget: the largest cost allowed, as a fraction of the whole network's, in (0, 1].
        multiple: a group that loses channels keeps a multiple of it; no group loses more than the fraction.
    Returns: a group's name → how many channels it keeps, for ``ranking.keep``.
    Raises: ValueError: the budget is outside (0, 1] or cannot be met (the message says what can), or multiple is
        below 1.

    >>> ranking = Ranking({"a": (0, 1, 2, 3), "b": (0, 1)}, {}, {"a": 1, "b": 1})
    >>> uniform_allocation(ranking, lambda counts: counts["a"] + 10 * counts["b"], 0.6)
    {'a': 2, 'b': 1}
    """
    appetites = dict.fromkeys(ranking.orders, 1.0)
    return first_within(proportional_path(ranking, appetites, multiple=multiple), cost, budget)


def greedy_allocation(
    ranking: Ranking, cost: Cost, losses: Mapping[str, Tensor], budget: float, *, multiple: int = 1
) -> dict[str, int]:
    """The blocks of channels removed whose loss for each unit of cost saved is smallest, until the budget is met.

    Args:
        ranking, cost, budget, multiple: as for ``uniform_allocation``.
        losses: a group's name → the loss when it keeps k channels and all others stay whole, (size + 1,), at k.
    Returns: a group's name → how many channels it keeps. Of equal prices the block that saves more is taken, then the
        group that is executed first: the same numbers always give the same allocation.
    Raises: ValueError: as ``uniform_allocation``; losses miss a ranked group, name another, or are not finite.

    >>> ranking = Ranking({"a": (0, 1, 2, 3), "b": (0, 1)}, {}, {"a": 1, "b": 1})
    >>> losses = {"a": torch.tensor([9.0, 3.0, 2.0, 1.0, 0.0]), "b": torch.tensor([9.0, 5.0, 0.0])}
    >>> cost = lambda counts: counts["a"] + 10 * counts["b"]  # a channel of b: loss 5 for 10 saved; of a: 1 for 1
    >>> greedy_allocation(ranking, cost, losses, 0.6)
    {'a': 4, 'b': 1}
    """
    return first_within(greedy_path(ranking, cost, losses, multiple=multiple), cost, budget)


def first_within(path: Iterable[Allocation], cost: Cost, budget: float) -> dict[str, int]:
    """The first allocation of a path that costs at most ``budget`` times what the path's first one does.

    Args:
        path: from the whole network downwards.
        cost, budget: as for ``uniform_allocation``.
    Raises: ValueError: the budget is outside (0, 1], a cost is not finite, or no allocation meets the budget; the
        message says the smallest fraction on the path.

    >>> first_within([{"a": 4}, {"a": 3}, {"a": 2}], lambda counts: counts["a"], 0.75)
    {'a': 3}
    """
    if not 0 < budget <= 1:
        raise ValueError(f"budget must be in (0, 1], a fraction of the whole network's cost, got {budget}")
    whole, least = None, math.inf
    for counts in path:
        found = cost(counts)
        whole = found if whole is None else whole
        if not math.isfinite(found) or not whole > 0:
            raise ValueError(f"a cost must be finite, and the whole network's positive, got {found} for {dict(counts)}")
        if found <= budget * whole:
            return dict(counts)
        least = min(least, found / whole)
    raise ValueError(f"budget {budget} cannot be met: the least that can be reached is {least:.4g}")


def proportional_path(
    ranking: Ranking, appetites: Mapping[str, float], *, multiple: int = 1
) -> Iterator[dict[str, int]]:
    """Allocations in which group g has lost the fraction t · appetites[g], rounded down, for growing t.

    Args:
        ranking, multiple: as for ``uniform_allocation``.
        appetites: a group's name → positive and finite; only their ratios matter. A group stops at its least count.
    Yields: the whole network, then one allocation for each t at which a count changes.
    Raises: ValueError: appetites miss a ranked group, name another, or are not positive and finite.

    >>> ranking = Ranking({"a": (0, 1, 2, 3), "b": (0, 1)}, {}, {"a": 1, "b": 1})
    >>> [tuple(counts.values()) for counts in proportional_path(ranking, {"a": 1, "b": 1})]
    [(4, 2), (3, 2), (2, 1), (1, 1)]
    """
    _require_groups(ranking, appetites, "appetites")
    if not all(0 < appetite < math.inf for appetite in appetites.values()):
        raise ValueError(f"appetites must be positive and finite, got {dict(appetites)}")
    counts = ranking.sizes
    changes: dict[float, list[tuple[str, int]]] = {}  # t → the groups that may go down to a rung, and the rung
    for name, size in ranking.sizes.items():
        for rung in ranking.rungs(name, multiple)[1:]:
            changes.setdefault((size - rung) / size / appetites[name], []).append((name, rung))
    yield dict(counts)
    for moment in sorted(changes):
        counts.update(changes[moment])
        yield dict(counts)


def greedy_path(
    ranking: Ranking, cost: Cost, losses: Mapping[str, Tensor], *, multiple: int = 1
) -> Iterator[dict[str, int]]:
    """The greedy rule's allocations, one block of channels after the other: see the module.

    Args: as for ``greedy_allocation``.
    Yields: the whole network, then one allocation a step, until no block saves anything.
    Raises: ValueError: losses miss a ranked group, name another, have another shape or are not finite.

    >>> ranking = Ranking({"a": (0, 1, 2), "b": (0, 1)}, {}, {"a": 1, "b": 1})
    >>> losses = {"a": torch.tensor([9.0, 4.0, 1.0, 0.0]), "b": torch.tensor([9.0, 2.0, 0.0])}
    >>> path = greedy_path(ranking, lambda counts: counts["a"] + counts["b"], losses)
    >>> [tuple(counts.values()) for counts in path]
    [(3, 2), (2, 2), (2, 1), (1, 1)]
    """
    _require_groups(ranking, losses, "losses")
    steep = {name: _steepening(name, losses[name], size) for name, size in ranking.sizes.items()}
    rungs = {name: ranking.rungs(name, multiple) for name in ranking.orders}
    counts = ranking.sizes
    while True:
        yield dict(counts)
        now = cost(counts)
        blocks = [_block(counts, now, name, rungs[name], steep[name], cost) for name in ranking.orders]
        found = [block for block in blocks if block is not None]
        if not found:
            return
        _, _, name, count = min(found, key=lambda block: block[:2])  # the first of equals
        counts[name] = count


def _block(
    counts: Allocation, now: float, name: str, rungs: tuple[int, ...], losses: list[float], cost: Cost
) -> tuple[float, float, str, int] | None:
    """(price, −saved, group, count) of the next block of a group that saves anything, or None."""
    for count in rungs:
        if count < counts[name]:
            saved = now - cost({**counts, name: count})
            if saved > 0:
                return (losses[count] - losses[counts[name]]) / saved, -saved, name, count
    return None


def _steepening(name: str, losses: Tensor, size: int) -> list[float]:
    """The losses at k = 0 … size, changed so that each channel costs at least as much as the one removed before it."""
    if losses.shape != (size + 1,) or not torch.isfinite(losses).all():
        raise ValueError(f"losses must be {size + 1} finite values for {name!r}, got {losses.tolist()}")
    drops = (losses[:-1] - losses[1:]).double().flip(0).clamp(min=0).cummax(0).values  # of the 1st, 2nd … removed
    return [*drops.cumsum(0).flip(0).tolist(), 0.0]


def _require_groups(ranking: Ranking, values: Mapping[str, object], what: str) -> None:
    if values.keys() != ranking.orders.keys():
        raise ValueError(f"{what} must name the groups {list(ranking.orders)}, got {list(values)}")
