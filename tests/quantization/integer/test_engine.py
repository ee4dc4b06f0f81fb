"""The integer engine gives ONNX Runtime's codes, layer by layer; it holds no float; what it cannot hold it refuses."""

from __future__ import annotations

import platform
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from course_lib.data import load
from course_lib.models import checkpoints
from course_lib.quantization import calibration_images
from course_lib.quantization.affine import Affine, Codes
from course_lib.quantization.calibrated import QuantizedNetwork, quantize_network, simulate
from course_lib.quantization.graph import INPUT, Layer
from course_lib.quantization.integer import compare_with_runtime, integer_network
from course_lib.quantization.integer.fixed_point import HardwareFactor
from course_lib.quantization.integer.layers import (
    LARGEST,
    CodeRange,
    IntegerConcat,
    IntegerConvolution,
    IntegerLinear,
    IntegerWeighted,
)

x86 = pytest.mark.skipif(platform.machine() != "x86_64", reason="ONNX Runtime's kernels on other processors round else")


def calibrated(small, name: str, seed: int = 0, **options) -> tuple[QuantizedNetwork, np.ndarray]:
    codes = small.image_bytes(24, seed)
    return quantize_network(getattr(small, name)(seed), small.as_images(codes), **options), codes


@x86
@pytest.mark.parametrize("name", ["Branches", "Residual"])
@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("per_channel", [True, False])
def test_every_code_of_every_layer_is_onnx_runtimes(small, name, seed, per_channel):
    network, codes = calibrated(small, name, seed, per_channel=per_channel)
    found = compare_with_runtime(network, codes)
    assert len(found) >= 6
    assert all(layer.codes > 0 for layer in found)
    assert [layer for layer in found if layer.alone or layer.together] == []


@x86
@pytest.mark.parametrize("name", ["Branches", "Residual"])
@pytest.mark.parametrize("seed", range(4))
def test_signed_activations_are_within_a_code_of_it(small, name, seed):
    # ONNX Runtime on x86 leaves most layers on int8 in float between DequantizeLinear and QuantizeLinear, and a float
    # sum falls on the other side of a half now and then.
    network, codes = calibrated(small, name, seed, activation_codes=Codes(8))
    found = compare_with_runtime(network, codes)
    assert max(layer.alone_largest for layer in found) <= 1
    assert sum(layer.alone for layer in found) <= 0.001 * sum(layer.codes for layer in found)


