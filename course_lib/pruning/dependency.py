"""Which channels of a network go together: ``dependency_graph(model, example)``, for any network torch.fx can trace.

The method. Every activation carries, beside its shape, an id for each value that says to which channel it belongs
(``propagation.py``). Operators unite ids, in a union-find forest (``identities.py``); layers tie them to the axes of
their tensors (``layers.py``). What is united at the end is one channel. A *group* is all channels that share a layer
which produces them, so that one ranking can choose among them; the channels that two groups feed into one
concatenation stay independent.

The network is traced twice, in eval and in train mode, because a network may compute more while it trains (GoogLeNet's
auxiliary heads): a cut must fit both. Neither the network's tensors nor its modes are touched: what runs is a copy
without memory, on the device "meta".

What is refused, rather than guessed: an operator without a rule (``UnsupportedOperator``). What is never cut: channels
that reach the network's output or come from its input, and channels whose number the code states.

Fang et al. 2023 (DepGraph, arXiv:2301.12900) follow gradients instead of a trace, and pairs of layers instead of ids;
Torch-Pruning is their library. It must be told which layers are outputs, and gives its answer as index lists with
closures; here the output is found, and a group is data that can be printed.
"""

from __future__ import annotations

import copy
import traceback
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, fx, nn

from course_lib.pruning.groups import Group, Member, UnsupportedOperator
from course_lib.pruning.identities import Identities
from course_lib.pruning.layers import Consumer
from course_lib.pruning.propagation import Propagation


@dataclass(frozen=True, eq=False)
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
            group, chosen = self[name], list(channels)
            if not group.prunable and chosen != list(range(group.size)):
                raise ValueError(f"the group {name!r} cannot be cut: {group.reason}")
            if chosen != sorted(set(chosen)) or not chosen or not 0 <= chosen[0] <= chosen[-1] < group.size:
                raise ValueError(f"{name!r} must keep 1 to {group.size} of its channels, ascending, got {chosen}")
            _require_no_empty_layer(group, chosen)
            start = self.starts[name]
            kept[start : start + group.size] = False
            kept[[start + channel for channel in chosen]] = True
        return kept


def dependency_graph(model: nn.Module, example_inputs: Tensor | Sequence[Tensor]) -> DependencyGraph:
    """The groups of channels of ``model`` that must be kept or removed together.

    Args:
        model: any network that torch.fx traces in eval and in train mode. It stays as it is, also its modes.
        example_inputs: the arguments of its forward; only shapes and types count. Channels stand on axis 1.
    Raises:
        ValueError: the network cannot be traced; the message names the reason and the line.
        UnsupportedOperator: channels cannot be followed through an operator.

    >>> net = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Flatten(), nn.Linear(16, 2))
    >>> print(dependency_graph(net, torch.zeros(1, 3, 4, 4))["0"])
    0: 4 channels
      produces    0.weight       axis 0: 0, 1, 2, …
      produces    0.bias         axis 0: 0, 1, 2, …
      normalizes  1.weight       axis 0: 0, 1, 2, …
      normalizes  1.bias         axis 0: 0, 1, 2, …
      normalizes  1.running_mean axis 0: 0, 1, 2, …
      normalizes  1.running_var  axis 0: 0, 1, 2, …
      consumes    3.weight       axis 1: 0-3, 4-7, 8-11, …
    """
    example = (example_inputs,) if isinstance(example_inputs, Tensor) else tuple(example_inputs)
    try:
        return _followed(model, example, lines=False)
    except UnsupportedOperator:
        return _followed(model, example, lines=True)  # raises again, with the line: recording lines takes a second


def trace(model: nn.Module, *, lines: bool = False) -> fx.Graph:
    """The network as a graph of operators, in the mode in which it is.

    Args: lines: whether each node records the lines of source that called it.
    Raises: ValueError: it cannot be traced; the message names the reason and the line.
    """
    tracer = fx.Tracer()
    tracer.record_stack_traces = lines
    try:
        return tracer.trace(model)
    except Exception as error:  # whatever the network's own code raises when it meets a tracer
        frames = traceback.extract_tb(error.__traceback__)
        own = [frame for frame in frames if "/torch/" not in frame.filename and frame.filename != __file__]
        where = f" at {own[-1].filename}:{own[-1].lineno}" if own else ""
        raise ValueError(f"{type(model).__name__} cannot be traced{where}: {error}") from error


