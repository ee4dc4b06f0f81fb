"""Named granularities are affine's axis and block, and say how many scales a tensor gets."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from course_lib.quantization import Codes, PerChannel, PerGroup, PerTensor, dequantize, min_max, quantize, sqnr_db

KINDS = [PerTensor(), PerChannel(0), PerChannel(1), PerChannel(-1), PerGroup(2, axis=1), PerGroup(5), PerGroup(6, 0)]


def draw(*shape: int) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(0)) + 0.3


@pytest.mark.parametrize("granularity", KINDS, ids=str)
@pytest.mark.parametrize("symmetric", [False, True])
def test_every_set_of_values_that_shares_a_scale_is_quantized_as_if_alone(granularity, symmetric):
    x = draw(6, 4, 5, 5)
    found = granularity.min_max(x, Codes(5), symmetric=symmetric)
    match granularity:
        case PerTensor():
            parts, scales = [x], [found.scale]
        case PerChannel(axis):
            parts, scales = x.split(1, axis), found.scale
        case PerGroup(size, axis):  # a row: size neighbours along the axis, at one place along the others
            parts, scales = x.movedim(axis, -1).reshape(-1, size), found.scale.movedim(axis, -1).flatten()
    assert len(parts) == len(scales) == granularity.scale_count(x.shape)
    for part, scale in zip(parts, scales, strict=True):
        assert scale == min_max(part, Codes(5), symmetric=symmetric).scale


@pytest.mark.parametrize("granularity", KINDS, ids=str)
@pytest.mark.parametrize("shape", [(6, 4, 5, 5), (12, 10)])
def test_the_shape_the_count_and_the_bytes_are_those_of_the_scales(granularity, shape):
    scale = granularity.min_max(draw(*shape), Codes(8)).scale
    assert granularity.scale_shape(shape) == tuple(scale.shape)
    assert granularity.scale_count(shape) == scale.numel()
    assert granularity.scale_bytes(shape) == scale.numel() * 4
    assert granularity.scale_bytes(shape, torch.float16) == scale.half().numpy().nbytes


def test_the_docstrings_table_holds():
    kernel, linear = (64, 32, 3, 3), (64, 256)
    for granularity, of_kernel, of_linear in [
        (PerTensor(), (), ()),
        (PerChannel(), (64,), (64,)),
        (PerGroup(8, axis=1), (64, 4, 3, 3), (64, 32)),
    ]:
        assert granularity.scale_shape(kernel) == of_kernel
        assert granularity.scale_shape(linear) == of_linear


def test_finer_scales_lose_less_where_channels_and_groups_differ():
    x = draw(16, 64) * torch.logspace(-2, 0, 16)[:, None] * torch.logspace(0, -2, 64)
    noise = []
    for granularity in (PerTensor(), PerChannel(0), PerGroup(8)):
        affine = granularity.min_max(x, Codes(4), symmetric=True)
        noise.append(sqnr_db(x, dequantize(quantize(x, affine), affine)))
    assert noise[0] + 3 < noise[1] < noise[2] - 3


def test_equal_ones_are_equal_and_can_be_keys():
    assert {PerChannel(0): 1}[PerChannel()] == 1
    assert PerGroup(4) == PerGroup(4, axis=-1) != PerGroup(4, axis=1)


def test_what_does_not_fit_is_refused():
    x = torch.ones(3, 10)
    for function in (
        lambda g: g.min_max(x, Codes(8)),
        lambda g: g.scale_shape(x.shape),
        lambda g: g.scale_count((3, 10)),
    ):
        with pytest.raises(ValueError, match="size must divide the 10 entries along axis -1, got 4"):
            function(PerGroup(4))
        with pytest.raises(ValueError, match=r"PerChannel\(axis=2\) needs a tensor that has axis 2, got .* \[3, 10\]"):
            function(PerChannel(2))
        with pytest.raises(ValueError, match=r"PerGroup\(size=1, axis=-3\) needs a tensor that has axis -3"):
            function(PerGroup(1, -3))
    bad: Any
    for bad in (0, -1, 2.0, True, None):
        with pytest.raises(ValueError, match="size must be an integer ≥ 1, got"):
            PerGroup(bad)
    for bad in (1.0, True, None):
        for kind in (PerChannel, lambda axis: PerGroup(2, axis)):
            with pytest.raises(ValueError, match="axis must be an integer, got"):
                kind(bad)
    with pytest.raises(ValueError, match="must be finite"):
        PerGroup(5).min_max(torch.full((2, 5), torch.nan), Codes(8))
