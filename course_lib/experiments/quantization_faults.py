"""Faults, each made on purpose in a healthy quantized network: what the doctor must name, and chapter 12 makes ill.

Each function takes a healthy pair and gives a patient: reference, suspect, and the kind and layer that are expected.
"""

from __future__ import annotations

from collections.abc import Callable
from copy import deepcopy
from dataclasses import replace

import numpy as np
import torch
from torch import nn

from course_lib.experiments.quantization_patients import Healthy, Patient
from course_lib.models.modes import eval_mode
from course_lib.quantization.affine import Codes, from_range, min_max
from course_lib.quantization.calibrated import quantize_network
from course_lib.quantization.graph import Convolution, LayerGraph, Weighted, layer_graph
from course_lib.quantization.qdq import export_qdq

Fault = Callable[[Healthy], Patient | None]


def range_too_small(well: Healthy) -> Patient:
    """One range ends at an eighth of what comes."""
    affine = from_range(torch.tensor(0.0), well.top / 8, Codes(8, signed=False))
    return Patient("range too small", well.layer.name, well.with_activation(affine), well.model)


def outlier_in_a_range(well: Healthy) -> Patient:
    """One value of calibration was thirty times too large."""
    affine = from_range(torch.tensor(0.0), well.top * 30, Codes(8, signed=False))
    return Patient("range too wide", well.layer.name, well.with_activation(affine), well.model)


def wrong_zero_point(well: Healthy) -> Patient:
    """The zero point of one tensor is 208 instead of 0."""
    old = well.network.activations[well.layer.name]
    affine = replace(old, zero_point=torch.tensor(208, dtype=torch.int32))
    return Patient("wrong zero point", well.layer.name, well.with_activation(affine), well.model)


def swapped_channel_scales(well: Healthy) -> Patient:
    """The weights' scales of one layer stand in the wrong order; the codes are right."""
    layer = well.layer
    old = well.network.weights[layer.name]
    weights = {**well.network.weights, layer.name: replace(old, scale=old.scale.flip(0))}
    rounded = {**well.network.rounded, layer.name: well.network.weight_codes(layer)}
    network = replace(well.network, weights=weights, rounded=rounded)
    return Patient("channel scales swapped", layer.name, network, well.model)


def norm_not_folded(well: Healthy) -> Patient:
    """The convolution's own weights were quantized, BatchNorm's factors and shifts left out."""
    convolution = well.model.get_submodule(well.layer.name)
    assert isinstance(convolution, nn.Conv2d)
    layer = replace(well.layer, weight=convolution.weight.detach().clone(), bias=torch.zeros(len(well.layer.bias)))
    return Patient("BatchNorm not folded", layer.name, well.changed(layer), well.model)


def norm_of_wrong_statistics(well: Healthy) -> Patient:
    """BatchNorm was folded with statistics that it starts with, mean 0 and variance 1."""
    model = deepcopy(well.model)
    with eval_mode(model):
        norm = _norm_after(model, well.layer.name)
        norm.reset_running_stats()
        wrong = next(layer for layer in layer_graph(model).layers if layer.name == well.layer.name)
    assert isinstance(wrong, Weighted)
    return Patient("BatchNorm not folded", well.layer.name, well.changed(wrong), well.model)


def weights_in_4_bits(well: Healthy) -> Patient:
    """One layer's weights have 4 bits."""
    affine = min_max(well.layer.weight, Codes(4, restricted=True), symmetric=True, axis=0)
    network = replace(well.network, weights={**well.network.weights, well.layer.name: affine})
    return Patient("few weight bits", well.layer.name, network, well.model)


def images_not_divided(well: Healthy) -> Patient:
    """The device feeds bytes."""
    return Patient("images scaled", "images", well.network, well.model, lambda images: images * 255)


def images_divided_twice(well: Healthy) -> Patient:
    """The device divides by 255 what was divided already."""
    return Patient("images scaled", "images", well.network, well.model, lambda images: images / 255)


def blue_first(well: Healthy) -> Patient:
    """The device's channels stand in the order BGR."""
    return Patient("channel order", "images", well.network, well.model, lambda images: images.flip(1))


def bias_missing(well: Healthy) -> Patient:
    """One layer's bias was not exported."""
    layer = replace(well.layer, bias=torch.zeros(len(well.layer.bias)))
    network = replace(well.network, graph=well.network.graph.changed({layer.name: layer}))
    return Patient("bias missing", layer.name, network, well.model)


def bias_of_wrong_scale(well: Healthy) -> Patient:
    """One layer's bias has codes for a scale four times finer."""
    layer = replace(well.layer, bias=well.layer.bias * 4)
    network = replace(well.network, graph=well.network.graph.changed({layer.name: layer}))
    return Patient("bias scaled", layer.name, network, well.model)


def one_scale_on_a_spread_layer(well: Healthy) -> Patient | None:
    """Channels differ sixtyfold, and one scale serves them all; None if no convolution alone reads the layer."""
    model = deepcopy(well.model)
    reader = _reader(model, well.network.graph, well.layer.name)
    if reader is None:
        return None
    with torch.no_grad(), eval_mode(model):
        norm = _norm_after(model, well.layer.name)
        factors = torch.logspace(0, -1.8, norm.num_features)
        norm.weight.mul_(factors)
        norm.bias.mul_(factors)
        reader.weight.div_(factors.view(1, -1, 1, 1))  # the network computes what it did
    network = quantize_network(model, well.calibration)
    layer = next(layer for layer in network.graph.layers if layer.name == well.layer.name)
    assert isinstance(layer, Weighted)
    affine = min_max(layer.weight, Codes(7, restricted=True), symmetric=True)
    network = replace(network, weights={**network.weights, layer.name: affine})
    return Patient("one scale for all channels", layer.name, network, model)


