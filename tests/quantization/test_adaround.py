"""Learned directions of rounding: near the best of all, one step from nearest at most, and never worse."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
from torch import nn

from course_lib.data import load
from course_lib.models import checkpoints
from course_lib.quantization import calibration_images
from course_lib.quantization.adaround import Fit, Rounding, adaround
from course_lib.quantization.affine import Codes, dequantize
from course_lib.quantization.calibrated import quantize_network, simulate, simulated_logits
from course_lib.quantization.graph import Weighted
from course_lib.quantization.integer import integer_network

QUICK = Rounding(steps=200, patches=1024, batch=128, rate=0.05)
FEW = Codes(3, restricted=True)


def logits_error(network, images):
    output = network.graph.output
    found = dequantize(simulate(network, images)[output], network.activations[output])
    return float((found - network.graph(images)).square().mean())


@pytest.mark.parametrize("name", ["Branches", "Residual"])
def test_outputs_come_nearer_and_codes_stay_neighbours(small, name):
    images = small.as_images(small.image_bytes(60))
    network = quantize_network(getattr(small, name)(), images, weight_codes=FEW)
    fits: list[Fit] = []
    learned = adaround(network, images, QUICK, say=fits.append)
    weighted = [layer for layer in network.graph.layers if isinstance(layer, Weighted)]
    assert [fit.layer for fit in fits] == [layer.name for layer in weighted]
    assert all(fit.learned <= fit.nearest for fit in fits)
    assert sum(fit.flipped > 0 for fit in fits) >= len(fits) - 1
    for layer in weighted:
        codes = learned.weight_codes(layer)
        scale, _ = network.weights[layer.name].along(layer.weight)
        assert ((codes * scale - layer.weight).abs() <= scale * 1.001).all()
        assert codes.abs().max() <= 3
    unseen = small.as_images(small.image_bytes(60, 9))
    assert logits_error(learned, unseen) < logits_error(network, unseen)


@pytest.mark.parametrize("seed", [0, 2, 3, 5])  # where the nearest codes are far from the best
def test_a_small_layer_finds_nearly_the_best_of_all_roundings(seed):
    torch.manual_seed(seed)
    model = nn.Sequential(nn.Conv2d(1, 1, 3, bias=False)).eval()
    images = torch.rand(40, 1, 9, 9)
    network = quantize_network(model, images, weight_codes=FEW)
    layer = network.graph.layers[0]
    assert isinstance(layer, Weighted)
    scale, _ = network.weights[layer.name].along(layer.weight)
    below = (layer.weight / scale).floor()
    target = layer(images)

    def error(codes: torch.Tensor) -> float:
        return float((nn.functional.conv2d(images, codes * scale) - target).square().mean())

    roundings = [
        (below + torch.tensor(bits).view_as(below)).clamp(-3, 3) for bits in itertools.product((0.0, 1.0), repeat=9)
    ]
    every = sorted(error(codes) for codes in roundings)
    nearest = error(network.weight_codes(layer).float())
    learned = error(adaround(network, images, Rounding(steps=800, rate=0.05)).weight_codes(layer).float())
    assert learned < 0.7 * nearest
    assert learned <= every[12]  # of 512


def test_a_layer_that_learning_would_make_worse_keeps_its_nearest_codes(small):
    images = small.as_images(small.image_bytes(40))
    network = quantize_network(small.Residual(), images, weight_codes=Codes(6, restricted=True))
    fits: list[Fit] = []
    thrown = adaround(network, images, Rounding(steps=2, rate=50.0, patches=512, batch=8, warm=0.0), say=fits.append)
    kept = [fit.layer for fit in fits if fit.flipped == 0]
    assert len(kept) >= 3
    for layer in network.graph.layers:
        if isinstance(layer, Weighted) and layer.name in kept:
            assert torch.equal(thrown.weight_codes(layer), network.weight_codes(layer))
    assert all(fit.learned <= fit.nearest for fit in fits)


def test_eight_bits_leave_nothing_to_gain_and_lose_nothing(small):
    images = small.as_images(small.image_bytes(60))
    network = quantize_network(small.Residual(), images, weight_codes=Codes(8, restricted=True))
    assert logits_error(adaround(network, images, QUICK), images) <= 1.2 * logits_error(network, images)


def test_the_same_seed_gives_the_same_codes_and_nothing_given_is_changed(small):
    images = small.as_images(small.image_bytes(30))
    network = quantize_network(small.Branches(), images, weight_codes=FEW)
    one, two = adaround(network, images, QUICK), adaround(network, images, QUICK)
    assert network.rounded == {}
    assert all(torch.equal(codes, two.rounded[name]) for name, codes in one.rounded.items())


def test_depthwise_and_grouped_convolutions_are_fitted_by_their_own_channels(small):
    images = small.as_images(small.image_bytes(60))
    network = quantize_network(small.Residual(), images, weight_codes=Codes(2, restricted=True))
    fits: dict[str, Fit] = {}
    adaround(network, images, QUICK, say=lambda fit: fits.update({fit.layer: fit}))
    assert fits["depthwise"].learned < fits["depthwise"].nearest
    assert fits["grouped"].learned < fits["grouped"].nearest


def test_the_integer_engine_runs_the_learned_codes(small):
    images = small.image_bytes(30)
    network = quantize_network(small.Residual(), small.as_images(images), weight_codes=FEW)
    learned = adaround(network, small.as_images(images), QUICK)
    simulated = simulate(learned, small.as_images(images))[learned.graph.output].numpy()
    engine = integer_network(learned, input_shape=small.SHAPE)
    assert abs(engine.logit_codes(images).astype(int) - simulated).max() <= 3


def test_four_bits_lose_little_on_signs():
    splits = load("rendered")
    model, _ = checkpoints.load("student_rendered")
    images = torch.tensor(calibration_images(splits.train, 128))
    network = quantize_network(model, images, weight_codes=FEW)
    learned = adaround(network, images, Rounding(steps=120, rate=0.05, patches=4096, batch=256))
    part = splits.validation
    x, y = part.batch(np.arange(0, len(part), 12))
    nearest, better = ((simulated_logits(one, x).argmax(1) == y).float().mean() for one in (network, learned))
    assert better > nearest


def test_no_image_is_refused(small):
    network = quantize_network(small.Residual(), small.as_images(small.image_bytes(3)))
    with pytest.raises(ValueError, match="at least one image"):
        adaround(network, torch.zeros(0, 3, 9, 7))


@pytest.mark.parametrize("wrong", [{"steps": 0}, {"patches": 0}, {"batch": 0}, {"warm": 1.0}, {"rate": 0.0}])
def test_settings_outside_their_range_are_refused(wrong):
    with pytest.raises(ValueError, match="must be"):
        Rounding(**wrong)
