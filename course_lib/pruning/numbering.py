"""From united ids to numbered channels: the last step of ``dependency_graph``.

Sets of ids become channels, channels that share a maker become a group, and each axis of each tensor tells at which
positions a group's channels stand on it.
"""

from __future__ import annotations

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
    numbers = torch.full_like(roots, -1).index_copy(0, order, torch.arange(len(order)))

    def numbered(ids: Tensor) -> Tensor:
        return numbers[roots[ids]]

    axes = {place: numbered(ids) for place, (ids, _) in identities.axes.items()}
    members, reasons = _members(identities, axes, rows), identities.reasons()
    groups = tuple(Group(name, len(row), tuple(members[name]), _reason(row, reasons)) for name, row in rows.items())
    starts = {name: int(numbers[row[0]]) for name, row in rows.items()}
    widths = {place: numbered(ids) for place, ids in identities.widths.items()}
    mixed = {node: Consumer(c.dim, numbered(c.ids)) for node, c in consumers.items()}
    made = {name: numbered(ids) for name, ids in identities.sources.items()}
    return DependencyGraph(groups, starts, axes, widths, made, mixed, example)


def _rows(makers: Mapping[str, Sequence[int]]) -> dict[str, list[int]]:
    """Name of a group's first maker → its channels' roots, in the order in which they are made."""
    joint: dict[int, int] = {}

    def leader(root: int) -> int:
        while joint.setdefault(root, root) != root:
            root = joint[root]
        return root

    for roots in makers.values():
        for root in roots:
            joint[leader(root)] = leader(roots[0])
    names: dict[int, str] = {}
    rows: dict[str, dict[int, None]] = {}
    for name, roots in makers.items():
        group = names.setdefault(leader(roots[0]), name)
        rows.setdefault(group, {}).update(dict.fromkeys(roots))
    return {name: list(row) for name, row in rows.items()}


def _members(
    identities: Identities,
    axes: Mapping[tuple[str, int], Tensor],
    rows: Mapping[str, Sequence[int]],
) -> dict[str, list[Member]]:
    """Each group's members: every axis gives one to each group that stands on it."""
    members: dict[str, list[Member]] = {name: [] for name in rows}
    places = [(name, channel) for name, row in rows.items() for channel in range(len(row))]
    for (tensor, axis), channels in axes.items():
        positions: dict[str, list[list[int]]] = {}
        for position, number in enumerate(channels.tolist()):
            group, channel = places[number]
            if group not in positions:
                positions[group] = [[] for _ in rows[group]]
            positions[group][channel].append(position)
        module, _, name = tensor.rpartition(".")
        role = identities.axes[tensor, axis][1]
        for group, indices in positions.items():
            members[group].append(Member(module, name, axis, tuple(map(tuple, indices)), role))
    return members


def _reason(row: Sequence[int], reasons: Mapping[int, str]) -> str:
    """Why a group cannot be cut, or nothing."""
    alone = "all that it holds is one channel" if len(row) == 1 else ""
    return next((reasons[root] for root in row if root in reasons), alone)
