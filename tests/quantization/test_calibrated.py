"""Ranges, scales and the bias's codes; what a simulation computes; what cannot be calibrated."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from course_lib.quantization.affine import Affine, Codes, dequantize, quantize, sqnr_db
from course_lib.quantization.calibrated import (
    LARGEST_BIAS,
    QuantizedNetwork,
    activation_ranges,
    quantize_network,
    simulate,
    simulated_logits,
)
from course_lib.quantization.graph import INPUT, Weighted, layer_graph


@pytest.fixture
def images(small):
    return small.as_images(small.image_bytes(40))


def test_ranges_do_not_depend_on_the_batches(small, images):
    graph = layer_graph(small.Residual())
    whole, parts = activation_ranges(graph, images), activation_ranges(graph, images, batch_size=7)
    tensors = graph.tensors(images)
    for name, (low, high) in whole.items():
        assert (low, high) == (tensors[name].min(), tensors[name].max())
        torch.testing.assert_close(torch.stack([low, high]), torch.stack(parts[name]), rtol=1e-5, atol=1e-6)


def test_a_byte_of_an_image_is_its_code(small, images):
    network = quantize_network(small.Branches(), images[:3] * 0.5)  # whatever the calibration images hold
    assert network.activations[INPUT].zero_point == 0
    codes = quantize(images, network.activations[INPUT])
    assert torch.equal(codes, torch.tensor(small.image_bytes(40)).int())


def test_weights_are_symmetric_by_output_channel_and_restricted(small, images):
    network = quantize_network(small.Residual(), images)
    for layer in network.graph.layers:
        if isinstance(layer, Weighted):
            codes = network.weight_codes(layer).flatten(1)
            assert codes.abs().amax(1).eq(63).all()
            assert network.weights[layer.name].zero_point.eq(0).all()


def test_one_scale_a_layer_is_the_largest_channels(small, images):
    many, one = (quantize_network(small.Residual(), images, per_channel=flag) for flag in (True, False))
    for name, affine in one.weights.items():
        assert affine.axis is None
        assert affine.scale == many.weights[name].scale.max()


def test_the_bias_has_the_accumulators_scale(small, images):
    network = quantize_network(small.Residual(), images)
    for layer in network.graph.layers:
        if isinstance(layer, Weighted):
            restored = network.bias_codes(layer).double() * network.bias_scale(layer).double()
            assert ((restored - layer.bias).abs() <= network.bias_scale(layer) * 0.5001).all()


def test_a_large_bias_on_small_or_absent_weights_fits_and_survives(small, images):
    model = small.Branches()
    with torch.no_grad():
        model.left.weight[0] = 0
        model.left.weight[1] *= 1e-12
        model.left.bias[:3] = torch.tensor([0.37, -5.0, 0.0])
        model.left.weight[2] = 0  # nothing at all
    network = quantize_network(model, images)
    left = next(layer for layer in network.graph.layers if layer.name == "left")
    assert isinstance(left, Weighted)
    codes = network.bias_codes(left)
    assert codes.abs().max() <= LARGEST_BIAS
    restored = codes * network.bias_scale(left)
    torch.testing.assert_close(restored[:3], left.bias[:3], rtol=1e-6, atol=0)


def test_the_simulation_is_each_layer_on_codes_written_out(small, images):
    network = quantize_network(small.Branches(), images)
    codes = simulate(network, images)
    layer = next(layer for layer in network.graph.layers if layer.name == "left")
    assert isinstance(layer, Weighted)
    source, affine = network.activations[layer.inputs[0]], network.activations["left"]
    x = dequantize(codes[layer.inputs[0]], source)
    weight = dequantize(network.weight_codes(layer), network.weights["left"])
    bias = network.bias_codes(layer) * network.bias_scale(layer)
    assert torch.equal(codes["left"], quantize(F.conv2d(x, weight, bias, 2, 1), affine))


@pytest.mark.parametrize("network", ["Branches", "Residual"])
def test_eight_bits_are_near_the_floats_and_more_bits_nearer(small, images, network):
    model = getattr(small, network)(1)
    expected = model(images).detach()
    noise = []
    for bits in (4, 6, 8, 12):
        weight_codes, activation_codes = Codes(bits, restricted=True), Codes(bits, signed=False)
        quantized = quantize_network(model, images, weight_codes=weight_codes, activation_codes=activation_codes)
        noise.append(sqnr_db(expected, simulated_logits(quantized, images, batch_size=16)))
    assert noise == sorted(noise)
    assert noise[2] > 25
    assert noise[3] > 45


def test_a_flattened_tensor_keeps_its_scale(small, images):
    network = quantize_network(small.Branches(), images)
    assert network.activations["flatten"] is network.activations["cat"]


def test_values_outside_the_calibrated_range_are_clipped(small, images):
    network = quantize_network(small.Residual(), images[:1] * 0.01)
    codes = simulate(network, images)
    assert codes["first.0"].max() == 255
    assert codes["first.0"].min() >= 0


def test_constant_activations_divide_by_nothing(small, images):
    model = small.Residual()
    with torch.no_grad():
        model.again.weight.zero_()
        model.again.bias.zero_()
    network = quantize_network(model, images)
    assert simulated_logits(network, images).isfinite().all()
    assert network.activations["again"].scale == 1


def test_a_network_without_a_scale_is_refused_and_the_tensor_named(small, images):
    whole = quantize_network(small.Residual(), images)
    for kind, name in (("activations", "add"), ("weights", "wide")):
        fewer = {key: value for key, value in getattr(whole, kind).items() if key != name}
        with pytest.raises(ValueError, match=f"not calibrated.*{name}"):
            replace(whole, **{kind: fewer})


def test_asymmetric_weights_are_refused(small, images):
    whole = quantize_network(small.Residual(), images)
    affine = Affine(Codes(8), torch.tensor(0.1), torch.tensor(3, dtype=torch.int32))
    with pytest.raises(ValueError, match="wide must be symmetric"):
        QuantizedNetwork(whole.graph, whole.activations, {**whole.weights, "wide": affine})


REFUSED = {
    "no image": ({"images": torch.zeros(0, 3, 9, 7)}, "at least one"),
    "bytes that were not divided": ({"images": torch.full((2, 3, 9, 7), 128.0)}, "divide bytes by 255"),
    "NaN": ({"images": torch.full((2, 3, 9, 7), torch.nan)}, "finite and in"),
    "unsigned weights": ({"weight_codes": Codes(8, signed=False)}, "must be signed"),
}


@pytest.mark.parametrize(("arguments", "message"), REFUSED.values(), ids=REFUSED.keys())
def test_it_refuses(small, images, arguments, message):
    with pytest.raises(ValueError, match=message):
        quantize_network(small.Residual(), **({"images": images} | arguments))


def test_activations_that_overflow_are_refused(small, images):
    model = small.Residual()
    nn.init.constant_(model.again.weight, 1e38)
    with pytest.raises(ValueError, match="finite"):
        quantize_network(model, images)
