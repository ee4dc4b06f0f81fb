"""Small networks that hold every layer the integer engine knows, in odd sizes."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

SHAPE = (3, 9, 7)


class Branches(nn.Module):
    """BatchNorm, a concatenation of tensors with different ranges, flattening of 5 × 4 positions, two linear layers."""

    def __init__(self, seed: int = 0):
        super().__init__()
        torch.manual_seed(seed)
        self.first = nn.Conv2d(3, 8, 3, padding=1, bias=False)
        self.norm = nn.BatchNorm2d(8)
        self.left = nn.Conv2d(8, 16, 3, stride=2, padding=1)
        self.right = nn.Conv2d(8, 16, (3, 1), stride=2, padding=(1, 0))
        self.hidden = nn.Linear(32 * 5 * 4, 10)
        self.last = nn.Linear(10, 7)
        shake(self)

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu(self.norm(self.first(x)))
        x = torch.cat([self.left(x), torch.relu(self.right(x))], 1)
        return self.last(F.relu(self.hidden(torch.flatten(x, 1))))


class Residual(nn.Module):
    """Depthwise and grouped convolutions, a sum with its ReLU, one without, and the global mean."""

    def __init__(self, seed: int = 0):
        super().__init__()
        torch.manual_seed(seed)
        self.first = nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU())
        self.depthwise = nn.Conv2d(8, 8, 3, padding=1, groups=8)
        self.grouped = nn.Conv2d(8, 16, 1, groups=2)
        self.wide = nn.Conv2d(8, 16, 1, bias=False)
        self.again = nn.Conv2d(16, 16, 3, padding=1)
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.dropout = nn.Dropout(0.5)
        self.last = nn.Linear(16, 7)
        shake(self)

    def forward(self, x: Tensor) -> Tensor:
        x = self.first(x)
        x = torch.relu(self.grouped(F.relu(self.depthwise(x))) + self.wide(x))
        x = self.again(x) + x
        return self.last(self.dropout(self.pool(x).flatten(1)))


def shake(model: nn.Module) -> None:
    """Put BatchNorm's statistics off their start, as training does; eval mode."""
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            assert module.running_mean is not None
            assert module.running_var is not None
            module.running_mean.uniform_(-0.5, 0.5)
            module.running_var.uniform_(0.1, 2)
            module.weight.data.uniform_(0.5, 2)
            module.bias.data.uniform_(-0.5, 0.5)
    model.eval()


def image_bytes(count: int, seed: int = 0, shape: tuple[int, int, int] = SHAPE) -> np.ndarray:
    """uint8 (count, *shape)."""
    return np.random.default_rng(seed).integers(0, 256, (count, *shape), dtype=np.uint8)


def as_images(codes: np.ndarray) -> Tensor:
    """float32 in [0, 1]."""
    return torch.tensor(codes.astype(np.float32) / np.float32(255))


@pytest.fixture(scope="session")
def small() -> SimpleNamespace:
    """The two networks, and images for them."""
    return SimpleNamespace(
        Branches=Branches, Residual=Residual, SHAPE=SHAPE, image_bytes=image_bytes, as_images=as_images
    )
