"""A target in milliseconds is hit by the clock, whatever the table knows; what cannot be hit says what can."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from course_lib.measure.counting import total_macs
from course_lib.models import sign_student
from course_lib.pruning import cut, dependency_graph, norms
from course_lib.pruning.latency_budget import latency_allocation
from course_lib.pruning.layer_latency import latency_table
from course_lib.pruning.ranking import importance_losses, rank_channels

SHAPE = (1, 3, 32, 32)


def by_macs(network: nn.Module, shape: tuple[int, ...]) -> float:
    """A clock: 1 ms a million MACs."""
    return total_macs(network, shape) / 1e6


def with_overhead(network: nn.Module, shape: tuple[int, ...]) -> float:
    """A clock with what no table of layers knows: a fixed share, a factor, and steps of 8 channels."""
    if isinstance(network, nn.Conv2d | nn.Linear):
        return 0.001 + by_macs(network, shape)
    steps = sum(math.ceil(m.out_channels / 8) for m in network.modules() if isinstance(m, nn.Conv2d))
    return 0.1 + 2.3 * by_macs(network, shape) ** 0.8 + 0.002 * steps


@pytest.fixture(scope="module")
def prepared():
    torch.manual_seed(0)
    model = sign_student(0.5)
    graph = dependency_graph(model, torch.zeros(SHAPE))
    ranking = rank_channels(model, graph, norms(2))
    return model, graph, ranking, importance_losses(ranking)


@pytest.mark.parametrize("fraction", [0.85, 0.6, 0.35, 0.2])
@pytest.mark.parametrize("clock", [by_macs, with_overhead])
def test_the_target_is_hit_by_the_clock(prepared, fraction, clock):
    model, graph, ranking, losses = prepared
    table = latency_table(model, graph, ranking, clock)
    target = fraction * clock(model, SHAPE)
    found = latency_allocation(model, graph, losses, table, clock, target)
    small = cut(model, graph, ranking.keep(found.counts))
    assert found.measured_ms == clock(small, SHAPE)
    assert abs(found.measured_ms / target - 1) <= 0.1
    assert found.whole_ms == clock(model, SHAPE) == found.tried[0][1]
    assert found.tried[-1] == (found.predicted_ms, found.measured_ms)
    assert len(found.tried) <= 6


def test_a_close_target_is_hit_closely(prepared):
    model, graph, ranking, losses = prepared
    table = latency_table(model, graph, ranking, by_macs)
    target = 0.5 * by_macs(model, SHAPE)
    found = latency_allocation(model, graph, losses, table, with_overhead, target, tolerance=0.05)
    assert abs(found.measured_ms / target - 1) <= 0.05


def test_a_network_that_is_fast_enough_stays_whole(prepared):
    model, graph, ranking, losses = prepared
    table = latency_table(model, graph, ranking, by_macs)
    found = latency_allocation(model, graph, losses, table, by_macs, 100.0, multiple=8)
    assert found.counts == ranking.sizes
    assert len(found.tried) == 1


def test_a_target_that_cannot_be_met_says_what_can(prepared):
    model, graph, ranking, losses = prepared
    table = latency_table(model, graph, ranking, by_macs)
    least = cut(model, graph, ranking.keep(dict.fromkeys(ranking.sizes, 8)))
    with pytest.raises(ValueError, match=r"0\.001 cannot be met: the least that can be reached is (\S+) ms") as error:
        latency_allocation(model, graph, losses, table, by_macs, 0.001, multiple=8)
    assert f"{by_macs(least, SHAPE):.4g} ms" in str(error.value)


def test_a_target_between_two_steps_names_the_nearest(prepared):
    model, graph, ranking, losses = prepared
    table = latency_table(model, graph, ranking, by_macs)

    def jump(network: nn.Module, shape: tuple[int, ...]) -> float:
        return 10.0 if total_macs(network, shape) > 5e5 else 1.0

    with pytest.raises(ValueError, match=r"4\.0 was not hit within the tolerance: the nearest are 10 and 1 ms"):
        latency_allocation(model, graph, losses, table, jump, 4.0, most=50)
    timed = []
    with pytest.raises(ValueError, match="was not hit"):
        latency_allocation(
            model, graph, losses, table, lambda net, shape: timed.append(1) or jump(net, shape), 4.0, most=5
        )
    assert len(timed) == 5


@pytest.mark.parametrize("ms", [0.0, -1.0, math.nan, math.inf])
def test_a_clock_that_gives_no_time_is_refused(prepared, ms):
    model, graph, ranking, losses = prepared
    table = latency_table(model, graph, ranking, by_macs, fractions=())
    with pytest.raises(ValueError, match=r"measure must give milliseconds > 0, got .* for SignStudent"):
        latency_allocation(model, graph, losses, table, lambda net, shape: ms, 1.0)


@pytest.mark.parametrize("wrong", [{"target_ms": 0.0}, {"target_ms": math.nan}, {"tolerance": 0.0}, {"most": 1}])
def test_arguments_out_of_range_are_refused(prepared, wrong):
    model, graph, ranking, losses = prepared
    table = latency_table(model, graph, ranking, by_macs, fractions=())
    with pytest.raises(ValueError, match="target_ms must be > 0, tolerance in"):
        latency_allocation(model, graph, losses, table, by_macs, **{"target_ms": 1.0, **wrong})


def test_the_network_stays_as_it_is(prepared):
    model, graph, ranking, losses = prepared
    before = {name: value.clone() for name, value in model.state_dict().items()}

    def ruin(network: nn.Module, shape: tuple[int, ...]) -> float:
        with torch.no_grad():
            for parameter in network.parameters():
                parameter.zero_()
        return by_macs(network, shape)

    table = latency_table(model, graph, ranking, by_macs, fractions=(0.5,))
    latency_allocation(model, graph, losses, table, ruin, 0.5 * by_macs(model, SHAPE))
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
