"""The building blocks of the course's networks: convolution with BatchNorm and ReLU, and the residual block.

Both are plain ``nn.Module`` trees without data-dependent control flow: torch.fx traces them, ONNX exports them.
Source of the residual block: He et al. 2016, arXiv:1512.03385, figure 5 left (the basic block).
"""

from __future__ import annotations

import torch
from torch import Tensor, nn


class ConvBNReLU(nn.Sequential):
    """ReLU(BatchNorm(convolution(x))): (B, C_in, H, W) → (B, C_out, ⌈H/stride⌉, ⌈W/stride⌉).

    >>> tuple(ConvBNReLU(3, 8, stride=2)(torch.zeros(2, 3, 5, 7)).shape)
    (2, 8, 3, 4)
    """

    def __init__(self, in_channels: int, out_channels: int, *, kernel_size: int = 3, stride: int = 1):
        super().__init__(
            # No bias: BatchNorm subtracts the mean, so a bias would be cancelled.
            nn.Conv2d(in_channels, out_channels, kernel_size, stride, kernel_size // 2, bias=False),
            nn.BatchNorm2d(out_channels),
            nn.ReLU(inplace=True),
        )


class ResidualBlock(nn.Module):
    """ReLU(x′ + BN(conv(ConvBNReLU(x)))), x′ = x, or a 1×1 projection where the shape changes.

    >>> tuple(ResidualBlock(4, 8, stride=2)(torch.zeros(2, 4, 6, 6)).shape)
    (2, 8, 3, 3)
    """

    def __init__(self, in_channels: int, out_channels: int, stride: int = 1):
        super().__init__()
        self.first = ConvBNReLU(in_channels, out_channels, stride=stride)
        self.second = nn.Sequential(
            nn.Conv2d(out_channels, out_channels, 3, 1, 1, bias=False), nn.BatchNorm2d(out_channels)
        )
        self.shortcut: nn.Module = nn.Identity()
        if stride != 1 or in_channels != out_channels:
            self.shortcut = nn.Sequential(
                nn.Conv2d(in_channels, out_channels, 1, stride, bias=False), nn.BatchNorm2d(out_channels)
            )

    def forward(self, x: Tensor) -> Tensor:
        return torch.relu(self.shortcut(x) + self.second(self.first(x)))
