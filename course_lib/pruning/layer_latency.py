"""How long each layer takes on this machine at each width: a cost in milliseconds, from measurements of layers alone.

MACs are counted and milliseconds measured, and they part company: a layer of half the MACs may take the same time,
because it is limited by memory, or because a kernel works on whole vectors of channels. So each layer is timed alone,
in the runtime that the network will run in, on a grid of widths: some counts of its outputs times some of its inputs.
Between the points of the grid the table draws straight lines.

The table is a guide and no truth. In the network a runtime fuses a layer with what follows it, data lie in the cache or
do not, and pooling, sums and calls cost time that no layer has. It ranks allocations; the clock has the last word
(``latency_allocation``).

This room knows no runtime. The caller brings ``measure``: build the session, warm up, return the median.

Yang et al. 2018 (NetAdapt, arXiv:1804.03230) and Cai et al. 2019 (ProxylessNAS, arXiv:1812.00332) use such tables.
"""

from __future__ import annotations

import bisect
import copy
import itertools
import math
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import cast

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.modules.conv import _ConvNd, _ConvTransposeNd

from course_lib.models.modes import eval_mode
from course_lib.pruning.costs import LayerWeight, WeightAxis, example_shape, layer_weights
from course_lib.pruning.groups import DependencyGraph
from course_lib.pruning.progress import shown
from course_lib.pruning.ranking import Allocation, Ranking

Measure = Callable[[nn.Module, tuple[int, ...]], float]
"""(network or single layer, shape of its input, batch first) → milliseconds a call, > 0.

It must repeat itself more closely than the tolerance of the target: a median of single calls after a warm-up, and on a
busy machine of several rounds. A target that one disturbed measurement hits is missed by the next."""


@dataclass(frozen=True, eq=False)
class LayerTimes:
    """One layer's times on a grid of widths.

    Args:
        layer: whose weight's shape chooses the place on the grid.
        input_shape: of the whole network's layer, batch first.
        calls: how often the network calls it with that input shape.
        grid: for each axis of the weight the lengths at which it was timed, ascending.
        ms: a call's milliseconds, one axis for each of the weight.
    """

    layer: LayerWeight
    input_shape: tuple[int, ...]
    calls: int
    grid: tuple[tuple[int, ...], ...]
    ms: np.ndarray

    def __call__(self, counts: Allocation) -> float:
        """Milliseconds of all calls under an allocation: straight lines between the points of the grid."""
        found = self.ms
        for points, length in zip(self.grid, self.layer.shape(counts), strict=True):
            upper = min(max(1, bisect.bisect_left(points, length)), len(points) - 1)
            if upper == 0:  # an axis that no group shortens
                found = found[0]
                continue
            below, above = points[upper - 1], points[upper]
            share = (length - below) / (above - below)
            found = (1 - share) * found[upper - 1] + share * found[upper]
        return self.calls * float(found)


@dataclass(frozen=True, eq=False)
class LatencyTable:
    """The sum of the layers' times: call it with the counts, as any cost.

    Args:
        ranking: which channels a count keeps.
        layers: one row for each layer and each shape of its input, in the order of execution.
    """

    ranking: Ranking
    layers: tuple[LayerTimes, ...]

    def __call__(self, counts: Allocation) -> float:
        """Milliseconds that the layers take under an allocation, each by itself.

        Raises: ValueError: the counts are no allocation of the ranking.
        """
        self.ranking.require(counts)
        return sum(layer(counts) for layer in self.layers)


def latency_table(
    model: nn.Module,
    graph: DependencyGraph,
    ranking: Ranking,
    measure: Measure,
    *,
    fractions: Sequence[float] = (0.25, 0.5, 0.75),
    multiple: int = 1,
    progress: bool = False,
) -> LatencyTable:
    """Time every layer alone, on a grid of widths.

    Args:
        model, graph, ranking: the network, which stays as it is, its graph and ``rank_channels(model, graph, …)``.
        measure: times a layer; it gets copies.
        fractions: of a group's channels, in (0, 1), at which the layers that hold them are timed, beside all of them
            and the least.
        multiple: the grid's widths are rounded to it; a clock has steps where a kernel's blocks of channels end.
        progress: show a bar.
    Raises: ValueError: a fraction is out of range, the multiple is below 1, a time is not positive and finite, or
        ``layer_weights`` refuses.

    >>> from course_lib.pruning import dependency_graph, norms, rank_channels
    >>> net = nn.Sequential(nn.Conv2d(3, 8, 1), nn.ReLU(), nn.Conv2d(8, 2, 1))
    >>> graph = dependency_graph(net, torch.zeros(1, 3, 4, 4))
    >>> ranking = rank_channels(net, graph, norms(2))
    >>> table = latency_table(net, graph, ranking, lambda layer, shape: 0.5 + 0.01 * layer.weight.numel())  # ms
    >>> round(table({"0": 8}), 2), round(table({"0": 3}), 2)
    (1.4, 1.15)
    """
    if not all(0 < fraction < 1 for fraction in fractions) or multiple < 1:
        raise ValueError(f"fractions must be in (0, 1) and multiple ≥ 1, got {list(fractions)} and {multiple}")
    shapes = _input_shapes(model, example_shape(graph))
    rows = [(layer, shape) for layer in layer_weights(model, graph, ranking) for shape in shapes[layer.name]]
    found = []
    for layer, shape in shown(rows, len(rows), "layer", progress):
        grid = tuple(_points(axis, ranking, fractions, multiple) for axis in layer.axes)
        ms = _grid_times(model.get_submodule(layer.name), grid, shape, measure)
        found.append(LayerTimes(layer, shape, shapes[layer.name][shape], grid, ms))
    return LatencyTable(ranking, tuple(found))


