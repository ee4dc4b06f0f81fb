"""What all quantizers of a network in training have in common: floats through codes and back, and which codes.

In the forward pass each is a ``fake_quantize`` with an ``Affine`` of its own, to the bit. They differ in what they
learn: nothing (``FixedScale``), the step (``LearnedStep``) or the clipping point (``LearnedClip``).
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from course_lib.quantization.affine import LEAST_SCALE, Affine
from course_lib.quantization.fake import fake_quantize


class Quantizer(nn.Module):
    """Rounds a tensor to codes in the forward pass. ``scale`` and ``forward`` are to be given.

    Args: affine: the codes, and the scale to begin with; one zero point for all scales.
    Raises: ValueError: zero points that differ, or blocks.
    """

    zero_point: Tensor

    def __init__(self, affine: Affine):
        super().__init__()
        if affine.block is not None or not bool((affine.zero_point == affine.zero_point.flatten()[0]).all()):
            raise ValueError("a quantizer in training needs one zero point for all its scales, and no blocks")
        self.codes, self.axis = affine.codes, affine.axis
        self.register_buffer("zero_point", affine.zero_point.clone())

    @property
    def ends(self) -> tuple[int, int]:
        """−Q_N and Q_P: the lowest and the highest code, counted from the zero point."""
        zero_point = int(self.zero_point.flatten()[0])
        return self.codes.low - zero_point, self.codes.high - zero_point

    def scale(self) -> Tensor:
        """The scales, float32, () or (C,), with their gradient."""
        raise NotImplementedError

    @torch.no_grad()
    def affine(self) -> Affine:
        """What the forward pass rounds with now, without gradient."""
        return Affine(self.codes, self.scale().detach().clone(), self.zero_point.clone(), self.axis)

    def extra_repr(self) -> str:
        """Bits and ends: a resumed training must have the same."""
        low, high = self.ends
        return f"{self.codes.bits} bits, {low} … {high}"


class FixedScale(Quantizer):
    """A scale that is known and stays: the images', 1/255.

    >>> from course_lib.quantization.affine import Codes, from_range
    >>> images = FixedScale(from_range(torch.tensor(0.0), torch.tensor(1.0), Codes(8, signed=False)))
    >>> images(torch.tensor([0.0, 0.003, 1.0])).mul(255)
    tensor([  0.,   1., 255.])
    """

    constant: Tensor

    def __init__(self, affine: Affine):
        super().__init__(affine)
        self.register_buffer("constant", affine.scale.clone())

    def scale(self) -> Tensor:
        """The constant."""
        return self.constant

    def forward(self, x: Tensor) -> Tensor:
        return fake_quantize(x.float(), self.affine())


def at_least(value: Tensor, least: Tensor | float = LEAST_SCALE) -> Tensor:
    """max(value, least), whose gradient is the identity: a value that fell below can climb again.

    A step must be > 0, and nothing in its gradient says so.

    >>> step = torch.tensor(-1.0, requires_grad=True)
    >>> found = at_least(step, 0.5)
    >>> found.backward()
    >>> found.item(), step.grad.item()
    (0.5, 1.0)
    """
    bound = torch.maximum(value.detach(), torch.as_tensor(least, dtype=value.dtype, device=value.device))
    return _Replaced.apply(value, bound)  # pyright: ignore[reportReturnType]


class _Replaced(torch.autograd.Function):
    """Another value in the forward pass; value + (bound − value).detach() would round."""

    @staticmethod
    def forward(ctx: object, value: Tensor, bound: Tensor) -> Tensor:
        return bound.clone()

    @staticmethod
    def backward(ctx: object, *gradients: Tensor) -> tuple[Tensor, None]:
        return gradients[0], None


def rounded(x: Tensor) -> Tensor:
    """round(x), halves to even, straight through.

    >>> x = torch.tensor([0.4, 1.5], requires_grad=True)
    >>> rounded(x).sum().backward()
    >>> rounded(x).tolist(), x.grad.tolist()
    ([0.0, 2.0], [1.0, 1.0])
    """
    return _Replaced.apply(x, x.detach().round())  # pyright: ignore[reportReturnType]
