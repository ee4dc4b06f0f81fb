"""Real numbers as small integers: x ≈ S·(q − Z), with a scale S > 0 and a zero point Z that is one of the codes.

    q = clip(round(x / S) + Z, low, high)          x̂ = S·(q − Z)

``round`` takes a half to its even neighbour, as IEEE 754, NumPy, PyTorch and ONNX do: rounding halves upwards would
shift the mean. Z is an integer, so that 0 is exactly representable: padding, ReLU's zeros and pruned weights stay 0.

**The range.** S and Z come from the smallest and largest value. The range is first extended to hold 0; else Z would lie
outside the codes, be clipped, and shift every value.

    S = (max − min) / (high − low)        Z = clip(round(low − min / S), low, high)           asymmetric
    S = max(|min|, |max|) / reach,        Z = the middle code (0 signed)                       symmetric

``reach`` is how many codes lie above the middle: 2^(b−1) − 1. The signed codes have one more below, −2^(b−1), which a
*restricted* range leaves out: then −x has the code −q, and |q| ≤ 127 keeps sums of products smaller.

**Two roundings of one formula.** ONNX's QuantizeLinear divides, x / S. PyTorch's fake quantization multiplies by the
reciprocal, x·(1/S), both in float32, which differs by one code near a half. ``quantize`` divides, as what is deployed
does; ``fake_quantize`` multiplies, so that it equals PyTorch's to the bit.

**How many scales.** One for the tensor; one for each index along an axis (channels); or one for every ``block`` values
that follow one another along an axis, as ONNX's blocked quantization has it since opset 21.

Jacob et al. 2018, arXiv:1712.05877, eq. 1; Krishnamoorthi 2018, arXiv:1806.08342, section 2.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import torch
from torch import Tensor

from course_lib.arguments import finite, tensors

LEAST_SCALE = float(torch.finfo(torch.float32).tiny)
"""A range this narrow or narrower gets the scale 1: every value of it is 0, and no scale could tell them apart."""


@dataclass(frozen=True)
class Codes:
    """Which integers may stand for a number.

    Args:
        bits: 2 … 16.
        signed: −2^(b−1) … 2^(b−1) − 1, else 0 … 2^b − 1.
        restricted: leave out the lowest signed code, so that the range is even about 0.
    Raises: ValueError: bits are out of range, or unsigned codes are to be restricted.

    >>> Codes(8), Codes(8).low, Codes(8).high
    (Codes(bits=8, signed=True, restricted=False), -128, 127)
    >>> Codes(4, signed=False).high, Codes(8, restricted=True).low
    (15, -127)
    """

    bits: int
    signed: bool = True
    restricted: bool = False

    def __post_init__(self) -> None:
        if isinstance(self.bits, bool) or not isinstance(self.bits, int) or not 2 <= self.bits <= 16:
            raise ValueError(f"bits must be an integer in 2 … 16, got {self.bits!r}")
        if self.restricted and not self.signed:
            raise ValueError("only signed codes can be restricted: unsigned ones have no lowest code without a partner")

    @property
    def low(self) -> int:
        """The smallest code."""
        return -(2 ** (self.bits - 1)) + self.restricted if self.signed else 0

    @property
    def high(self) -> int:
        """The largest code."""
        return 2 ** (self.bits - 1) - 1 if self.signed else 2**self.bits - 1

    @property
    def middle(self) -> int:
        """The code of 0 in a symmetric range."""
        return 0 if self.signed else 2 ** (self.bits - 1)


Values = TypeVar("Values", Tensor, np.ndarray)


def along(values: Values, ndim: int, axis: int | None) -> Values:
    """One value an index along an axis, (C,), in a shape that broadcasts with a tensor of so many axes; None: as it is.

    >>> along(torch.ones(3), 4, 1).shape
    torch.Size([1, 3, 1, 1])
    """
    if axis is None:
        return values
    shape = [1] * ndim
    shape[axis] = -1
    return values.reshape(shape)


@dataclass(frozen=True, eq=False)
class Affine:
    """A scale and a zero point, one of each for a tensor, for every index along an axis, or for every block on it.

    Args:
        codes: that may be used.
        scale: float32, > 0 and finite, in units of x for a step; () or (C,), or with a block the shape of x, except
            that the axis is ``block`` times shorter.
        zero_point: int32, of the same shape, each one of the codes.
        axis: along which the C scales lie, or the blocks; None: one for all.
        block: how many values in a row share a scale; None: all that share an index along the axis.
    Raises: ValueError: shapes, types or values that do not fit.

    >>> two = Affine(Codes(4), torch.tensor([[1.0, 0.5]]), torch.zeros(1, 2).int(), axis=1, block=2)
    >>> quantize(torch.tensor([[3.0, 1.0, 3.0, 1.0]]), two)
    tensor([[3, 1, 6, 2]], dtype=torch.int32)
    """

    codes: Codes
    scale: Tensor
    zero_point: Tensor
    axis: int | None = None
    block: int | None = None

    def __post_init__(self) -> None:
        _check_block(self.axis, self.block)
        wanted = 0 if self.axis is None else 1 if self.block is None else self.scale.ndim
        if self.scale.ndim != wanted or self.scale.shape != self.zero_point.shape:
            raise ValueError(
                f"scale and zero_point must both have {wanted} axes, got {list(self.scale.shape)} and "
                f"{list(self.zero_point.shape)}"
            )
        if self.scale.dtype != torch.float32 or self.zero_point.dtype != torch.int32:
            raise ValueError(
                f"scale must be float32, zero_point int32, got {self.scale.dtype}, {self.zero_point.dtype}"
            )
        if not bool((self.scale > 0).all() and self.scale.isfinite().all()):
            raise ValueError("every scale must be > 0 and finite")
        if not bool(((self.zero_point >= self.codes.low) & (self.zero_point <= self.codes.high)).all()):
            raise ValueError(f"zero points must lie in {self.codes.low} … {self.codes.high}")
        if self.block is not None:
            _check_axis(self.axis, self.scale.ndim)

    def along(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Scale and zero point in a shape that broadcasts with x.

        Raises: ValueError: x has no such axis, or another length along it.
        """
        if self.axis is None:
            return self.scale, self.zero_point
        if self.block is not None:
            shape = list(self.scale.shape)
            shape[self.axis] *= self.block
            if list(x.shape) != shape:
                raise ValueError(f"x must have the shape {shape} for these blocks, got {list(x.shape)}")
            return (
                self.scale.repeat_interleave(self.block, self.axis),
                self.zero_point.repeat_interleave(self.block, self.axis),
            )
        if not -x.ndim <= self.axis < x.ndim or x.shape[self.axis] != len(self.scale):
            raise ValueError(f"x must have {len(self.scale)} entries along axis {self.axis}, got {list(x.shape)}")
        return along(self.scale, x.ndim, self.axis), along(self.zero_point, x.ndim, self.axis)