def narrowed(layer: nn.Module, lengths: Sequence[int], input_shape: Sequence[int]) -> tuple[nn.Module, tuple[int, ...]]:
    """A copy of a convolution or linear layer with a smaller weight, and the shape of the input that it takes.

    Args:
        layer: it stays as it is.
        lengths: of the weight's axes; of a grouped convolution the first one says how many groups are left.
        input_shape: of the layer's input, batch first.

    >>> narrowed(nn.Conv2d(8, 12, 3, groups=4), (6, 2, 3, 3), (1, 8, 5, 5))
    (Conv2d(4, 6, kernel_size=(3, 3), stride=(1, 1), groups=2), (1, 4, 5, 5))
    """
    weight = layer.weight
    assert isinstance(weight, Tensor)
    small = copy.deepcopy(layer)
    kept = weight.detach()[tuple(slice(length) for length in lengths)].clone()
    small.weight = nn.Parameter(kept, weight.requires_grad)
    shape = list(input_shape)
    if isinstance(small, nn.Linear):
        small.out_features, small.in_features = outputs, shape[-1] = lengths[0], lengths[1]
    else:
        small = cast(_ConvNd, small)
        if small.groups > 1:
            small.groups = lengths[0] * small.groups // weight.shape[0]
        inner = lengths[1] * small.groups
        ends = (lengths[0], inner) if isinstance(small, _ConvTransposeNd) else (inner, lengths[0])
        small.in_channels, small.out_channels = ends
        outputs, shape[1 - weight.ndim] = small.out_channels, small.in_channels
    if small.bias is not None:
        small.bias = nn.Parameter(small.bias.detach()[:outputs].clone(), small.bias.requires_grad)
    return small, tuple(shape)


def _grid_times(
    module: nn.Module, grid: Sequence[Sequence[int]], shape: tuple[int, ...], measure: Measure
) -> np.ndarray:
    """Milliseconds of the layer at every point of the grid, one axis for each of its weight."""
    ms = [timed(measure, *narrowed(module, lengths, shape)) for lengths in itertools.product(*grid)]
    return np.array(ms).reshape([len(points) for points in grid])


def _points(axis: WeightAxis, ranking: Ranking, fractions: Sequence[float], multiple: int) -> tuple[int, ...]:
    """The lengths at which an axis is timed: such as its groups can give it, in multiples where these fit."""

    def rounded(name: str, count: float) -> int:
        least = -(-ranking.least[name] // multiple) * multiple
        return min(ranking.sizes[name], max(least, round(count / multiple) * multiple))

    lengths = {axis.length({}), axis.length({name: rounded(name, 0) for name in axis.held})}
    for fraction in fractions:
        lengths.add(axis.length({name: rounded(name, fraction * ranking.sizes[name]) for name in axis.held}))
    return tuple(sorted(lengths))


def _input_shapes(model: nn.Module, shape: Sequence[int]) -> dict[str, Counter[tuple[int, ...]]]:
    """Module name → the shapes of its inputs, and how often each comes."""
    found: dict[str, Counter[tuple[int, ...]]] = {}

    def record(name: str) -> Callable[[nn.Module, tuple[Tensor, ...]], None]:
        counter = found.setdefault(name, Counter())
        return lambda _, inputs: counter.update([tuple(inputs[0].shape)])

    handles = [m.register_forward_pre_hook(record(n)) for n, m in model.named_modules() if hasattr(m, "weight")]
    like = next(model.parameters(), torch.empty(0))
    try:
        with eval_mode(model), torch.no_grad():
            model(torch.zeros(tuple(shape), dtype=like.dtype, device=like.device))
    finally:
        for handle in handles:
            handle.remove()
    return found


def timed(measure: Measure, module: nn.Module, shape: tuple[int, ...]) -> float:
    """The milliseconds that ``measure`` gives.

    Raises: ValueError: they are not positive and finite.

    >>> timed(lambda module, shape: 0.25, nn.ReLU(), (1, 4))
    0.25
    """
    ms = measure(module, shape)
    if not 0 < ms < math.inf:
        raise ValueError(f"measure must give milliseconds > 0, got {ms} for {type(module).__name__} on {list(shape)}")
    return float(ms)
