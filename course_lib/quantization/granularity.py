"""How many scales does a tensor get? One, one an index along an axis, or one for every few values in a row.

More scales fit the values better: an outlier then makes the steps of its own channel or group coarse, and no others.
They cost bytes, and arithmetic: a scale an output channel leaves an integer sum as soon as it is complete, whereas a
scale a group of inputs changes within the sum, so that an integer kernel must stop at the end of every group.

    granularity                     scales of a convolution (C_out, C_in, k, k)    scales of a linear layer (out, in)
    PerTensor()                     ()                                             ()
    PerChannel(0)                   (C_out,)                                       (out,)
    PerGroup(size, axis=1)          (C_out, C_in / size, k, k)                     (out, in / size)

``affine`` has the arithmetic; these are names for its ``axis`` and ``block``.

Krishnamoorthi 2018, arXiv:1806.08342, section 2 (tensor and channel); ONNX's QuantizeLinear, opset 21 (blocks).
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from course_lib.quantization.affine import Affine, Codes, min_max


class Granularity(ABC):
    """Which values of a tensor share a scale."""

    @abstractmethod
    def axis_and_block(self) -> tuple[int | None, int | None]:
        """What ``Affine`` calls ``axis`` and ``block``."""

    def min_max(self, x: Tensor, codes: Codes, *, symmetric: bool = False) -> Affine:
        """Scales and zero points from the smallest and largest values that share one.

        Args:
            x: floats, any shape that has the axis.
            codes: that may be used.
            symmetric: 0 gets the middle code, and both signs reach equally far.
        Raises: ValueError: NaN or infinite values, no such axis, or a length that the size does not divide.

        >>> PerGroup(2).min_max(torch.tensor([[7.0, 1.0, -0.7, 0.0]]), Codes(4), symmetric=True).scale
        tensor([[1.0000, 0.1000]])
        """
        self.scale_shape(x.shape)
        axis, block = self.axis_and_block()
        return min_max(x, codes, symmetric=symmetric, axis=axis, block=block)

    def scale_shape(self, shape: Sequence[int]) -> tuple[int, ...]:
        """Shape of the scales of a tensor.

        Raises: ValueError: no such axis, or a length that the size does not divide.

        >>> PerChannel(0).scale_shape((64, 32, 3, 3)), PerGroup(8, axis=1).scale_shape((64, 32, 3, 3))
        ((64,), (64, 4, 3, 3))
        """
        axis, block = self.axis_and_block()
        if axis is None:
            return ()
        if not -len(shape) <= axis < len(shape):
            raise ValueError(f"{self} needs a tensor that has axis {axis}, got the shape {list(shape)}")
        if block is None:
            return (shape[axis],)
        if shape[axis] % block:
            raise ValueError(f"size must divide the {shape[axis]} entries along axis {axis}, got {block}")
        found = list(shape)
        found[axis] //= block
        return tuple(found)

    def scale_count(self, shape: Sequence[int]) -> int:
        """How many scales a tensor gets. Raises: ValueError: as ``scale_shape``.

        >>> [one.scale_count((64, 256)) for one in (PerTensor(), PerChannel(0), PerGroup(32))]
        [1, 64, 512]
        """
        return math.prod(self.scale_shape(shape))

    def scale_bytes(self, shape: Sequence[int], dtype: torch.dtype = torch.float32) -> int:
        """Bytes of the scales, without zero points: symmetric codes need none. Raises: ValueError: as ``scale_shape``.

        In groups of 32, scales of 16 bits add half a bit to every value:

        >>> 8 * PerGroup(32).scale_bytes((64, 256), torch.float16) / (64 * 256)
        0.5
        """
        return self.scale_count(shape) * dtype.itemsize


@dataclass(frozen=True)
class PerTensor(Granularity):
    """One scale for all values, shape (): of a convolution (C_out, C_in, k, k), of a linear layer (out, in) alike."""

    def axis_and_block(self) -> tuple[int | None, int | None]:
        return None, None


@dataclass(frozen=True)
class PerChannel(Granularity):
    """A scale for each index along an axis: (C_out,) of a convolution (C_out, C_in, k, k), (out,) of a layer (out, in).

    Args:
        axis: 0, the output channels, is what integer kernels can do: one factor for each finished sum.
    Raises: ValueError: not an integer.
    """

    axis: int = 0

    def __post_init__(self) -> None:
        _check_axis(self.axis)

    def axis_and_block(self) -> tuple[int | None, int | None]:
        return self.axis, None


@dataclass(frozen=True)
class PerGroup(Granularity):
    """A scale for every ``size`` values that follow one another along an axis.

    Of a linear layer (out, in): (out, in / size). Of a convolution (C_out, C_in, k, k) along axis 1:
    (C_out, C_in / size, k, k).

    Args:
        size: ≥ 1, values with one scale; it must divide the length of the axis.
        axis: −1 is a linear layer's input, along which it sums.
    Raises: ValueError: not integers, or size < 1.
    """

    size: int
    axis: int = -1

    def __post_init__(self) -> None:
        if isinstance(self.size, bool) or not isinstance(self.size, int) or self.size < 1:
            raise ValueError(f"size must be an integer ≥ 1, got {self.size!r}")
        _check_axis(self.axis)

    def axis_and_block(self) -> tuple[int | None, int | None]:
        return self.axis, self.size


def _check_axis(axis: int) -> None:
    if isinstance(axis, bool) or not isinstance(axis, int):
        raise ValueError(f"axis must be an integer, got {axis!r}")
