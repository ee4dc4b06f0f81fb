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
from typing import cast

import torch
from torch import Tensor, nn

from course_lib.models import ConvBNReLU, SignStudent


def folded_filter_norms(layer: ConvBNReLU) -> Tensor:
    """‖W_c‖₂ · |γ_c| / √(σ²_c + ε) for each output channel: (C_out,), ≥ 0.

    Args:
        layer: convolution, BatchNorm with running statistics, ReLU.
    Raises: ValueError: BatchNorm keeps no running statistics, so that nothing can be folded.
    Source: the L2 norm of Li et al. 2017 (arXiv:1608.08710, section 3.1), of the kernel after BatchNorm folding.

    >>> layer = ConvBNReLU(1, 2, kernel_size=1)
    >>> _ = layer[0].weight.data.copy_(torch.tensor([3.0, -4.0]).view(2, 1, 1, 1))
    >>> _ = layer[1].weight.data.copy_(torch.tensor([1.0, 0.5]))
    >>> [round(x, 3) for x in folded_filter_norms(layer).tolist()]
    [3.0, 2.0]
    """
    convolution, norm = _parts(layer)
    if norm.running_var is None:
        raise ValueError("the layer's BatchNorm keeps no running statistics, so it cannot be folded")
    scale = norm.weight.abs() / torch.sqrt(norm.running_var + norm.eps)
    return (convolution.weight.flatten(1).norm(dim=1) * scale).detach()


def pruned_widths(student: SignStudent, pruning_ratio: float, *, multiple: int = 4) -> tuple[int, ...]:
    """The channels of each layer after removing the fraction ``pruning_ratio`` of them, at least one multiple.

    Args:
        student: the network before pruning.
        pruning_ratio: the fraction removed, in [0, 1).
        multiple: what is left is rounded to a multiple of it, since kernels work on whole vectors of channels; 4
            leaves them full or half full.
    Returns: one count a layer, for ``prune_channels``.
    Raises: ValueError: pruning_ratio is outside [0, 1).

    >>> pruned_widths(SignStudent(1.25), 0.22)
    (16, 32, 48, 64, 92)
    """
    if not 0 <= pruning_ratio < 1:
        raise ValueError(f"pruning_ratio must be in [0, 1), got {pruning_ratio}")
    # Rounded: 1 − 0.95 is 0.050000000000000044, which would move a count that lies half-way between two multiples.
    left = round(1 - pruning_ratio, 12)
    return tuple(min(c, max(multiple, multiple * round(left * c / multiple))) for c in student.channels)


def prune_channels(student: SignStudent, channels: Sequence[int]) -> tuple[SignStudent, list[Tensor]]:
    """A smaller copy of ``student`` that keeps, in each layer, the channels of largest importance.

    Args:
        student: it stays as it is.
        channels: how many channels each layer keeps, 1 ≤ count ≤ the layer's own.
    Returns:
        the small network (new tensors, same mode), and for each layer the kept channels' positions, ascending.
    Raises: ValueError naming the layer whose count is out of range.

    >>> small, kept = prune_channels(SignStudent(0.25), (4, 4, 4, 4, 8))
    >>> small.channels, [len(positions) for positions in kept]
    ((4, 4, 4, 4, 8), [4, 4, 4, 4, 8])
    """
    kept = _kept_channels(student, channels)
    small = SignStudent(num_classes=student.classifier.out_features, channels=channels, strides=student.strides)
    inputs = torch.arange(3)
    with torch.no_grad():
        for (source, norm), (target, small_norm), outputs in zip(_layers(student), _layers(small), kept, strict=True):
            target.weight.copy_(source.weight[outputs][:, inputs])
            # All of BatchNorm's numbers belong to a channel, but for the count of batches.
            cut = {name: value[outputs] if value.ndim else value for name, value in norm.state_dict().items()}
            small_norm.load_state_dict(cut)
            inputs = outputs
        small.classifier.weight.copy_(student.classifier.weight[:, inputs])
        small.classifier.bias.copy_(student.classifier.bias)
    return small.train(student.training), kept


def masked_student(student: SignStudent, kept: Sequence[Tensor]) -> SignStudent:
    """A full-size copy of ``student`` whose channels outside ``kept`` output 0: what pruning must equal.

    It has as many parameters and does as many multiplications as before: the slow twin of ``prune_channels``.

    Args:
        student: it stays as it is.
        kept: for each layer the positions of the channels that stay, as ``prune_channels`` gives them.

    >>> student = SignStudent(0.5).eval()
    >>> small, kept = prune_channels(student, (4, 8, 12, 16, 24))
    >>> images = torch.rand(2, 3, 32, 32)
    >>> bool((small(images) - masked_student(student, kept)(images)).abs().max() < 1e-4)
    True
    """
    twin = copy.deepcopy(student)
    with torch.no_grad():
        for (_, norm), channels in zip(_layers(twin), kept, strict=True):
            removed = torch.ones(norm.num_features, dtype=torch.bool)
            removed[channels] = False
            # γ = β = 0 makes BatchNorm's output, and so ReLU's, exactly 0.
            norm.weight[removed] = 0.0
            norm.bias[removed] = 0.0
    return twin


def _kept_channels(student: SignStudent, channels: Sequence[int]) -> list[Tensor]:
    if len(channels) != len(student.features):
        raise ValueError(f"channels must have {len(student.features)} counts, got {list(channels)}")
    kept = []
    for number, (layer, count) in enumerate(zip(student.features, channels, strict=True)):
        layer = cast(ConvBNReLU, layer)
        norms = folded_filter_norms(layer)
        if not 1 <= count <= len(norms):
            raise ValueError(f"layer {number} has {len(norms)} channels; cannot keep {count}")
        kept.append(norms.argsort(descending=True, stable=True)[:count].sort().values)
    return kept


def _layers(student: SignStudent) -> list[tuple[nn.Conv2d, nn.BatchNorm2d]]:
    """Convolution and BatchNorm of each layer."""
    return [_parts(cast(ConvBNReLU, layer)) for layer in student.features]


def _parts(layer: ConvBNReLU) -> tuple[nn.Conv2d, nn.BatchNorm2d]:
    return cast(nn.Conv2d, layer[0]), cast(nn.BatchNorm2d, layer[1])
