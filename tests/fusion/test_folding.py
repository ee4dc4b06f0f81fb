"""Folded weights compute what the layer and its BatchNorm compute, for every kind of layer, or are refused."""

from __future__ import annotations

import copy
import itertools

import pytest
import torch
from torch import nn
from torch.nn.utils.fusion import fuse_conv_bn_weights, fuse_linear_bn_weights

from course_lib.fusion import fold_after, fold_before, merge_linears, norm_of


def random_norm(channels: int, dims: int = 2, *, affine: bool = True) -> nn.Module:
    """A BatchNorm in eval mode whose every number matters."""
    norm = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)[dims - 1](channels, affine=affine, eps=0.01).eval()
    generator = torch.Generator().manual_seed(channels)
    for name, low, high in (("running_mean", -2, 2), ("running_var", 0.1, 3), ("weight", -2, 2), ("bias", -2, 2)):
        tensor = getattr(norm, name)
        if tensor is not None:
            tensor.data.uniform_(low, high, generator=generator)
    return norm


def with_weights(layer, weight, bias):
    made = copy.deepcopy(layer)
    made.weight, made.bias = nn.Parameter(weight), nn.Parameter(bias)
    return made


def close(found, expected):
    return (found - expected).abs().max() <= 1e-5 * expected.abs().max()


LAYERS = {
    "conv": (nn.Conv2d(4, 6, 3, padding=1), 2),
    "strided": (nn.Conv2d(4, 6, 3, stride=2, padding=1, dilation=2), 2),
    "grouped": (nn.Conv2d(4, 6, 3, groups=2), 2),
    "depthwise": (nn.Conv2d(4, 8, 3, groups=4, padding=1), 2),
    "no bias": (nn.Conv2d(4, 6, 3, bias=False), 2),
    "1-D": (nn.Conv1d(4, 6, 3), 1),
    "3-D": (nn.Conv3d(4, 6, 2), 3),
    "transposed": (nn.ConvTranspose2d(4, 6, 3, stride=2, output_padding=1), 2),
    "transposed and grouped": (nn.ConvTranspose2d(4, 6, 3, stride=2, groups=2, bias=False), 2),
}


@pytest.mark.parametrize("affine", [True, False], ids=["affine", "not affine"])
@pytest.mark.parametrize("name", LAYERS)
def test_folded_after_equals_layer_and_norm(name, affine):
    layer, dims = LAYERS[name]
    outputs = layer.out_channels
    norm, x = random_norm(outputs, dims, affine=affine), torch.randn(2, 4, *[9] * dims)
    transposed = "Transpose" in type(layer).__name__
    weight, bias = fold_after(layer.weight, layer.bias, norm_of(norm), transposed=transposed, groups=layer.groups)
    with torch.no_grad():
        assert close(with_weights(layer, weight, bias)(x), norm(layer(x)))


@pytest.mark.parametrize(("bias", "transposed"), list(itertools.product([True, False], repeat=2)))
def test_folded_after_equals_torchs_own_to_the_bit(bias, transposed):
    kind = nn.ConvTranspose2d if transposed else nn.Conv2d
    layer, norm = kind(5, 7, 3, bias=bias), random_norm(7)
    weight, shift = fold_after(layer.weight, layer.bias, norm_of(norm), transposed=transposed)
    arguments = (norm.running_mean, norm.running_var, norm.eps, norm.weight, norm.bias)
    theirs = fuse_conv_bn_weights(layer.weight, layer.bias, *arguments, transpose=transposed)
    assert torch.equal(weight, theirs[0])
    assert torch.equal(shift, theirs[1])


def test_a_folded_linear_layer_equals_torchs_own_to_the_bit():
    layer, norm = nn.Linear(5, 7), random_norm(7, 1)
    ours = fold_after(layer.weight, layer.bias, norm_of(norm))
    theirs = fuse_linear_bn_weights(
        layer.weight, layer.bias, norm.running_mean, norm.running_var, norm.eps, norm.weight, norm.bias
    )
    assert all(map(torch.equal, ours, theirs))
    assert close(with_weights(layer, *ours)(torch.ones(2, 5)), norm(layer(torch.ones(2, 5))))


