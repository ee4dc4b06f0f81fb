"""Equalization changes no answer, makes ranges equal, and rescues a network whose channels differ a hundredfold."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from course_lib.models import checkpoints
from course_lib.quantization.affine import Codes, sqnr_db
from course_lib.quantization.calibrated import quantize_network, simulated_logits
from course_lib.quantization.equalization import equalize, equalized_pairs
from course_lib.quantization.graph import Weighted, layer_graph


class Chain(nn.Module):
    """Convolution, depthwise, pointwise, mean, linear: MobileNet's shape."""

    def __init__(self, seed: int = 0, *, flatten: bool = False):
        super().__init__()
        torch.manual_seed(seed)
        self.first = nn.Conv2d(3, 16, 3, padding=1)
        self.depthwise = nn.Conv2d(16, 16, 3, padding=1, groups=16)
        self.pointwise = nn.Conv2d(16, 16, 1)
        self.pool = nn.Identity() if flatten else nn.AdaptiveAvgPool2d(1)
        self.last = nn.Linear(16 * 63 if flatten else 16, 7)

    def forward(self, x):
        x = self.pointwise(self.depthwise(self.first(x).relu()).relu()).relu()
        return self.last(torch.flatten(self.pool(x), 1))


def spoil(model: Chain, seed: int = 0) -> None:
    """Factors of 1/300 … 300 between channels, which change no answer."""
    factors = 300.0 ** (2 * torch.rand(16, generator=torch.Generator().manual_seed(seed)) - 1)
    with torch.no_grad():
        model.first.weight.mul_(factors.view(-1, 1, 1, 1))
        assert model.first.bias is not None
        model.first.bias.mul_(factors)
        model.depthwise.weight.div_(factors.view(-1, 1, 1, 1))


@pytest.mark.parametrize("flatten", [False, True])
@pytest.mark.parametrize("seed", range(3))
def test_no_answer_changes_and_ranges_become_equal(small, seed, flatten):
    model = Chain(seed, flatten=flatten).eval()
    spoil(model, seed)
    graph = layer_graph(model)
    equal = equalize(graph, rounds=200)
    images = small.as_images(small.image_bytes(16, seed))
    assert (graph(images) - equal(images)).abs().max() <= 1e-4 * graph(images).abs().max()
    layers = {layer.name: layer for layer in equal.layers}
    assert len(equalized_pairs(graph)) == 3
    for first, second in equalized_pairs(graph)[:2]:
        one, other = layers[first], layers[second]
        assert isinstance(one, Weighted)
        assert isinstance(other, Weighted)
        reads = other.weight if other.weight.shape[1] == 1 else other.weight.transpose(0, 1)
        ratio = one.weight.flatten(1).abs().amax(1) / reads.flatten(1).abs().amax(1)
        torch.testing.assert_close(ratio, torch.ones(16), rtol=0.02, atol=0)


@pytest.mark.parametrize("name", ["student_rendered", "teacher_rendered"])
def test_the_courses_networks_answer_as_before(name, small):
    model, _ = checkpoints.load(name)
    graph = layer_graph(model)
    images = small.as_images(small.image_bytes(8, 0, (3, 32, 32)))
    before, after = graph(images), equalize(graph)(images)
    assert (before - after).abs().max() <= 1e-4 * before.abs().max()
    expected = {"student_rendered": 5, "teacher_rendered": 6}[name]
    assert len(equalized_pairs(graph)) == expected


def test_a_spoiled_depthwise_network_is_rescued_per_tensor(small):
    images = small.as_images(small.image_bytes(40))
    model = Chain().eval()
    expected = layer_graph(model)(images)
    spoil(model)
    graph = layer_graph(model)

    def noise(graph, *, per_channel):
        network = quantize_network(graph, images, weight_codes=Codes(8, restricted=True), per_channel=per_channel)
        return sqnr_db(expected, simulated_logits(network, images))

    spoiled, rescued = (noise(one, per_channel=False) for one in (graph, equalize(graph)))
    assert rescued > 40
    assert spoiled < rescued - 20
    assert noise(equalize(graph), per_channel=True) > noise(graph, per_channel=True) - 3


def test_batch_norms_statistics_move_with_the_channel(small):
    first = nn.Conv2d(3, 8, 3)
    model = nn.Sequential(first, nn.BatchNorm2d(8), nn.ReLU(), nn.Conv2d(8, 4, 1)).eval()
    with torch.no_grad():
        first.weight[0] *= 50
    graph = layer_graph(model)
    before, after = graph.layers[0], equalize(graph).layers[0]
    assert isinstance(before, Weighted)
    assert isinstance(after, Weighted)
    assert before.spread is not None
    assert after.spread is not None
    torch.testing.assert_close(after.spread / before.spread, after.bias / before.bias)


def test_channels_without_weights_are_left_alone(small):
    model = Chain().eval()
    with torch.no_grad():
        model.first.weight[0] = 0
        model.depthwise.weight[3] = 0
    graph = layer_graph(model)
    images = small.as_images(small.image_bytes(8))
    torch.testing.assert_close(equalize(graph)(images), graph(images), rtol=1e-4, atol=1e-5)


def test_no_factor_passes_a_sum_or_a_tensor_with_two_readers(small):
    pairs = equalized_pairs(layer_graph(small.Residual()))
    assert pairs == []  # first is read twice, depthwise's reader has two groups, the rest meets in sums
    assert equalized_pairs(layer_graph(small.Branches())) == [("hidden", "last")]


def test_the_graph_that_was_given_is_unchanged(small):
    model = Chain().eval()
    spoil(model)
    graph = layer_graph(model)
    images = small.as_images(small.image_bytes(4))
    before = graph(images).clone()
    equalize(graph)
    assert torch.equal(graph(images), before)


def test_rounds_must_be_positive():
    with pytest.raises(ValueError, match="rounds must be at least 1"):
        equalize(layer_graph(Chain().eval()), rounds=0)
