"""Which channels go together: what operators unite, what they hold fast, and what is refused."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from course_lib.pruning import DependencyGraph, UnsupportedOperator, cut, dependency_graph

IMAGES = torch.zeros(2, 3, 8, 8)


class Net(nn.Module):
    """Layers by name, and a forward that is given as a function of (network, input)."""

    def __init__(self, forward: Callable[[Any, Tensor], object], **layers: nn.Module):
        super().__init__()
        self.steps = forward
        for name, layer in layers.items():
            self.add_module(name, layer)

    def forward(self, x: Tensor) -> object:
        return self.steps(self, x)


def convolutions(**widths: tuple[int, int]) -> dict[str, nn.Module]:
    return {name: nn.Conv2d(inputs, outputs, 3, padding=1) for name, (inputs, outputs) in widths.items()}


def sets(graph: DependencyGraph, module: str, tensor: str = "weight", axis: int = 0) -> list[list[int]]:
    """The positions on an axis that go together, in order."""
    members = [m for g in graph.groups for m in g.members if (m.module, m.tensor, m.axis) == (module, tensor, axis)]
    return sorted(list(positions) for member in members for positions in member.indices if positions)


def singles(count: int) -> list[list[int]]:
    return [[position] for position in range(count)]


def test_a_residual_sum_makes_one_group_of_both_branches():
    net = Net(
        lambda net, x: net.head(net.stem(x) + net.block(net.stem(x))), **convolutions(stem=(3, 4), block=(4, 4)),
        head=nn.Conv2d(4, 2, 1),
    )  # fmt: skip
    graph = dependency_graph(net, IMAGES)
    assert [group.name for group in graph.groups if group.prunable] == ["stem"]
    assert graph.group_of("block") is graph.group_of("stem") is graph["stem"]
    assert {(m.module, m.role) for m in graph["stem"].members} == {
        ("stem", "produces"), ("block", "produces"), ("block", "consumes"), ("head", "consumes")
    }  # fmt: skip


def test_a_concatenation_leaves_its_parts_independent_and_shifts_the_second():
    net = Net(
        lambda net, x: net.head(torch.cat([net.a(x), net.b(x), net.a(x)], 1)), **convolutions(a=(3, 4), b=(3, 5)),
        head=nn.Conv2d(13, 2, 1),
    )  # fmt: skip
    graph = dependency_graph(net, IMAGES)
    assert graph["a"].size == 4
    assert graph["b"].size == 5
    assert graph["a"].members[-1].indices == ((0, 9), (1, 10), (2, 11), (3, 12))
    assert graph["b"].members[-1].indices == ((4,), (5,), (6,), (7,), (8,))


def test_maps_that_stand_one_above_the_other_need_the_same_channels():
    """Also where no layer reads them together: the concatenation itself needs as many channels in both."""

    def forward(net: Any, x: Tensor) -> Tensor:
        tall = torch.cat([net.a(x), net.b(x)], dim=2)
        return net.head(tall[:, :, :8]) + net.other(tall[:, :, 8:])

    net = Net(forward, **convolutions(a=(3, 4), b=(3, 4), head=(4, 2), other=(4, 2)))
    graph = dependency_graph(net, IMAGES)
    assert graph.group_of("a") is graph.group_of("b")
    assert graph["a"].size == 4


def test_flattened_maps_give_each_channel_as_many_inputs_as_pixels():
    net = nn.Sequential(nn.Conv2d(3, 4, 1), nn.AdaptiveAvgPool2d((2, 3)), nn.Flatten(), nn.Linear(24, 5))
    assert dependency_graph(net, IMAGES)["0"].members[-1].indices[1] == (6, 7, 8, 9, 10, 11)


@pytest.mark.parametrize(
    ("layer", "inputs", "outputs"),
    [
        (nn.Conv2d(8, 8, 1, groups=8), singles(8), singles(8)),
        (nn.Conv2d(8, 16, 1, groups=8), singles(8), [[2 * c, 2 * c + 1] for c in range(8)]),
        (nn.Conv2d(8, 4, 1, groups=2), [[0, 1, 2, 3], [4, 5, 6, 7]], [[0, 1], [2, 3]]),
        (nn.ConvTranspose2d(8, 4, 1, groups=4), [[0, 1], [2, 3], [4, 5], [6, 7]], singles(4)),
    ],
)
def test_a_grouped_convolution_ties_whole_groups_together(layer, inputs, outputs):
    graph = dependency_graph(nn.Sequential(nn.Conv2d(3, 8, 1), layer, nn.Conv2d(layer.out_channels, 2, 1)), IMAGES)
    assert sets(graph, "0") == inputs
    assert sets(graph, "2", axis=1) == outputs
    assert graph.group_of("0") is graph.group_of("1")


def test_pieces_of_a_chunk_lose_the_channels_at_equal_places():
    net = Net(
        lambda net, x: net.head(torch.cat(net.stem(x).chunk(2, dim=1)[::-1], 1)), **convolutions(stem=(3, 6)),
        head=nn.Conv2d(6, 2, 1),
    )  # fmt: skip
    assert sets(dependency_graph(net, IMAGES), "stem") == [[0, 3], [1, 4], [2, 5]]


def shuffled(x: Tensor) -> Tensor:
    count, channels, height, width = x.size()
    return x.view(count, 2, channels // 2, height, width).transpose(1, 2).contiguous().view(count, -1, height, width)


def test_a_channel_shuffle_moves_channels_and_pairs_the_halves():
    net = Net(lambda net, x: net.head(shuffled(net.stem(x))), **convolutions(stem=(3, 6), head=(6, 2)))
    graph = dependency_graph(net, IMAGES)
    assert sets(graph, "stem") == [[0, 3], [1, 4], [2, 5]]
    assert sets(graph, "head", axis=1) == [[0, 1], [2, 3], [4, 5]]


def test_a_layer_that_is_called_twice_unites_what_it_reads():
    net = Net(
        lambda net, x: net.head(net.twice(net.a(x)) + net.twice(net.b(x))),
        **convolutions(a=(3, 4), b=(3, 4), twice=(4, 6), head=(6, 2)),
    )
    graph = dependency_graph(net, IMAGES)
    # a and b stay groups of one channel set: the layer reads both at the same positions.
    assert graph.group_of("a") is graph.group_of("b")
    assert graph["twice"].size == 6


def test_tied_weights_are_cut_as_one():
    net = nn.Sequential(*(nn.Conv2d(4 if k else 3, 4, 1) for k in range(4)), nn.Conv2d(4, 2, 1))
    net[2].weight = net[1].weight
    graph = dependency_graph(net, IMAGES)
    assert graph.group_of("1") is graph.group_of("2") is graph.group_of("0")
    small = cut(net, graph, {"0": [0, 3]})
    assert small[2].weight is small[1].weight
    assert small.get_parameter("1.weight").shape == (2, 2, 1, 1)


@pytest.mark.parametrize(
    ("steps", "reason"),
    [
        (lambda net, x: net.head(net.stem(x)[:, :6]), "picks some of them by number"),
        (lambda net, x: net.head(net.stem(x)[:, 0:1].expand(-1, 6, -1, -1)), "picks some of them"),
        (lambda net, x: net.head(net.stem(x).view(2, 6, 8, 8)), "their number stands in the code"),
        (lambda net, x: net.head(net.stem(x).view(-1, 6, 64).unflatten(2, (8, 8))), "their number stands in the code"),
        (lambda net, x: net.head(net.stem(x).view(x.shape[:1] + (6, 8, 8))), "number stands in the code"),  # noqa: RUF005
        (lambda net, x: net.head(net.stem(x).view((2, 6) + x.shape[2:])), "number stands in the code"),  # noqa: RUF005
        (lambda net, x: net.head(net.stem(x).expand(-1, 6, 8, 8)), "their number stands in the code"),
        (
            lambda net, x: net.head(
                (net.stem(x).flatten(2)[:, :, :1] * net.stem(x).mean((2, 3))[:, None]).unsqueeze(3)
            ),
            "one value acts on many channels",
        ),
        (lambda net, x: net.head(torch.cat(net.stem(x).split(3, 1), 1)), "sizes of the pieces stand in the code"),
        (lambda net, x: net.head(torch.cat(net.stem(x).chunk(4, 1), 1)[:, [0, 1, 2, 3, 4, 5]]), None),
        (lambda net, x: net.head(net.stem(x).softmax(1)), "a softmax runs over them"),
        (lambda net, x: net.head(net.stem(x) - net.stem(x).mean(1, keepdim=True)), "a reduction runs over them"),
        (lambda net, x: net.head(net.stem(x) / net.stem(x).size(1)), "computes with their number"),
        (lambda net, x: net.head(net.stem(x) * net.stem(x).shape[1:][0] ** -0.5), "computes with their number"),
        (lambda net, x: (net.stem(x), net.head(net.stem(x))), "the network's output"),
        (lambda net, x: {"a": [net.head(net.stem(x))], "b": net.stem(x).relu()}, "the network's output"),
        (lambda net, x: net.head(net.stem(x) + torch.cat([x, x], 1)), "the network's input x"),
        (lambda net, x: net.head(F.pad(net.stem(x), (0, 0, 0, 0, 1, 1))[:, 1:7]), "pads them"),
    ],
)
def test_what_holds_channels_fast_is_told_and_never_cut(steps, reason):
    net = Net(steps, **convolutions(stem=(3, 6), head=(6, 2)))
    if reason is None:
        with pytest.raises(UnsupportedOperator, match="picks by a tensor or a list"):
            dependency_graph(net, IMAGES)
        return
    graph = dependency_graph(net, IMAGES)
    group = graph.group_of("stem")
    assert not group.prunable
    assert reason in group.reason
    with pytest.raises(ValueError, match=f"'{group.name}' cannot be cut: "):
        cut(net, graph, {group.name: [0]})


def test_a_shape_taken_from_another_tensor_follows_or_holds():
    def shaped(other: str) -> Net:
        def forward(net: Any, x: Tensor) -> Tensor:
            return net.head(net.stem(x).flatten(2).view(getattr(net, other)(x).shape) + net.also(x).mean())

        return Net(forward, **convolutions(stem=(3, 6), also=(3, 6), head=(6, 2)))

    assert dependency_graph(shaped("stem"), IMAGES)["stem"].prunable
    assert "by the number of other channels" in dependency_graph(shaped("also"), IMAGES)["stem"].reason


def test_the_output_layer_is_found_whatever_its_type():
    net = nn.Sequential(nn.Conv2d(3, 4, 1), nn.Conv2d(4, 5, 1), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    graph = dependency_graph(net, IMAGES)
    assert graph["0"].prunable
    assert "the network's output" in graph["1"].reason


def test_an_operator_without_a_rule_is_named_with_its_line():
    def forward(net: Any, x: Tensor) -> Tensor:
        return net.head(torch.cumsum(net.stem(x), 1))

    net = Net(forward, **convolutions(stem=(3, 6), head=(6, 2)))
    line = forward.__code__.co_firstlineno + 1
    with pytest.raises(UnsupportedOperator, match=rf"cumsum \(node cumsum, .*test_dependency.py.*line {line}"):
        dependency_graph(net, IMAGES)


def test_layers_without_a_rule_are_refused_by_name():
    with pytest.raises(UnsupportedOperator, match=r"LocalResponseNorm 1 .* has no rule"):
        dependency_graph(nn.Sequential(nn.Conv2d(3, 4, 1), nn.LocalResponseNorm(2), nn.Conv2d(4, 2, 1)), IMAGES)
    weighted = nn.utils.parametrizations.weight_norm(nn.Conv2d(3, 4, 1))
    with pytest.raises(UnsupportedOperator, match="ParametrizedConv2d 0"):
        dependency_graph(nn.Sequential(weighted, nn.Conv2d(4, 2, 1)), IMAGES)


def test_a_network_that_cannot_be_traced_is_refused_with_reason_and_line():
    def forward(net: Any, x: Tensor) -> Tensor:
        return net.stem(x) if x.sum() > 0 else x

    net = Net(forward, **convolutions(stem=(3, 6)))
    line = forward.__code__.co_firstlineno + 1
    with pytest.raises(ValueError, match=rf"Net cannot be traced at .*test_dependency.py:{line}: .*control flow"):
        dependency_graph(net, IMAGES)


def test_a_wrong_example_is_refused():
    with pytest.raises(UnsupportedOperator, match=r"Conv2d 0 .* fails: Invalid channel"):
        dependency_graph(nn.Sequential(nn.Conv2d(3, 4, 1)), torch.zeros(1, 2, 4, 4))


def test_the_model_its_modes_and_its_memory_are_left_alone():
    net = nn.Sequential(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4), nn.Dropout(), nn.Conv2d(4, 2, 1)).train()
    net[1].training = False
    before, pointers = {k: v.clone() for k, v in net.state_dict().items()}, [p.data_ptr() for p in net.parameters()]
    dependency_graph(net, IMAGES)
    assert [module.training for module in net.modules()] == [True, True, False, True, True]
    assert [p.data_ptr() for p in net.parameters()] == pointers
    assert all(torch.equal(value, before[name]) for name, value in net.state_dict().items())


def test_one_value_that_acts_on_many_channels_ties_none_of_them():
    net = Net(
        lambda net, x: net.head(net.stem(x) * torch.sigmoid(net.attention(x))),
        **convolutions(stem=(3, 6), attention=(3, 1), head=(6, 2)),
    )
    graph = dependency_graph(net, IMAGES)
    assert graph["stem"].size == 6
    assert graph["stem"].prunable
    assert "acts on many channels" in graph["attention"].reason


def test_the_graph_prints_and_draws_itself():
    graph = dependency_graph(nn.Sequential(nn.Conv2d(3, 4, 1), nn.ReLU(), nn.Conv2d(4, 2, 1)), IMAGES)
    assert "0: 4 channels\n  produces    0.weight axis 0: 0, 1, 2, …" in str(graph)
    assert "2: 2 channels, fixed: the network's output, from 2" in str(graph)
    dot = graph.to_dot()
    assert dot.startswith("digraph")
    assert '"0" -> g1;' in dot
    assert 'g1 -> "2";' in dot
    assert dot.count("{") == dot.count("}") == 1


def test_asking_for_a_group_that_is_not_there_lists_those_that_are():
    graph = dependency_graph(nn.Sequential(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4), nn.Conv2d(4, 2, 1)), IMAGES)
    assert graph.group_of("1") is graph["0"]
    with pytest.raises(ValueError, match=r"no group 'x'; the groups are \['input:input', '0', '2'\]"):
        graph["x"]
    with pytest.raises(ValueError, match="0 groups have a share in 'x'"):
        graph.group_of("x")
