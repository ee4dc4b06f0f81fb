"""Allocations meet their budgets, exactly where costs are exact; greedy takes the cheapest block; both repeat."""

from __future__ import annotations

import itertools
import math
import random

import pytest
import torch

from course_lib.measure.counting import total_macs
from course_lib.models import sign_student, sign_teacher
from course_lib.pruning import cut, dependency_graph, norms
from course_lib.pruning.allocation import (
    first_within,
    greedy_allocation,
    greedy_path,
    proportional_path,
    uniform_allocation,
)
from course_lib.pruning.costs import predicted_macs
from course_lib.pruning.ranking import Allocation, Ranking, importance_losses, rank_channels

SHAPE = (1, 3, 32, 32)


def ranking_of(**sizes: int) -> Ranking:
    orders = {name: tuple(range(size)) for name, size in sizes.items()}
    return Ranking(orders, {}, dict.fromkeys(sizes, 1))


def channels(counts: Allocation) -> float:
    return sum(counts.values())


@pytest.mark.parametrize("budget", [1.0, 0.5, 0.2])
@pytest.mark.parametrize("multiple", [1, 8, 16])
def test_the_cut_network_meets_its_budget_in_macs(budget, multiple):
    torch.manual_seed(0)
    model = sign_student(1.0)
    graph = dependency_graph(model, torch.zeros(SHAPE))
    ranking = rank_channels(model, graph, norms(2))
    macs, whole = predicted_macs(model, graph, ranking), total_macs(model, SHAPE)
    for counts in (
        uniform_allocation(ranking, macs, budget, multiple=multiple),
        greedy_allocation(ranking, macs, importance_losses(ranking), budget, multiple=multiple),
    ):
        small = cut(model, graph, ranking.keep(counts))
        assert total_macs(small, SHAPE) == macs(counts) <= budget * whole
        for name, count in counts.items():
            assert count == ranking.sizes[name] or (count % multiple == 0 and count >= multiple)


def test_a_residual_network_meets_its_budget():
    model = sign_teacher()
    graph = dependency_graph(model, torch.zeros(SHAPE))
    ranking = rank_channels(model, graph, norms(2))
    macs = predicted_macs(model, graph, ranking)
    counts = uniform_allocation(ranking, macs, 0.3, multiple=8)
    assert 0.2 * macs({}) < total_macs(cut(model, graph, ranking.keep(counts)), SHAPE) <= 0.3 * macs({})


def test_the_whole_budget_removes_nothing():
    ranking = ranking_of(a=5, b=3)
    losses = {"a": torch.zeros(6), "b": torch.zeros(4)}
    assert uniform_allocation(ranking, channels, 1, multiple=4) == {"a": 5, "b": 3}
    assert greedy_allocation(ranking, channels, losses, 1) == {"a": 5, "b": 3}


def test_uniform_takes_the_smallest_common_fraction_that_meets_the_budget():
    ranking = ranking_of(a=10, b=7, c=3)

    def lost(t: float) -> dict[str, int]:  # the definition, by brute force
        return {name: max(1, size - math.floor(t * size + 1e-9)) for name, size in ranking.sizes.items()}

    for budget in (0.95, 0.8, 0.55, 0.3, 0.2):
        expected = next(c for c in (lost(i / 2100) for i in range(2101)) if channels(c) <= budget * 20)
        assert uniform_allocation(ranking, channels, budget) == expected


def test_groups_of_equal_fractions_step_together():
    path = list(proportional_path(ranking_of(a=3, b=6, c=9), dict.fromkeys("abc", 1.0)))
    assert {"a": 2, "b": 4, "c": 6} in path
    assert path[-1] == {"a": 1, "b": 1, "c": 1}
    assert not any(counts["a"] == 2 and counts["b"] > 4 for counts in path)


def test_a_group_of_double_appetite_loses_double():
    path = list(proportional_path(ranking_of(a=8, b=8), {"a": 2.0, "b": 1.0}))
    assert {"a": 4, "b": 6} in path
    assert {"a": 1, "b": 4} in path  # a stops at its least


def test_greedy_is_optimal_where_losses_are_convex_and_costs_add_up():
    generator = random.Random(0)
    for _ in range(20):
        ranking = ranking_of(a=4, b=5, c=3)
        drops = {n: sorted(generator.random() for _ in range(s)) for n, s in ranking.sizes.items()}
        losses = {n: torch.tensor([math.fsum(d[: len(d) - k]) for k in range(len(d) + 1)]) for n, d in drops.items()}
        counts = greedy_allocation(ranking, channels, losses, 0.5)
        choices = itertools.product(*(range(1, s + 1) for s in ranking.sizes.values()))

        def loss(allocation, losses=losses):
            return sum(float(losses[name][count]) for name, count in allocation.items())

        best = min(loss(dict(zip("abc", c, strict=True))) for c in choices if sum(c) == 6)
        assert loss(counts) == pytest.approx(best, abs=1e-6)


def test_a_block_is_paid_by_what_it_saves():
    losses = {"dear": torch.tensor([9.0, 1.0, 0.0]), "cheap": torch.tensor([9.0, 0.4, 0.0])}
    ranking = ranking_of(dear=2, cheap=2)
    # Removing a channel of dear costs 1 and saves 10; of cheap 0.4 and 1.
    path = greedy_path(ranking, lambda c: 10 * c["dear"] + c["cheap"], losses)
    assert list(path) == [{"dear": 2, "cheap": 2}, {"dear": 1, "cheap": 2}, {"dear": 1, "cheap": 1}]


