"""Formats round as PyTorch's casts do, at every code, every half between two and beyond the ends."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from course_lib.quantization.formats import BF16, E4M3, E5M2, FP16, FloatFormat, round_to, round_to_power_of_two

CASTS = [
    pytest.param(FP16, torch.float16, id="FP16"),
    pytest.param(BF16, torch.bfloat16, id="BF16"),
    pytest.param(E5M2, torch.float8_e5m2, id="E5M2"),
    pytest.param(E4M3, torch.float8_e4m3fn, id="E4M3"),
]


def every_value(dtype: torch.dtype) -> torch.Tensor:
    """All finite values of a format, ascending."""
    integer = torch.int16 if dtype.itemsize == 2 else torch.int8
    codes = torch.arange(-(2 ** (8 * dtype.itemsize - 1)), 2 ** (8 * dtype.itemsize - 1), dtype=torch.int32)
    values = codes.to(integer).view(dtype).float()
    return values[values.isfinite()].unique()


def same(one: torch.Tensor, other: torch.Tensor) -> bool:
    return torch.equal(one.nan_to_num(nan=123.0), other.nan_to_num(nan=123.0))


@pytest.mark.parametrize(("form", "dtype"), CASTS)
def test_every_value_stays_and_every_half_goes_where_the_cast_sends_it(form: FloatFormat, dtype: torch.dtype):
    values = every_value(dtype)
    assert values.max().item() == form.largest
    assert values[values > 0].min().item() == form.tiniest
    middle = ((values[1:].double() + values[:-1].double()) / 2).float()
    beside = [torch.nextafter(middle, torch.full_like(middle, end)) for end in (torch.inf, -torch.inf)]
    for x in (values, middle, *beside):
        assert same(round_to(x, form), x.to(dtype).float())


@pytest.mark.parametrize(("form", "dtype"), CASTS)
def test_random_and_extreme_numbers_are_cast_alike(form: FloatFormat, dtype: torch.dtype):
    rng = np.random.default_rng(0)
    x = torch.tensor(rng.normal(size=20_000) * 2.0 ** rng.integers(-40, 40, 20_000), dtype=torch.float32)
    ends = torch.tensor([0.0, -0.0, torch.inf, -torch.inf, torch.nan, 1e-45, 3.4e38, form.largest, -form.largest])
    for values in (x, ends):
        assert same(round_to(values, form), values.to(dtype).float())


@pytest.mark.parametrize(("form", "dtype"), CASTS)
def test_saturated_nothing_is_larger_than_the_largest(form: FloatFormat, dtype: torch.dtype):
    x = torch.tensor([1.5, 1e30, -1e38, torch.inf, -torch.inf, form.largest])
    found = round_to(x, form, saturate=True)
    assert found.abs().max().item() == form.largest
    assert found.sign().tolist() == x.sign().tolist()
    assert round_to(torch.tensor([torch.nan]), form, saturate=True).isnan().all()


def test_powers_of_two_are_the_nearest_on_the_logarithmic_scale():
    x = torch.tensor([4.0, 3.0, -2.7, 1.4, 1.0, 0.6, 0.5, 0.2, 0.0])
    assert round_to_power_of_two(x, 3).tolist() == [4, 4, -2, 1, 1, 1, 1, 0, 0]
    assert round_to_power_of_two(x, 4).tolist() == [4, 4, -2, 1, 1, 0.5, 0.5, 0.25, 0]
    assert round_to_power_of_two(torch.zeros(3), 4).tolist() == [0, 0, 0]
    found = round_to_power_of_two(torch.randn(1000, generator=torch.Generator().manual_seed(0)), 4)
    assert len(found.abs().unique()) <= 2**3
    assert torch.equal(found[found != 0].abs().log2().round().exp2(), found[found != 0].abs())


@pytest.mark.parametrize("bits", [1, 9, 3.0, True])
def test_powers_of_two_refuse_bits_out_of_range(bits):
    with pytest.raises(ValueError, match="bits must be an integer in 2 … 8"):
        round_to_power_of_two(torch.ones(2), bits)


def test_powers_of_two_refuse_what_is_not_finite():
    with pytest.raises(ValueError, match="NaN or infinite"):
        round_to_power_of_two(torch.tensor([1.0, torch.nan]), 4)
