"""A whole network in integers: bytes in, codes out, with no float in between.

``integer_network`` does the arithmetic on scales once, ahead of time; what it makes holds integers only. Its
``tensors`` then runs layer by layer on NumPy's integer arrays.

Two roundings are offered (see ``fixed_point.py``): "runtime" gives ONNX Runtime's codes on x86 to the bit,
"hardware" those of integer-only kernels. They differ by at most one code a layer, where a product lies near a half.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from course_lib.quantization.affine import Affine, quantize
from course_lib.quantization.calibrated import QuantizedNetwork
from course_lib.quantization.graph import (
    INPUT,
    Add,
    Concat,
    Convolution,
    Flatten,
    GlobalAverage,
    Layer,
    Linear,
    Weighted,
)
from course_lib.quantization.integer.fixed_point import HardwareFactor, RuntimeFactor
from course_lib.quantization.integer.layers import (
    CodeRange,
    IntegerAdd,
    IntegerConcat,
    IntegerConvolution,
    IntegerFlatten,
    IntegerGlobalAverage,
    IntegerLayer,
    IntegerLinear,
)
from course_lib.quantization.integer.sums import HardwareSum, RuntimeSum

Rounding = Literal["runtime", "hardware"]
Common = tuple[str, tuple[str, ...], CodeRange]


@dataclass(frozen=True, eq=False)
class IntegerNetwork:
    """Layers on codes, in an order in which they can run.

    Args:
        input: codes of the images.
        input_shape: (C, H, W) that it was made for.
        layers: the last one gives the codes of the logits.
        logits: scale and zero point of the logits, for whoever wants them as real numbers; the largest code wins
            without.
        rounding: whose.
    """

    input: CodeRange
    input_shape: tuple[int, int, int]
    layers: tuple[IntegerLayer, ...]
    logits: Affine
    rounding: Rounding

    def tensors(self, codes: np.ndarray) -> dict[str, np.ndarray]:
        """Codes of every tensor by name, the images among them, shaped as PyTorch's: (B, C, H, W) or (B, C).

        Args: codes: (B, C, H, W), of the images: the camera's bytes, uint8.
        Raises: ValueError: another type or shape.
        """
        if codes.dtype != self.input.dtype or codes.shape[1:] != self.input_shape:
            raise ValueError(
                f"codes must be {np.dtype(self.input.dtype)} (B, {', '.join(map(str, self.input_shape))}), "
                f"got {codes.dtype} {codes.shape}"
            )
        found = {INPUT: np.moveaxis(codes, 1, -1)}
        for layer in self.layers:
            found[layer.name] = layer(*(found[name] for name in layer.inputs))
        return {name: np.moveaxis(tensor, -1, 1) if tensor.ndim == 4 else tensor for name, tensor in found.items()}

    def logit_codes(self, codes: np.ndarray, *, batch_size: int = 16, threads: int = 1) -> np.ndarray:
        """Codes of the logits (N, classes) of many images (N, C, H, W), N ≥ 1, some batches side by side."""
        output = self.layers[-1].name
        batches = [codes[start : start + batch_size] for start in range(0, len(codes), batch_size)]
        with ThreadPoolExecutor(threads) as pool:
            return np.concatenate(list(pool.map(lambda batch: self.tensors(batch)[output], batches)))


def integer_network(
    network: QuantizedNetwork, *, rounding: Rounding = "runtime", input_shape: tuple[int, int, int] = (3, 32, 32)
) -> IntegerNetwork:
    """The network with integers only.

    Args:
        network: calibrated, codes of at most 8 bits.
        rounding: "runtime": ONNX Runtime's on x86; "hardware": gemmlowp's and TensorFlow Lite's.
        input_shape: (C, H, W) of the images.
    Raises: ValueError: a layer that is not known here, an accumulator that could overflow, codes of more than 8 bits,
        or a factor that has no fixed-point form.
    """
    if rounding not in ("runtime", "hardware"):
        raise ValueError(f"rounding must be 'runtime' or 'hardware', got {rounding!r}")
    for name, affine in network.activations.items():
        if affine.codes.bits > 8:
            raise ValueError(f"the engine's tensors have 8 bits, the codes of {name} have {affine.codes.bits}")
    compiler = _Compiler(network, rounding, input_shape)
    layers = tuple(compiler.layer(layer) for layer in network.graph.layers)
    logits = network.activations[network.graph.output]
    return IntegerNetwork(_codes(network.activations[INPUT]), input_shape, layers, logits, rounding)


def _codes(affine: Affine, layer: Layer | None = None) -> CodeRange:
    """The codes that a tensor may hold: those of its layer's ReLU."""
    zero, low, high = int(affine.zero_point), affine.codes.low, affine.codes.high
    if isinstance(layer, Weighted | Add):
        low = zero if layer.relu else low
        high = high if layer.ceiling is None else int(quantize(torch.tensor(layer.ceiling), affine))
    return CodeRange(zero, low, high, affine.codes.signed)


