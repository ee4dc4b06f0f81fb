"""What an allocation costs, without cutting: the shape of every layer's weight, and the MACs that follow from it.

A convolution or linear layer does ``positions · (elements of its weight)`` multiply-accumulates, where the positions
are those of its output (a transposed convolution's input), batch included. Channels change the weight and not the
positions, so the MACs of a cut network are known from the counts alone:

    MACs(counts) = Σ over layers  positions · Π over the weight's axes  (positions of the axis whose channels are kept)

Nothing is estimated: the prediction equals ``total_macs`` of the network that is really cut. A depthwise convolution
loses its one axis, a linear layer behind a flattened map H·W inputs a channel, a layer behind a concatenation inputs of
several groups. Where positions do depend on channels (a layer that the code calls once for each), the sum would be
wrong; ``predicted_macs`` cuts one network as a probe and refuses such a layer.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import nn

from course_lib.measure.counting import count_layers, macs_by_layer
from course_lib.pruning.cutting import cut
from course_lib.pruning.groups import DependencyGraph
from course_lib.pruning.ranking import Allocation, Ranking

Cost = Callable[[Allocation], float]
"""An allocation → what it costs: MACs, milliseconds, bytes; ≥ 0."""


@dataclass(frozen=True)
class WeightAxis:
    """One axis of a layer's weight.

    Args:
        fixed: how many of its positions no ranked group can remove.
        held: a group's name → how many positions its first k channels hold, at k = 0 … size.

    >>> WeightAxis(3, {"a": (0, 4, 8)}).length({"a": 1}), WeightAxis(3, {"a": (0, 4, 8)}).length({})
    (7, 11)
    """

    fixed: int
    held: Mapping[str, tuple[int, ...]]

    def length(self, counts: Allocation) -> int:
        """The axis's length under an allocation; a group that is not named keeps all."""
        return self.fixed + sum(held[counts.get(name, -1)] for name, held in self.held.items())


@dataclass(frozen=True)
class LayerWeight:
    """A layer that multiplies, and how its weight shrinks.

    Args:
        name: as in ``model.named_modules()``.
        positions: how often each element of the weight is multiplied in one pass of the example.
        axes: of the weight, all of them.
    """

    name: str
    positions: int
    axes: tuple[WeightAxis, ...]

    def shape(self, counts: Allocation) -> tuple[int, ...]:
        """The weight's shape under an allocation."""
        return tuple(axis.length(counts) for axis in self.axes)

    def macs(self, counts: Allocation) -> int:
        """The layer's multiply-accumulates under an allocation, of the whole batch of the example."""
        return self.positions * math.prod(self.shape(counts))


@dataclass(frozen=True, eq=False)
class PredictedMacs:
    """The MACs of the network that an allocation leaves: call it with the counts.

    Args:
        ranking: which channels a count keeps.
        layers: that multiply, in the order of execution.
    """

    ranking: Ranking
    layers: tuple[LayerWeight, ...]

    def __call__(self, counts: Allocation) -> int:
        """MACs of the whole batch of the graph's example.

        Raises: ValueError: the counts are no allocation of the ranking.
        """
        self.ranking.require(counts)
        return sum(layer.macs(counts) for layer in self.layers)


def predicted_macs(model: nn.Module, graph: DependencyGraph, ranking: Ranking) -> PredictedMacs:
    """The cost that counts MACs, exactly as ``total_macs`` counts them in the cut network.

    Args:
        model: the network, which stays as it is.
        graph: ``dependency_graph(model, …)``, made with one input, whose shape counts.
        ranking: ``rank_channels(model, graph, …)``.
    Raises: ValueError: the network takes several inputs or has layers that are not counted (see ``count_layers``), or
        a layer's positions depend on the channels.

    >>> from course_lib.pruning import dependency_graph, norms, rank_channels
    >>> net = nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.Flatten(), nn.Linear(8 * 16, 2))
    >>> graph = dependency_graph(net, torch.zeros(1, 3, 4, 4))
    >>> macs = predicted_macs(net, graph, rank_channels(net, graph, norms(2)))
    >>> macs({"0": 8}), macs({"0": 2})  # 16 positions · 8·3·9 + 128·2, and a fourth of it
    (3712, 928)
    """
    layers = layer_weights(model, graph, ranking)
    probe = {name: max(ranking.least[name], size // 2) for name, size in ranking.sizes.items()}
    found = macs_by_layer(cut(model, graph, ranking.keep(probe)), example_shape(graph))
    for layer in layers:
        if layer.macs(probe) != found[layer.name]:
            raise ValueError(f"the positions of {layer.name!r} depend on the channels: its MACs cannot be predicted")
    return PredictedMacs(ranking, layers)


def layer_weights(model: nn.Module, graph: DependencyGraph, ranking: Ranking) -> tuple[LayerWeight, ...]:
    """Every layer that multiplies, in the order of execution, with its weight's axes.

    Args: as for ``predicted_macs``.
    Raises: ValueError: as ``count_layers``, or the network takes several inputs.
    """
    names = {
        id(tensor): name for name, tensor in model.named_parameters()
    }  # of a shared tensor the first, as graphs do
    layers = []
    for name, row in count_layers(model, example_shape(graph)).items():
        weight = model.get_submodule(name).weight
        assert isinstance(weight, torch.Tensor)
        full = [(names[id(weight)], axis, length) for axis, length in enumerate(weight.shape)]
        layers.append(LayerWeight(name, row.macs // weight.numel(), tuple(_axis(graph, ranking, *a) for a in full)))
    return tuple(layers)


def example_shape(graph: DependencyGraph) -> tuple[int, ...]:
    """The shape of the one input that the graph was traced with, batch first.

    Raises: ValueError: there are several inputs.

    >>> from course_lib.pruning import dependency_graph
    >>> example_shape(dependency_graph(nn.Sequential(nn.Linear(4, 2)), torch.zeros(1, 4)))
    (1, 4)
    """
    if len(graph.example) != 1:
        raise ValueError(f"the network must take one input, got {len(graph.example)}")
    return tuple(graph.example[0].shape)


def _axis(graph: DependencyGraph, ranking: Ranking, tensor: str, axis: int, length: int) -> WeightAxis:
    numbers = graph.axes.get((tensor, axis))
    if numbers is None:
        return WeightAxis(length, {})
    held: dict[str, tuple[int, ...]] = {}
    for name, order in ranking.orders.items():
        start = graph.starts[name]
        own = numbers[(numbers >= start) & (numbers < start + len(order))] - start
        if len(own):
            positions = torch.bincount(own, minlength=len(order))[list(order)].cumsum(0)
            held[name] = (0, *positions.tolist())
    return WeightAxis(length - sum(positions[-1] for positions in held.values()), held)
