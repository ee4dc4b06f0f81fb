"""Channel pruning of a plain convolution chain: smaller tensors, not zeros inside large ones.

A channel of layer k is one filter (a row of its kernel), one entry of its BatchNorm, and one input slice of layer
k + 1. Removing all three together leaves a smaller dense network, which every runtime runs faster without knowing that
anything was pruned; zeroing the filter alone leaves the work where it was.

Which channels? At inference BatchNorm is folded into the convolution, so what acts is the kernel
W_c · γ_c / √(σ²_c + ε). Its norm is the importance used here: the filter's own norm (Li et al. 2017,
arXiv:1608.08710) ignores γ, and |γ| alone (Liu et al. 2017, arXiv:1708.06519) ignores the kernel it multiplies.

The proof that the cutting is right is exact: the small network must compute what the large one computes when the
removed channels' outputs are set to zero (``masked_student``). What accuracy remains, only fine-tuning and a
measurement tell.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from course_lib.models import ConvBNReLU, SignStudent


def folded_filter_norms(layer: ConvBNReLU) -> Tensor:
    """‖W_c‖₂ · |γ_c| / √(σ²_c + ε) for each output channel: (C_out,), ≥ 0.

    Source: the L2 norm of Li et al. 2017 (arXiv:1608.08710, section 3.1), of the kernel after BatchNorm folding.
    """
    convolution, norm = layer[0], layer[1]
    scale = norm.weight.abs() / torch.sqrt(norm.running_var + norm.eps)
    return (convolution.weight.flatten(1).norm(dim=1) * scale).detach()


def pruned_widths(student: SignStudent, keep: float, *, multiple: int = 4) -> tuple[int, ...]:
    """The channels of each layer after keeping the fraction ``keep`` of them, rounded to a multiple, at least one.

    Args:
        keep: in (0, 1].
        multiple: kernels work on whole vectors of channels; 4 leaves them full or half full.
    """
    if not 0 < keep <= 1:
        raise ValueError(f"keep must be in (0, 1], got {keep}")
    return tuple(min(c, max(multiple, multiple * round(keep * c / multiple))) for c in student.channels)


def prune_channels(student: SignStudent, channels: Sequence[int]) -> tuple[SignStudent, list[Tensor]]:
    """A smaller copy of ``student`` that keeps, in each layer, the channels of largest importance.

    Args:
        channels: how many channels each of the five layers keeps, 1 ≤ count ≤ the layer's own.
    Returns:
        the small network (new tensors, same mode), and for each layer the kept channels' positions, ascending.
    Raises: ValueError naming the layer whose count is out of range.
    """
    kept = _kept_channels(student, channels)
    small = SignStudent(num_classes=student.classifier.out_features, channels=channels)
    inputs = torch.arange(3)
    with torch.no_grad():
        for source, target, outputs in zip(student.features, small.features, kept, strict=True):
            target[0].weight.copy_(source[0].weight[outputs][:, inputs])
            for name in ("weight", "bias", "running_mean", "running_var"):
                getattr(target[1], name).copy_(getattr(source[1], name)[outputs])
            target[1].num_batches_tracked.copy_(source[1].num_batches_tracked)
            inputs = outputs
        small.classifier.weight.copy_(student.classifier.weight[:, inputs])
        small.classifier.bias.copy_(student.classifier.bias)
    return small.train(student.training), kept


def masked_student(student: SignStudent, kept: Sequence[Tensor]) -> nn.Module:
    """A full-size copy of ``student`` whose channels outside ``kept`` output 0: what pruning must equal.

    It has as many parameters and does as many multiplications as before: the slow twin of ``prune_channels``.
    """
    twin = copy.deepcopy(student)
    with torch.no_grad():
        for layer, channels in zip(twin.features, kept, strict=True):
            removed = torch.ones(layer[1].num_features, dtype=torch.bool)
            removed[channels] = False
            # γ = β = 0 makes BatchNorm's output, and so ReLU's, exactly 0.
            layer[1].weight[removed] = 0.0
            layer[1].bias[removed] = 0.0
    return twin


def _kept_channels(student: SignStudent, channels: Sequence[int]) -> list[Tensor]:
    if len(channels) != len(student.features):
        raise ValueError(f"channels must have {len(student.features)} counts, got {list(channels)}")
    kept = []
    for number, (layer, count) in enumerate(zip(student.features, channels, strict=True)):
        if not 1 <= count <= layer[1].num_features:
            raise ValueError(f"layer {number} has {layer[1].num_features} channels; cannot keep {count}")
        order = folded_filter_norms(layer).argsort(descending=True, stable=True)
        kept.append(order[:count].sort().values)
    return kept
