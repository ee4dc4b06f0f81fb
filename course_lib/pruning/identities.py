"""Which positions hold the same channel: one number for each, and the sets that operators unite them into.

Every position on an axis that layers cut has an id. An operator that adds two tensors says that the channels at equal
positions are one: their ids are *united* (a union-find forest, Tarjan 1975). An operator that fixes a channel, such as
the network's output, *protects* its id, with a reason. Both only ever make sets coarser, so the order in which
operators are visited does not matter, and what was found once stays true.
"""

from __future__ import annotations

import torch
from torch import Tensor

from course_lib.pruning.groups import Role


class Identities:
    """Ids of channels, the sets they were united into, and where they stand.

    Attributes:
        axes: (tensor's name, axis) → the ids of its positions, and its role.
        widths: (module's name, attribute) → the ids that the attribute counts, such as ``in_channels``.
        sources: what makes channels (a layer, an input, a parameter) → their ids, in the order of execution.
    """

    def __init__(self) -> None:
        self.axes: dict[tuple[str, int], tuple[Tensor, Role]] = {}
        self.widths: dict[tuple[str, str], Tensor] = {}
        self.sources: dict[str, Tensor] = {}
        self._parents: list[int] = []
        self._reasons: dict[int, str] = {}

    def fresh(self, count: int) -> Tensor:
        """``count`` ids that were never used: (count,), int64."""
        start = len(self._parents)
        self._parents.extend(range(start, start + count))
        return torch.arange(start, start + count)

    def source(self, name: str, count: int) -> Tensor:
        """The ids that ``name`` makes, (count,): the same ones however often it is asked."""
        if name not in self.sources:
            self.sources[name] = self.fresh(count)
        return self.sources[name]

    def attach(self, tensor: str, axis: int, role: Role, ids: Tensor) -> None:
        """State that the positions of ``tensor`` on ``axis`` hold the channels ``ids``, (size of the axis,)."""
        self.unite(self.axes.setdefault((tensor, axis), (ids, role))[0], ids)

    def count(self, module: str, attribute: str, ids: Tensor) -> None:
        """State that an attribute of ``module`` counts the channels ``ids``."""
        self.unite(self.widths.setdefault((module, attribute), ids), ids)

    def unite(self, first: Tensor, second: Tensor) -> None:
        """Make the ids at equal positions of two tensors, broadcast to one shape, one channel."""
        first, second = _without_repeats(*torch.broadcast_tensors(first, second))
        apart = first != second
        pairs = torch.unique(first[apart] * len(self._parents) + second[apart])
        for pair in pairs.tolist():
            a, b = map(self._root, divmod(pair, len(self._parents)))
            self._parents[max(a, b)] = min(a, b)

    def protect(self, ids: Tensor, reason: str) -> None:
        """State that no channel of ``ids`` can be removed; the first reason given stays."""
        for number in _distinct(ids).tolist():
            self._reasons.setdefault(number, reason)

    def reasons(self) -> dict[int, str]:
        """Root of each set that holds a protected id → the reason first given."""
        found: dict[int, str] = {}
        for number, reason in self._reasons.items():
            found.setdefault(self._root(number), reason)
        return found

    def roots(self, ids: Tensor) -> Tensor:
        """The smallest id of each id's set, in the shape of ``ids``: equal for ids of one channel."""
        distinct, positions = torch.unique(ids, return_inverse=True)
        return torch.tensor([self._root(number) for number in distinct.tolist()], dtype=torch.int64)[positions]

    def all_roots(self) -> Tensor:
        """``roots`` of every id that was ever made, in order: (ids,), for whoever asks about many."""
        return torch.tensor([self._root(number) for number in range(len(self._parents))], dtype=torch.int64)

    def varies(self, ids: Tensor, dim: int) -> bool:
        """Whether different channels stand along ``dim``."""
        (ids,) = _without_repeats(ids)
        if ids.shape[dim] == 1:
            return False
        roots = self.roots(ids)
        return bool((roots != roots.narrow(dim, 0, 1)).any())

    def along(self, ids: Tensor, dim: int) -> Tensor:
        """The id of each position on ``dim``, (size,), once those that stand side by side on it are united."""
        lines = ids.movedim(dim, -1)
        line = lines[(0,) * (ids.ndim - 1)]
        self.unite(lines, line)
        return line

    def _root(self, number: int) -> int:
        parents = self._parents
        while parents[number] != number:
            parents[number] = parents[parents[number]]
            number = parents[number]
        return number


def spread(ids: Tensor, dim: int, shape: torch.Size) -> Tensor:
    """The ids of a tensor of ``shape`` whose channels stand along ``dim``; a view that takes no memory.

    >>> spread(torch.tensor([5, 6]), 1, torch.Size([1, 2, 3]))
    tensor([[[5, 5, 5],
             [6, 6, 6]]])
    """
    line = [1] * len(shape)
    line[dim] = len(ids)
    return ids.view(line).expand(shape)


def _without_repeats(*tensors: Tensor) -> tuple[Tensor, ...]:
    """One position of each axis along which every tensor merely repeats itself (stride 0)."""
    for dim in range(tensors[0].ndim):
        if all(tensor.stride(dim) == 0 for tensor in tensors):
            tensors = tuple(tensor.narrow(dim, 0, 1) for tensor in tensors)
    return tensors


def _distinct(ids: Tensor) -> Tensor:
    (ids,) = _without_repeats(ids)
    return torch.unique(ids)
