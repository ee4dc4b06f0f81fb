"""A pruned student computes what the full one computes with the removed channels silenced, from smaller tensors."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
import torch
from torch import nn

from course_lib.models import STUDENT_STRIDES, SignStudent, sign_student
from course_lib.pruning import folded_filter_norms, masked_student, prune_channels, pruned_widths


def trained_like(width: float = 1.0, seed: int = 0, strides: Sequence[int] = STUDENT_STRIDES) -> SignStudent:
    """A student whose BatchNorms are not at their initial values, in float64 and eval mode."""
    torch.manual_seed(seed)
    student = sign_student(width, strides=strides).double()
    for module in student.modules():
        if isinstance(module, nn.BatchNorm2d):
            for tensor, low, high in (
                (module.weight, -1.5, 1.5),
                (module.bias, -0.5, 0.5),
                (module.running_mean, -0.5, 0.5),
                (module.running_var, 0.2, 2.0),
            ):
                nn.init.uniform_(tensor, low, high)
    return student.eval()


@pytest.mark.parametrize("channels", [(16, 32, 48, 64, 96), (12, 20, 40, 44, 60), (1, 1, 1, 1, 1), (16, 3, 48, 7, 96)])
def test_the_small_network_equals_the_masked_large_one(channels):
    student = trained_like()
    small, kept = prune_channels(student, channels)
    images = torch.rand(4, 3, 32, 32, dtype=torch.float64)
    torch.testing.assert_close(small.double()(images), masked_student(student, kept)(images), rtol=1e-6, atol=1e-6)


def test_a_chain_of_other_strides_keeps_them():
    student = trained_like(strides=(1, 2, 1, 2, 2))
    small, kept = prune_channels(student, (12, 20, 40, 44, 60))
    assert small.strides == student.strides == masked_student(student, kept).strides
    images = torch.rand(4, 3, 32, 32, dtype=torch.float64)
    torch.testing.assert_close(small.double()(images), masked_student(student, kept)(images), rtol=1e-6, atol=1e-6)


def test_pruned_tensors_are_really_smaller():
    student = trained_like()
    small, _ = prune_channels(student, (8, 16, 24, 32, 48))
    assert [layer[0].weight.shape[:2] for layer in small.features] == [(8, 3), (16, 8), (24, 16), (32, 24), (48, 32)]
    assert small.classifier.weight.shape == (43, 48)
    assert sum(p.numel() for p in small.parameters()) < 0.3 * sum(p.numel() for p in student.parameters())


def test_keeping_everything_changes_nothing_and_shares_no_memory():
    student = trained_like()
    small, kept = prune_channels(student, student.channels)
    assert [k.tolist() for k in kept] == [list(range(c)) for c in student.channels]
    for (name, a), b in zip(student.state_dict().items(), small.state_dict().values(), strict=True):
        assert torch.equal(a.to(b.dtype), b), name
        assert a.data_ptr() != b.data_ptr()


def test_importance_is_the_norm_of_the_kernel_after_batchnorm_folding():
    layer = trained_like().features[1]
    with torch.no_grad():
        zero = layer(torch.zeros(1, 16, 8, 8, dtype=torch.float64))
        norms = folded_filter_norms(layer)
        convolution, norm = layer[0], layer[1]
        fused = nn.utils.fusion.fuse_conv_bn_eval(convolution, norm)
    assert zero.shape == (1, 32, 4, 4)
    torch.testing.assert_close(norms, fused.weight.flatten(1).norm(dim=1).detach(), rtol=1e-9, atol=1e-12)


def test_importance_does_not_change_when_a_filter_is_scaled_and_batchnorm_scales_it_back():
    layer = trained_like().features[0]
    before = folded_filter_norms(layer)
    with torch.no_grad():
        layer[0].weight[3] *= 1000
        layer[1].running_var[3] = (layer[1].running_var[3] + layer[1].eps) * 1e6 - layer[1].eps
        layer[1].running_mean[3] *= 1000
    torch.testing.assert_close(folded_filter_norms(layer), before)


def test_the_channels_of_largest_importance_stay():
    student = trained_like()
    _, kept = prune_channels(student, (4, 32, 48, 64, 96))
    norms = folded_filter_norms(student.features[0])
    assert set(kept[0].tolist()) == set(norms.topk(4).indices.tolist())


def test_a_silent_channel_is_removed_first_and_costs_nothing():
    student = trained_like()
    with torch.no_grad():
        student.features[2][1].weight[5] = 0.0
        student.features[2][1].bias[5] = 0.0
    small, kept = prune_channels(student, (16, 32, 47, 64, 96))
    assert 5 not in kept[2].tolist()
    images = torch.rand(2, 3, 32, 32, dtype=torch.float64)
    torch.testing.assert_close(small.double()(images), student(images), rtol=1e-5, atol=1e-5)


def test_pruning_leaves_the_original_alone():
    student = trained_like()
    before = {k: v.clone() for k, v in student.state_dict().items()}
    _, kept = prune_channels(student, (8, 8, 8, 8, 8))
    masked_student(student, kept)
    assert all(torch.equal(v, before[k]) for k, v in student.state_dict().items())


@pytest.mark.parametrize(
    ("pruning_ratio", "expected"), [(0.0, (16, 32, 48, 64, 96)), (0.5, (8, 16, 24, 32, 48)), (1 - 1e-6, (4,) * 5)]
)
def test_widths_are_multiples_and_at_least_one_multiple(pruning_ratio, expected):
    assert pruned_widths(sign_student(), pruning_ratio) == expected


def test_the_shipped_students_have_the_widths_that_keeping_78_percent_gave():
    assert pruned_widths(sign_student(1.25), 0.22) == (16, 32, 48, 64, 92)
    assert pruned_widths(sign_student(1.25), 0.3) == (16, 28, 40, 56, 84)


@pytest.mark.parametrize("multiple", [1, 4, 8])
def test_the_fraction_removed_gives_the_widths_of_the_fraction_kept_in_spite_of_rounding(multiple):
    """1 − 0.95 is not 0.05: counts half-way between two multiples (0.05 · 120 / 4 = 1.5) would move."""
    for hundredths in range(1, 101):
        kept = hundredths / 100
        for width in (0.25, 0.5, 1.05, 1.25, 2.05, 2.1, 3.15, 3.75, 4):
            student = sign_student(width)
            expected = [min(c, max(multiple, multiple * round(kept * c / multiple))) for c in student.channels]
            assert pruned_widths(student, round(1 - kept, 2), multiple=multiple) == tuple(expected)


def test_counts_out_of_range_are_refused_by_layer():
    with pytest.raises(ValueError, match="layer 1 has 32 channels; cannot keep 33"):
        prune_channels(sign_student(), (16, 33, 48, 64, 96))
    with pytest.raises(ValueError, match="layer 4 has 96 channels; cannot keep 0"):
        prune_channels(sign_student(), (16, 32, 48, 64, 0))
    with pytest.raises(ValueError, match="5 counts"):
        prune_channels(sign_student(), (16, 32))
    for impossible in (1, -0.1):
        with pytest.raises(ValueError, match=rf"pruning_ratio must be in \[0, 1\), got {impossible}"):
            pruned_widths(sign_student(), impossible)


def test_a_layer_without_running_statistics_is_refused():
    student = sign_student()
    student.features[2][1] = torch.nn.BatchNorm2d(48, track_running_stats=False)
    with pytest.raises(ValueError, match="keeps no running statistics"):
        prune_channels(student, (16, 32, 48, 64, 96))
