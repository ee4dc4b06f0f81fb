"""What a network answers: its logits on a whole set, in eval mode, and how many of them are right."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn

from course_lib.data import SignDataset
from course_lib.models.modes import eval_mode


def predict_logits(model: nn.Module, dataset: SignDataset, *, batch_size: int = 500) -> Tensor:
    """Logits (N, C) of a whole set, in eval mode and without gradients; the model's mode is restored."""
    device = next(model.parameters(), torch.empty(0)).device
    with eval_mode(model), torch.inference_mode():
        parts = [
            model(dataset.batch(np.arange(start, min(start + batch_size, len(dataset))))[0].to(device)).cpu()
            for start in range(0, len(dataset), batch_size)
        ]
    return torch.cat(parts).clone()


def model_accuracy(model: nn.Module, dataset: SignDataset) -> float:
    """Fraction of images whose largest logit is the label's, in [0, 1]."""
    return float((predict_logits(model, dataset).argmax(1).numpy() == dataset.labels).mean())
