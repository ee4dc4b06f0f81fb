"""The law of clipping is quadrature's and measurement's within a stated per cent, and its best clip is the best."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from scipy import integrate, stats
from scipy.optimize import brentq

from course_lib.quantization import Affine, Codes, dequantize, from_range, quantize, sqnr_db
from course_lib.quantization.clipping import DISTRIBUTIONS, clip_error, optimal_clip, sqnr_law_db

DENSITIES = {"gaussian": stats.norm.pdf, "laplacian": stats.laplace.pdf}
# How far the total of the law may be from the exact error at the best clip: the density is not constant in a step.
OFF = {2: 0.25, 3: 0.06, 4: 0.01, 5: 0.005, 6: 0.005, 8: 0.005}


def exact(distribution: str, bits: int, alpha: float) -> tuple[float, float]:
    """The error inside and outside −α … α by quadrature, cell by cell: no step is taken for constant."""
    density, count = DENSITIES[distribution], 2 ** (bits - 1) - 1
    step = alpha / count

    def part(code: float, low: float, high: float) -> float:
        return integrate.quad(lambda x: density(x) * (x - code) ** 2, low, high)[0]

    inside = part(0, 0, step / 2) + sum(
        part(k * step, (k - 0.5) * step, min((k + 0.5) * step, alpha)) for k in range(1, count + 1)
    )
    return 2 * inside, 2 * part(alpha, alpha, math.inf)


@pytest.mark.parametrize("distribution", DISTRIBUTIONS)
@pytest.mark.parametrize("alpha", [0.5, 1.0, 2.5, 5.0, 8.0])
def test_the_clipping_part_is_the_integral(distribution, alpha):
    assert clip_error(distribution, 4, alpha).clipping == pytest.approx(exact(distribution, 4, alpha)[1], rel=1e-6)


@pytest.mark.parametrize("distribution", DISTRIBUTIONS)
@pytest.mark.parametrize("bits", OFF)
def test_at_the_best_clip_the_law_is_quadratures_within_the_stated_part(distribution, bits):
    alpha = optimal_clip(distribution, bits)
    found, (inside, outside) = clip_error(distribution, bits, alpha), exact(distribution, bits, alpha)
    assert found.total == pytest.approx(inside + outside, rel=OFF[bits])
    assert found.rounding == pytest.approx(inside, rel=2 * OFF[bits])


@pytest.mark.parametrize("distribution", DISTRIBUTIONS)
@pytest.mark.parametrize("bits", [3, 4, 6])
def test_a_million_samples_through_quantize_have_the_laws_error(distribution, bits):
    rng = np.random.default_rng(bits)
    draw = rng.standard_normal if distribution == "gaussian" else rng.laplace
    x = torch.tensor(draw(size=1_000_000), dtype=torch.float32)
    best = optimal_clip(distribution, bits)
    for alpha in (0.6 * best, best, 1.3 * best):
        affine = from_range(torch.tensor(-alpha), torch.tensor(alpha), Codes(bits, restricted=True), symmetric=True)
        squares = (dequantize(quantize(x, affine), affine) - x).double().square()
        sampling = 4 * squares.std().item() / 1000  # far values are rare: the mean of a million varies
        law = clip_error(distribution, bits, alpha).total
        assert sampling < 0.2 * law
        assert law == pytest.approx(squares.mean().item(), abs=2 * OFF[bits] * law + sampling)


@pytest.mark.parametrize("distribution", DISTRIBUTIONS)
@pytest.mark.parametrize("bits", [2, 3, 4, 8, 12, 16])
def test_no_other_clip_is_better(distribution, bits):
    best = optimal_clip(distribution, bits)
    least = clip_error(distribution, bits, best).total
    others = [clip_error(distribution, bits, alpha).total for alpha in np.geomspace(0.05, 60, 4000)]
    assert least <= min(others) * (1 + 1e-9)
    assert others[0] > least < others[-1]


def test_the_best_clips_tend_to_the_papers_whose_codes_have_two_steps_more():
    # Banner et al. 2019 take 2^b steps and P = 1: E = α²/(3·4^b) + 2·exp(−α), least where α/(3·4^b) = exp(−α).
    paper = {bits: brentq(lambda a, bits=bits: a / (3 * 4**bits) - math.exp(-a), 0.1, 40) for bits in range(2, 13)}
    assert [paper[bits] for bits in (2, 3, 4)] == pytest.approx([2.83, 3.89, 5.03], abs=0.01)  # printed there
    distance = [1 - optimal_clip("laplacian", bits) / alpha for bits, alpha in paper.items()]
    assert distance[2:] == sorted(distance[2:], reverse=True)
    assert 0 < distance[-1] < 1e-4 < distance[6] < 3e-3  # 12 bits, 8 bits


def test_more_bits_clip_later_and_heavier_tails_clip_later():
    for distribution in DISTRIBUTIONS:
        clips = [optimal_clip(distribution, bits) for bits in range(2, 13)]
        assert clips == sorted(clips)
    for bits in range(2, 13):  # in units of the standard deviation
        assert optimal_clip("laplacian", bits) / math.sqrt(2) > 0.9 * optimal_clip("gaussian", bits)


@pytest.mark.parametrize("bits", [3, 5, 8])
@pytest.mark.parametrize("reach", [1.0, 50.0])
def test_uniform_values_have_the_ratio_of_the_law(bits, reach):
    x = torch.tensor(np.random.default_rng(0).uniform(-reach, reach, 300_000), dtype=torch.float32)
    affine = Affine(Codes(bits, signed=False), torch.tensor(2 * reach / (2**bits - 1)), torch.tensor(0).int())
    shifted = x + reach  # codes that begin at −reach: no code is 0, as the law has it
    restored = dequantize(quantize(shifted, affine), affine) - reach
    assert sqnr_db(x, restored) == pytest.approx(sqnr_law_db(bits), abs=0.05)


def test_the_law_adds_six_decibels_a_bit_and_takes_twenty_for_a_tenfold_crest():
    assert sqnr_law_db(16) - sqnr_law_db(15) == pytest.approx(20 * math.log10(2), abs=1e-3)
    assert sqnr_law_db(8, 2.0) - sqnr_law_db(8, 20.0) == pytest.approx(20)


def test_what_is_out_of_range_is_refused():
    with pytest.raises(ValueError, match="distribution must be one of gaussian, laplacian, got 'cauchy'"):
        optimal_clip("cauchy", 4)
    for bad in (0.0, -1.0, math.inf, math.nan):
        with pytest.raises(ValueError, match="alpha must be > 0"):
            clip_error("gaussian", 4, bad)
    for function in (lambda: optimal_clip("gaussian", 1), lambda: sqnr_law_db(17)):
        with pytest.raises(ValueError, match="bits must be an integer in 2 … 16"):
            function()
    for bad in (0.9, math.inf, math.nan):
        with pytest.raises(ValueError, match="crest must be"):
            sqnr_law_db(8, bad)
