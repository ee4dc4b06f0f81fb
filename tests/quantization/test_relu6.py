"""ReLU6 is a clamp of the codes at both ends: in floats, in integers and in the file."""

from __future__ import annotations

import platform
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from course_lib.deploy.onnx import open_session, read_model, run_session
from course_lib.quantization import Codes, from_range
from course_lib.quantization.adaround import Rounding, adaround
from course_lib.quantization.bias_correction import expected_input
from course_lib.quantization.calibrated import QuantizedNetwork, quantize_network, simulate, simulated_logits
from course_lib.quantization.equalization import equalize, equalized_pairs, without_ceilings
from course_lib.quantization.graph import Add, Convolution, Weighted, layer_graph
from course_lib.quantization.integer import compare_with_runtime, integer_network
from course_lib.quantization.qdq import export_qdq

x86 = pytest.mark.skipif(platform.machine() != "x86_64", reason="ONNX Runtime's kernels on other processors round else")


class Inverted(nn.Module):
    """An inverted residual as MobileNetV2 has it, with sums large enough to reach 6, and a clamped sum of two."""

    def __init__(self, seed: int = 0):
        super().__init__()
        torch.manual_seed(seed)
        self.first = nn.Sequential(nn.Conv2d(3, 8, 3, padding=1, bias=False), nn.BatchNorm2d(8), nn.ReLU6(inplace=True))
        self.depthwise = nn.Sequential(nn.Conv2d(8, 8, 3, padding=1, groups=8), nn.ReLU6())
        self.narrow = nn.Conv2d(8, 8, 1)
        self.drop = nn.Dropout(0.2)
        self.last = nn.Linear(8, 5)
        for module in (self.first[0], self.depthwise[0], self.narrow):
            module.weight.data *= 20
        self.eval()

    def forward(self, x: Tensor) -> Tensor:
        x = self.first(x)
        x = F.relu6(self.narrow(self.depthwise(x)) + x)
        return self.last(self.drop(F.adaptive_avg_pool2d(x, (1, 1)).flatten(1)))


@pytest.fixture
def images(small) -> Tensor:
    return small.as_images(small.image_bytes(12))


def capped(network: QuantizedNetwork, high: float = 9.0) -> QuantizedNetwork:
    """The network with codes that go beyond 6, as a learned scale may: the clamp must then be one of its own."""
    wide = from_range(torch.tensor(0.0), torch.tensor(high), Codes(8, signed=False))
    names = [layer.name for layer in network.graph.layers if getattr(layer, "ceiling", None)]
    return replace(network, activations={**network.activations, **dict.fromkeys(names, wide)})


def test_the_graph_computes_what_the_module_computes_and_six_is_reached(images):
    model = Inverted()
    graph = layer_graph(model)
    torch.testing.assert_close(graph(images), model(images), rtol=1e-5, atol=1e-5)
    tensors = graph.tensors(images)
    for name in ("first.0", "depthwise.0", "add"):
        assert tensors[name].max() == 6
    assert {layer.name: layer.ceiling for layer in graph.layers if isinstance(layer, Weighted | Add)} == {
        "first.0": 6.0,
        "depthwise.0": 6.0,
        "narrow": None,
        "add": 6.0,
        "last": None,
    }


@x86
@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("wide", [False, True], ids=["codes end at 6", "codes go beyond 6"])
def test_the_integer_engine_gives_onnx_runtimes_codes(small, images, seed, wide):
    network = quantize_network(Inverted(seed), images)
    network = capped(network) if wide else network
    found = compare_with_runtime(network, small.image_bytes(12))
    assert len(found) == 6
    assert max(layer.alone_largest for layer in found) <= wide  # a Clip in float rounds its ties for itself
    assert sum(layer.alone for layer in found) <= 0.002 * wide * sum(layer.codes for layer in found)


@pytest.mark.parametrize("rounding", ["runtime", "hardware"])
def test_no_code_stands_for_more_than_six(small, images, rounding):
    network = capped(quantize_network(Inverted(), images))
    codes = integer_network(network, rounding=rounding, input_shape=small.SHAPE).tensors(small.image_bytes(12))
    most = round(6 / (9 / 255))
    for name in ("first.0", "depthwise.0", "add"):
        assert codes[name].max() == most == simulate(network, images)[name].max()


def test_the_file_has_a_clip_only_where_a_code_lies_above_six(small, images, tmp_path):
    network = quantize_network(Inverted(), images)
    kinds = []
    for one in (network, capped(network)):
        path = export_qdq(one, tmp_path / "six.onnx", input_shape=(1, *small.SHAPE))
        kinds.append(sorted(n.op_type for n in read_model(path).graph.node if n.op_type in ("Relu", "Clip")))
        step = one.activations[one.graph.output].scale.item()
        found = run_session(open_session(path), images.numpy())
        assert np.abs(found - simulated_logits(one, images).numpy()).max() <= 1.01 * step
    assert kinds == [["Relu"] * 3, ["Clip"] * 3]


def test_learned_directions_of_rounding_see_the_clamp(images):
    network = quantize_network(Inverted(), images, weight_codes=Codes(3, restricted=True))
    fits = []
    adaround(network, images, Rounding(steps=60, patches=64, batch=32), say=fits.append)
    first = layer_graph(Inverted()).layers[0]
    assert isinstance(first, Convolution)
    assert [fit.layer for fit in fits] == ["first.0", "depthwise.0", "narrow", "last"]
    assert all(fit.learned <= fit.nearest <= 36 for fit in fits[:2])  # no output lies outside 0..6


def test_the_expected_mean_is_that_of_a_gaussian_clamped_at_both_ends():
    graph = layer_graph(Inverted())
    first, second = graph.layers[:2]
    assert isinstance(first, Weighted)
    assert isinstance(second, Weighted)
    mean, spread = torch.tensor([-2.0, 0.0, 1.0, 3.0, 5.0, 6.0, 9.0, 20.0]), torch.full((8,), 2.0)
    found = expected_input(graph.changed({first.name: replace(first, mean=mean, spread=spread)}), second)
    draws = torch.randn(200_000, 1, generator=torch.Generator().manual_seed(0)) * spread + mean
    torch.testing.assert_close(found, draws.clamp(0, 6).mean(0), rtol=0, atol=0.02)


def test_no_factor_is_moved_through_a_relu6_unless_it_is_made_a_relu(images):
    graph = layer_graph(Inverted())
    assert equalized_pairs(graph) == []
    plain = without_ceilings(graph)
    assert [getattr(layer, "ceiling", None) for layer in plain.layers] == [None] * 7
    assert equalized_pairs(plain) == [("depthwise.0", "narrow")]
    torch.testing.assert_close(equalize(plain)(images), plain(images), rtol=1e-4, atol=1e-4)
    assert not torch.allclose(plain(images), graph(images), atol=0.1)  # 6 was reached


def test_a_relu6_with_nothing_to_merge_with_is_named():
    with pytest.raises(ValueError, match="a ReLU6"):
        layer_graph(nn.Sequential(nn.ReLU6()))
