"""Which channels are kept: ranking, rounding, ties, and the least that each layer keeps."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from course_lib.models import sign_student
from course_lib.pruning import choose, cut, dependency_graph, norms, pruned_widths

IMAGES = torch.zeros(1, 3, 4, 4)


def chain(*widths: int) -> nn.Sequential:
    return nn.Sequential(*(nn.Conv2d(a, b, 1) for a, b in zip((3, *widths), (*widths, 2), strict=True)))


def by_position(group, model) -> Tensor:
    """The last channel counts most."""
    return torch.arange(group.size, dtype=torch.float32)


def all_equal(group, model) -> Tensor:
    return torch.ones(group.size)


def sizes(kept: dict[str, tuple[int, ...]]) -> list[int]:
    return [len(channels) for channels in kept.values()]


def test_a_groups_norm_sums_the_filters_of_all_layers_that_make_the_channel():
    class Residual(nn.Module):
        def __init__(self):
            super().__init__()
            self.a, self.b, self.deep = nn.Conv2d(3, 4, 1), nn.ConvTranspose2d(3, 4, 1), nn.Conv2d(4, 8, 1, groups=4)
            self.norm, self.head = nn.BatchNorm2d(8), nn.Conv2d(8, 2, 1)

        def forward(self, x):
            return self.head(self.norm(self.deep(self.a(x) + self.b(x))))

    net = Residual()
    expected = torch.stack([
        net.a.weight[c].square().sum() + net.b.weight[:, c].square().sum()
        + net.deep.weight[2 * c : 2 * c + 2].square().sum() for c in range(4)
    ])  # fmt: skip
    torch.testing.assert_close(norms(2)(dependency_graph(net, IMAGES)["a"], net).square(), expected)


@pytest.mark.parametrize("ratio", [0.0, 0.22, 0.3, 0.5, 0.95, 1 - 1e-6])
@pytest.mark.parametrize("multiple", [1, 4])
def test_counts_are_those_of_pruned_widths(ratio, multiple):
    student = sign_student(1.25)
    graph = dependency_graph(student, torch.zeros(1, 3, 32, 32))
    kept = choose(graph, student, norms(2), ratio, scope="layer", multiple=multiple)
    assert tuple(sizes(kept)) == pruned_widths(student, ratio, multiple=multiple)


def test_a_ratio_of_zero_keeps_widths_that_are_no_multiple():
    net = chain(5, 6)
    kept = choose(dependency_graph(net, IMAGES), net, norms(2), 0.0, scope="layer", multiple=4)
    assert kept == {"0": (0, 1, 2, 3, 4), "1": (0, 1, 2, 3, 4, 5)}


@pytest.mark.parametrize("scope", ["layer", "global"])
def test_the_most_important_are_kept_and_ties_go_to_the_first(scope):
    net = chain(8, 8)
    graph = dependency_graph(net, IMAGES)
    assert choose(graph, net, by_position, 0.5, scope=scope) == {"0": (4, 5, 6, 7), "1": (4, 5, 6, 7)}
    tied = choose(graph, net, all_equal, 0.25, scope=scope)
    assert tied["0"] == ((0, 1, 2, 3, 4, 5) if scope == "layer" else tuple(range(8)))
    assert tied["1"] == ((0, 1, 2, 3, 4, 5) if scope == "layer" else (0, 1, 2, 3))


def test_one_ranking_over_all_groups_takes_more_from_the_weaker():
    net = chain(8, 8)
    graph = dependency_graph(net, IMAGES)

    def second_is_stronger(group, model):
        return by_position(group, model) + (4 if group.name == "1" else 0)

    kept = choose(graph, net, second_is_stronger, 0.5, scope="global")
    assert kept == {"0": (6, 7), "1": (2, 3, 4, 5, 6, 7)}
    assert sizes(choose(graph, net, second_is_stronger, 0.5, scope="global", multiple=4)) == [4, 8]


@pytest.mark.parametrize("scope", ["layer", "global"])
def test_no_group_falls_below_the_minimum(scope):
    net = chain(8, 2)
    graph = dependency_graph(net, IMAGES)
    assert sizes(choose(graph, net, by_position, 0.99, scope=scope, minimum=3)) == [3, 2]
    assert sizes(choose(graph, net, by_position, 0.99, scope=scope)) == [1, 1]


def test_every_layer_of_a_group_keeps_its_best_channel():
    class Joined(nn.Module):
        def __init__(self):
            super().__init__()
            self.a, self.b, self.c, self.head = (nn.Conv2d(i, o, 1) for i, o in ((3, 2), (3, 4), (3, 6), (6, 2)))

        def forward(self, x):
            return self.head(torch.cat([self.a(x), self.b(x)], 1) + self.c(x))

    net = Joined()
    graph = dependency_graph(net, IMAGES)
    kept = choose(graph, net, by_position, 0.5, scope="layer")
    assert kept == {"a": (1, 4, 5)}
    cut(net, graph, kept)


def test_what_is_out_of_range_is_refused():
    net = chain(4)
    graph = dependency_graph(net, IMAGES)
    for ratio in (1, -0.1, float("nan")):
        with pytest.raises(ValueError, match=r"pruning_ratio must be in \[0, 1\), got"):
            choose(graph, net, norms(2), ratio, scope="layer")
    with pytest.raises(ValueError, match="scope must be"):
        choose(graph, net, norms(2), 0.5, scope="network")  # pyright: ignore[reportArgumentType]
    for options in ({"multiple": 0}, {"minimum": 0}):
        with pytest.raises(ValueError, match="multiple and minimum must be at least 1"):
            choose(graph, net, norms(2), 0.5, scope="layer", **options)
    for wrong in (torch.ones(3), torch.tensor([1.0, 2.0, torch.nan, 1.0])):
        with pytest.raises(ValueError, match="importance must give 4 finite values for '0'"):
            choose(graph, net, lambda group, model, wrong=wrong: wrong, 0.5, scope="layer")


def test_a_network_without_prunable_groups_keeps_everything():
    net = nn.Sequential(nn.Conv2d(3, 4, 1))
    for scope in ("layer", "global"):
        assert choose(dependency_graph(net, IMAGES), net, norms(2), 0.5, scope=scope) == {}
