"""Corrected biases give each channel its mean back: measured, or from BatchNorm's statistics alone."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import nn

from course_lib.quantization.affine import Codes, dequantize
from course_lib.quantization.bias_correction import correct_biases, correct_biases_without_data, expected_input
from course_lib.quantization.calibrated import quantize_network, simulate
from course_lib.quantization.graph import Weighted, layer_graph

FEW = Codes(3, restricted=True)


@pytest.mark.parametrize("name", ["Branches", "Residual"])
def test_every_channel_has_its_mean_again_and_the_logits_come_nearer(small, name):
    images = small.as_images(small.image_bytes(200))
    network = quantize_network(getattr(small, name)(), images, weight_codes=FEW)
    corrected = correct_biases(network, images)
    truth = network.graph.tensors(images)[network.graph.output]

    def off(one):
        affine = one.activations[one.graph.output]
        return dequantize(simulate(one, images)[one.graph.output], affine) - truth

    step = network.activations[network.graph.output].scale
    assert off(corrected).mean(0).abs().max() <= step
    assert off(network).mean(0).abs().max() > 2 * off(corrected).mean(0).abs().max()
    assert off(corrected).square().mean() < off(network).square().mean()


def test_weights_and_scales_stay(small):
    images = small.as_images(small.image_bytes(20))
    network = quantize_network(small.Residual(), images, weight_codes=FEW)
    corrected = correct_biases(network, images)
    assert corrected.activations is network.activations
    for before, after in zip(network.graph.layers, corrected.graph.layers, strict=True):
        if isinstance(before, Weighted):
            assert isinstance(after, Weighted)
            assert torch.equal(network.weight_codes(before), corrected.weight_codes(after))
            assert not torch.equal(before.bias, after.bias)


@pytest.mark.parametrize("relu", [True, False])
def test_the_mean_behind_batch_norm_and_relu_is_measured(relu):
    torch.manual_seed(0)
    norm = nn.BatchNorm2d(6)
    with torch.no_grad():
        norm.weight.copy_(torch.tensor([1.0, 2.0, 0.5, -1.0, 3.0, 0.0]))
        norm.bias.copy_(torch.tensor([0.0, 1.0, -1.0, 0.5, 2.0, 0.7]))
    parts = [nn.Conv2d(3, 6, 1), norm, *([nn.ReLU()] if relu else []), nn.Conv2d(6, 4, 1)]
    graph = layer_graph(nn.Sequential(*parts).eval())
    last = graph.layers[-1]
    assert isinstance(last, Weighted)
    found = expected_input(graph, last)
    assert found is not None
    draws = torch.randn(400_000, 6) * norm.weight.abs() + norm.bias
    expected = (draws.relu() if relu else draws).mean(0)
    torch.testing.assert_close(found, expected.detach(), rtol=0.02, atol=0.01)


def normalized_chain(groups: int = 1) -> nn.Sequential:
    """Each channel in front of the last convolution has exactly the statistics that BatchNorm tells."""
    torch.manual_seed(1)
    norm = nn.BatchNorm2d(8, momentum=1.0)
    model = nn.Sequential(nn.Conv2d(3, 8, 1), norm, nn.ReLU(), nn.Conv2d(8, 8, 1, groups=groups)).train()
    with torch.no_grad():
        norm.bias.uniform_(-1, 1)
        norm.weight.uniform_(0.5, 2)
        model(torch.rand(4000, 3, 4, 4))
    return model.eval()


@pytest.mark.parametrize("groups", [1, 2, 4])  # depthwise 1×1 has one weight a channel, which its scale holds exactly
def test_without_data_most_of_the_shift_is_gone(groups):
    model = normalized_chain(groups)
    images = torch.rand(500, 3, 4, 4)
    network = quantize_network(
        model, images, weight_codes=Codes(2, restricted=True), activation_codes=Codes(12, signed=False)
    )
    corrected, left = correct_biases_without_data(network)
    assert left == ["0"]  # it reads the image
    truth = network.graph.tensors(images)[network.graph.output]

    def shift(one):
        # The last layer's weights alone are in codes: what it reads is exact.
        layer = one.on_codes(one.graph.layers[-1])
        return (layer(network.graph.tensors(images)["0"]) - truth).mean((0, 2, 3)).abs()

    assert shift(corrected).mean() < 0.3 * shift(network).mean()


def test_layers_behind_sums_are_named_and_left(small):
    images = small.as_images(small.image_bytes(20))
    network = quantize_network(small.Residual(), images)
    _, left = correct_biases_without_data(network)
    assert left == ["first.0", "grouped", "again", "last"]


def test_means_and_flattening_keep_the_expected_input(small):
    images = small.as_images(small.image_bytes(20))
    model = nn.Sequential(
        nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 3)
    ).eval()
    flat = nn.Sequential(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.Linear(4 * 63, 3)).eval()
    for one in (model, flat):
        network = quantize_network(one, images, weight_codes=FEW)
        corrected, left = correct_biases_without_data(network)
        assert left == ["0"]
        layer = corrected.graph.layers[-1]
        before = network.graph.layers[-1]
        assert isinstance(layer, Weighted)
        assert isinstance(before, Weighted)
        on_codes = network.on_codes(before)
        assert isinstance(on_codes, Weighted)
        error = on_codes.weight - before.weight
        mean = expected_input(network.graph, before)
        assert mean is not None
        per_input = mean.repeat_interleave(error.shape[1] // 4)
        torch.testing.assert_close(layer.bias, before.bias - error @ per_input)


def test_no_image_is_refused(small):
    network = quantize_network(small.Residual(), small.as_images(small.image_bytes(3)))
    with pytest.raises(ValueError, match="at least one image"):
        correct_biases(network, torch.zeros(0, 3, 9, 7))


def test_a_layer_without_batch_norm_tells_nothing(small):
    graph = layer_graph(small.Branches())
    layers = {layer.name: layer for layer in graph.layers}
    left = layers["left"]
    assert isinstance(left, Weighted)
    assert expected_input(graph, left) is not None
    first = layers["first"]
    assert isinstance(first, Weighted)
    untold = graph.changed({"first": replace(first, mean=None)})
    assert expected_input(untold, left) is None
