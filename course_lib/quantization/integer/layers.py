"""The layers of a network on integer codes. Nothing here is a float; ``engine.py`` makes the integers from the scales.

**Zero points.** Σ(q_x − Z_x)·q_w = Σ q_x·q_w − Z_x·Σ q_w: weights have the zero point 0, and Σ q_w is known before the
image comes. So the layer multiplies the codes as they are and adds one number a channel, b′ = b − Z_x·Σ q_w. Padding
stands for 0, so it is Z_x.

**Accumulators** are 32 bits wide. |Σ q_x·q_w + b′| ≤ max|q_x| · Σ|q_w| + |b′| whatever the image and the order of the
sum: a layer whose bound does not fit is refused when it is made.

**ReLU** is the lower end of the clamp: nothing below the code of 0.

Tensors are (B, H, W, C), the channels last, as integer hardware likes them: a row of a kernel is then one piece of
memory. Jacob et al. 2018, arXiv:1712.05877, section 2.3, eq. 7 and 8.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import numpy as np

Rescale = Callable[[np.ndarray], np.ndarray]
Sum = Callable[[np.ndarray, np.ndarray], np.ndarray]
LARGEST = 2**31 - 1


@dataclass(frozen=True)
class CodeRange:
    """The codes of a tensor.

    Args:
        zero: the code that stands for 0.
        low: the smallest one; zero after a ReLU.
        high: the largest one.
        signed: int8, else uint8.
    """

    zero: int
    low: int
    high: int
    signed: bool = False

    @property
    def dtype(self) -> type[np.generic]:
        """NumPy's type of the codes."""
        return np.int8 if self.signed else np.uint8

    def clamp(self, steps: np.ndarray) -> np.ndarray:
        """Codes of whole steps from 0: add the zero point, clamp, and only then narrow the type."""
        return np.clip(steps + self.zero, self.low, self.high).astype(self.dtype)


@dataclass(frozen=True, eq=False)
class IntegerLayer:
    """What all layers have.

    Args:
        name: of the layer, and of the tensor that it gives.
        inputs: names of the tensors that it reads.
        output: codes that it gives.
    """

    name: str
    inputs: tuple[str, ...]
    output: CodeRange

    def __call__(self, *inputs: np.ndarray) -> np.ndarray:
        """Codes from codes."""
        raise NotImplementedError


@dataclass(frozen=True, eq=False)
class IntegerWeighted(IntegerLayer):
    """Multiply, add up in 32 bits, rescale, clamp.

    Args:
        weight: int8, the output channels along axis 0, the input channels last.
        bias: int32 (C_out,), in steps of the accumulator.
        input: codes that it reads.
        rescale: accumulators (…, C_out) to whole steps of the output.
    Raises: ValueError: the accumulator could overflow; the layer, the channel and the bound are named.
    """

    weight: np.ndarray
    bias: np.ndarray
    input: CodeRange
    rescale: Rescale

    def __post_init__(self) -> None:
        bound = self.accumulator_bound()
        if (worst := int(bound.max())) > LARGEST:
            raise ValueError(
                f"the accumulator of {self.name}, channel {int(bound.argmax())}, can reach {worst:,}, beyond the "
                f"{LARGEST:,} of 32 bits: use fewer bits, or a larger weight scale"
            )

    @cached_property
    def folded_bias(self) -> np.ndarray:
        """int64 (C_out,): b′ = b − Z_x·Σ q_w."""
        sums = self.weight.reshape(len(self.weight), -1).astype(np.int64).sum(1)
        return self.bias.astype(np.int64) - self.input.zero * sums

    def accumulator_bound(self) -> np.ndarray:
        """int64 (C_out,): the largest |partial sum| that any input in any order can reach, from b′ on."""
        largest = max(abs(self.input.low), abs(self.input.high))
        rows = np.abs(self.weight.astype(np.int64)).reshape(len(self.weight), -1)
        return largest * rows.sum(1) + np.abs(self.folded_bias)

    def accumulators(self, codes: np.ndarray) -> np.ndarray:
        """int32 (…, C_out): Σ(q_x − Z_x)·q_w + b."""
        raise NotImplementedError

    def __call__(self, *inputs: np.ndarray) -> np.ndarray:
        return self.output.clamp(self.rescale(self.accumulators(inputs[0])))


