"""Predicted MACs equal those of the network that is really cut, whatever is kept."""

from __future__ import annotations

import random

import pytest
import torch
from torch import Tensor, nn

from course_lib.data import torchvision_compat  # noqa: F401  (before torchvision)
from course_lib.measure.counting import macs_by_layer
from course_lib.models import sign_student, sign_teacher
from course_lib.pruning import cut, dependency_graph
from course_lib.pruning.costs import layer_weights, predicted_macs
from course_lib.pruning.importance import noise
from course_lib.pruning.ranking import Ranking, rank_channels


class Mixed(nn.Module):
    """Grouped, depthwise, transposed and shared layers, a concatenation, and a linear layer behind a flattened map."""

    def __init__(self):
        super().__init__()
        self.stem, self.grouped = nn.Conv2d(3, 8, 3, padding=1), nn.Conv2d(8, 12, 3, padding=1, groups=4)
        self.depthwise = nn.Conv2d(12, 12, 3, padding=1, groups=12)
        self.up, self.twice = nn.ConvTranspose2d(12, 10, 2, stride=2), nn.Conv2d(10, 10, 1)
        self.side = nn.Conv2d(3, 5, 1, stride=2)
        self.fc, self.out = nn.Linear(15 * 16, 7), nn.Linear(7, 2)

    def forward(self, x: Tensor) -> Tensor:
        y = self.up(self.depthwise(self.grouped(torch.relu(self.stem(x[..., ::4, ::4])))))
        y = self.twice(self.twice(y))
        return self.out(torch.relu(self.fc(torch.cat([y, self.side(x)], 1).flatten(1))))


def allocation(ranking: Ranking, seed: int) -> dict[str, int]:
    generator = random.Random(seed)
    return {name: generator.randint(ranking.least[name], size) for name, size in ranking.sizes.items()}


def assert_exact(model: nn.Module, shape: tuple[int, ...], seeds: int) -> None:
    graph = dependency_graph(model, torch.zeros(shape))
    for seed in range(seeds):
        ranking = rank_channels(model, graph, noise(seed))
        macs, counts = predicted_macs(model, graph, ranking), allocation(ranking, seed)
        found = macs_by_layer(cut(model, graph, ranking.keep(counts)), shape)
        assert {layer.name: layer.macs(counts) for layer in macs.layers} == found
        assert macs(counts) == sum(found.values())


@pytest.mark.parametrize("make", [lambda: sign_student(0.5), sign_teacher], ids=["chain", "residual"])
def test_random_allocations_of_the_courses_networks_are_predicted_exactly(make):
    assert_exact(make(), (1, 3, 32, 32), 6)


@pytest.mark.parametrize("batch", [1, 3])
def test_every_kind_of_layer_is_predicted_exactly_batch_included(batch):
    assert_exact(Mixed(), (batch, 3, 8, 8), 12)


@pytest.mark.parametrize("name", ["mobilenet_v3_small", "shufflenet_v2_x1_0"])
def test_torchvisions_networks_are_predicted_exactly(name):
    from torchvision import models

    assert_exact(getattr(models, name)(weights=None, num_classes=10), (1, 3, 64, 64), 1)


def test_layers_that_hold_different_channels_of_one_group_are_predicted_exactly():
    class Sum(nn.Module):
        def __init__(self):
            super().__init__()
            self.left, self.right, self.whole = nn.Conv2d(3, 2, 1), nn.Conv2d(3, 4, 3, padding=1), nn.Conv2d(3, 6, 1)
            self.out = nn.Conv2d(6, 2, 1)

        def forward(self, x: Tensor) -> Tensor:
            return self.out(torch.cat([self.left(x), self.right(x)], 1) + self.whole(x))

    assert_exact(Sum(), (1, 3, 4, 4), 8)


def test_a_weight_that_two_layers_share_shrinks_in_both():
    class Shared(nn.Module):
        def __init__(self):
            super().__init__()
            self.stem, self.one, self.two = nn.Linear(3, 6), nn.Linear(6, 6, bias=False), nn.Linear(6, 6, bias=False)
            self.two.weight, self.out = self.one.weight, nn.Linear(6, 2)

        def forward(self, x: Tensor) -> Tensor:
            return self.out(self.two(torch.relu(self.one(torch.relu(self.stem(x))))))

    assert_exact(Shared(), (2, 3), 4)


def test_groups_that_are_not_ranked_or_not_named_stay_whole():
    model = sign_student(0.25)
    graph = dependency_graph(model, torch.zeros(1, 3, 32, 32))
    ranking = rank_channels(model, graph, noise(0), groups=["features.1.0"])
    macs = predicted_macs(model, graph, ranking)
    assert macs({}) == sum(macs_by_layer(model, (1, 3, 32, 32)).values())
    assert macs({"features.1.0": 3}) == sum(
        macs_by_layer(cut(model, graph, ranking.keep({"features.1.0": 3})), (1, 3, 32, 32)).values()
    )
    with pytest.raises(ValueError, match=r"no group 'features.0.0' is ranked"):
        macs({"features.0.0": 3})


def test_a_layer_whose_positions_depend_on_channels_is_refused():
    class OnceForEachChannel(nn.Module):
        def __init__(self):
            super().__init__()
            self.stem, self.again, self.out = nn.Conv2d(3, 8, 1), nn.Conv2d(2, 2, 1), nn.Conv2d(8, 2, 1)

        def forward(self, x: Tensor) -> Tensor:
            y = self.out(torch.relu(self.stem(x)))
            for _ in range(self.stem.out_channels):
                y = self.again(y)
            return y

    model = OnceForEachChannel()
    graph = dependency_graph(model, torch.zeros(1, 3, 4, 4))
    with pytest.raises(ValueError, match="the positions of 'again' depend on the channels"):
        predicted_macs(model, graph, rank_channels(model, graph, noise(0), groups=["stem"]))


def test_several_inputs_are_refused():
    class Two(nn.Module):
        def __init__(self):
            super().__init__()
            self.a, self.b, self.out = nn.Conv2d(3, 4, 1), nn.Conv2d(3, 4, 1), nn.Conv2d(4, 2, 1)

        def forward(self, x: Tensor, y: Tensor) -> Tensor:
            return self.out(self.a(x) + self.b(y))

    model = Two()
    graph = dependency_graph(model, (torch.zeros(1, 3, 4, 4), torch.zeros(1, 3, 4, 4)))
    with pytest.raises(ValueError, match="must take one input, got 2"):
        layer_weights(model, graph, rank_channels(model, graph, noise(0)))


def test_the_network_stays_as_it_is():
    model = sign_student(0.25).train()
    model.features[1].eval()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    modes = [module.training for module in model.modules()]
    graph = dependency_graph(model, torch.zeros(1, 3, 32, 32))
    predicted_macs(model, graph, rank_channels(model, graph, noise(0)))
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert modes == [module.training for module in model.modules()]
