"""BatchNorm and neighbouring linear maps folded into one layer's weights: the formulas, on tensors.

In eval mode BatchNorm is a factor and a shift for each channel, with constants that training has fixed:

    BN(y) = s·y + t,   s = γ/√(σ² + ε),   t = β − μ·s

A convolution or linear layer is linear in its weights, so a BatchNorm *after* it disappears in them:

    s·(W∗x + b) + t = (s·W)∗x + (s·b + t)                          one factor for each output channel

A BatchNorm *before* it disappears too, with the factor on the input channels and the shift summed up by the weights:

    W∗(s·x + t) + b = (W·s)∗x + (b + Σ W·t)                        one factor for each input channel

The second line holds only where every weight meets a shifted value. Padding puts in zeros, and BatchNorm has not
shifted those: at the border fewer weights see t, and no one bias is right for both. So it is exact without padding,
with padding that repeats the picture's own pixels, or with t = 0, and refused otherwise. Two linear layers with nothing
between are one: W₂(W₁x + b₁) + b₂ = (W₂W₁)x + (W₂b₁ + b₂), which is worth it only if it multiplies less.

None of this holds in train mode: the statistics then are those of the batch.

The order of the operations is that of ``torch.nn.utils.fusion``, so the results are equal to the bit. That function
takes only ungrouped transposed convolutions; this one also takes groups.
Source: Jacob et al. 2018, arXiv:1712.05877, eq. 14 (the fold into the layer before).
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

NORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)


@dataclass(frozen=True)
class ChannelNorm:
    """A BatchNorm in eval mode: five numbers a channel.

    Args:
        mean: μ (C,), of training.
        variance: σ² (C,), ≥ 0.
        epsilon: ε > 0.
        gamma: γ (C,).
        beta: β (C,).
    """

    mean: Tensor
    variance: Tensor
    epsilon: float
    gamma: Tensor
    beta: Tensor

    @property
    def scale(self) -> Tensor:
        """s = γ/√(σ² + ε), (C,)."""
        return self.gamma * torch.rsqrt(self.variance + self.epsilon)

    @property
    def shift(self) -> Tensor:
        """t = β − μ·s, (C,)."""
        return self.beta - self.mean * self.scale


def norm_of(module: nn.Module) -> ChannelNorm:
    """The constants of a BatchNorm module; γ = 1 and β = 0 where it learns none (affine=False).

    Raises: ValueError: in train mode, or it keeps no running statistics: both take them from the batch.
        TypeError: no BatchNorm.
    """
    if not isinstance(module, NORMS):
        raise TypeError(f"module must be a BatchNorm, got {type(module).__name__}")
    if module.running_mean is None or module.running_var is None:
        raise ValueError("it keeps no running statistics: it takes them from the batch, in eval mode, too")
    if module.training:
        raise ValueError("it is in train mode: it takes its statistics from the batch; call eval() first")
    mean, variance = module.running_mean.detach(), module.running_var.detach()
    gamma = torch.ones_like(mean) if module.weight is None else module.weight.detach()
    beta = torch.zeros_like(mean) if module.bias is None else module.bias.detach()
    return ChannelNorm(mean, variance, module.eps, gamma, beta)


def fold_after(
    weight: Tensor, bias: Tensor | None, norm: ChannelNorm, *, transposed: bool = False, groups: int = 1
) -> tuple[Tensor, Tensor]:
    """BatchNorm(layer(x)) as one layer: W′ = s·W, b′ = (b − μ)·s + β.

    Args:
        weight: (C_out, C_in/groups, …) of a convolution or (C_out, C_in) of a linear layer; of a transposed
            convolution (C_in, C_out/groups, …).
        bias: (C_out,), None for 0.
        norm: of C_out channels.
        transposed: whether it is a transposed convolution; ``groups`` then says how its outputs are numbered.
    Returns: the weight and the bias, in the types of the old ones.
    Raises: ValueError: the channels do not fit.
    Matches: torch.nn.utils.fusion.fuse_conv_bn_weights and fuse_linear_bn_weights, to the bit.

    >>> norm = ChannelNorm(*map(torch.tensor, ([1.0], [3.0])), 1.0, *map(torch.tensor, ([4.0], [5.0])))
    >>> fold_after(torch.tensor([[10.0]]), None, norm)  # s = 4/√(3 + 1) = 2, t = 5 − 1·2
    (tensor([[20.]]), tensor([3.]))
    """
    channels = weight.shape[1] * groups if transposed else weight.shape[0]
    if len(norm.mean) != channels:
        raise ValueError(f"the layer gives {channels} channels, the BatchNorm has {len(norm.mean)}")
    bias = torch.zeros_like(norm.mean) if bias is None else bias
    inverse = torch.rsqrt(norm.variance + norm.epsilon)
    scale = norm.gamma * inverse
    if transposed:
        # Output channel o of group g lies at weight[inputs of g, o − g·C_out/groups].
        by_group = weight.unflatten(0, (groups, -1))
        shape = (groups, 1, -1) + (1,) * (weight.dim() - 2)
        folded = (by_group * scale.reshape(shape)).flatten(0, 1)
    else:
        folded = weight * scale.reshape((-1,) + (1,) * (weight.dim() - 1))
    # torch.nn.utils.fusion multiplies in two orders; to be equal to the bit, so does this.
    shifted = (bias - norm.mean) * scale if weight.dim() == 2 else (bias - norm.mean) * inverse * norm.gamma
    shifted = shifted + norm.beta
    return folded.to(weight.dtype), shifted.to(bias.dtype)


def fold_before(
    norm: ChannelNorm, weight: Tensor, bias: Tensor | None, *, groups: int = 1, zero_padded: bool = False
) -> tuple[Tensor, Tensor]:
    """layer(BatchNorm(x)) as one layer: W′[o, i] = W[o, i]·s_i, b′[o] = b[o] + Σ_i t_i·Σ_k W[o, i, k].

    Args:
        norm: of C_in channels.
        weight: (C_out, C_in/groups, …) of a convolution, or (C_out, C_in) of a linear layer; not a transposed one.
        bias: (C_out,), None for 0.
        groups: of the convolution; group g reads channels g·C_in/groups and up.
        zero_padded: whether the layer pads its input with zeros.
    Raises: ValueError: padded with zeros and some shift t is not 0; or the channels do not fit.

    >>> norm = ChannelNorm(*map(torch.tensor, ([1.0], [3.0])), 1.0, *map(torch.tensor, ([4.0], [5.0])))
    >>> fold_before(norm, torch.tensor([[10.0]]), torch.tensor([0.5]))  # s = 2, t = 3
    (tensor([[20.]]), tensor([30.5000]))
    """
    inputs = weight.shape[1] * groups
    if len(norm.mean) != inputs:
        raise ValueError(f"the layer reads {inputs} channels, the BatchNorm has {len(norm.mean)}")
    shift = norm.shift
    if zero_padded and shift.any():
        raise ValueError("the zeros of the padding were not shifted by the BatchNorm: no one bias is right there")
    # (C_in,) → (C_out, C_in/groups): row o holds the channels that output o reads.
    rows = torch.arange(len(weight), device=weight.device) // (len(weight) // groups)
    scales, shifts = norm.scale.unflatten(0, (groups, -1))[rows], shift.unflatten(0, (groups, -1))[rows]
    taps = weight.flatten(2).sum(2) if weight.dim() > 2 else weight
    folded = weight * scales.reshape(scales.shape + (1,) * (weight.dim() - 2))
    added = (taps * shifts).sum(1)
    return folded.to(weight.dtype), (added if bias is None else bias + added).to(weight.dtype)


@dataclass(frozen=True, eq=False)
class MergedLinears:
    """Two linear layers as one, and what that does to the multiplications.

    Args:
        weight: W₂W₁, (C_out, C_in).
        bias: W₂b₁ + b₂, (C_out,).
        macs_before: multiply-accumulates of one row through both layers.
        macs_after: of one row through the merged layer.
    """

    weight: Tensor
    bias: Tensor
    macs_before: int
    macs_after: int

    @property
    def saves(self) -> bool:
        """Whether the merged layer multiplies less; a bottleneck, such as 100 → 2 → 100, multiplies more."""
        return self.macs_after < self.macs_before


def merge_linears(
    first_weight: Tensor, first_bias: Tensor | None, second_weight: Tensor, second_bias: Tensor | None
) -> MergedLinears:
    """W₂(W₁x + b₁) + b₂ as one layer, computed in float64 and rounded once.

    Args: first_weight: (H, C_in); second_weight: (C_out, H); biases: (H,) and (C_out,), None for 0.
    Raises: ValueError: the second layer does not read what the first one gives.

    >>> merged = merge_linears(torch.ones(1, 3), torch.ones(1), torch.full((3, 1), 2.0), None)
    >>> merged.weight.tolist()[0], merged.bias.tolist(), merged.macs_before, merged.macs_after, merged.saves
    ([2.0, 2.0, 2.0], [2.0, 2.0, 2.0], 6, 9, False)
    """
    hidden, outputs, inputs = len(first_weight), len(second_weight), first_weight.shape[1]
    if second_weight.shape[1] != hidden:
        raise ValueError(f"the first layer gives {hidden} numbers, the second one reads {second_weight.shape[1]}")
    second = second_weight.double()
    bias = second.new_zeros(outputs) if second_bias is None else second_bias.double()
    if first_bias is not None:
        bias = bias + second @ first_bias.double()
    kind = first_weight.dtype
    before, after = hidden * (inputs + outputs), inputs * outputs
    return MergedLinears((second @ first_weight.double()).to(kind), bias.to(kind), before, after)