class _Compiler:
    """Makes the integers. Floats are allowed here: this runs once, on the developer's machine."""

    def __init__(self, network: QuantizedNetwork, rounding: Rounding, input_shape: tuple[int, int, int]):
        self.network, self.rounding = network, rounding
        self.shapes = {INPUT: input_shape}
        # ONNX Runtime divides scales in float32; a compiler for hardware has no reason to lose bits there.
        self.real = np.float32 if rounding == "runtime" else np.float64
        self.factor: Callable[[np.ndarray], RuntimeFactor | HardwareFactor] = (
            RuntimeFactor.of if rounding == "runtime" else HardwareFactor.of
        )

    def _real(self, tensor: Tensor) -> np.ndarray:
        return tensor.numpy().astype(self.real)

    def layer(self, layer: Layer) -> IntegerLayer:
        """One layer; its shape is noted for those that read it."""
        inputs = [self.network.activations[name] for name in layer.inputs]
        own = self.network.activations[layer.name]
        common: Common = (layer.name, layer.inputs, _codes(own, layer))
        scales, scale = [self._real(affine.scale) for affine in inputs], self._real(own.scale)
        self._note_shape(layer)
        if isinstance(layer, Weighted):
            return self._weighted(layer, common, scales[0], scale)
        if isinstance(layer, Add):
            return IntegerAdd(*common, self._sum(inputs, own))
        if isinstance(layer, Concat):
            return IntegerConcat(*common, tuple(self._table(affine, own) for affine in inputs))
        if isinstance(layer, GlobalAverage):
            _, height, width = self.shapes[layer.inputs[0]]
            factor = scales[0] / (scale * self.real(height * width))
            zero = int(inputs[0].zero_point)
            return IntegerGlobalAverage(*common, zero, height * width, self.factor(factor))
        if isinstance(layer, Flatten):
            return IntegerFlatten(*common)
        raise ValueError(f"the integer engine has no layer for {type(layer).__name__} ({layer.name})")

    def _weighted(self, layer: Weighted, common: Common, x_scale: np.ndarray, y_scale: np.ndarray) -> IntegerLayer:
        codes = self.network.weight_codes(layer)
        if not -128 <= int(codes.min()) <= int(codes.max()) <= 127:
            raise ValueError(f"the weights of {layer.name} need more than 8 bits")
        bias = self.network.bias_codes(layer).numpy()
        factor = self.factor(x_scale * self._real(self.network.weights[layer.name].scale) / y_scale)
        read = _codes(self.network.activations[layer.inputs[0]])
        if isinstance(layer, Convolution):
            weight = codes.permute(0, 2, 3, 1).contiguous().numpy().astype(np.int8)
            window = layer.stride, layer.padding, layer.groups
            return IntegerConvolution(*common, weight, bias, read, factor, *window)
        if isinstance(layer, Linear):
            return IntegerLinear(*common, codes.numpy().astype(np.int8), bias, read, factor)
        raise ValueError(f"the integer engine has no layer for {type(layer).__name__} ({layer.name})")

    def _sum(self, inputs: list[Affine], own: Affine) -> RuntimeSum | HardwareSum:
        (a, b), c = inputs, own
        pair = (self._real(a.scale), int(a.zero_point), self._real(b.scale), int(b.zero_point), self._real(c.scale))
        return RuntimeSum.of(*pair, int(c.zero_point)) if self.rounding == "runtime" else HardwareSum.of(*pair)

    def _table(self, affine: Affine, own: Affine) -> np.ndarray:
        """The output's code for each of the 256 values of an input's type."""
        codes, low = _codes(own), -128 if affine.codes.signed else 0
        steps = np.arange(low, low + 256) - int(affine.zero_point)
        scale, target = self._real(affine.scale), self._real(own.scale)
        if self.rounding == "hardware":
            return codes.clamp(HardwareFactor.of(scale / target)(steps))
        return codes.clamp(np.rint(steps.astype(self.real) * scale / target).astype(np.int64))

    def _note_shape(self, layer: Layer) -> None:
        channels, height, width = self.shapes[layer.inputs[0]]
        if isinstance(layer, Convolution):
            (k_h, k_w), (s_h, s_w), (p_h, p_w) = layer.weight.shape[2:], layer.stride, layer.padding
            height, width = (height + 2 * p_h - k_h) // s_h + 1, (width + 2 * p_w - k_w) // s_w + 1
            channels = len(layer.bias)
        elif isinstance(layer, Linear):
            channels = len(layer.bias)
        elif isinstance(layer, Concat):
            channels = sum(self.shapes[name][0] for name in layer.inputs)
        elif isinstance(layer, GlobalAverage):
            height = width = 1
        elif isinstance(layer, Flatten):
            channels, height, width = channels * height * width, 1, 1
        self.shapes[layer.name] = (channels, height, width)
