"""Integer factors round exactly as the machines that they stand for: checked against fractions and against float32."""

from __future__ import annotations

from fractions import Fraction
from math import floor

import numpy as np
import pytest

from course_lib.quantization.integer.fixed_point import (
    HardwareFactor,
    RuntimeFactor,
    doubling_high_multiply,
    shift_half_away,
    shift_half_even,
    significant,
)


def half_even(value: Fraction) -> int:
    return round(value)


def half_away(value: Fraction) -> int:
    return floor(value + Fraction(1, 2)) if value >= 0 else -floor(-value + Fraction(1, 2))


def half_up(value: Fraction) -> int:
    return floor(value + Fraction(1, 2))


@pytest.mark.parametrize(("function", "rule"), [(shift_half_even, half_even), (shift_half_away, half_away)])
def test_shifts_round_as_fractions_do(function, rule):
    values = np.concatenate([np.arange(-70, 71), np.array([2**40 + 2**9, -(2**40) - 2**9, 2**61, -(2**61), 2**31 - 1])])
    for shift in (0, 1, 2, 3, 10, 31, 40):
        assert function(values, shift).tolist() == [rule(Fraction(int(v), 2**shift)) for v in values]


def test_shifts_broadcast_and_keep_int64():
    found = shift_half_even(np.full((2, 3), 6, np.int32), np.array([0, 1, 2]))
    assert found.dtype == np.int64
    assert found.tolist() == [[6, 3, 2]] * 2


def test_the_high_multiplication_is_gemmlowps_definition():
    rng = np.random.default_rng(0)
    edges = np.array([0, 1, -1, 2**31 - 1, -(2**31), 2**30, -(2**30), 3, -3])
    a = np.concatenate([np.repeat(edges, len(edges)), rng.integers(-(2**31), 2**31, 2000)])
    b = np.concatenate([np.tile(edges, len(edges)), rng.integers(-(2**31), 2**31, 2000)])
    expected = [min(half_up(Fraction(int(x) * int(y), 2**31)), 2**31 - 1) for x, y in zip(a, b, strict=True)]
    assert doubling_high_multiply(a, b).tolist() == expected


def test_significant_bits_are_a_conversion_to_float32():
    rng = np.random.default_rng(1)
    values = np.concatenate([rng.integers(-(2**31), 2**31, 5000), 2**24 + np.arange(-9, 9), 2**30 + np.arange(-99, 99)])
    assert significant(values).tolist() == [int(np.float32(v)) for v in values]
    assert significant(-values).tolist() == [int(np.float32(-v)) for v in values]
    assert significant(np.array([0, 7, -5]), 2).tolist() == [0, 8, -4]


def near_halves(factor: np.float32, rng: np.random.Generator) -> np.ndarray:
    """Accumulators whose product lies at or next to a half, among others; int64 in int32's range."""
    reach = min(300 / float(factor), 2.0**31 - 2)
    halves = np.round((rng.integers(-256, 256, 3000) + 0.5) / np.float64(factor)) + rng.integers(-1, 2, 3000)
    values = np.concatenate([rng.uniform(-reach, reach, 3000), halves])
    return np.clip(values, -reach, reach).astype(np.int64)


def test_the_runtimes_factor_is_float32s_arithmetic_to_the_bit():
    rng = np.random.default_rng(2)
    compared = over_24_bits = 0
    for _ in range(300):
        factor = np.float32(2.0 ** rng.uniform(-24, 3))
        x = near_halves(factor, rng)
        expected = np.rint(x.astype(np.float32) * factor)
        assert np.array_equal(RuntimeFactor.of(factor)(x), expected)
        compared += x.size
        over_24_bits += int((np.abs(x) > 2**24).sum())
    assert compared == 300 * 6000
    assert over_24_bits > 10_000


def test_the_second_rounding_matters_and_is_made():
    # The exact product lies below a half and float32's product on it: 1 code apart.
    rng = np.random.default_rng(3)
    found = 0
    for _ in range(4000):
        factor = np.float32(rng.uniform(0.001, 0.01))
        x = near_halves(factor, rng)[3000:]
        exact = shift_half_even(x * RuntimeFactor.of(factor).multiplier, RuntimeFactor.of(factor).shift)
        different = exact != RuntimeFactor.of(factor)(x)
        found += int(different.sum())
        if found:
            break
    assert found


