"""A table of layers' times, against clocks that are functions of the layer."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor, nn

from course_lib.measure.counting import total_macs
from course_lib.models import sign_student
from course_lib.pruning import cut, dependency_graph, norms
from course_lib.pruning.importance import noise
from course_lib.pruning.layer_latency import latency_table, narrowed
from course_lib.pruning.ranking import rank_channels

SHAPE = (1, 3, 32, 32)


def by_macs(network: nn.Module, shape: tuple[int, ...]) -> float:
    """A clock: 1 ms a million MACs."""
    return total_macs(network, shape) / 1e6


@pytest.fixture(scope="module")
def prepared():
    torch.manual_seed(0)
    model = sign_student(0.5)
    graph = dependency_graph(model, torch.zeros(SHAPE))
    ranking = rank_channels(model, graph, norms(2))
    return model, graph, ranking


class Mixed(nn.Module):
    """Grouped, depthwise, transposed, called three times, and linear behind a flattened map of two groups."""

    def __init__(self):
        super().__init__()
        self.stem, self.grouped = nn.Conv2d(3, 8, 3, padding=1), nn.Conv2d(8, 12, 3, padding=1, groups=4)
        self.depthwise = nn.Conv2d(12, 12, 3, padding=1, groups=12)
        self.up, self.twice = nn.ConvTranspose2d(12, 10, 2, stride=2), nn.Conv2d(10, 10, 1)
        self.side, self.fc, self.out = nn.Conv2d(3, 5, 1, stride=4), nn.Linear(15 * 16, 7), nn.Linear(7, 2)

    def forward(self, x: Tensor) -> Tensor:
        y = self.up(self.depthwise(self.grouped(torch.relu(self.stem(x[..., ::4, ::4])))))
        y = self.twice(self.twice(torch.max_pool2d(self.twice(y), 2)))
        return self.out(torch.relu(self.fc(torch.cat([y, self.side(x)], 1).flatten(1))))


def test_a_clock_of_macs_gives_a_table_of_macs_for_every_kind_of_layer():
    model, shape = Mixed(), (2, 3, 16, 16)
    graph = dependency_graph(model, torch.zeros(shape))
    for seed in range(2):
        ranking = rank_channels(model, graph, noise(seed))
        table = latency_table(model, graph, ranking, by_macs)
        generator = torch.Generator().manual_seed(seed)
        for _ in range(5):
            counts = {
                name: int(torch.randint(ranking.least[name], size + 1, (), generator=generator))
                for name, size in ranking.sizes.items()
            }
            # Bilinear in the widths, as MACs are: exact between the points, too. All calls of twice count.
            expected = by_macs(cut(model, graph, ranking.keep(counts)), shape)
            assert table(counts) == pytest.approx(expected, rel=1e-9)


def test_layers_are_timed_with_inputs_that_they_take(prepared):
    model, graph, ranking = prepared
    calls = []

    def run(layer: nn.Module, shape: tuple[int, ...]) -> float:
        with torch.no_grad():
            layer(torch.zeros(shape))
        calls.append(shape)
        return 1.0

    table = latency_table(model, graph, ranking, run, fractions=(0.5,))
    assert len(calls) == 3 + 4 * 9 + 3  # the first's inputs and the last's outputs are fixed
    assert table({}) == 6.0
    mixed, shape = Mixed(), (1, 3, 16, 16)
    graph = dependency_graph(mixed, torch.zeros(shape))
    latency_table(mixed, graph, rank_channels(mixed, graph, norms(2)), run)


def test_between_the_points_lines_are_straight_and_at_them_times_are_what_was_measured():
    net = nn.Sequential(nn.Conv2d(3, 8, 1), nn.ReLU(), nn.Conv2d(8, 2, 1))
    graph = dependency_graph(net, torch.zeros(1, 3, 4, 4))
    times = {1: 1.0, 4: 7.0, 8: 9.0}

    def clock(layer: nn.Module, shape: tuple[int, ...]) -> float:
        assert isinstance(layer, nn.Conv2d)
        return times[layer.out_channels] if layer.in_channels == 3 else 0.5

    table = latency_table(net, graph, rank_channels(net, graph, norms(2)), clock, fractions=(0.5,))
    assert [table({"0": count}) for count in (1, 2, 3, 4, 6, 8)] == pytest.approx([1.5, 3.5, 5.5, 7.5, 8.5, 9.5])


def test_a_grid_in_multiples_has_the_widths_that_an_allocation_in_multiples_has(prepared):
    net = nn.Sequential(nn.Conv2d(3, 20, 1), nn.ReLU(), nn.Conv2d(20, 40, 1), nn.ReLU(), nn.Conv2d(40, 2, 1))
    graph = dependency_graph(net, torch.zeros(1, 3, 4, 4))
    ranking = rank_channels(net, graph, norms(2))
    table = latency_table(net, graph, ranking, lambda layer, shape: 1.0, multiple=16)
    assert [layer.grid for layer in table.layers] == [
        ((16, 20), (3,), (1,), (1,)),
        ((16, 32, 40), (16, 20), (1,), (1,)),
        ((2,), (16, 32, 40), (1,), (1,)),
    ]
    narrow = latency_table(*prepared, lambda layer, shape: 1.0, multiple=64)  # wider than any group: whole or nothing
    assert all(axis == (axis[-1],) for layer in narrow.layers for axis in layer.grid)
    with pytest.raises(ValueError, match=r"multiple ≥ 1, got .* and 0"):
        latency_table(*prepared, lambda layer, shape: 1.0, multiple=0)


@pytest.mark.parametrize(
    ("layer", "lengths", "shape", "small_shape"),
    [
        (nn.Conv2d(4, 6, 3), (2, 3, 3, 3), (1, 4, 5, 5), (1, 3, 5, 5)),
        (nn.Conv2d(8, 8, 3, groups=8, bias=False), (5, 1, 3, 3), (1, 8, 5, 5), (1, 5, 5, 5)),
        (nn.ConvTranspose2d(6, 4, 2), (5, 3, 2, 2), (1, 6, 5, 5), (1, 5, 5, 5)),
        (nn.ConvTranspose2d(6, 4, 2, groups=2), (3, 2, 2, 2), (1, 6, 5, 5), (1, 3, 5, 5)),
        (nn.Conv1d(4, 6, 3), (2, 3, 3), (2, 4, 9), (2, 3, 9)),
        (nn.Linear(6, 4), (3, 2), (2, 7, 6), (2, 7, 2)),
    ],
    ids=["plain", "depthwise", "transposed", "transposed groups", "one axis", "linear"],
)
def test_a_narrowed_layer_runs_and_the_given_one_stays(layer, lengths, shape, small_shape):
    before = {name: value.clone() for name, value in layer.state_dict().items()}
    small, found = narrowed(layer, lengths, shape)
    assert found == small_shape
    assert small.get_parameter("weight").shape == lengths
    small(torch.zeros(found))
    assert all(torch.equal(value, before[name]) for name, value in layer.state_dict().items())


@pytest.mark.parametrize("ms", [0.0, -1.0, math.nan, math.inf])
def test_a_clock_that_gives_no_time_is_refused(prepared, ms):
    model, graph, ranking = prepared
    with pytest.raises(ValueError, match=r"measure must give milliseconds > 0, got .* for Conv2d"):
        latency_table(model, graph, ranking, lambda layer, shape: ms)


def test_arguments_out_of_range_are_refused(prepared):
    model, graph, ranking = prepared
    with pytest.raises(ValueError, match="fractions must be in"):
        latency_table(model, graph, ranking, by_macs, fractions=(0.5, 1.0))
    table = latency_table(model, graph, ranking, by_macs, fractions=())
    with pytest.raises(ValueError, match="is ranked"):
        table({"nowhere": 3})


def test_the_network_stays_as_it_is(prepared):
    model, graph, ranking = prepared
    before = {name: value.clone() for name, value in model.state_dict().items()}

    def ruin(network: nn.Module, shape: tuple[int, ...]) -> float:
        with torch.no_grad():
            for parameter in network.parameters():
                parameter.zero_()
        return by_macs(network, shape)

    latency_table(model, graph, ranking, ruin, fractions=(0.5,))
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert not any(module._forward_pre_hooks for module in model.modules())