def test_costs_that_interact_are_asked_anew_after_each_step():
    losses = {"a": torch.tensor([9.0, 2.0, 1.0, 0.0]), "b": torch.tensor([9.0, 3.1, 1.4, 0.0])}
    path = list(greedy_path(ranking_of(a=3, b=3), lambda c: c["a"] * c["b"], losses))
    # a: 1/3 against b: 1.4/3; then a saves 3 for 1 again, b only 2 for 1.4.
    assert [tuple(c.values()) for c in path] == [(3, 3), (2, 3), (1, 3), (1, 2), (1, 1)]


def test_equal_prices_go_to_the_larger_saving_then_to_the_first_group():
    flat = {"a": torch.zeros(3), "b": torch.zeros(3), "c": torch.zeros(3)}
    path = greedy_path(ranking_of(a=2, b=2, c=2), lambda c: c["a"] + 5 * c["b"] + c["c"], flat)
    assert [tuple(c.values()) for c in path] == [(2, 2, 2), (2, 1, 2), (1, 1, 2), (1, 1, 1)]


def test_what_lies_past_the_cliff_is_not_free():
    # At two channels a has fallen to chance, and one channel less would lose nothing more, and save little.
    losses = {"a": torch.tensor([0.9, 0.9, 0.9, 0.01, 0.0]), "b": torch.tensor([9.0, 2.0, 1.0, 0.0])}
    saved = {4: 12.0, 3: 11.0, 2: 10.0, 1: 9.9}
    path = greedy_path(ranking_of(a=4, b=3), lambda counts: saved[counts["a"]] + counts["b"], losses)
    assert [tuple(counts.values()) for counts in path] == [(4, 3), (3, 3), (2, 3), (2, 2), (2, 1), (1, 1)]


def test_a_loss_that_falls_again_is_no_gain():
    losses = {"a": torch.tensor([0.5, -0.1, -0.2, 0.0]), "b": torch.zeros(4)}
    path = list(greedy_path(ranking_of(a=3, b=3), channels, losses))
    assert path[1] == {"a": 2, "b": 3}  # both cost nothing: the first group
    assert path[-1] == {"a": 1, "b": 1}


def test_where_a_block_saves_nothing_it_reaches_to_the_next_that_does():
    def steps(counts: Allocation) -> float:  # a kernel works on four channels at a time
        return sum(math.ceil(count / 4) for count in counts.values())

    losses = {"a": torch.arange(8, -1, -1.0), "b": 10 * torch.arange(8, -1, -1.0)}
    path = list(greedy_path(ranking_of(a=8, b=8), steps, losses))
    assert path == [{"a": 8, "b": 8}, {"a": 4, "b": 8}, {"a": 4, "b": 4}]


def test_budgets_nest():
    torch.manual_seed(1)
    model = sign_student(0.5)
    graph = dependency_graph(model, torch.zeros(SHAPE))
    ranking = rank_channels(model, graph, norms(2))
    macs, losses = predicted_macs(model, graph, ranking), importance_losses(ranking)
    found = [greedy_allocation(ranking, macs, losses, budget) for budget in (0.9, 0.6, 0.3)]
    for larger, smaller in itertools.pairwise(found):
        assert all(smaller[name] <= larger[name] for name in larger)
    assert found[1] == greedy_allocation(ranking, macs, losses, 0.6)


@pytest.mark.parametrize("budget", [0.0, -0.1, 1.01, math.nan, math.inf])
def test_budgets_outside_their_range_are_refused(budget):
    with pytest.raises(ValueError, match=r"budget must be in \(0, 1\]"):
        uniform_allocation(ranking_of(a=4), channels, budget)


def test_a_budget_that_cannot_be_met_says_what_can():
    ranking = ranking_of(a=8, b=2)
    with pytest.raises(ValueError, match=r"budget 0\.19 cannot be met: the least that can be reached is 0\.2"):
        uniform_allocation(ranking, channels, 0.19)
    with pytest.raises(ValueError, match=r"the least that can be reached is 0\.6"):
        greedy_allocation(ranking, channels, {"a": torch.zeros(9), "b": torch.zeros(3)}, 0.19, multiple=4)
    assert uniform_allocation(ranking, channels, 0.2) == {"a": 1, "b": 1}


def test_wrong_losses_appetites_and_costs_are_refused():
    ranking = ranking_of(a=2, b=2)
    good = torch.zeros(3)
    with pytest.raises(ValueError, match=r"losses must name the groups \['a', 'b'\], got \['a'\]"):
        greedy_allocation(ranking, channels, {"a": good}, 0.5)
    with pytest.raises(ValueError, match=r"losses must be 3 finite values for 'b', got \[0.0, nan"):
        greedy_allocation(ranking, channels, {"a": good, "b": torch.tensor([0, math.nan, 0])}, 0.5)
    with pytest.raises(ValueError, match="losses must be 3 finite values for 'b'"):
        greedy_allocation(ranking, channels, {"a": good, "b": torch.zeros(2)}, 0.5)
    for appetite in (0.0, -1.0, math.inf, math.nan):
        with pytest.raises(ValueError, match="appetites must be positive and finite"):
            list(proportional_path(ranking, {"a": 1.0, "b": appetite}))
    with pytest.raises(ValueError, match="appetites must name the groups"):
        list(proportional_path(ranking, {"a": 1.0, "c": 1.0}))
    for cost in (math.nan, math.inf, 0.0):
        with pytest.raises(ValueError, match="a cost must be finite, and the whole network's positive"):
            first_within([{"a": 2}], lambda _, cost=cost: cost, 0.5)
    with pytest.raises(ValueError, match="multiple must be at least 1"):
        uniform_allocation(ranking, channels, 0.5, multiple=0)
