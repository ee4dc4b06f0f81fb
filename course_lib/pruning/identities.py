"""Which positions hold the same channel: one number for each, and the sets that operators unite them into.

Every position on an axis that layers cut has an id. An operator that adds two tensors says that the channels at equal
positions are one: their ids are *united* (a union-find forest, Tarjan 1975). An operator that fixes a channel, such as
the network's output, *protects* its id, with a reason. Both only ever make sets coarser, so the order in which
operators are visited does not matter, and what was found once stays true.
"""

from __future__ import annotations

from collections.abc import Sequence

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
        if first is second:
            return
        first, second = _without_repeats(*torch.broadcast_tensors(first, second))
        apart = first != second
        count, parents, root = len(self._parents), self._parents, self._root
        for pair in torch.unique(first[apart] * count + second[apart]).tolist():
            a, b = root(pair // count), root(pair % count)
            if a < b:
                parents[b] = a
            else:
                parents[a] = b

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
        roots = torch.tensor(self._parents, dtype=torch.int64)
        while not torch.equal(roots, above := roots[roots]):
            roots = above
        return roots

    def varies(self, ids: Tensor, dim: int) -> bool:
        """Whether different channels stand along ``dim``."""
        (ids,) = _without_repeats(ids)
        if ids.shape[dim] == 1:
            return False
        first, second = ids.movedim(dim, -1)[(0,) * (ids.ndim - 1)][:2].tolist()
        if self._root(first) != self._root(second):
            return True  # mostly, and then the others need not be looked at
        roots = self.roots(ids)
        return bool((roots != roots.narrow(dim, 0, 1)).any())

    def along(self, ids: Tensor, dim: int) -> Tensor:
        """The id of each position on ``dim``, (size,), once those that stand side by side on it are united."""
        (lines,) = _without_repeats(ids.movedim(dim, -1), but=1)
        line = lines[(0,) * (ids.ndim - 1)]
        if lines.numel() > len(line):
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


def joined(tensors: Sequence[Tensor], dim: int, shape: torch.Size) -> Tensor:
    """The ids of the concatenation of several tensors along ``dim``, of ``shape``: where all parts repeat, so does it.

    >>> ids = [spread(torch.tensor(line), 1, torch.Size([1, len(line), 9])) for line in ([5, 6], [7])]
    >>> joined(ids, 1, torch.Size([1, 3, 9])).stride()[1:]
    (1, 0)
    """
    lines = _without_repeats(*(tensor.movedim(dim, -1) for tensor in tensors), but=1)
    return torch.cat(lines, -1).movedim(-1, dim).expand(shape)


def _without_repeats(*tensors: Tensor, but: int = 0) -> tuple[Tensor, ...]:
    """One position of each axis along which all tensors repeat themselves (stride 0), but for the last ``but`` axes."""
    strides = [tensor.stride() for tensor in tensors]
    once = [slice(None) if any(steps) else slice(1) for steps in zip(*strides, strict=True)]
    kept = tuple(once[: len(once) - but])
    return tuple(tensor[kept] for tensor in tensors)


def _distinct(ids: Tensor) -> Tensor:
    (ids,) = _without_repeats(ids)
    return torch.unique(ids)
