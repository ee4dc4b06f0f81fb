"""What a network answers: its logits on a whole set, in eval mode, and how many of them are right."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn

from course_lib.data import SignDataset
from course_lib.models.modes import eval_mode


def predict_logits(model: nn.Module, dataset: SignDataset, *, batch_size: int = 500) -> Tensor:
    """Logits (N, C) of a whole set, in eval mode and without gradients; each submodule's mode is restored.

    >>> signs = SignDataset(np.zeros((3, 3, 8, 8), np.uint8), np.array([0, 1, 0]), num_classes=2)
    >>> model = nn.Sequential(nn.Flatten(), nn.Linear(192, 2))
    >>> predict_logits(model, signs).shape
    torch.Size([3, 2])
    """
    device = next(model.parameters(), torch.empty(0)).device
    with eval_mode(model), torch.inference_mode():
        parts = [
            model(dataset.batch(np.arange(start, min(start + batch_size, len(dataset))))[0].to(device)).cpu()
            for start in range(0, len(dataset), batch_size)
        ]
    return torch.cat(parts).clone()


def model_accuracy(model: nn.Module, dataset: SignDataset) -> float:
    """Fraction of images whose largest logit is the label's, in [0, 1].

    >>> signs = SignDataset(np.zeros((4, 3, 8, 8), np.uint8), np.array([0, 1, 0, 0]), num_classes=2)
    >>> always_0 = nn.Sequential(nn.Flatten(), nn.Linear(192, 2))
    >>> _ = always_0[1].bias.data.copy_(torch.tensor([1.0, -1.0]))
    >>> model_accuracy(always_0, signs)
    0.75
    """
    return float((predict_logits(model, dataset).argmax(1).numpy() == dataset.labels).mean())
