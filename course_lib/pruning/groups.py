"""What must be cut together, as data: a ``Member`` is one tensor's share, a ``Group`` all shares of some channels.

A channel is no property of one layer. Filter c of a convolution, entry c of its BatchNorm, input slice c of the next
layer, and, where a residual sum joins two branches, filter c of the other branch, are kept or removed as one. A group
lists, for each of its channels, the positions that belong to it on an axis of a tensor: one position for a filter, H·W
positions for the inputs of a linear layer behind a flattened map, a whole block for a grouped convolution.
"""

from __future__ import annotations

import operator
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

Role = Literal["produces", "consumes", "normalizes", "scales"]
"""What a tensor's axis is to a channel: filters make it, input slices read it, norms and factors belong to it."""


class UnsupportedOperator(ValueError):
    """An operator through which channels cannot be followed; the message names it, its node and its source line."""


@dataclass(frozen=True)
class Member:
    """One tensor's share in a group.

    Args:
        module: the module's name, as ``named_modules`` gives it ("" for the network itself).
        tensor: the parameter's or buffer's name in that module: "weight", "bias", "running_mean", …
        axis: the axis that is cut.
        indices: for each of the group's channels its positions on that axis, ascending; none for a channel that this
            tensor does not hold.
        role: what the axis is to the channels.
    """

    module: str
    tensor: str
    axis: int
    indices: tuple[tuple[int, ...], ...]
    role: Role

    @property
    def name(self) -> str:
        """The tensor's full name, as in ``state_dict``."""
        return f"{self.module}.{self.tensor}".lstrip(".")


@dataclass(frozen=True)
class Group:
    """Channels that are kept or removed together, in every tensor that holds a share of them.

    Args:
        name: the first layer that produces them, in the order of execution; "input:x" for those of the argument x.
        size: the number of channels that can be removed one by one.
        members: the tensors that hold them, in the order of execution.
        reason: why none of them can be removed; empty for a group that can be cut.

    >>> print(Group("a", 2, (Member("a", "weight", 0, ((0,), (1,)), "produces"),), ""))
    a: 2 channels
      produces    a.weight axis 0: 0, 1
    """

    name: str
    size: int
    members: tuple[Member, ...]
    reason: str

    @property
    def prunable(self) -> bool:
        """Whether channels of the group can be removed."""
        return not self.reason

    def __str__(self) -> str:
        head = f"{self.name}: {self.size} channels" + (f", fixed: {self.reason}" if self.reason else "")
        width = max((len(member.name) for member in self.members), default=0)
        rows = (f"  {m.role:<11} {m.name:<{width}} axis {m.axis}: {_positions(m.indices)}" for m in self.members)
        return "\n".join((head, *rows))


@dataclass(frozen=True)
class Consumer:
    """A node that mixes channels: a removed one must not reach it.

    Args:
        dim: the axis of its input on which the channels stand.
        ids: which channel each position on that axis holds: its id while the graph is built, its number afterwards.
    """

    dim: int
    ids: Tensor


@dataclass(frozen=True, eq=False, repr=False)
class DependencyGraph:
    """The groups of one network, and where each channel stands.

    Channels are numbered through all groups, in their order: those of a group lie between its start and its end.

    Args:
        groups: in the order of execution.
        starts: a group's name → the number of its first channel.
        axes: (tensor's name, axis) → the channel's number at each position.
        widths: (module's name, attribute) → the numbers of the channels that the attribute counts.
        makers: a layer's name → the numbers of the channels that it produces.
        consumers: name of a node of the trace in eval mode → the channels that it mixes.
        example: the inputs of the trace.
    """

    groups: tuple[Group, ...]
    starts: Mapping[str, int]
    axes: Mapping[tuple[str, int], Tensor]
    widths: Mapping[tuple[str, str], Tensor]
    makers: Mapping[str, Tensor]
    consumers: Mapping[str, Consumer]
    example: tuple[Tensor, ...]

    def __getitem__(self, name: str) -> Group:
        """The group called ``name``. Raises: ValueError: there is none."""
        for group in self.groups:
            if group.name == name:
                return group
        raise ValueError(f"there is no group {name!r}; the groups are {[group.name for group in self.groups]}")

    def group_of(self, module: str) -> Group:
        """The group of the channels that a layer produces, or that its tensors belong to.

        Raises: ValueError: no group, or more than one, has a share in the layer.
        """
        if module in self.makers:
            number = int(self.makers[module][0])
            return next(g for g in self.groups if self.starts[g.name] <= number < self.starts[g.name] + g.size)
        found = [group for group in self.groups if any(member.module == module for member in group.members)]
        if len(found) != 1:
            raise ValueError(f"{len(found)} groups have a share in {module!r}: {[group.name for group in found]}")
        return found[0]

    def __str__(self) -> str:
        return "\n".join(map(str, self.groups))

    def to_dot(self) -> str:
        """The graph in the language of Graphviz: a box a group, an ellipse a layer, an arrow from maker to reader."""
        lines = ["digraph dependencies {", "  rankdir=LR;"]
        for number, group in enumerate(self.groups):
            style = "" if group.prunable else ", style=dashed"
            lines.append(f'  g{number} [shape=box, label="{group.name}\\n{group.size} channels"{style}];')
            made = dict.fromkeys(m.module for m in group.members if m.role != "consumes")
            read = dict.fromkeys(m.module for m in group.members if m.role == "consumes")
            lines += [f'  "{module}" -> g{number};' for module in made]
            lines += [f'  g{number} -> "{module}";' for module in read]
        return "\n".join([*lines, "}"])

    def kept(self, keep: Mapping[str, Sequence[int]]) -> Tensor:
        """Whether each channel, by its number, is kept: (channels of all groups,), bool.

        Args:
            keep: a group's name → the channels kept, ascending; of other groups all are kept.
        Raises: ValueError naming the group: unknown, not prunable, positions not ascending or out of range, or a
            layer in it would keep no channel.
        """
        kept = torch.ones(sum(group.size for group in self.groups), dtype=torch.bool)
        for name, channels in keep.items():
            group, chosen = self[name], [operator.index(channel) for channel in channels]
            if not group.prunable and chosen != list(range(group.size)):
                raise ValueError(f"the group {name!r} cannot be cut: {group.reason}")
            if chosen != sorted(set(chosen)) or not chosen or not 0 <= chosen[0] <= chosen[-1] < group.size:
                raise ValueError(f"{name!r} must keep 1 to {group.size} of its channels, ascending, got {chosen}")
            _require_no_empty_layer(group, chosen)
            start = self.starts[name]
            kept[start : start + group.size] = False
            kept[[start + channel for channel in chosen]] = True
        return kept


def _positions(indices: Sequence[tuple[int, ...]]) -> str:
    """The positions of the first channels, shortened: "0, 1, 2, …", or "0-48, 49-97, …" where a channel has many."""
    shown = [_run(positions) for positions in indices[:3]]
    return ", ".join(shown) + (", …" if len(indices) > 3 else "")


def _run(positions: tuple[int, ...]) -> str:
    if len(positions) < 3:
        return "+".join(map(str, positions)) or "none"
    if positions == tuple(range(positions[0], positions[-1] + 1)):
        return f"{positions[0]}-{positions[-1]}"
    return f"{positions[0]}+…+{positions[-1]}"


def _require_no_empty_layer(group: Group, channels: Sequence[int]) -> None:
    for member in group.members:
        if not any(member.indices[channel] for channel in channels):
            raise ValueError(f"{group.name!r} keeps {list(channels)}: no channel is left on {member.name}")