@x86
@pytest.mark.parametrize("name", ["student_rendered", "teacher_rendered"])
def test_the_courses_networks_are_onnx_runtimes_to_the_bit(name):
    splits = load("rendered")
    model, _ = checkpoints.load(name)
    network = quantize_network(model, torch.tensor(calibration_images(splits.train, 64)))
    images = splits.test.images[:: len(splits.test) // 32]
    assert [layer for layer in compare_with_runtime(network, images) if layer.alone or layer.together] == []


@x86
def test_hardware_rounding_is_at_most_one_code_from_onnx_runtime_a_layer():
    splits = load("rendered")
    model, _ = checkpoints.load("teacher_rendered")
    network = quantize_network(model, torch.tensor(calibration_images(splits.train, 64)))
    found = compare_with_runtime(network, splits.test.images[:8], rounding="hardware")
    assert max(layer.alone_largest for layer in found) == 1
    assert sum(layer.alone for layer in found) < 0.05 * sum(layer.codes for layer in found)


@pytest.mark.parametrize("name", ["Branches", "Residual"])
@pytest.mark.parametrize("rounding", ["runtime", "hardware"])
def test_the_simulation_is_at_most_a_code_away_in_its_first_layer(small, name, rounding):
    network, codes = calibrated(small, name)
    ours = integer_network(network, rounding=rounding, input_shape=small.SHAPE).tensors(codes)
    simulated = simulate(network, small.as_images(codes))
    first = network.graph.layers[0].name
    assert np.abs(ours[first].astype(int) - simulated[first].numpy()).max() <= 1
    last = network.graph.output
    assert np.abs(ours[last].astype(int) - simulated[last].numpy()).max() <= 6


def test_hardwares_factors_have_all_their_31_bits(small):
    network, _ = calibrated(small, "Residual")
    engine = integer_network(network, rounding="hardware", input_shape=small.SHAPE)
    for layer in engine.layers:
        if isinstance(layer, IntegerWeighted):
            x, y = (network.activations[name].scale.double() for name in (layer.inputs[0], layer.name))
            exact = (x * network.weights[layer.name].scale.double() / y).numpy()
            assert isinstance(layer.rescale, HardwareFactor)
            found = layer.rescale.multiplier * 2.0 ** (-31.0 - layer.rescale.shift)
            assert (np.abs(found / exact - 1) <= 2.0**-31).all()


class IntegersOnly(np.ndarray):
    """Refuses every operation that reads or gives a float."""

    def __array_ufunc__(self, ufunc: np.ufunc, method: str, *inputs: Any, **options: Any) -> Any:
        given = [np.asarray(value) for value in inputs]
        out = options.pop("out", None)
        if out is not None:
            options["out"] = tuple(np.asarray(value) for value in out)
        return self._checked(ufunc.__name__, given, getattr(ufunc, method)(*given, **options))

    def __array_function__(self, function: Any, types: Any, arguments: Any, options: Any) -> Any:
        plain = [_plain(value) for value in arguments]
        return self._checked(function.__name__, plain, function(*plain, **options))

    def astype(self, dtype: Any, *arguments: Any, **options: Any) -> Any:
        return self._checked("astype", [], np.asarray(self).astype(dtype, *arguments, **options))

    @staticmethod
    def _checked(name: str, given: list, found: Any) -> Any:
        for value in [*given, *(found if isinstance(found, list | tuple) else [found])]:
            if isinstance(value, np.ndarray | np.generic) and value.dtype.kind not in "iub":
                raise AssertionError(f"{name} works with {value.dtype}")
        if isinstance(found, list | tuple):
            return type(found)(value.view(IntegersOnly) for value in found)
        return found.view(IntegersOnly) if isinstance(found, np.ndarray) else found


def _plain(value: Any) -> Any:
    if isinstance(value, list | tuple):
        return type(value)(_plain(item) for item in value)
    return np.asarray(value) if isinstance(value, np.ndarray) else value


@pytest.mark.parametrize("name", ["Branches", "Residual"])
@pytest.mark.parametrize("rounding", ["runtime", "hardware"])
def test_no_float_stands_between_the_bytes_and_the_codes(small, name, rounding):
    network, codes = calibrated(small, name)
    engine = integer_network(network, rounding=rounding, input_shape=small.SHAPE)
    layers = tuple(
        replace(layer, tables=tuple(table.view(IntegersOnly) for table in layer.tables))
        if isinstance(layer, IntegerConcat)
        else layer
        for layer in engine.layers
    )
    watched = replace(engine, layers=layers).tensors(codes.view(IntegersOnly))
    for tensor, plain in zip(watched.values(), engine.tensors(codes).values(), strict=True):
        assert isinstance(tensor, IntegersOnly)  # nothing on the way laid the watch aside
        assert np.array_equal(np.asarray(tensor), plain)


def test_the_watch_sees_a_float():
    watched = np.arange(4).view(IntegersOnly)
    for work in (lambda: watched * 0.5, lambda: watched.astype(np.float32), lambda: np.mean(watched)):
        with pytest.raises(AssertionError, match="works with float"):
            work()


def weighted(kind: type[IntegerWeighted] = IntegerLinear, **changes: Any) -> IntegerWeighted:
    shape = (2, 4) if kind is IntegerLinear else (2, 3, 3, 4)
    given: dict[str, Any] = {
        "weight": np.random.default_rng(0).integers(-63, 64, shape).astype(np.int8),
        "bias": np.array([5, -7], np.int32),
        "input": CodeRange(3, 0, 255),
        "output": CodeRange(10, 10, 255),
        "rescale": lambda sums: sums >> 4,
    }
    window = {} if kind is IntegerLinear else {"stride": (1, 2), "padding": (1, 1), "groups": 1}
    return kind("layer", (INPUT,), **(given | window | changes))


def test_the_accumulator_is_the_sum_of_steps_from_zero():
    layer = weighted()
    codes = np.random.default_rng(1).integers(0, 256, (5, 4)).astype(np.uint8)
    expected = (codes.astype(int) - 3) @ layer.weight.astype(int).T + layer.bias
    assert np.array_equal(layer.accumulators(codes), expected)


def test_a_convolution_pads_with_the_zero_point():
    layer = weighted(IntegerConvolution)
    codes = np.random.default_rng(2).integers(0, 256, (2, 5, 6, 4)).astype(np.uint8)
    x = torch.tensor(codes.astype(np.float64) - 3).permute(0, 3, 1, 2)
    w = torch.tensor(layer.weight.astype(np.float64)).permute(0, 3, 1, 2)
    expected = F.conv2d(x, w, torch.tensor(layer.bias, dtype=torch.float64), (1, 2), 1)
    assert np.array_equal(layer.accumulators(codes), expected.permute(0, 2, 3, 1).numpy())


def test_codes_are_clamped_before_they_are_narrowed_and_relu_is_the_clamp():
    output = CodeRange(10, 10, 255)
    assert output.clamp(np.array([-500, -1, 0, 3, 245, 246, 700])).tolist() == [10, 10, 10, 13, 255, 255, 255]
    assert CodeRange(-3, -128, 127, signed=True).clamp(np.array([-500, 500])).tolist() == [-128, 127]


def test_a_relu_clamps_at_the_zero_point_wherever_it_lies(small):
    network, codes = calibrated(small, "Residual")
    moved = Affine(Codes(8, signed=False), network.activations["add"].scale, torch.tensor(20, dtype=torch.int32))
    changed = replace(network, activations={**network.activations, "add": moved})
    found = integer_network(changed, input_shape=small.SHAPE).tensors(codes)["add"]
    assert found.min() == 20
    simulated = simulate(changed, small.as_images(codes))["add"].numpy()
    assert (found == 20).mean() > 0.1
    assert np.abs(found.astype(int) - simulated).max() <= 2


def test_the_bound_is_reached_by_the_worst_input_and_never_passed():
    layer = weighted()
    worst = np.where(layer.weight[0] > 0, 255, 0).astype(np.uint8)
    b = layer.folded_bias
    assert abs(int(worst.astype(int) @ layer.weight[0] + b[0])) <= layer.accumulator_bound()[0]
    codes = np.random.default_rng(3).integers(0, 256, (200, 4))
    partial = np.cumsum(codes[:, None, :] * layer.weight.astype(int), -1) + b[:, None]
    assert (np.abs(partial) <= layer.accumulator_bound()[:, None]).all()
    only_positive = weighted(weight=np.full((2, 4), 63, np.int8), input=CodeRange(0, 0, 255))
    assert only_positive.accumulator_bound().tolist() == [255 * 252 + 5, 255 * 252 + 7]


def test_an_accumulator_that_could_overflow_is_refused_with_its_bound():
    terms = LARGEST // (255 * 127) + 1
    weight = np.full((2, terms), 127, np.int8)
    with pytest.raises(ValueError, match=r"channel \d, can reach 2,147,.*beyond the 2,147,483,647 of 32 bits"):
        weighted(weight=weight, input=CodeRange(0, 0, 255))
    assert weighted(weight=weight[:, :-1], input=CodeRange(0, 0, 255)).accumulator_bound().max() <= LARGEST


def test_a_network_whose_accumulator_could_overflow_is_refused(small):
    network, _ = calibrated(small, "Residual")
    model_layer = next(layer for layer in network.graph.layers if layer.name == "last")
    tiny = Affine(Codes(8), torch.full((7,), 1e-9), torch.zeros(7, dtype=torch.int32), 0)
    changed = replace(network, weights={**network.weights, model_layer.name: tiny})
    with pytest.raises(ValueError, match="accumulator of last"):
        integer_network(changed, input_shape=small.SHAPE)


def test_a_layer_that_the_engine_does_not_know_is_named(small):
    class Strange(Layer):
        def __call__(self, *inputs: torch.Tensor) -> torch.Tensor:
            return inputs[0]

    network, _ = calibrated(small, "Branches")
    strange = Strange("odd", (network.graph.output,))
    graph = replace(network.graph, layers=(*network.graph.layers, strange))
    changed = replace(
        network, graph=graph, activations={**network.activations, "odd": network.activations[strange.inputs[0]]}
    )
    with pytest.raises(ValueError, match=r"Strange \(odd\)"):
        integer_network(changed, input_shape=small.SHAPE)


def test_codes_of_more_than_8_bits_are_refused(small):
    network, _ = calibrated(small, "Branches", activation_codes=Codes(12, signed=False))
    with pytest.raises(ValueError, match="8 bits"):
        integer_network(network, input_shape=small.SHAPE)
    network, _ = calibrated(small, "Branches", weight_codes=Codes(12))
    with pytest.raises(ValueError, match="weights of first need more than 8 bits"):
        integer_network(network, input_shape=small.SHAPE)


def test_another_rounding_type_or_shape_is_refused(small):
    network, codes = calibrated(small, "Branches")
    with pytest.raises(ValueError, match="'runtime' or 'hardware'"):
        integer_network(network, rounding="nearest")  # pyright: ignore[reportArgumentType]
    engine = integer_network(network, input_shape=small.SHAPE)
    for wrong in (codes.astype(np.float32), codes[:, :2], codes[0]):
        with pytest.raises(ValueError, match="codes must be uint8"):
            engine.tensors(wrong)


def test_a_mean_over_another_number_of_positions_is_refused(small):
    network, _ = calibrated(small, "Residual")
    engine = integer_network(network, input_shape=small.SHAPE)
    pool = next(layer for layer in engine.layers if layer.name == "pool")
    with pytest.raises(ValueError, match="63 positions"):
        pool(np.zeros((1, 9, 8, 16), np.uint8))


def test_batches_and_threads_do_not_change_the_codes(small):
    network, codes = calibrated(small, "Residual")
    engine = integer_network(network, input_shape=small.SHAPE)
    whole = engine.tensors(codes)[network.graph.output]
    assert np.array_equal(engine.logit_codes(codes, batch_size=5, threads=2), whole)


def test_a_dead_channel_gives_its_bias(small):
    model = small.Branches()
    with torch.no_grad():
        model.left.weight[0] = 0
        model.left.bias[0] = 0.4
    codes = small.image_bytes(24)
    network = quantize_network(model, small.as_images(codes))
    found = integer_network(network, input_shape=small.SHAPE).tensors(codes)["left"][:, 0]
    affine = network.activations["left"]
    assert np.unique((found.astype(int) - int(affine.zero_point)) * float(affine.scale)) == pytest.approx(0.4, abs=0.02)
