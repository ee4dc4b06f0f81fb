"""Remove channels by their groups: ``cut`` gives smaller tensors, ``masked`` the full-size network it must equal.

``cut`` copies the network and gives each tensor only the positions whose channels are kept. The result is a module of
the same class with the same names, so it trains, copies, saves and exports like any other; a checkpoint of the full
network does not fit it any more. Counts that torch's layers keep (``in_channels``, ``groups``, …) follow; counts that
the network's own class keeps, as ``SignStudent.channels`` does, do not: nobody but that class knows their meaning.

``masked`` leaves the weights alone. In a trace of the full network it sets the removed channels of every tensor to 0
*where a layer mixes channels*: in front of a convolution, a linear layer. There, and only there, can a removed channel
reach one that is kept; in between it may hold anything, such as the β that a BatchNorm makes of a 0, or the 0.5 of a
sigmoid. LayerNorm and GroupNorm also mix, through a mean and a variance in which a 0 would still count: they are
computed over the kept channels alone. So ``cut(x) = masked(x)`` states: removing the tensors' slices is the same as
cutting every path from a removed channel to the rest. It does not use the cut tensors, and so can convict them.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, fx, nn

from course_lib.models.modes import eval_mode
from course_lib.pruning.copies import Network, copy_with
from course_lib.pruning.dependency import trace
from course_lib.pruning.groups import DependencyGraph


def cut(model: Network, graph: DependencyGraph, keep: Mapping[str, Sequence[int]]) -> Network:
    """A smaller copy of ``model`` without the channels that ``keep`` leaves out.

    Args:
        model: the network that ``graph`` was made from; it stays as it is.
        graph: from ``dependency_graph``.
        keep: a group's name → the channels kept, ascending; of groups that are not named all are kept.
    Returns: a module of the same class, in the same modes, with tensors of its own.
    Raises: ValueError: ``keep`` does not fit (see ``DependencyGraph.kept``), the graph belongs to another network, or
        the network's code computes a size that does not follow the cut.

    >>> from course_lib.pruning.dependency import dependency_graph
    >>> net = nn.Sequential(nn.Conv2d(3, 4, 3), nn.Flatten(), nn.Linear(16, 2))
    >>> cut(net, dependency_graph(net, torch.zeros(1, 3, 4, 4)), {"0": [1, 3]})
    Sequential(
      (0): Conv2d(3, 2, kernel_size=(3, 3), stride=(1, 1))
      (1): Flatten(start_dim=1, end_dim=-1)
      (2): Linear(in_features=8, out_features=2, bias=True)
    )
    """
    kept = graph.kept(keep)
    small = copy_with(model, _smaller_tensors(model, graph, kept))
    for (name, attribute), channels in graph.widths.items():
        layer, count = small.get_submodule(name), int(kept[channels].sum())
        setattr(layer, attribute, (count,) if attribute == "normalized_shape" else count)
    _require_runs(small, graph.example)
    return small


def masked(model: nn.Module, graph: DependencyGraph, keep: Mapping[str, Sequence[int]]) -> fx.GraphModule:
    """A full-size copy of ``model`` in which removed channels reach no other: what ``cut`` must equal.

    Args: as for ``cut``.
    Returns: the network's trace in eval mode, with tensors of its own. It computes what the network computes in eval
        mode with each removed channel set to 0 wherever channels are mixed.
    Raises: ValueError: ``keep`` does not fit, see ``DependencyGraph.kept``.
    """
    kept = graph.kept(keep)
    full = copy.deepcopy(model).eval()
    twin = fx.GraphModule(full, trace(full))
    for node in list(twin.graph.nodes):
        consumer = graph.consumers.get(node.name)
        if consumer is None or bool(kept[consumer.ids].all()):
            continue
        positions = kept[consumer.ids].nonzero().flatten()
        name = f"kept_by_{node.name}"
        twin.register_buffer(name, positions)
        with twin.graph.inserting_before(node):
            channels = twin.graph.get_attr(name)
            if _is_norm(twin, node):
                _normalize_kept(twin, node, consumer.dim, channels)
            else:
                source = node.args[0]
                node.update_arg(0, twin.graph.call_function(only_channels, (source, channels, consumer.dim)))
    twin.recompile()
    return twin


def only_channels(x: Tensor, channels: Tensor, dim: int) -> Tensor:
    """``x`` with 0 in all positions on ``dim`` but ``channels``: the shape of x.

    >>> only_channels(torch.tensor([[1.0, 2.0, 3.0]]), torch.tensor([2]), 1)
    tensor([[0., 0., 3.]])
    """
    return torch.zeros_like(x).index_copy(dim, channels, x.index_select(dim, channels))


def norm_of(
    x: Tensor, dim: int, groups: int, weight: Tensor | None, bias: Tensor | None, eps: float, channels: Tensor
) -> Tensor:
    """LayerNorm or GroupNorm of the positions ``channels`` alone, 0 in the others: the shape of x.

    Args:
        x: the channels stand on ``dim``, which is −1 for LayerNorm and 1 for GroupNorm.
        groups: of GroupNorm; 1 for LayerNorm.
        weight, bias: of all channels, (C,).
        channels: those that count, ascending.

    >>> norm_of(torch.tensor([[3.0, 9.0, 5.0]]), -1, 1, None, None, 0.0, torch.tensor([0, 2]))
    tensor([[-1.,  0.,  1.]])
    """
    weight, bias = (None if tensor is None else tensor[channels] for tensor in (weight, bias))
    kept = x.index_select(dim, channels)
    normal = (
        F.layer_norm(kept, (len(channels),), weight, bias, eps)
        if dim == -1
        else F.group_norm(kept, groups, weight, bias, eps)
    )
    return torch.zeros_like(x).index_copy(dim, channels, normal)


def _smaller_tensors(model: nn.Module, graph: DependencyGraph, kept: Tensor) -> dict[int, Tensor]:
    """id() of each tensor of the network → its cut copy."""
    copies: dict[int, Tensor] = {}
    places: dict[str, list[tuple[int, Tensor]]] = {}
    for (name, axis), channels in graph.axes.items():
        places.setdefault(name, []).append((axis, channels))
    tensors = {**dict(model.named_parameters()), **dict(model.named_buffers())}
    for name, tensor in tensors.items():
        small, shrinking = tensor.detach(), places.pop(name, [])
        for axis, channels in shrinking:
            if small.shape[axis] != len(channels):
                raise ValueError(f"the graph belongs to another network: {name} has the shape {list(tensor.shape)}")
            small = small.index_select(axis, kept[channels].nonzero().flatten().to(small.device))
        small = small.contiguous() if shrinking else small.clone(memory_format=torch.contiguous_format)
        copies[id(tensor)] = nn.Parameter(small, tensor.requires_grad) if isinstance(tensor, nn.Parameter) else small
    if places:
        raise ValueError(f"the graph belongs to another network: this one has no {next(iter(places))}")
    return copies


def _require_runs(small: nn.Module, example: tuple[Tensor, ...]) -> None:
    """The small network must accept the example: a size that its code states may not follow."""
    try:
        with eval_mode(small), torch.no_grad():
            small(*example)
    except (RuntimeError, ValueError, IndexError) as error:
        raise ValueError(f"the network's code does not follow the cut: {error}") from error


def _is_norm(twin: fx.GraphModule, node: fx.Node) -> bool:
    if node.op == "call_module":
        return isinstance(twin.get_submodule(str(node.target)), nn.LayerNorm | nn.GroupNorm)
    return node.target is F.layer_norm


def _normalize_kept(twin: fx.GraphModule, node: fx.Node, dim: int, channels: fx.Node) -> None:
    """Put a norm of the kept channels in the place of one over all of them."""
    if node.op == "call_module":
        layer = cast("nn.LayerNorm | nn.GroupNorm", twin.get_submodule(str(node.target)))
        parts = {part: getattr(layer, part) for part in ("weight", "bias")}
        own = [twin.graph.get_attr(f"{node.target}.{p}") if value is not None else None for p, value in parts.items()]
        groups = layer.num_groups if isinstance(layer, nn.GroupNorm) else 1
        arguments = (node.args[0], dim, groups, *own, layer.eps, channels)
    else:
        names = ("input", "normalized_shape", "weight", "bias", "eps")
        given = {"bias": None, "eps": 1e-5, **dict(zip(names, node.args, strict=False)), **node.kwargs}
        arguments = (given["input"], dim, 1, given["weight"], given["bias"], given["eps"], channels)
    node.replace_all_uses_with(twin.graph.call_function(norm_of, arguments))
    twin.graph.erase_node(node)