def from_range(
    low: Tensor,
    high: Tensor,
    codes: Codes,
    *,
    symmetric: bool = False,
    axis: int | None = None,
    block: int | None = None,
) -> Affine:
    """Scale and zero point for values in low … high.

    Args:
        low, high: float32, of the shape that ``Affine`` wants for its scale, low ≤ high; extended to hold 0.
        codes: that may be used.
        symmetric: 0 gets the middle code, and both signs reach equally far.
        axis, block: as in ``Affine``.
    Raises: ValueError: not finite, low > high, or a shape that does not fit.

    >>> found = from_range(torch.tensor(-1.0), torch.tensor(3.0), Codes(8, signed=False))
    >>> round(found.scale.item(), 6), found.zero_point.item()
    (0.015686, 64)
    """
    if not bool(low.isfinite().all() and high.isfinite().all() and (low <= high).all()):
        raise ValueError("a range must be finite, low ≤ high: are there NaN or infinite values?")
    bottom, top = low.double().clamp(max=0), high.double().clamp(min=0)
    if symmetric:
        scale = torch.maximum(-bottom, top) / (codes.high - codes.middle)
    else:
        scale = (top - bottom) / (codes.high - codes.low)
    scale = scale.float()
    scale = torch.where(scale > LEAST_SCALE, scale, torch.ones_like(scale))
    if symmetric:
        zero_point = torch.full_like(scale, codes.middle)
    else:
        zero_point = (codes.low - bottom / scale.double()).round().clamp(codes.low, codes.high)
    return Affine(codes, scale, zero_point.to(torch.int32), axis, block)


