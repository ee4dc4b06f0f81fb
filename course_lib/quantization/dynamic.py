"""Linear layers whose inputs get their scale and zero point from each batch, when it comes: dynamic quantization.

    S_x = (max − min) / 255,   Z_x = round(−min / S_x)                   of this batch, its range extended to hold 0
    y = S_x·S_w · Σ_k (q_x,k − Z_x)·q_w,k + b                            the sum in integers of 32 bits

Weights are quantized once; activations on the way into each layer, and its output is floats again. There is nothing to
calibrate.

**When it wins over static ranges**: where ranges change from input to input, as between the tokens and lengths of a
language model or the volumes of recordings. A static range has to hold the largest of them, and its steps are then too
coarse for the others. It also needs no calibration images, and nothing is ever clipped.

**What it costs**: a pass over the activations for their ends before they can be rounded, in every layer and every call;
and no two layers can be joined in integers, for the output's scale is not known before the next layer's input is. Where
ranges are alike, as in a network for images, static is faster and as good. Both matter least in wide layers, where the
sums take most of the time. This module shows the arithmetic; ONNX Runtime's kernels have the speed.

**A batch shares one scale.** An image's answer depends on which others are in its batch: one with an outlier makes the
steps of all of them coarse. With a batch of 1 it does not.

ONNX's DynamicQuantizeLinear and MatMulInteger, opset 11; onnxruntime.quantization.quantize_dynamic.
"""

from __future__ import annotations

import copy
from collections.abc import Collection

import torch
from torch import Tensor, nn

from course_lib.arguments import tensors
from course_lib.quantization.affine import Affine, Codes, quantize
from course_lib.quantization.granularity import PerChannel, PerTensor
from course_lib.quantization.linears import replace_linears

ACTIVATION_CODES = Codes(8, signed=False)
WEIGHT_CODES = Codes(8, restricted=True)
"""As ``quantize_dynamic``. Sums have 32 bits here; a processor that adds two products in 16 bits needs 7 bits."""


def dynamic_affine(x: Tensor) -> Affine:
    """Scale and zero point, unsigned 8 bits, of this tensor's own range. Matches: ONNX's DynamicQuantizeLinear.

    All in float32, as the operator is defined, where ``min_max`` computes in float64: the scale may differ in its last
    digit. Two exceptions: a scale that float32 rounds to 0 (values below 2·10⁻⁴³) is 1 here, and all codes are those of
    0; one that overflows is refused.

    Args: x: floats, any shape; an empty tensor has the range 0 … 0.
    Raises: ValueError: NaN or infinite values, or a range wider than float32 holds.

    >>> found = dynamic_affine(torch.tensor([-1.0, 0.0, 4.1]))
    >>> found.scale, found.zero_point
    (tensor(0.0200), tensor(50, dtype=torch.int32))
    """
    tensors(x=x)
    low, high = x.detach().float().aminmax() if x.numel() else (torch.zeros(()), torch.zeros(()))
    low, high = low.clamp(max=0), high.clamp(min=0)
    if not bool((high - low).isfinite()):
        raise ValueError(f"the range of x must be finite, got {float(low)} … {float(high)}")
    scale = (high - low) / ACTIVATION_CODES.high
    scale = torch.where(scale > 0, scale, torch.ones_like(scale))
    zero_point = (-low / scale).clamp(0, ACTIVATION_CODES.high).round()
    return Affine(ACTIVATION_CODES, scale, zero_point.to(torch.int32))


class DynamicLinear(nn.Module):
    """S_x·S_w·Σ (q_x − Z_x)·q_w + b: (…, in) → (…, out), in the type of x; for inference, without a gradient.

    Args:
        layer: float weights (out, in), symmetric min-max; copied.
        granularity: of the weights, ``PerTensor()`` or ``PerChannel(0)``.
        codes: of the weights; signed, at most 8 bits.
    Attributes:
        codes: int8 (out, in).
        scale: float32, () or (out,).
        bias: the layer's, or None.
    Raises: ValueError: another granularity, codes that int8 cannot hold, or weights that are not finite.
    Matches: MatMulInteger, Cast, Mul, Add as ``onnxruntime.quantization.quantize_dynamic`` writes them.

    >>> layer = nn.Linear(2, 1)
    >>> _ = layer.weight.data.copy_(torch.tensor([[1.27, -0.5]])), layer.bias.data.fill_(0.1)
    >>> own = DynamicLinear(layer, granularity=PerTensor())
    >>> own.codes, own(torch.tensor([[2.55, 1.0]]))  # 0.01 · 0.01 · (255 · 127 − 100 · 50) + 0.1
    (tensor([[127, -50]], dtype=torch.int8), tensor([[2.8385]]))
    """

    codes: Tensor
    scale: Tensor

    def __init__(self, layer: nn.Linear, *, granularity: PerTensor | PerChannel, codes: Codes = WEIGHT_CODES):
        super().__init__()
        if granularity not in (PerTensor(), PerChannel(0)):
            raise ValueError(f"granularity must be PerTensor() or PerChannel(0), got {granularity}")
        if not codes.signed or codes.bits > 8:
            raise ValueError(f"codes must be signed, of at most 8 bits, got {codes}")
        affine = granularity.min_max(layer.weight, codes, symmetric=True)
        self.in_features, self.out_features = layer.in_features, layer.out_features
        self.register_buffer("codes", quantize(layer.weight.detach(), affine).to(torch.int8))
        self.register_buffer("scale", affine.scale)
        self.bias = copy.deepcopy(layer.bias)

    @torch.no_grad()
    def forward(self, x: Tensor) -> Tensor:
        """(…, in) → (…, out). Raises: ValueError: NaN or infinite values, or a range that float32 cannot hold."""
        affine = dynamic_affine(x)
        centred = quantize(x, affine) - affine.zero_point
        sums = centred @ self.codes.to(torch.int32).T  # (…, out), int32
        found = sums.float() * (affine.scale * self.scale)
        return (found if self.bias is None else found + self.bias).to(x.dtype)

    def extra_repr(self) -> str:
        """Sizes, and how many weight scales there are."""
        scales = "one scale" if self.scale.ndim == 0 else "a scale for each output"
        sizes = f"in_features={self.in_features}, out_features={self.out_features}"
        return f"{sizes}, bias={self.bias is not None}, {scales}"


def quantize_dynamic_linears(
    model: nn.Module,
    *,
    granularity: PerTensor | PerChannel,
    codes: Codes = WEIGHT_CODES,
    skip: Collection[str] = (),
) -> nn.Module:
    """A copy of a network whose linear layers are ``DynamicLinear``.

    An owner that reads a layer's weight itself finds none and fails: ``nn.TransformerEncoderLayer`` in eval mode does,
    unless ``torch.backends.mha.set_fastpath_enabled(False)`` was called.

    Args:
        model: unchanged.
        granularity, codes: as in ``DynamicLinear``.
        skip: names of linear layers that stay in floats.
    Raises: ValueError: no linear layer is left, ``skip`` names something else, or a layer cannot be quantized (named).

    >>> quantize_dynamic_linears(nn.Sequential(nn.Linear(4, 8), nn.ReLU()), granularity=PerChannel(0))[0]
    DynamicLinear(in_features=4, out_features=8, bias=True, a scale for each output)
    """

    def make(layer: nn.Linear) -> nn.Module:
        return DynamicLinear(layer, granularity=granularity, codes=codes)

    return replace_linears(model, make, skip=skip)
