"""PACT: where to clip an activation is learned; the codes lie evenly between 0 and there.

    y = clip(x, 0, α)        ŷ = round(y/s)·s,   s = α / (2^b − 1)

Of rounding only the identity is left when differentiating, so that ∂ŷ/∂α is the clip's: 1 where x ≥ α, else 0. What
lies inside says nothing about α, in contrast to LSQ: the loss alone pulls α upwards wherever clipping hurts, and
nothing pulls it down. That is why the paper adds λ·α² to the loss; ``training.fit`` puts no weight decay on vectors and
scalars, so add it to the loss where it is wanted.

Choi et al. 2018, arXiv:1805.06085, eq. 1 to 3.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from course_lib.quantization.affine import LEAST_SCALE, Affine
from course_lib.quantization.aware.quantizer import Quantizer, at_least


class _LearnedClip(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, clip: Tensor, step: Tensor, high: int) -> Tensor:
        ctx.save_for_backward(x, clip)
        return (x * step.reciprocal()).round_().clamp_(0, high).mul_(step)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        x, clip = ctx.saved_tensors
        above = x >= clip
        inside = (x >= 0) & ~above
        return gradients[0] * inside, (gradients[0] * above).sum(), None, None


class LearnedClip(Quantizer):
    """round(clip(x, 0, α)/s)·s with s = α/(2^b − 1), where α is a parameter.

    Args: affine: unsigned codes with zero point 0, one scale; α begins at scale·(2^b − 1).
    Raises: ValueError: other codes or several scales: PACT is defined for what a ReLU gives.
    Matches: ``fake_quantize`` with ``self.affine()``, to the bit, in the forward pass.

    >>> from course_lib.quantization.affine import Codes
    >>> quantizer = LearnedClip(Affine(Codes(2, signed=False), torch.tensor(0.5), torch.tensor(0).int()))
    >>> quantizer.clip.item(), quantizer(torch.tensor([-1.0, 0.3, 1.1, 7.0])).tolist()
    (1.5, [0.0, 0.5, 1.0, 1.5])
    """

    def __init__(self, affine: Affine):
        super().__init__(affine)
        if self.ends[0] != 0 or affine.axis is not None:
            raise ValueError("a learned clip needs unsigned codes with zero point 0 and one scale: what a ReLU gives")
        self.clip = nn.Parameter(affine.scale * self.ends[1])

    def scale(self) -> Tensor:
        """α / (2^b − 1), float32, ()."""
        return at_least(self.clip / self.ends[1], LEAST_SCALE)

    def forward(self, x: Tensor) -> Tensor:
        found = _LearnedClip.apply(x.float(), self.clip, self.scale().detach(), self.ends[1])
        assert isinstance(found, Tensor)
        return found
