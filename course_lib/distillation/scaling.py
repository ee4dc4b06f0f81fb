"""Sizes and directions without overflow: what makes the losses on features blind to a network's scale.

All but the hint do not change when a network's features are all multiplied by one number. Each map (or batch) is
therefore first divided by its largest absolute value, as a constant: the loss and its gradient stay exactly the same,
and squares of large or tiny features neither overflow nor vanish. A direction is x/‖x‖; where x is zero (a dead map,
two embeddings that coincide) there is none, and it is 0 with gradient 0. The widespread x/max(‖x‖, 10⁻¹²) has the
gradient 10¹² there, which one pair of equal images turns into a broken network.
"""

from __future__ import annotations

import torch
from torch import Tensor


def rescaled(x: Tensor, dim: tuple[int, ...] | None) -> Tensor:
    """x divided by its largest absolute value over ``dim``, a constant to autograd; zeros stay zeros.

    Args:
        x: any shape, float.
        dim: the axes over which the largest value is taken; None: all.
    Returns: the shape of x, in [−1, 1].

    >>> rescaled(torch.tensor([2.0, -4.0, 1e-30]), dim=None).tolist()[:2]
    [0.5, -1.0]
    """
    size = x.detach().abs()
    size = size.amax(dim, keepdim=True) if dim else size.max()
    return x / torch.where(size == 0, 1, size)


def direction(x: Tensor, least: float = 0.0) -> Tensor:
    """x/‖x‖ along the last axis; 0, with gradient 0, where the length is at most ``least``.

    Args:
        x: (…, D), float.
        least: ≥ 0; what is no longer than this is rounding, and has no direction.
    Returns: the shape of x.

    >>> [[round(value, 3) for value in row] for row in direction(torch.tensor([[3.0, 4.0], [0.0, 0.0]])).tolist()]
    [[0.6, 0.8], [0.0, 0.0]]
    """
    length = torch.linalg.vector_norm(x, dim=-1, keepdim=True)
    nothing = length <= least  # NaN is not ≤, and stays to be found
    return torch.where(nothing, 0, x / torch.where(nothing, 1, length))
