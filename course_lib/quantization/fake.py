"""Fake quantization: floats that take only the values which codes can stand for, with a gradient that passes through.

    x̂ = S·(clip(Z + round(x·(1/S)), low, high) − Z)         ∂L/∂x = ∂L/∂x̂ where the code was not clipped, else 0

The step function's own gradient is 0 everywhere. *Straight through* takes rounding for the identity (Bengio et al.
2013, arXiv:1308.3432; Jacob et al. 2018, arXiv:1712.05877, section 3); clipping keeps its gradient, 0 outside.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from course_lib.arguments import tensors
from course_lib.quantization.affine import Affine


class _StraightThrough(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, scale: Tensor, zero_point: Tensor, low: int, high: int) -> Tensor:
        codes = (x * scale.reciprocal()).round_().add_(zero_point)
        inside = (codes >= low) & (codes <= high)
        ctx.save_for_backward(inside)
        return codes.clamp_(low, high).sub_(zero_point).mul_(scale)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        (inside,) = ctx.saved_tensors
        return gradients[0] * inside, None, None, None, None


def fake_quantize(x: Tensor, affine: Affine) -> Tensor:
    """x through codes and back, with the straight-through gradient.

    Args: x: float32; NaN and infinite values are for ``quantize`` to refuse, a training loop sees them in its loss.
    Raises: ValueError: a shape that does not fit.
    Matches: torch.fake_quantize_per_tensor_affine and torch.fake_quantize_per_channel_affine, to the bit.

    >>> from course_lib.quantization.affine import Codes, min_max
    >>> x = torch.tensor([-1.0, 0.1, 0.4, 2.0])
    >>> fake_quantize(x, min_max(x, Codes(2, signed=False)))
    tensor([-1.,  0.,  0.,  2.])
    """
    tensors(x=x)
    scale, zero_point = affine.along(x)
    found = _StraightThrough.apply(x, scale, zero_point, affine.codes.low, affine.codes.high)
    assert isinstance(found, Tensor)
    return found
