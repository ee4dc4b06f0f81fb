"""LSQ: the step of the codes is learned, by its own gradient, along with the weights.

    x̂ = s · clip(round(x/s), −Q_N, Q_P)        −Q_N, Q_P: the lowest and highest code, counted from the zero point

Take rounding for the identity when differentiating, and nothing else. By the product rule, inside the range,

    ∂x̂/∂s = round(x/s) + s · ∂(x/s)/∂s = round(x/s) − x/s          −Q_N where x/s ≤ −Q_N,  Q_P where x/s ≥ Q_P

So the step feels where in its cell a value lies: it shrinks or grows so that values come to lie near codes. The older
derivation, which differentiates only the clip, gives 0 inside. ∂x̂/∂x is 1 strictly inside the range and 0 outside;
``fake_quantize`` lets a gradient pass half a step farther, to where the code is clipped.

**The gradient's scale.** A weight's gradient and a step's differ in size, as the step sums over n values. The paper
multiplies the latter by g = 1/√(n·Q_P), n the weights that share the step or the features of one image. That is for
SGD: Adam divides each gradient by its own size, and g cancels. What counts there is how large a parameter is compared
with the learning rate: a step of 0.01 that Adam moves by 0.003 at a time would jump by a third. So the parameter is by
default the step *relative to its first value*, s = s₀·ρ, ρ = 1 at first, and moves by so many percent; with
``relative=False`` it is s itself, as in the paper, to be trained by SGD.

Esser et al. 2020, arXiv:1902.08153, section 2: eq. 3, the text after it (g) and on s₀, eq. 5.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn

from course_lib.quantization.affine import LEAST_SCALE, Affine, along
from course_lib.quantization.aware.quantizer import Quantizer, at_least


class _LearnedStep(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, step: Tensor, low: int, high: int, g: float) -> Tensor:
        v = x * step.reciprocal()  # multiplied, not divided, as ``fake_quantize`` does
        ctx.save_for_backward(v, step)
        ctx.settings = low, high, g
        return v.round().clamp_(low, high).mul_(step)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        v, step = ctx.saved_tensors
        low, high, g = ctx.settings
        # Strictly inside; one pass each, several times as fast as masks.
        masked = torch.ops.aten.hardtanh_backward
        by_step = v.round().clamp_(low, high).sub_(masked(v, v, low, high))
        by_step = by_step.mul_(gradients[0]).sum_to_size(step.shape) * g
        return masked(gradients[0], v, low, high), by_step, None, None, None


class LearnedStep(Quantizer):
    """s · clip(round(x/s), −Q_N, Q_P), where s is a parameter.

    Args:
        affine: the codes, and the step to begin with: one, or one for each index along an axis.
        batched: x is (B, …) and n counts the features of one image; else n counts all values that share a step.
        relative: the parameter is s/s₀; else s. See the module.
    Raises: ValueError: see ``Quantizer``.
    Matches: ``fake_quantize`` with ``self.affine()``, to the bit, in the forward pass.

    >>> from course_lib.quantization.affine import Codes
    >>> quantizer = LearnedStep(Affine(Codes(2), torch.tensor(0.5), torch.tensor(0).int()), batched=False)
    >>> quantizer(torch.tensor([-9.0, -0.3, 0.2, 0.7])).tolist()
    [-1.0, -0.5, 0.0, 0.5]
    """

    unit: Tensor

    def __init__(self, affine: Affine, *, batched: bool, relative: bool = True):
        super().__init__(affine)
        self.batched = batched
        self.register_buffer("unit", affine.scale.clone() if relative else torch.ones_like(affine.scale))
        self.factor = nn.Parameter(affine.scale / self.unit)

    def scale(self, least: Tensor | float = LEAST_SCALE) -> Tensor:
        """The step, float32, () or (C,), not smaller than ``least``."""
        return at_least(self.unit * self.factor, least)

    def gradient_scale(self, x: Tensor) -> float:
        """g = 1/√(n·Q_P).

        >>> from course_lib.quantization.affine import Codes
        >>> by_channel = Affine(Codes(3), torch.ones(2), torch.zeros(2).int(), axis=0)
        >>> LearnedStep(by_channel, batched=False).gradient_scale(torch.zeros(2, 12)) == 1 / 6  # n = 12, Q_P = 3
        True
        """
        count = x.numel() // (len(x) if self.batched else 1) // self.unit.numel()
        return 1 / math.sqrt(max(count, 1) * reach(*self.ends))

    def forward(self, x: Tensor, least: Tensor | float = LEAST_SCALE) -> Tensor:
        """Args: x: any shape with the axis of the steps. least: the smallest step that is used."""
        step, (low, high) = along(self.scale(least), x.ndim, self.axis), self.ends
        found = _LearnedStep.apply(x.float(), step, low, high, self.gradient_scale(x))
        assert isinstance(found, Tensor)
        return found


def reach(low: int, high: int) -> int:
    """Q_P; Q_N where no code lies above the zero point.

    >>> reach(-8, 7), reach(-3, 0)
    (7, 3)
    """
    return high if high > 0 else -low


def initial_step(mean_magnitude: Tensor, low: int, high: int) -> Tensor:
    """s₀ = 2·mean|x| / √Q_P.

    Args:
        mean_magnitude: mean|x|, float, any shape.
        low, high: −Q_N and Q_P.
    Source: Esser et al. 2020, section 2.1.

    >>> initial_step(torch.tensor(3.0), -8, 4).item()
    3.0
    """
    return 2 * mean_magnitude / math.sqrt(reach(low, high))


def starting_step(mean_magnitude: Tensor, of_range: Tensor, low: int, high: int) -> Tensor:
    """min(s₀, the step of the whole range): for many codes s₀ reaches beyond all values, and wastes those codes.

    Args:
        mean_magnitude: mean|x|, float; where it is 0 there is nothing to learn from, and the range's step is taken.
        of_range: the min-max step, of the same shape.
        low, high: −Q_N and Q_P.

    >>> starting_step(torch.tensor([0.8, 0.8, 0.0]), torch.tensor([4.0, 0.1, 1.0]), -2, 1)
    tensor([1.6000, 0.1000, 1.0000])
    """
    first = torch.minimum(initial_step(mean_magnitude, low, high), of_range)
    return torch.where(mean_magnitude > 0, first, of_range).clamp(min=LEAST_SCALE)
