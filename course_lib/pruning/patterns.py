"""Which weights go: from scores to boolean masks, True where a weight is kept.

A score says how much a weight is worth; the plainest is its magnitude |w| (Han et al. 2015, arXiv:1506.02626). A
pattern turns scores into a mask of the same shape, and there are three ways to say how much goes:

* **a fraction**: of n scores the round(pruning_ratio · n) lowest go. The number removed is rounded, never the number
  kept: 1 − 0.95 is 0.050000000000000044 in binary, and a count taken from it may be off by one. Over several layers
  at once ("global") the scores compete in one list, so that layers end with different fractions.
* **a threshold**: what scores below it goes. How many those are, only a count tells.
* **a pattern that hardware knows**: of every m neighbours n stay (``n_m_mask``), or whole filters go
  (``filter_scores`` gives one score a filter, ``whole_filters`` spreads the verdict over its weights).

A quantile of the scores used as a threshold is not a fraction: where scores are equal (a layer of zeros, quantized
weights), all or none of them fall. Here ties are broken by position: the earlier weight stays. So the same scores give
the same mask on every machine, and the fraction is met exactly also where all scores are equal.

A fraction below 1 may still empty a tensor: round(0.95 · 1) = 1, and a global list may take every weight of a layer.
That is allowed, since a floor for each layer would break the promised count; ``course_lib.pruning.sparsity`` shows an
emptied layer as 100 %.

``torch.nn.utils.prune`` has the fractions and the filters, rounds in the same way, and breaks ties as ``topk`` does,
in no stated order. The tests compare the two.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

from course_lib.arguments import tensors


def removed_count(size: int, pruning_ratio: float) -> int:
    """round(pruning_ratio · size): at most half a weight from the fraction asked for.

    Args:
        size: how many there are, ≥ 0.
        pruning_ratio: the fraction removed, in [0, 1).
    Raises: ValueError: pruning_ratio is outside [0, 1).

    >>> removed_count(120, 0.95), removed_count(7, 0.5), removed_count(0, 0.5)
    (114, 4, 0)
    """
    if not 0 <= pruning_ratio < 1:
        raise ValueError(f"pruning_ratio must be in [0, 1), got {pruning_ratio}")
    return round(pruning_ratio * size)


def fraction_mask(scores: Tensor, pruning_ratio: float) -> Tensor:
    """Keep all but the ``removed_count`` lowest scores; of equal scores the earlier ones stay.

    Args:
        scores: any shape, real, no NaN; −∞ goes first.
        pruning_ratio: the fraction removed, in [0, 1).
    Returns: boolean, the scores' shape, True = kept.
    Raises: ValueError: pruning_ratio is outside [0, 1), or a score is NaN.
    Matches: torch.nn.utils.prune.l1_unstructured for |w|, where no two scores are equal.

    >>> fraction_mask(torch.tensor([0.3, 0.1, 0.2, 0.1]), 0.5).tolist()
    [True, False, True, False]
    >>> fraction_mask(torch.ones(5), 0.4).tolist()  # ties: the earlier ones stay
    [True, True, True, False, False]
    """
    tensors(scores=scores)
    return global_fraction_masks({"scores": scores}, pruning_ratio)["scores"]


def global_fraction_masks(scores: Mapping[str, Tensor], pruning_ratio: float) -> dict[str, Tensor]:
    """Keep all but the ``removed_count`` lowest scores of all tensors together.

    Args:
        scores: by name; of equal scores those of the earlier tensor stay, within one the earlier ones.
        pruning_ratio: the fraction of all scores that is removed, in [0, 1).
    Returns: a mask for each name; a tensor may lose all of its weights.
    Raises: ValueError: pruning_ratio is outside [0, 1), a score is NaN, or there is no tensor.
    Matches: torch.nn.utils.prune.global_unstructured with L1Unstructured, where no two scores are equal.

    >>> masks = global_fraction_masks({"a": torch.tensor([5.0, 1.0]), "b": torch.tensor([0.1, 0.2])}, 0.5)
    >>> [mask.tolist() for mask in masks.values()]
    [[True, True], [False, False]]
    """
    if not scores:
        raise ValueError("scores must hold at least one tensor")
    for name, values in scores.items():
        _require_no_nan(values, name)
    flat = torch.cat([values.detach().flatten() for values in scores.values()])
    left = flat.numel() - removed_count(flat.numel(), pruning_ratio)
    kept = torch.zeros_like(flat, dtype=torch.bool)
    kept[flat.argsort(descending=True, stable=True)[:left]] = True
    parts = kept.split([values.numel() for values in scores.values()])
    return {name: part.view(values.shape) for (name, values), part in zip(scores.items(), parts, strict=True)}


def threshold_mask(scores: Tensor, threshold: float) -> Tensor:
    """Keep the scores ≥ threshold: a threshold of 0 removes no magnitude, not even a 0.

    Args:
        scores: any shape, real, no NaN.
        threshold: in the scores' unit.
    Raises: ValueError: a score or the threshold is NaN.

    >>> threshold_mask(torch.tensor([0.1, 0.2, 0.3]), 0.2).tolist()
    [False, True, True]
    """
    tensors(scores=scores)
    _require_no_nan(scores, "scores")
    if threshold != threshold:
        raise ValueError("threshold must be a number, got nan")
    return scores.detach() >= threshold


def n_m_mask(scores: Tensor, n: int, m: int) -> Tensor:
    """Of every m scores that are neighbours along the input axis, keep the n highest (2:4: n = 2, m = 4).

    The neighbours of a linear layer's row are m consecutive inputs. Those of a kernel (out, in, kh, kw) are m
    consecutive input channels of one filter *at one position* (y, x): the kernel is viewed as (out, kh·kw·in), with
    the channel as its fastest axis, and a group never crosses from one position to the next. That is the order in
    which sparse tensor cores multiply (NVIDIA's implicit GEMM in NHWC), and the condition that TensorRT states.
    ``weight.flatten(1)`` has another order, (out, in·kh·kw): groups of it would mix positions, keep the same number of
    weights, and be of no use to such hardware.

    The last group is shorter where m does not divide the channels. Hardware pads it with zeros, so it keeps at most n:
    an image's three channels keep 2 of 3, and a depthwise kernel, one channel a group, keeps everything.

    Args:
        scores: (out, in) or (out, in, …), real, no NaN.
        n: kept of each group, 1 ≤ n ≤ m.
        m: the group's size, ≥ 1.
    Returns: boolean, the scores' shape; of equal scores the earlier channel stays.
    Raises: ValueError: n or m is out of range, scores have fewer than two axes, or one is NaN.
    Source: Mishra et al. 2021, arXiv:2104.08378, section 3.
    Matches: torch.ao.pruning.WeightNormSparsifier(sparse_block_shape=(1, 4), zeros_per_block=2) on a linear layer.

    >>> n_m_mask(torch.tensor([[4.0, 1.0, 3.0, 2.0, 9.0, 9.0, 9.0]]), 2, 4).int().tolist()
    [[1, 0, 1, 0, 1, 1, 0]]
    """
    tensors(scores=scores)
    if not 1 <= n <= m:
        raise ValueError(f"n must be in 1..m, got n = {n}, m = {m}")
    _require_axes(scores)
    _require_no_nan(scores, "scores")
    last = scores.detach().double().movedim(1, -1)  # (out, …, in)
    channels = last.shape[-1]
    groups = F.pad(last, (0, -channels % m), value=-torch.inf).unflatten(-1, (-1, m))  # (out, …, groups, m)
    best = groups.argsort(dim=-1, descending=True, stable=True)[..., :n]
    kept = torch.zeros_like(groups, dtype=torch.bool).scatter_(-1, best, torch.ones_like(best, dtype=torch.bool))
    return kept.flatten(-2)[..., :channels].movedim(-1, 1).contiguous()


def filter_scores(scores: Tensor, norm: float) -> Tensor:
    """(Σ |score|ᵖ)^(1/p) over each filter: one number for each index of the first axis, (out,).

    Args:
        scores: (out, …), at least two axes; a kernel's weights or any scores of them.
        norm: p, such as 1 (Li et al. 2017, arXiv:1608.08710) or 2.
    Raises: ValueError: scores have fewer than two axes, or one is NaN.
    Matches: what torch.nn.utils.prune.ln_structured(dim=0) ranks by.

    >>> filter_scores(torch.tensor([[3.0, -4.0], [1.0, 1.0]]), norm=2)[0].item()
    5.0
    """
    tensors(scores=scores)
    _require_axes(scores)
    _require_no_nan(scores, "scores")
    return torch.linalg.vector_norm(scores.detach().flatten(1), ord=norm, dim=1)


def whole_filters(kept: Tensor, shape: Sequence[int]) -> Tensor:
    """A kernel's mask from the verdict on its filters: (out,) boolean → ``shape``, all of a filter or nothing of it.

    Only the kernel's weights are masked: the filter's BatchNorm still adds its β. ``prune_channels`` removes both.

    Args:
        kept: (out,), boolean.
        shape: of the kernel, (out, …).
    Raises: ValueError: the kernel has another number of filters.

    >>> whole_filters(torch.tensor([True, False]), (2, 3)).int().tolist()
    [[1, 1, 1], [0, 0, 0]]
    """
    if kept.shape != (shape[0],):
        raise ValueError(f"kept must have one entry for each of {shape[0]} filters, got shape {list(kept.shape)}")
    return kept.view(-1, *[1] * (len(shape) - 1)).expand(*shape).clone()


def _require_no_nan(scores: Tensor, name: str) -> None:
    if torch.isnan(scores).any():
        raise ValueError(f"{name} must hold no NaN: a weight without a score has no rank")


def _require_axes(scores: Tensor) -> None:
    if scores.ndim < 2:
        raise ValueError(f"scores must have at least two axes (out, in, …), got shape {list(scores.shape)}")
