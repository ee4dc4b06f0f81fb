"""What must be cut together, as data: a ``Member`` is one tensor's share, a ``Group`` all shares of some channels.

A channel is no property of one layer. Filter c of a convolution, entry c of its BatchNorm, input slice c of the next
layer, and, where a residual sum joins two branches, filter c of the other branch, are kept or removed as one. A group
lists, for each of its channels, the positions that belong to it on an axis of a tensor: one position for a filter, H·W
positions for the inputs of a linear layer behind a flattened map, a whole block for a grouped convolution.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

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
