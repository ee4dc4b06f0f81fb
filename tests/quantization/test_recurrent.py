"""A GRU on codes: the same network with many bits, and one distribution that ruins it with few."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

from course_lib.quantization import Codes, fake_quantize, min_max
from course_lib.quantization.recurrent import gru_on_codes, input_codes


@pytest.fixture
def gru() -> nn.GRU:
    torch.manual_seed(0)
    return nn.GRU(6, 5, batch_first=True)


@pytest.fixture
def x() -> torch.Tensor:
    return torch.rand(7, 9, 6, generator=torch.Generator().manual_seed(1)) * 2 - 0.7


def error(gru: nn.GRU, x: torch.Tensor, bits: int) -> float:
    with torch.no_grad():
        return float((gru_on_codes(gru, x, input_codes(x, bits), bits) - gru(x)[0][:, -1]).abs().max())


def test_with_eight_bits_it_is_nearly_torchs_gru_and_each_bit_less_costs(gru, x):
    errors = [error(gru, x, bits) for bits in (8, 6, 4, 2)]
    assert errors[0] < 0.02
    assert errors == sorted(errors)


def test_rounded_by_hand_it_is_torchs_gru_exactly_where_the_state_has_no_codes_to_lose(gru, x):
    """One step from a state of 0: only inputs and input weights are rounded, and the state at the end."""
    codes, changed = input_codes(x, 4), copy.deepcopy(gru)
    weight = gru.weight_ih_l0.detach()
    affine = min_max(weight, Codes(4, restricted=True), symmetric=True, axis=0)
    changed.weight_ih_l0.data = fake_quantize(weight, affine)
    with torch.no_grad():
        wanted = changed(fake_quantize(x[:, :1], codes))[0][:, -1]
    found = gru_on_codes(gru, x[:, :1], codes, 4)
    torch.testing.assert_close(found, (wanted * 7).round() / 7)


def test_an_outlier_feature_of_the_same_function_costs_more_than_two_bits(gru, x):
    spoiled = copy.deepcopy(gru)
    spoiled.weight_ih_l0.data[:, 2] /= 100
    wide = x.clone()
    wide[..., 2] *= 100
    with torch.no_grad():
        torch.testing.assert_close(spoiled(wide)[0], gru(x)[0], rtol=1e-4, atol=1e-4)
    assert error(spoiled, wide, 8) > 2 * error(gru, x, 6)


def test_the_gru_stays_as_it_is(gru, x):
    before = {name: value.clone() for name, value in gru.state_dict().items()}
    gru_on_codes(gru, x, input_codes(x, 3), 3)
    assert all(torch.equal(value, before[name]) for name, value in gru.state_dict().items())


@pytest.mark.parametrize(
    "options", [{"num_layers": 2}, {"bidirectional": True}, {"batch_first": False}, {"bias": False}]
)
def test_another_kind_of_gru_is_refused(options, x):
    with pytest.raises(ValueError, match="gru must have one layer"):
        gru_on_codes(nn.GRU(6, 5, **{"batch_first": True} | options), x, input_codes(x, 8), 8)


@pytest.mark.parametrize("bits", [1, 9])
def test_bits_out_of_range_are_refused(gru, x, bits):
    with pytest.raises(ValueError, match="bits must be in 2 … 8"):
        gru_on_codes(gru, x, input_codes(x, 8), bits)
