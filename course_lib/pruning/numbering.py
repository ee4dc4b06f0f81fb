"""From united ids to numbered channels: the last step of ``dependency_graph``.

Sets of ids become channels, channels that share a maker become a group, and each axis of each tensor tells at which
positions a group's channels stand on it.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from course_lib.pruning.groups import Consumer, DependencyGraph, Group, Member
from course_lib.pruning.identities import Identities


def settle_parameters(identities: Identities, shapes: Mapping[str, torch.Size]) -> None:
    """Find the axis of each parameter used by name on which its channels stand; one that has none is never cut.

    Args:
        identities: complete, that is after every trace.
        shapes: a tensor's full name → its shape.
    """
    for name, ids in list(identities.sources.items()):
        if name not in shapes:
            continue
        values = ids.view(shapes[name])
        axes = [axis for axis in range(values.ndim) if identities.varies(values, axis)]
        if len(axes) == 1:
            identities.attach(name, axes[0], "scales", identities.along(values, axes[0]))
        else:
            identities.protect(ids, f"the values of {name} belong to no single axis")


def numbered_graph(
    identities: Identities, consumers: Mapping[str, Consumer], example: tuple[Tensor, ...]
) -> DependencyGraph:
    """The graph: channels numbered in the order of their makers, and the groups that share a maker.

    Args:
        identities: complete, that is after every trace.
        consumers: name of a node → the ids that it mixes.
        example: kept with the graph.
    """
    roots = identities.all_roots()
    rows = _rows({name: roots[ids].tolist() for name, ids in identities.sources.items()})
    order = torch.tensor([root for row in rows.values() for root in row], dtype=torch.int64)
    numbers = torch.full_like(roots, -1).index_copy(0, order, torch.arange(len(order)))[roots]
    axes = {place: numbers[ids] for place, (ids, _) in identities.axes.items()}
    members, reasons = _members(identities, axes, rows), identities.reasons()
    groups = tuple(Group(name, len(row), tuple(members[name]), _reason(row, reasons)) for name, row in rows.items())
    starts = {name: int(numbers[row[0]]) for name, row in rows.items()}
    widths = {place: numbers[ids] for place, ids in identities.widths.items()}
    mixed = {node: Consumer(c.dim, numbers[c.ids]) for node, c in consumers.items()}
    made = {name: numbers[ids] for name, ids in identities.sources.items()}
    return DependencyGraph(groups, starts, axes, widths, made, mixed, example)


def _rows(makers: Mapping[str, Sequence[int]]) -> dict[str, list[int]]:
    """Name of a group's first maker → its channels' roots, in the order in which they are made."""
    names = list(makers)
    joint = list(range(len(names)))  # each maker → an earlier one with which it shares a channel, or itself
    first_of: dict[int, int] = {}  # root → the first maker that has it

    def leader(maker: int) -> int:
        while joint[maker] != maker:
            maker = joint[maker]
        return maker

    for maker, roots in enumerate(makers.values()):
        for met in {first_of.setdefault(root, maker) for root in roots}:
            a, b = leader(met), leader(maker)
            joint[max(a, b)] = min(a, b)
    rows: dict[str, dict[int, None]] = {}
    for maker, roots in enumerate(makers.values()):
        rows.setdefault(names[leader(maker)], {}).update(dict.fromkeys(roots))
    return {name: list(row) for name, row in rows.items()}


def _members(
    identities: Identities,
    axes: Mapping[tuple[str, int], Tensor],
    rows: Mapping[str, Sequence[int]],
) -> dict[str, list[Member]]:
    """Each group's members: every axis gives one to each group that stands on it."""
    members: dict[str, list[Member]] = {name: [] for name in rows}
    owners = [name for name, row in rows.items() for _ in row]
    starts = dict(zip(rows, itertools.accumulate(map(len, rows.values()), initial=0), strict=False))
    shared: dict[tuple[int, ...], dict[str, tuple[tuple[int, ...], ...]]] = {}  # many axes hold the same channels
    for (tensor, axis), channels in axes.items():
        numbers = tuple(channels.tolist())
        if numbers not in shared:
            positions: dict[int, list[int]] = {}
            for position, number in enumerate(numbers):
                positions.setdefault(number, []).append(position)
            found = dict.fromkeys(owners[number] for number in positions)
            spans = {group: range(starts[group], starts[group] + len(rows[group])) for group in found}
            shared[numbers] = {g: tuple(tuple(positions.get(n, ())) for n in span) for g, span in spans.items()}
        module, _, name = tensor.rpartition(".")
        role = identities.axes[tensor, axis][1]
        for group, indices in shared[numbers].items():
            members[group].append(Member(module, name, axis, indices, role))
    return members


def _reason(row: Sequence[int], reasons: Mapping[int, str]) -> str:
    """Why a group cannot be cut, or nothing."""
    alone = "all that it holds is one channel" if len(row) == 1 else ""
    return next((reasons[root] for root in row if root in reasons), alone)