def _followed(model: nn.Module, example: tuple[Tensor, ...], lines: bool) -> DependencyGraph:
    skeleton, names = _skeleton(model)
    shapes = [tensor.detach().to("meta") for tensor in example]
    identities = Identities()
    evaluation, training = trace(skeleton.eval(), lines=lines), trace(skeleton.train(), lines=lines)
    skeleton.eval()  # the values are computed in eval mode: a BatchNorm that trains refuses a single value a channel
    walk = Propagation(skeleton, evaluation, names, identities)
    walk.run(*shapes)
    if str(training) != str(evaluation):
        Propagation(skeleton, training, names, identities).run(*shapes)
    _settle_parameters(identities, {names[id(tensor)]: tensor.shape for tensor in _tensors(skeleton)})
    return _numbered(identities, walk.consumers, example)


def _skeleton(model: nn.Module) -> tuple[nn.Module, dict[int, str]]:
    """A copy whose tensors have shapes and no memory, and id() → name of each; a shared tensor has its first name."""
    memo: dict[int, object] = {}
    for tensor in _tensors(model):
        bare = tensor.detach().to("meta")
        memo[id(tensor)] = nn.Parameter(bare, tensor.requires_grad) if isinstance(tensor, nn.Parameter) else bare
    skeleton = copy.deepcopy(model, memo)
    named = [*skeleton.named_parameters(), *skeleton.named_buffers()]
    return skeleton, {id(tensor): name for name, tensor in named}


def _tensors(model: nn.Module) -> list[Tensor]:
    return [*model.parameters(), *model.buffers()]


def _settle_parameters(identities: Identities, shapes: Mapping[str, torch.Size]) -> None:
    """Find the axis of each parameter used by name on which its channels stand; one that has none is never cut."""
    for name, ids in list(identities.sources.items()):
        if name not in shapes:
            continue
        values = ids.view(shapes[name])
        axes = [axis for axis in range(values.ndim) if identities.varies(values, axis)]
        if len(axes) == 1:
            identities.attach(name, axes[0], "scales", identities.along(values, axes[0]))
        else:
            identities.protect(ids, f"the values of {name} belong to no single axis")


def _numbered(
    identities: Identities, consumers: Mapping[str, Consumer], example: tuple[Tensor, ...]
) -> DependencyGraph:
    """Channels in the order of their makers, and the groups that share a maker."""
    makers = {name: identities.roots(ids).tolist() for name, ids in identities.sources.items()}
    rows = _rows(makers)
    numbers = {root: number for number, root in enumerate(root for row in rows.values() for root in row)}

    def numbered(ids: Tensor) -> Tensor:
        return torch.tensor([numbers[root] for root in identities.roots(ids).tolist()], dtype=torch.int64)

    axes = {place: numbered(ids) for place, (ids, _) in identities.axes.items()}
    starts, start, reasons = {}, 0, identities.reasons()
    shares = {place: axes[place].tolist() for place in axes}
    groups = []
    group_of = [name for name, row in rows.items() for _ in row]
    for name, row in rows.items():
        starts[name], start = start, start + len(row)
    members = _members(identities, shares, starts, group_of, {name: len(row) for name, row in rows.items()})
    for name, row in rows.items():
        reason = next((reasons[root] for root in row if root in reasons), "")
        groups.append(Group(name, len(row), tuple(members[name]), reason or _alone(row)))
    widths = {place: numbered(ids) for place, ids in identities.widths.items()}
    mixed = {node: Consumer(c.dim, numbered(c.ids)) for node, c in consumers.items()}
    made = {name: numbered(ids) for name, ids in identities.sources.items()}
    return DependencyGraph(tuple(groups), starts, axes, widths, made, mixed, example)


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
    shares: Mapping[tuple[str, int], Sequence[int]],
    starts: Mapping[str, int],
    group_of: Sequence[str],
    sizes: Mapping[str, int],
) -> dict[str, list[Member]]:
    """Each group's members: every axis gives one to each group that stands on it."""
    members: dict[str, list[Member]] = {name: [] for name in starts}
    for (tensor, axis), numbers in shares.items():
        positions: dict[str, list[list[int]]] = {}
        for position, number in enumerate(numbers):
            group = group_of[number]
            if group not in positions:
                positions[group] = [[] for _ in range(sizes[group])]
            positions[group][number - starts[group]].append(position)
        module, _, name = tensor.rpartition(".")
        for group, indices in positions.items():
            role = identities.axes[tensor, axis][1]
            members[group].append(Member(module, name, axis, tuple(map(tuple, indices)), role))
    return members


def _alone(row: Sequence[int]) -> str:
    return "it is one channel, which cannot be divided" if len(row) == 1 else ""


def _require_no_empty_layer(group: Group, channels: Sequence[int]) -> None:
    for member in group.members:
        if not any(member.indices[channel] for channel in channels):
            raise ValueError(f"{group.name!r} keeps {list(channels)}: no channel is left on {member.name}")