def relu_dropped(well: Healthy) -> Patient:
    """One layer lost its ReLU before calibration."""
    graph = well.network.graph.changed({well.layer.name: replace(well.layer, relu=False)})
    return Patient("ReLU missing", well.layer.name, quantize_network(graph, well.calibration), well.model)


def weights_exchanged(well: Healthy) -> Patient | None:
    """Two layers of one shape have each other's weights; None if all shapes differ."""
    convolutions = [layer for layer in well.network.graph.layers if isinstance(layer, Convolution)]
    for first in convolutions:
        for second in convolutions:
            if first is not second and first.weight.shape == second.weight.shape:
                one = well.changed(replace(first, weight=second.weight))
                network = replace(well, network=one).changed(replace(second, weight=first.weight))
                return Patient("weights exchanged", f"{first.name} or {second.name}", network, well.model)
    return None


def dead_channels(well: Healthy) -> Patient:
    """A quarter of one layer's channels have weights and bias 0."""
    weight, bias = well.layer.weight.clone(), well.layer.bias.clone()
    weight[: len(bias) // 4], bias[: len(bias) // 4] = 0, 0
    return Patient(
        "dead channels", well.layer.name, well.changed(replace(well.layer, weight=weight, bias=bias)), well.model
    )


def operator_in_float(well: Healthy) -> Patient:
    """One layer's weights were left in float: the runtime cannot merge it."""
    import onnx
    from onnx import numpy_helper

    path = export_qdq(well.network, well.folder / "operator_in_float.onnx", short_names=False)
    model, name = onnx.load(path), f"{well.layer.name}:weight:float"
    model.graph.node.remove(next(node for node in model.graph.node if node.output[0] == name))
    weight = well.network.on_codes(well.layer)
    assert isinstance(weight, Weighted)
    model.graph.initializer.append(numpy_helper.from_array(weight.weight.numpy(), name))
    onnx.save(model, path)
    return Patient("operator in float", well.layer.name, path, well.model)


def padding_with_code_0(well: Healthy) -> Patient:
    """Before one convolution the codes are padded with 0, which is not the code of 0 where the zero point differs."""
    import onnx
    from onnx import helper, numpy_helper

    graph = well.network.graph
    layer = next(
        one for one in graph.layers if isinstance(one, Convolution) and one.padding == (1, 1) and _after(graph, one)
    )
    source = layer.inputs[0]
    old = well.network.activations[source]  # begins at 0: give it a third more room below
    affine = from_range(-old.scale * 85, old.scale * 255, Codes(8, signed=False))
    network = replace(well.network, activations={**well.network.activations, source: affine})
    path = export_qdq(network, well.folder / "padding_with_code_0.onnx", short_names=False)
    model = onnx.load(path)
    node = next(
        node for node in model.graph.node if node.op_type == "Conv" and node.input[1] == f"{layer.name}:weight:float"
    )
    next(found for found in node.attribute if found.name == "pads").ints[:] = [0, 0, 0, 0]
    model.graph.initializer.append(numpy_helper.from_array(np.array([0, 0, 1, 1] * 2), "pads"))
    model.graph.initializer.append(numpy_helper.from_array(np.array(0, np.uint8), "pad:value"))
    scales = [f"{source}:scale", f"{source}:zero_point"]
    node.input[0] = "padded:float"
    place = list(model.graph.node).index(node)
    for operator, inputs, output in (
        ("DequantizeLinear", ["padded:codes", *scales], "padded:float"),
        ("Pad", ["pad:codes", "pads", "pad:value"], "padded:codes"),
        ("QuantizeLinear", [f"{source}:float", *scales], "pad:codes"),
    ):
        model.graph.node.insert(place, helper.make_node(operator, inputs, [output], name=output))
    onnx.save(model, path)
    return Patient("padding", layer.name, path, well.model)


def signed_activations(well: Healthy) -> Patient:
    """Activations have int8 codes: right answers, and fewer integer kernels on x86."""
    network = quantize_network(well.model, well.calibration, activation_codes=Codes(8))
    return Patient("signed activations", "", network, well.model)


FAULTS: tuple[Fault, ...] = (
    range_too_small,
    outlier_in_a_range,
    wrong_zero_point,
    swapped_channel_scales,
    norm_not_folded,
    norm_of_wrong_statistics,
    weights_in_4_bits,
    images_not_divided,
    images_divided_twice,
    blue_first,
    bias_missing,
    bias_of_wrong_scale,
    one_scale_on_a_spread_layer,
    relu_dropped,
    weights_exchanged,
    dead_channels,
    operator_in_float,
    padding_with_code_0,
    signed_activations,
)
"""All of them."""


def _norm_after(model: nn.Module, convolution: str) -> nn.BatchNorm2d:
    """The BatchNorm that stands behind a convolution in its Sequential."""
    parent, _, number = convolution.rpartition(".")
    norm = model.get_submodule(f"{parent}.{int(number) + 1}")
    assert isinstance(norm, nn.BatchNorm2d)
    return norm


def _reader(model: nn.Module, graph: LayerGraph, name: str) -> nn.Conv2d | None:
    """The convolution that alone reads a layer; None without one."""
    readers = graph.readers(name)
    if len(readers) != 1 or not isinstance(readers[0], Convolution):
        return None
    found = model.get_submodule(readers[0].name)
    return found if isinstance(found, nn.Conv2d) else None


def _after(graph: LayerGraph, layer: Convolution) -> bool:
    """Whether a convolution is the only one that reads a convolution."""
    before = {one.name: one for one in graph.layers}
    return isinstance(before.get(layer.inputs[0]), Convolution) and len(graph.readers(layer.inputs[0])) == 1