def min_max(
    x: Tensor, codes: Codes, *, symmetric: bool = False, axis: int | None = None, block: int | None = None
) -> Affine:
    """Scale and zero point for the smallest and largest value of x, of each of its slices, or of each block.

    Args:
        x: floats, any shape; an empty tensor has the range 0 … 0.
        codes: that may be used.
        symmetric: 0 gets the middle code, and both signs reach equally far.
        axis, block: as in ``Affine``.
    Raises: ValueError: NaN or infinite values, no such axis, or a length that the block does not divide.

    >>> min_max(torch.tensor([[1.0, -2.0], [0.5, 0.25]]), Codes(8), symmetric=True, axis=0).scale.mul(127).tolist()
    [2.0, 0.5]
    """
    tensors(x=x)
    finite("x", x)
    _check_block(axis, block)
    _check_axis(axis, x.ndim)
    x = x.detach().float()
    if axis is not None and block is not None:
        if x.shape[axis] % block:
            raise ValueError(f"block must divide the {x.shape[axis]} entries along axis {axis}, got {block}")
        blocks = x.movedim(axis, -1).unflatten(-1, (x.shape[axis] // block, block)).movedim(-2, axis - (axis < 0))
        return from_range(blocks.amin(-1), blocks.amax(-1), codes, symmetric=symmetric, axis=axis, block=block)
    rows = x.reshape(1, -1) if axis is None else x.movedim(axis, 0).unsqueeze(1).flatten(1)  # (slices, values)
    if rows.shape[1] == 0:
        low = high = torch.zeros(len(rows))
    else:
        low, high = rows.amin(1), rows.amax(1)
    if axis is None:
        low, high = low.squeeze(0), high.squeeze(0)
    return from_range(low, high, codes, symmetric=symmetric, axis=axis)


def quantize(x: Tensor, affine: Affine) -> Tensor:
    """Codes: int32, of the shape of x. Matches: ONNX's QuantizeLinear (x / S, half to even, + Z, clipped).

    Raises: ValueError: NaN, or a shape that does not fit. Infinite values get the outermost codes.

    >>> quantize(torch.tensor([-9.0, 0.0, 0.5, 1.5, 9.0]), Affine(Codes(3), torch.tensor(1.0), torch.tensor(0).int()))
    tensor([-4,  0,  0,  2,  3], dtype=torch.int32)
    """
    tensors(x=x)
    if bool(x.isnan().any()):
        raise ValueError("x holds NaN, which no code stands for")
    scale, zero_point = affine.along(x)
    codes = (x.float() / scale).round() + zero_point
    return codes.clamp(affine.codes.low, affine.codes.high).to(torch.int32)


def dequantize(codes: Tensor, affine: Affine) -> Tensor:
    """S·(q − Z), float32. Matches: ONNX's DequantizeLinear.

    Raises: ValueError: a shape that does not fit.

    >>> affine = from_range(torch.tensor(-1.0), torch.tensor(3.0), Codes(8, signed=False))
    >>> dequantize(torch.tensor([0, 64, 255]), affine)
    tensor([-1.0039,  0.0000,  2.9961])
    """
    scale, zero_point = affine.along(codes)
    return (codes.to(torch.int32) - zero_point).float() * scale


def sqnr_db(x: Tensor, restored: Tensor) -> float:
    """Signal to quantization noise, 10·log₁₀(Σx² / Σ(x − x̂)²), in dB; inf where nothing differs.

    Raises: ValueError: shapes differ, or the signal is 0 throughout and the noise is not.

    >>> round(sqnr_db(torch.tensor([3.0, 4.0]), torch.tensor([3.0, 3.5])), 2)
    20.0
    """
    tensors(x=x, restored=restored)
    if x.shape != restored.shape:
        raise ValueError(f"x and restored must have one shape, got {list(x.shape)} and {list(restored.shape)}")
    signal = x.detach().double().square().sum()
    noise = (x.detach().double() - restored.detach().double()).square().sum()
    if noise == 0:
        return float("inf")
    if signal == 0:
        raise ValueError("x is 0 throughout: its signal has no power to compare with")
    return float(10 * torch.log10(signal / noise))


def _check_axis(axis: int | None, count: int) -> None:
    if axis is not None and not -count <= axis < count:
        raise ValueError(f"axis must be in {-count} … {count - 1}, got {axis}")


def _check_block(axis: int | None, block: int | None) -> None:
    if block is None:
        return
    if isinstance(block, bool) or not isinstance(block, int) or block < 1:
        raise ValueError(f"block must be an integer ≥ 1, got {block!r}")
    if axis is None:
        raise ValueError("a block needs the axis along which its values follow one another")