def test_far_results_saturate_on_the_same_side():
    factor = RuntimeFactor.of(np.float32(3.7))
    assert np.array_equal(np.clip(factor(np.array([2**31 - 1, -(2**31)])), -999, 999), [999, -999])


def test_hardwares_factor_is_two_roundings():
    rng = np.random.default_rng(4)
    for _ in range(200):
        real = float(2.0 ** rng.uniform(-20, 3))
        factor = HardwareFactor.of(np.array(real))
        multiplier, shift = int(factor.multiplier), int(factor.shift)
        assert 2**30 <= multiplier < 2**31
        assert abs(Fraction(multiplier, 2 ** (31 + shift)) / Fraction(real) - 1) <= Fraction(1, 2**31)
        x = rng.integers(-(2**20), 2**20, 200)
        left, right = max(-shift, 0), max(shift, 0)
        high = [half_up(Fraction((int(v) << left) * multiplier, 2**31)) for v in x]
        assert factor(x).tolist() == [half_away(Fraction(h, 2**right)) for h in high]


def test_both_factors_are_within_a_step_of_the_real_product_and_of_one_another():
    rng = np.random.default_rng(5)
    for _ in range(100):
        real = np.float32(2.0 ** rng.uniform(-16, 0))
        x = near_halves(real, rng)
        product = x * np.float64(real)
        for factor in (HardwareFactor.of(real), RuntimeFactor.of(real)):
            assert (np.abs(factor(x) - product) <= 1).all()
        assert (np.abs(HardwareFactor.of(real)(x) - RuntimeFactor.of(real)(x)) <= 1).all()


@pytest.mark.parametrize("real", [0.5, 1.0, 0.25, 2.0])
def test_a_power_of_two_has_the_smallest_multiplier(real):
    assert HardwareFactor.of(np.array(real)).multiplier == 2**30
    assert RuntimeFactor.of(np.float32(real)).multiplier == 2**23


def test_a_factor_that_rounds_up_to_the_next_power_of_two_gets_its_shift():
    factor = HardwareFactor.of(np.array(1 - 2.0**-40))
    assert (factor.multiplier, factor.shift) == (2**30, -1)
    assert factor(np.array([7, -7])).tolist() == [7, -7]


def test_a_factor_a_channel_belongs_to_the_last_axis():
    scales = np.array([0.5, 0.01, 0.1], np.float32)
    x = np.random.default_rng(6).integers(-1000, 1000, (4, 5, 3))
    for kind in (HardwareFactor, RuntimeFactor):
        apart = np.stack([kind.of(scales[c])(x[..., c]) for c in range(3)], -1)
        assert np.array_equal(kind.of(scales)(x), apart)


@pytest.mark.parametrize("kind", [HardwareFactor, RuntimeFactor])
@pytest.mark.parametrize("factor", [0.0, -0.5])
def test_a_factor_that_is_not_positive_is_refused(kind, factor):
    with pytest.raises(ValueError, match="finite and > 0"):
        kind.of(np.float32(factor))


@pytest.mark.parametrize(
    ("kind", "factor"),
    [(RuntimeFactor, 2.0**-45), (RuntimeFactor, 300.0), (HardwareFactor, 2.0**-40), (HardwareFactor, 2.0**40)],
)
def test_a_factor_without_a_form_is_refused(kind, factor):
    with pytest.raises(ValueError, match="must lie in"):
        kind.of(np.array(factor))


@pytest.mark.parametrize("kind", [HardwareFactor, RuntimeFactor])
@pytest.mark.parametrize("factor", [np.nan, np.inf])
def test_a_factor_that_is_no_number_is_refused(kind, factor):
    with pytest.raises(ValueError, match="finite"):
        kind.of(np.float32(factor))


def test_a_shift_to_the_left_saturates_instead_of_wrapping_around():
    factor = HardwareFactor.of(np.float64(3 * 2.0**28))  # 0.75 · 2^30: 30 bits to the left
    assert int(factor.shift) == -30
    far = np.array([2**30, -(2**30), 2**31 - 1, -(2**31), 1, 0])
    found = factor(far)
    assert (np.sign(found) == np.sign(far)).all()
    assert (np.abs(found[:4]) > 2**20).all()
