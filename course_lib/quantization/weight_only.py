"""Linear layers that keep their weights in 8 or 4 bits and compute in floats: weight-only quantization.

    w ≈ S·q,    q in −8 … 7 or −128 … 127, one scale S for every ``size`` weights in a row of inputs

Activations stay floats, so nothing is calibrated and no range can be wrong. A scale for each group of 32 or 128 inputs
is what makes 4 bits good enough: one large weight then makes the steps of its own group coarse only.

**What is stored** is what is counted: two 4-bit codes share a byte, the first one in its lower half, as ONNX packs
INT4; 8-bit codes are int8. With scales of 16 bits in groups of 32 a weight takes 4.5 bits.

**The scale is rounded up** to float16, and the codes are those of the rounded scale. Rounded to nearest it could be
too small for the largest weight of its group: by little as a rule, by much where float16 loses digits, below 6·10⁻⁵.
Rounded up, no weight lies beyond the codes, and |w − ŵ| ≤ S/2 holds for every one.

**It saves bytes, not time.** ``forward`` makes the float weight anew in every call, and then multiplies as before: on
a CPU it is slower than the float layer (``benchmarks/weight_only.py`` measures it). Kernels that save time unpack the
codes in registers, within the product, where reading the weights from memory takes longer than multiplying: a language
model that makes one token after the other.

Dettmers and Zettlemoyer 2022, arXiv:2212.09720 (4 bits in small blocks); ONNX, opset 21 (INT4, blocked quantization).
"""

from __future__ import annotations

import copy
from collections.abc import Collection

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from course_lib.quantization.affine import Affine, Codes, quantize
from course_lib.quantization.granularity import PerGroup
from course_lib.quantization.linears import replace_linears

SCALE_DTYPES = (torch.float16, torch.float32)


def pack_int4(codes: Tensor) -> Tensor:
    """Two codes a byte, the first in the lower half: uint8 (⌈N/2⌉,). Matches: the packing of ONNX's INT4.

    Args: codes: integers in −8 … 7, any shape, N of them; read row by row; an odd one gets a 0 beside it.
    Raises: ValueError: a code that 4 bits cannot hold.

    >>> [hex(byte) for byte in pack_int4(torch.tensor([1, -2, 7]))]  # −2 is 14 in two's complement
    ['0xe1', '0x7']
    """
    flat = codes.flatten()
    if flat.numel() and not -8 <= int(flat.min()) <= int(flat.max()) <= 7:
        raise ValueError(f"codes must lie in -8 … 7, got {int(flat.min())} … {int(flat.max())}")
    halves = F.pad(flat, (0, len(flat) % 2)).to(torch.int16) & 0x0F  # two's complement, 4 bits
    return (halves[0::2] | halves[1::2] << 4).to(torch.uint8)