def _products(patches: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """int32 (M, N) from (M, K) and (N, K)."""
    return np.einsum("mk,nk->mn", patches.astype(np.int32), weight.astype(np.int32))


@dataclass(frozen=True, eq=False)
class IntegerLinear(IntegerWeighted):
    """(B, C_in) → (B, C_out)."""

    def accumulators(self, codes: np.ndarray) -> np.ndarray:
        return _products(codes, self.weight) + self.folded_bias.astype(np.int32)


@dataclass(frozen=True, eq=False)
class IntegerConvolution(IntegerWeighted):
    """(B, H, W, C_in) → (B, H′, W′, C_out), weight (C_out, k_H, k_W, C_in / groups).

    Args:
        stride: downwards and across.
        padding: on each side, downwards and across.
        groups: channels are split into so many independent convolutions.
    """

    stride: tuple[int, int]
    padding: tuple[int, int]
    groups: int

    def accumulators(self, codes: np.ndarray) -> np.ndarray:
        (down, across), (pad_h, pad_w) = self.stride, self.padding
        padded = np.pad(codes, ((0, 0), (pad_h, pad_h), (pad_w, pad_w), (0, 0)), constant_values=self.input.zero)
        size = self.weight.shape[1:3]
        windows = np.lib.stride_tricks.sliding_window_view(padded, size, (1, 2), subok=True)[:, ::down, ::across]
        windows = np.moveaxis(windows, 3, -1)  # (B, H′, W′, k_H, k_W, C_in)
        parts = []
        for inputs, weight in zip(np.split(windows, self.groups, -1), np.split(self.weight, self.groups), strict=True):
            rows = inputs.reshape(-1, weight[0].size)
            parts.append(_products(rows, weight.reshape(len(weight), -1)))
        sums = np.concatenate(parts, 1) + self.folded_bias.astype(np.int32)
        return sums.reshape(*windows.shape[:3], -1)


@dataclass(frozen=True, eq=False)
class IntegerAdd(IntegerLayer):
    """The sum of two tensors of one shape.

    Args:
        total: codes a and b to whole steps of the output.
    """

    total: Sum

    def __call__(self, *inputs: np.ndarray) -> np.ndarray:
        return self.output.clamp(self.total(*inputs))


@dataclass(frozen=True, eq=False)
class IntegerConcat(IntegerLayer):
    """Tensors behind one another along the channels, each translated to the output's codes.

    Args:
        tables: one an input, 256 codes of the output's type; code q stands at index q − (its type's lowest).
    """

    tables: tuple[np.ndarray, ...]

    def __call__(self, *inputs: np.ndarray) -> np.ndarray:
        translated = [
            table[codes.astype(np.int32) - np.iinfo(codes.dtype).min]
            for table, codes in zip(self.tables, inputs, strict=True)
        ]
        return np.concatenate(translated, -1)


@dataclass(frozen=True, eq=False)
class IntegerGlobalAverage(IntegerLayer):
    """(B, H, W, C) → (B, 1, 1, C): the sum over positions, rescaled by S_x / (S_y · positions).

    Args:
        input_zero: zero point of the input.
        positions: H · W that the factor was made for.
        rescale: sums (…, C) to whole steps of the output.
    """

    input_zero: int
    positions: int
    rescale: Rescale

    def __call__(self, *inputs: np.ndarray) -> np.ndarray:
        codes = inputs[0]
        if codes.shape[1] * codes.shape[2] != self.positions:
            raise ValueError(f"{self.name} was made for {self.positions} positions, got {codes.shape[1:3]}")
        sums = codes.astype(np.int32).sum((1, 2), keepdims=True) - self.positions * self.input_zero
        return self.output.clamp(self.rescale(sums))


@dataclass(frozen=True, eq=False)
class IntegerFlatten(IntegerLayer):
    """(B, H, W, C) → (B, C·H·W), in PyTorch's order: channel by channel."""

    def __call__(self, *inputs: np.ndarray) -> np.ndarray:
        return np.moveaxis(inputs[0], -1, 1).reshape(len(inputs[0]), -1)
