"""Patterns remove exactly what was asked for: PyTorch's choice where no scores are equal, else by position."""

from __future__ import annotations

import itertools
from fractions import Fraction

import pytest
import torch
from torch import nn
from torch.ao.pruning import WeightNormSparsifier
from torch.nn.utils import prune

from course_lib.pruning import (
    filter_scores,
    fraction_mask,
    global_fraction_masks,
    n_m_mask,
    removed_count,
    threshold_mask,
    whole_filters,
)

NAN = float("nan")


def normal(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def by_torch(weight, method, *arguments, **options):
    """The mask of torch.nn.utils.prune's ``method``."""
    layer = nn.Module()
    layer.weight = nn.Parameter(weight.clone())
    method(layer, "weight", *arguments, **options)
    return layer.weight_mask.bool()


# The fraction.


@pytest.mark.parametrize("size", [0, 1, 2, 3, 7, 10, 99, 1000, 98_765])
def test_the_count_removed_is_the_nearest_to_the_fraction(size):
    """Against rational arithmetic: the decimal fraction that was typed, not its binary neighbour."""
    for hundredths in range(100):
        wanted = Fraction(hundredths, 100) * size
        removed = removed_count(size, hundredths / 100)
        assert abs(removed - wanted) <= Fraction(1, 2)
        assert isinstance(removed, int)


def test_95_percent_of_20_is_19_though_its_complement_is_not_exact():
    assert 1 - 0.95 != 0.05
    assert removed_count(20, 0.95) == 19
    assert removed_count(10_000_000, 0.95) == 9_500_000


@pytest.mark.parametrize("shape", [(0,), (1,), (7,), (3, 5), (4, 3, 3, 3), (2, 0, 3)])
@pytest.mark.parametrize("pruning_ratio", [0.0, 0.1, 0.5, 0.95, 1 - 1e-9])
def test_a_mask_removes_exactly_the_count_also_where_all_scores_are_equal(shape, pruning_ratio):
    for scores in (torch.rand(shape), torch.zeros(shape), torch.ones(shape, dtype=torch.int64)):
        mask = fraction_mask(scores, pruning_ratio)
        assert mask.shape == scores.shape
        assert mask.dtype == torch.bool
        assert int((~mask).sum()) == removed_count(scores.numel(), pruning_ratio)


@pytest.mark.parametrize("pruning_ratio", [0.1, 0.35, 0.5, 0.95])
def test_it_equals_pytorch_s_l1_unstructured(pruning_ratio):
    weight = normal(7, 5, 3, 3)
    expected = by_torch(weight, prune.l1_unstructured, amount=pruning_ratio)
    assert torch.equal(fraction_mask(weight.abs(), pruning_ratio), expected)


def test_what_is_kept_scores_no_lower_than_what_is_removed_and_ties_keep_the_earlier():
    scores = torch.randint(0, 4, (9, 11), generator=torch.Generator().manual_seed(0)).float()
    kept = fraction_mask(scores, 0.37)
    order = sorted(range(99), key=lambda i: (-scores.flatten()[i].item(), i))  # written out
    assert sorted(order[: 99 - 37]) == kept.flatten().nonzero().flatten().tolist()


def test_position_is_the_logical_one_also_in_channels_last():
    scores = torch.ones(2, 3, 2, 2).contiguous(memory_format=torch.channels_last)
    assert torch.equal(fraction_mask(scores, 0.5).flatten(), torch.arange(24) < 12)


def test_minus_infinity_goes_first_and_infinity_stays():
    scores = torch.tensor([0.0, float("inf"), -float("inf"), 1.0])
    assert fraction_mask(scores, 0.25).tolist() == [True, True, False, True]
    assert fraction_mask(scores, 0.75).tolist() == [False, True, False, False]


@pytest.mark.parametrize("pruning_ratio", [-0.1, 1.0, 1.5, NAN])
def test_a_fraction_out_of_range_is_refused(pruning_ratio):
    with pytest.raises(ValueError, match=r"pruning_ratio must be in \[0, 1\), got"):
        fraction_mask(torch.ones(3), pruning_ratio)


# Global.


@pytest.mark.parametrize("pruning_ratio", [0.2, 0.5, 0.91])
def test_global_fractions_equal_pytorch_s(pruning_ratio):
    model = nn.Sequential(nn.Conv2d(3, 5, 3), nn.Linear(7, 3), nn.Linear(3, 3))
    weights = {str(i): layer.weight.detach().clone() for i, layer in enumerate(model)}
    targets = [(layer, "weight") for layer in model]
    prune.global_unstructured(targets, pruning_method=prune.L1Unstructured, amount=pruning_ratio)
    masks = global_fraction_masks({name: weight.abs() for name, weight in weights.items()}, pruning_ratio)
    for (name, mask), layer in zip(masks.items(), model, strict=True):
        assert torch.equal(mask, layer.weight_mask.bool()), name


def test_globally_equal_scores_keep_the_earlier_tensor_and_a_tensor_may_be_emptied():
    masks = global_fraction_masks({"a": torch.ones(3), "b": torch.ones(2, 2)}, 3 / 7)
    assert (masks["a"].tolist(), masks["b"].tolist()) == ([True] * 3, [[True, False], [False, False]])
    masks = global_fraction_masks({"large": torch.full((3,), 9.0), "small": torch.ones(2, 2)}, 4 / 7)
    assert masks["large"].all()
    assert not masks["small"].any()


def test_a_global_list_needs_a_tensor():
    with pytest.raises(ValueError, match="at least one tensor"):
        global_fraction_masks({}, 0.5)


# Threshold.


def test_a_threshold_keeps_what_reaches_it():
    scores = normal(50).abs()
    assert torch.equal(threshold_mask(scores, 0.4), torch.tensor([s >= 0.4 for s in scores.tolist()]))
    assert threshold_mask(torch.zeros(3), 0.0).all()
    assert not threshold_mask(torch.ones(3), 1.5).any()
    with pytest.raises(ValueError, match="threshold must be a number"):
        threshold_mask(scores, NAN)


# N:M.


@pytest.mark.parametrize(("n", "m"), [(2, 4), (1, 4), (3, 4), (4, 8), (1, 2), (4, 4)])
@pytest.mark.parametrize("shape", [(3, 16), (5, 8, 3, 3), (2, 24, 1, 5), (4, 8, 3)])
def test_each_group_of_input_channels_keeps_its_n_highest(n, m, shape):
    scores = normal(*shape)
    kept = n_m_mask(scores, n, m)
    assert kept.shape == scores.shape
    flat, mask = scores.flatten(2) if len(shape) > 2 else scores[..., None], kept.reshape(*shape[:2], -1)
    for out, position in itertools.product(range(shape[0]), range(flat.shape[2])):
        for start in range(0, shape[1], m):  # written out: m neighbouring channels of one filter at one position
            group = flat[out, start : start + m, position]
            expected = sorted(group.topk(n).indices.tolist())
            assert mask[out, start : start + m, position].nonzero().flatten().tolist() == expected


def test_two_of_four_equals_pytorch_s_sparsifier():
    model = nn.Sequential(nn.Linear(16, 6, bias=False))
    expected = model[0].weight.detach().clone()
    sparsifier = WeightNormSparsifier(sparsity_level=1.0, sparse_block_shape=(1, 4), zeros_per_block=2)
    sparsifier.prepare(model, [{"tensor_fqn": "0.weight"}])
    sparsifier.step()
    sparsifier.squash_mask()
    assert torch.equal(n_m_mask(expected.abs(), 2, 4), model[0].weight != 0)


def test_a_short_last_group_keeps_at_most_n_and_never_counts_its_padding():
    assert n_m_mask(torch.tensor([[-1.0, -2.0, -3.0]]), 2, 4).tolist() == [[True, True, False]]
    assert n_m_mask(torch.full((1, 3), -float("inf")), 2, 4).tolist() == [[True, True, False]]
    assert n_m_mask(torch.ones(8, 1, 3, 3), 2, 4).all()  # depthwise


def test_ties_in_a_group_keep_the_earlier_channels():
    assert n_m_mask(torch.ones(2, 8), 2, 4).int().tolist() == [[1, 1, 0, 0] * 2] * 2


@pytest.mark.parametrize(("n", "m"), [(0, 4), (5, 4), (1, 0), (-1, 2)])
def test_a_pattern_out_of_range_is_refused(n, m):
    with pytest.raises(ValueError, match=rf"n must be in 1\.\.m, got n = {n}, m = {m}"):
        n_m_mask(torch.ones(2, 8), n, m)


# Filters.


@pytest.mark.parametrize("norm", [1, 2, float("inf")])
@pytest.mark.parametrize("pruning_ratio", [0.2, 0.5, 0.9])
def test_whole_filters_equal_pytorch_s_ln_structured(norm, pruning_ratio):
    weight = normal(9, 4, 3, 3)
    expected = by_torch(weight, prune.ln_structured, amount=pruning_ratio, n=norm, dim=0)
    kept = fraction_mask(filter_scores(weight, norm), pruning_ratio)
    assert torch.equal(whole_filters(kept, weight.shape), expected)


def test_a_norm_is_one_number_a_filter_and_not_one_for_the_layer():
    scores = filter_scores(torch.tensor([[[3.0, 4.0]], [[0.0, 0.0]], [[-1.0, 0.0]]]), 2)
    assert scores.tolist() == [5.0, 0.0, 1.0]


def test_the_verdict_must_have_one_entry_a_filter():
    with pytest.raises(ValueError, match=r"one entry for each of 3 filters, got shape \[2\]"):
        whole_filters(torch.ones(2, dtype=torch.bool), (3, 4))


@pytest.mark.parametrize(
    "pattern",
    [
        lambda scores: fraction_mask(scores, 0.5),
        lambda scores: threshold_mask(scores, 0.5),
        lambda scores: n_m_mask(scores, 2, 4),
        lambda scores: filter_scores(scores, 2),
    ],
)
def test_a_score_that_is_no_number_is_refused(pattern):
    with pytest.raises(ValueError, match="must hold no NaN"):
        pattern(torch.tensor([[1.0, NAN], [0.0, 2.0]]))


@pytest.mark.parametrize("pattern", [lambda scores: n_m_mask(scores, 2, 4), lambda scores: filter_scores(scores, 2)])
def test_a_vector_has_no_input_axis(pattern):
    with pytest.raises(ValueError, match=r"at least two axes .*, got shape \[4\]"):
        pattern(torch.ones(4))


def test_scores_with_gradients_give_masks_without():
    scores = torch.rand(4, 8, requires_grad=True)
    for mask in (fraction_mask(scores, 0.5), threshold_mask(scores, 0.5), n_m_mask(scores, 2, 4)):
        assert not mask.requires_grad