def unpack_int4(packed: Tensor, count: int) -> Tensor:
    """The first ``count`` codes: int8 (count,).

    Args:
        packed: uint8, as ``pack_int4`` gives it.
        count: of codes, at most two a byte.
    Raises: ValueError: another type, or a count that does not fill the bytes.

    >>> unpack_int4(torch.tensor([0xE1, 0x07], dtype=torch.uint8), 3)
    tensor([ 1, -2,  7], dtype=torch.int8)
    """
    if packed.dtype != torch.uint8 or packed.shape != ((count + 1) // 2,):
        raise ValueError(
            f"packed must be uint8 [{(count + 1) // 2}] for {count} codes, got {packed.dtype} {list(packed.shape)}"
        )
    # A shift to the right of a signed byte repeats its sign, which is the code's.
    both = torch.stack([(packed << 4).view(torch.int8) >> 4, packed.view(torch.int8) >> 4], 1)
    return both.flatten()[:count]


class WeightOnlyLinear(nn.Module):
    """x Ŵᵀ + b with Ŵ from codes: (…, in) → (…, out), in the type of x.

    Args:
        layer: float32 weights (out, in); copied.
        bits: 4 or 8.
        size: inputs that share a scale; it must divide ``in``.
        scale_dtype: float16 or float32, of the stored scales.
    Attributes:
        codes: 4 bits: uint8 (⌈out·in / 2⌉,), packed; 8 bits: int8 (out, in).
        scale: (out, in / size), > 0.
        bias: the layer's, or None.
    Raises: ValueError: other bits or types, a size that does not divide, weights that are not finite, or scales that
        float16 cannot hold.

    >>> layer = nn.Linear(4, 1, bias=False)
    >>> _ = layer.weight.data.copy_(torch.tensor([[7.0, -2.2, 0.7, 0.1]]))
    >>> WeightOnlyLinear(layer, bits=4, size=2, scale_dtype=torch.float32).weight
    tensor([[ 7.0000, -2.0000,  0.7000,  0.1000]])
    """

    codes: Tensor
    scale: Tensor

    def __init__(self, layer: nn.Linear, *, bits: int, size: int, scale_dtype: torch.dtype = torch.float16):
        super().__init__()
        if bits not in (4, 8):
            raise ValueError(f"bits must be 4 or 8, got {bits!r}")
        if layer.weight.dtype != torch.float32:
            raise ValueError(f"the layer's weights must be float32, got {layer.weight.dtype}")
        weight = layer.weight.detach()
        scale = _scale(weight, Codes(bits), size, scale_dtype)
        codes = quantize(weight, _affine(Codes(bits), scale, size))
        self.bits, self.size = bits, size
        self.in_features, self.out_features = layer.in_features, layer.out_features
        self.register_buffer("codes", pack_int4(codes) if bits == 4 else codes.to(torch.int8))
        self.register_buffer("scale", scale)
        self.bias = copy.deepcopy(layer.bias)

    @property
    def weight(self) -> Tensor:
        """Ŵ = S·q: float32 (out, in), made anew at every access."""
        codes = unpack_int4(self.codes, self.out_features * self.in_features) if self.bits == 4 else self.codes
        grouped = codes.view(*self.scale.shape, self.size).float()  # (out, in / size, size)
        return grouped.mul_(self.scale.float().unsqueeze(-1)).flatten(1)

    def affine(self) -> Affine:
        """The codes' scales, as ``quantize`` and ``dequantize`` take them."""
        return _affine(Codes(self.bits), self.scale, self.size)

    def forward(self, x: Tensor) -> Tensor:
        """(…, in) → (…, out)."""
        return F.linear(x, self.weight.to(x.dtype), self.bias)

    def extra_repr(self) -> str:
        """The arguments that it was made with."""
        return (
            f"in_features={self.in_features}, out_features={self.out_features}, bias={self.bias is not None}, "
            f"bits={self.bits}, size={self.size}, scale_dtype={self.scale.dtype}"
        )


def quantize_linears(
    model: nn.Module, *, bits: int, size: int, scale_dtype: torch.dtype = torch.float16, skip: Collection[str] = ()
) -> nn.Module:
    """A copy of a network whose linear layers are ``WeightOnlyLinear``.

    Args:
        model: unchanged.
        bits, size, scale_dtype: as in ``WeightOnlyLinear``.
        skip: names of linear layers that stay in floats, the last one often.
    Raises: ValueError: no linear layer is left, ``skip`` names something else, or a layer cannot be quantized (named).

    >>> quantize_linears(nn.Sequential(nn.Linear(64, 8), nn.ReLU(), nn.Linear(8, 2)), bits=4, size=32, skip=["2"])[0]
    WeightOnlyLinear(in_features=64, out_features=8, bias=True, bits=4, size=32, scale_dtype=torch.float16)
    """

    def make(layer: nn.Linear) -> nn.Module:
        return WeightOnlyLinear(layer, bits=bits, size=size, scale_dtype=scale_dtype)

    return replace_linears(model, make, skip=skip)


def _affine(codes: Codes, scale: Tensor, size: int) -> Affine:
    return Affine(codes, scale.float(), torch.zeros(scale.shape, dtype=torch.int32, device=scale.device), 1, size)


def _scale(weight: Tensor, codes: Codes, size: int, dtype: torch.dtype) -> Tensor:
    """Symmetric min-max, (out, in / size), rounded up to the type."""
    if dtype not in SCALE_DTYPES:
        raise ValueError(f"scale_dtype must be torch.float16 or torch.float32, got {dtype}")
    exact = PerGroup(size, axis=1).min_max(weight, codes, symmetric=True).scale
    scale = exact.to(dtype)
    scale = torch.where(scale.float() < exact, torch.nextafter(scale, torch.full_like(scale, torch.inf)), scale)
    if not bool(scale.isfinite().all()):
        raise ValueError(f"{dtype} cannot hold a scale of {float(exact.max()):.4g}; use torch.float32")
    return scale
