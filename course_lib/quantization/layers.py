"""The layers that a quantized network is made of, in float32: what an integer kernel computes in one go.

BatchNorm is folded into the layer before it, and a ReLU, ReLU6 among them, belongs to the layer whose sums it clamps.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import Tensor
from torch.nn import functional as F


@dataclass(frozen=True, eq=False)
class Layer:
    """What all layers have.

    Args:
        name: of the layer, and of the tensor that it gives.
        inputs: names of the tensors that it reads.
    """

    name: str
    inputs: tuple[str, ...]

    def __call__(self, *inputs: Tensor) -> Tensor:
        """The layer in float32, ReLU included."""
        raise NotImplementedError


@dataclass(frozen=True, eq=False)
class Weighted(Layer):
    """A convolution or a linear layer.

    Args:
        weight: float32, the output channels along axis 0.
        bias: float32 (C_out,).
        relu: whether a ReLU follows.
        ceiling: where that ReLU ends, 6 for ReLU6; None for one without an end.
        mean: (C_out,) of its sums, before the ReLU, as the folded BatchNorm knew them (β); None without one.
        spread: (C_out,) their standard deviation (|γ|); None without one.
    """

    weight: Tensor
    bias: Tensor
    relu: bool
    ceiling: float | None = field(default=None, kw_only=True)
    mean: Tensor | None = field(default=None, kw_only=True)
    spread: Tensor | None = field(default=None, kw_only=True)


@dataclass(frozen=True, eq=False)
class Convolution(Weighted):
    """(B, C_in, H, W) → (B, C_out, H′, W′); weight (C_out, C_in / groups, k_H, k_W).

    Args:
        stride: downwards and across.
        padding: pixels of 0 on each side, downwards and across.
        groups: so many independent convolutions of C_in / groups channels.
    """

    stride: tuple[int, int]
    padding: tuple[int, int]
    groups: int

    def __call__(self, *inputs: Tensor) -> Tensor:
        x = F.conv2d(inputs[0], self.weight, self.bias, self.stride, self.padding, groups=self.groups)
        return activated(self, x)


@dataclass(frozen=True, eq=False)
class Linear(Weighted):
    """(B, C_in) → (B, C_out); weight (C_out, C_in)."""

    def __call__(self, *inputs: Tensor) -> Tensor:
        x = F.linear(inputs[0], self.weight, self.bias)
        return activated(self, x)


@dataclass(frozen=True, eq=False)
class Add(Layer):
    """The sum of two tensors of one shape.

    Args:
        relu: whether a ReLU follows.
        ceiling: as of ``Weighted``.
    """

    relu: bool
    ceiling: float | None = field(default=None, kw_only=True)

    def __call__(self, *inputs: Tensor) -> Tensor:
        x = inputs[0] + inputs[1]
        return activated(self, x)


@dataclass(frozen=True, eq=False)
class Concat(Layer):
    """Tensors behind one another along the channels."""

    def __call__(self, *inputs: Tensor) -> Tensor:
        return torch.cat(inputs, 1)


@dataclass(frozen=True, eq=False)
class GlobalAverage(Layer):
    """(B, C, H, W) → (B, C, 1, 1)."""

    def __call__(self, *inputs: Tensor) -> Tensor:
        return inputs[0].mean((2, 3), keepdim=True)


@dataclass(frozen=True, eq=False)
class Flatten(Layer):
    """(B, C, H, W) → (B, C·H·W)."""

    def __call__(self, *inputs: Tensor) -> Tensor:
        return inputs[0].flatten(1)


def activated(layer: Weighted | Add, x: Tensor) -> Tensor:
    """What the layer's ReLU makes of its sums; the sums themselves where it has none.

    >>> layer = Add("sum", ("left", "right"), relu=True, ceiling=6.0)
    >>> activated(layer, torch.tensor([-1.0, 2.0, 7.0]))
    tensor([0., 2., 6.])
    """
    x = x.relu() if layer.relu else x
    return x if layer.ceiling is None else x.clamp(max=layer.ceiling)
