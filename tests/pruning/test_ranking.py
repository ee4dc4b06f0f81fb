"""Rankings: the order of scores, but for channels that a layer needs; nested, checked, equal to ``choose``."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from course_lib.models import sign_student
from course_lib.pruning import Group, choose, cut, dependency_graph, norms
from course_lib.pruning.importance import noise
from course_lib.pruning.ranking import Ranking, importance_losses, rank_channels

IMAGES = torch.zeros(1, 3, 32, 32)


class Concatenated(nn.Module):
    """Two convolutions side by side, summed with a third: one group whose layers hold different channels."""

    def __init__(self):
        super().__init__()
        self.left, self.right, self.whole = nn.Conv2d(3, 2, 1), nn.Conv2d(3, 4, 1), nn.Conv2d(3, 6, 1)
        self.out = nn.Conv2d(6, 2, 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.out(torch.cat([self.left(x), self.right(x)], 1) + self.whole(x))


def by_position(group: Group, model: nn.Module) -> Tensor:
    return torch.arange(group.size).float()


@pytest.mark.parametrize("make", [lambda: sign_student(0.5), Concatenated], ids=["student", "concatenated"])
@pytest.mark.parametrize("minimum", [1, 2])
def test_a_ranking_keeps_the_channels_that_choose_keeps(make, minimum):
    torch.manual_seed(0)
    model = make()
    graph = dependency_graph(model, IMAGES)
    ranking = rank_channels(model, graph, norms(2), minimum=minimum)
    for pruning_ratio in (0.0, 0.3, 0.5, 0.9, 0.99):
        kept = choose(graph, model, norms(2), pruning_ratio, scope="layer", minimum=minimum)
        assert ranking.keep({name: len(channels) for name, channels in kept.items()}) == kept


def test_a_smaller_count_keeps_some_of_the_channels_of_a_larger_one():
    model = Concatenated()
    ranking = rank_channels(model, dependency_graph(model, IMAGES), noise(3))
    (name,) = ranking.orders
    for count in range(ranking.least[name], 6):
        assert set(ranking.keep({name: count})[name]) < set(ranking.keep({name: count + 1})[name])


def test_no_layer_is_left_empty_at_the_least_count():
    model = Concatenated()
    graph = dependency_graph(model, IMAGES)
    ranking = rank_channels(model, graph, by_position)  # would remove all of left first
    assert ranking.orders == {"left": (5, 1, 4, 3, 2, 0)}
    assert ranking.least == {"left": 2}
    small = cut(model, graph, ranking.keep({"left": 2}))
    assert [len(small.get_parameter(f"{side}.weight")) for side in ("left", "right", "whole")] == [1, 1, 2]


def test_equal_scores_keep_the_lower_position():
    model = sign_student(0.25)
    ranking = rank_channels(model, dependency_graph(model, IMAGES), lambda g, m: torch.ones(g.size))
    assert all(order == tuple(range(len(order))) for order in ranking.orders.values())


def test_only_the_asked_groups_are_ranked_in_the_order_of_execution():
    model = sign_student(0.25)
    graph = dependency_graph(model, IMAGES)
    ranking = rank_channels(model, graph, norms(2), groups=["features.2.0", "features.0.0"])
    assert list(ranking.orders) == ["features.0.0", "features.2.0"]
    assert ranking.keep({}) == {"features.0.0": tuple(range(4)), "features.2.0": tuple(range(12))}


@pytest.mark.parametrize(
    ("size", "least", "multiple", "rungs"),
    [
        (20, 1, 8, (20, 16, 8)),
        (16, 1, 8, (16, 8)),
        (6, 1, 8, (6,)),
        (20, 9, 8, (20, 16)),
        (3, 1, 1, (3, 2, 1)),
        (1, 1, 4, (1,)),
        (16, 16, 4, (16,)),
    ],
)
def test_rungs_are_all_channels_then_multiples_not_below_the_least(size, least, multiple, rungs):
    assert Ranking({"a": tuple(range(size))}, {}, {"a": least}).rungs("a", multiple) == rungs


def test_losses_of_importances_are_the_scores_of_the_removed():
    model = sign_student(0.25)
    ranking = rank_channels(model, dependency_graph(model, IMAGES), noise(0))
    losses = importance_losses(ranking)
    for name, order in ranking.orders.items():
        assert losses[name].shape == (len(order) + 1,)
        for count in (0, 1, len(order) - 1, len(order)):
            removed = ranking.scores[name][list(order[count:])].sum()
            assert losses[name][count] == pytest.approx(float(removed), abs=1e-12)


def test_what_is_no_allocation_is_refused_by_name():
    ranking = Ranking({"a": (0, 1, 2)}, {}, {"a": 2})
    with pytest.raises(ValueError, match=r"no group 'b' is ranked; ranked are \['a'\]"):
        ranking.keep({"b": 1})
    for count in (1, 4, -1):
        with pytest.raises(ValueError, match=f"'a' can keep 2 to 3, got {count}"):
            ranking.keep({"a": count})
    with pytest.raises(ValueError, match="multiple must be at least 1, got 0"):
        ranking.rungs("a", 0)


def test_wrong_importances_groups_and_minimums_are_refused():
    model = sign_student(0.25)
    graph = dependency_graph(model, IMAGES)
    output = next(group for group in graph.groups if not group.prunable)
    with pytest.raises(ValueError, match=r"4 finite values for 'features.0.0', got shape"):
        rank_channels(model, graph, lambda g, m: torch.ones(g.size + 1))
    with pytest.raises(ValueError, match=r"4 finite values for 'features.0.0', got .*nan"):
        rank_channels(model, graph, lambda g, m: torch.full((g.size,), torch.nan))
    with pytest.raises(ValueError, match="there is no group 'nowhere'"):
        rank_channels(model, graph, norms(2), groups=["nowhere"])
    with pytest.raises(ValueError, match="cannot be cut"):
        rank_channels(model, graph, norms(2), groups=[output.name])
    with pytest.raises(ValueError, match="named once"):
        rank_channels(model, graph, norms(2), groups=["features.0.0", "features.0.0"])
    with pytest.raises(ValueError, match="minimum must be at least 1, got 0"):
        rank_channels(model, graph, norms(2), minimum=0)