BEFORE = {
    "unpadded": (nn.Conv2d(4, 6, 3, stride=2), 2),
    "grouped": (nn.Conv2d(4, 6, 3, groups=2), 2),
    "depthwise, no bias": (nn.Conv2d(4, 8, 3, groups=4, bias=False), 2),
    "reflected": (nn.Conv2d(4, 6, 3, padding=1, padding_mode="reflect"), 2),
    "1-D": (nn.Conv1d(4, 6, 3), 1),
    "linear": (nn.Linear(4, 6), 0),
}


@pytest.mark.parametrize("name", BEFORE)
def test_folded_before_equals_norm_and_layer(name):
    layer, dims = BEFORE[name]
    norm, x = random_norm(4, dims or 1), torch.randn(3, 4, *[9] * dims)
    weight, bias = fold_before(norm_of(norm), layer.weight, layer.bias, groups=getattr(layer, "groups", 1))
    with torch.no_grad():
        assert close(with_weights(layer, weight, bias)(x), layer(norm(x)))


def test_a_norm_before_padding_with_zeros_is_refused_and_would_be_wrong_at_the_border_only():
    layer, norm, x = nn.Conv2d(4, 6, 3, padding=1), random_norm(4), torch.randn(1, 4, 7, 7)
    with pytest.raises(ValueError, match="zeros of the padding were not shifted"):
        fold_before(norm_of(norm), layer.weight, layer.bias, zero_padded=True)
    with torch.no_grad():
        wrong = with_weights(layer, *fold_before(norm_of(norm), layer.weight, layer.bias))(x) - layer(norm(x))
    assert wrong[..., 1:-1, 1:-1].abs().max() < 1e-4 < 0.1 < wrong.abs().max()


def test_a_norm_without_shift_may_stand_before_padding():
    layer, norm, x = nn.Conv2d(4, 6, 3, padding=1), random_norm(4), torch.randn(1, 4, 7, 7)
    norm.running_mean.zero_()
    norm.bias.data.zero_()
    folded = fold_before(norm_of(norm), layer.weight, layer.bias, zero_padded=True)
    with torch.no_grad():
        assert close(with_weights(layer, *folded)(x), layer(norm(x)))


def test_merged_linears_compute_the_same_and_count_their_multiplications():
    first, second = nn.Linear(20, 30), nn.Linear(30, 10, bias=False)
    merged = merge_linears(first.weight, first.bias, second.weight, second.bias)
    x = torch.randn(5, 20)
    assert close(x @ merged.weight.T + merged.bias, second(first(x)))
    assert (merged.macs_before, merged.macs_after, merged.saves) == (20 * 30 + 30 * 10, 200, True)
    bottleneck = merge_linears(torch.ones(2, 100), None, torch.ones(100, 2), None)
    assert (bottleneck.macs_before, bottleneck.macs_after, bottleneck.saves) == (400, 10_000, False)
    assert not bottleneck.bias.any()


def test_norms_that_use_the_batch_are_refused():
    with pytest.raises(ValueError, match="train mode"):
        norm_of(nn.BatchNorm2d(3))
    with pytest.raises(ValueError, match="no running statistics"):
        norm_of(nn.BatchNorm2d(3, track_running_stats=False).eval())
    with pytest.raises(TypeError, match="got ReLU"):
        norm_of(nn.ReLU())


def test_channels_that_do_not_fit_are_named():
    norm = norm_of(random_norm(5))
    with pytest.raises(ValueError, match="gives 6 channels, the BatchNorm has 5"):
        fold_after(torch.ones(6, 2), None, norm)
    with pytest.raises(ValueError, match="reads 2 channels, the BatchNorm has 5"):
        fold_before(norm, torch.ones(6, 2), None)
    with pytest.raises(ValueError, match="gives 3 numbers, the second one reads 4"):
        merge_linears(torch.ones(3, 2), None, torch.ones(2, 4), None)


def test_tiny_variance_and_zero_gamma_stay_finite():
    norm = random_norm(3)
    norm.running_var.zero_()
    norm.weight.data[0] = 0
    weight, bias = fold_after(torch.ones(3, 2), None, norm_of(norm))
    assert torch.isfinite(weight).all()
    assert not weight[0].any()
    assert bias[0] == norm.bias[0]
