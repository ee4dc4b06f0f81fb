"""The list of layers computes what the module computes, and an operator that it cannot hold is named."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import nn

from course_lib.models import checkpoints
from course_lib.quantization.graph import INPUT, Convolution, Weighted, layer_graph


@pytest.mark.parametrize("network", ["Branches", "Residual"])
@pytest.mark.parametrize("seed", [0, 1])
def test_it_computes_what_the_module_computes(small, network, seed):
    model, images = getattr(small, network)(seed), small.as_images(small.image_bytes(5, seed))
    torch.testing.assert_close(layer_graph(model)(images), model(images), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("name", ["student_rendered", "teacher_rendered"])
def test_it_reads_the_courses_networks(small, name):
    model, _ = checkpoints.load(name)
    images = small.as_images(small.image_bytes(4, 0, (3, 32, 32)))
    with torch.inference_mode():
        expected = model(images)
    torch.testing.assert_close(layer_graph(model)(images), expected, rtol=1e-4, atol=1e-4)


def test_every_tensor_is_given_by_name_and_read_before_it_is_written(small):
    graph = layer_graph(small.Residual())
    known = {INPUT}
    for layer in graph.layers:
        assert set(layer.inputs) <= known
        known.add(layer.name)
    assert graph.tensors(small.as_images(small.image_bytes(1))).keys() == known


def test_the_module_is_unchanged_and_training_mode_comes_back(small):
    model = small.Residual().train()
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    graph = layer_graph(model)
    first = next(layer for layer in graph.layers if isinstance(layer, Weighted))
    first.weight.mul_(0)
    assert model.training
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())


def test_a_relu_belongs_to_its_layer_and_no_other(small):
    layers = {layer.name: layer for layer in layer_graph(small.Residual()).layers}
    assert {name for name, layer in layers.items() if getattr(layer, "relu", False)} == {
        "first.0",
        "depthwise",
        "add",
    }


def test_a_convolution_keeps_its_window(small):
    layer = next(layer for layer in layer_graph(small.Branches()).layers if layer.name == "right")
    assert isinstance(layer, Convolution)
    assert (layer.stride, layer.padding, tuple(layer.weight.shape[2:])) == ((2, 2), (1, 0), (3, 1))


class Calls(nn.Module):
    def __init__(self, call: Callable, *modules: nn.Module):
        super().__init__()
        self.call, self.parts = call, nn.ModuleList(modules)

    def forward(self, x):
        return self.call(x, *self.parts)


def conv(**options) -> nn.Conv2d:
    return nn.Conv2d(3, 8, 3, **options)


REFUSED = {
    "a max pool": ("MaxPool2d", Calls(lambda x, pool: pool(x), nn.MaxPool2d(2))),
    "a product": ("mul", Calls(lambda x, c, d: c(x) * d(x), conv(), conv())),
    "a sum with a number": ("add", Calls(lambda x, c: c(x) + 1.0, conv())),
    "a scaled sum": ("add", Calls(lambda x, c, d: torch.add(c(x), d(x), alpha=2), conv(), conv())),
    "a concatenation of images": ("cat", Calls(lambda x, c, d: torch.cat([c(x), d(x)], 0), conv(), conv())),
    "a local mean": ("AdaptiveAvgPool2d", Calls(lambda x, pool: pool(x), nn.AdaptiveAvgPool2d(2))),
    "flattening with the batch": ("flatten", Calls(lambda x, c: c(x).flatten(0), conv())),
    "a relu of the images": ("ReLU", Calls(lambda x, relu: relu(x), nn.ReLU())),
    "a relu where another layer reads what is before it": (
        "a ReLU",
        Calls(lambda x, c: (lambda y: y + y.relu())(c(x)), conv()),
    ),
    "a layer called twice": ("called more than once", Calls(lambda x, c: c(x).relu() + c(x), conv())),
    "a BatchNorm after the ReLU": ("a BatchNorm", Calls(lambda x, c, n: n(c(x).relu()), conv(), nn.BatchNorm2d(8))),
    "a BatchNorm without statistics": (
        "no statistics",
        Calls(lambda x, c, n: n(c(x)), conv(), nn.BatchNorm2d(8, track_running_stats=False)),
    ),
    "a dilated convolution": ("dilated", Calls(lambda x, c: c(x), conv(dilation=2))),
    "reflected borders": ("zeros", Calls(lambda x, c: c(x), conv(padding=1, padding_mode="reflect"))),
    "two outputs": ("return one tensor", Calls(lambda x, c: (c(x), x), conv())),
    "an output that is not the last layer's": (
        "return one tensor",
        Calls(lambda x, c, d: (c(x), d(x))[0], conv(), conv()),
    ),
    "two inputs": ("one input", type("Two", (nn.Module,), {"forward": lambda self, x, y: x + y})()),
    "a constant": ("no tensor of a layer", Calls(lambda x, c: c(x) + c.weight, conv())),
}


@pytest.mark.parametrize(("named", "model"), REFUSED.values(), ids=REFUSED.keys())
def test_what_it_cannot_hold_is_named(named, model):
    with pytest.raises(ValueError, match=named):
        layer_graph(model.eval())


def test_the_input_shape_is_not_part_of_the_graph(small):
    graph = layer_graph(small.Residual())
    shapes = [small.SHAPE, (3, 12, 11)]
    assert [graph(small.as_images(small.image_bytes(2, 0, shape))).shape for shape in shapes] == [(2, 7), (2, 7)]
