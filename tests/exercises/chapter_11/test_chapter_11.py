"""Chapter 11's exercises ask for what integers must give."""

from __future__ import annotations

import itertools
from fractions import Fraction

import numpy as np

from course_lib.exercises.chapter_11 import (
    accumulator_range,
    add_codes,
    most_bytes,
    multiplier_and_shift,
    requantize,
    zero_point_sums,
)
from course_lib.exercises.engine.registry import find


def test_the_sums_are_those_of_the_shifted_codes_and_the_constant_is_the_sum_for_codes_0(sets):
    for q_x, q_w, z_x, z_w in sets("11.1"):
        constant, sums = zero_point_sums.zero_point_sums(q_x, q_w, z_x, z_w)
        assert np.array_equal(sums, (q_x.astype(int) - z_x) @ (q_w.astype(int) - z_w).T)
        of_zeros = (np.zeros_like(q_x[:1], int) - z_x) @ (q_w.astype(int) - z_w).T
        assert np.array_equal(constant, of_zeros[0])


def test_no_order_of_adding_and_no_codes_leave_the_range_and_its_ends_are_reached(sets):
    for weights, bias, low, high, zero_point in sets("11.2"):
        lowest, highest, bits = accumulator_range.accumulator_range(weights, bias, low, high, zero_point)
        for n, row in enumerate(weights.tolist()):
            reached = {int(bias[n])}
            for choice in itertools.product((low, zero_point, high), repeat=len(row)):
                products = [(q - zero_point) * w for q, w in zip(choice, row, strict=True)]
                for order in itertools.permutations(products):
                    reached.update(int(bias[n]) + partial for partial in itertools.accumulate(order))
            assert (min(reached), max(reached)) == (lowest[n], highest[n])
            b = int(bits[n])
            assert min(reached) >= -(2 ** (b - 1))
            assert max(reached) < 2 ** (b - 1)
            assert not (-(2 ** (b - 2)) <= min(reached) and max(reached) < 2 ** (b - 2))


def test_multiplier_and_shift_are_within_half_a_step_of_the_factor(sets):
    for (factor,) in sets("11.3", draws=100):
        found = multiplier_and_shift.multiplier_and_shift(factor)
        multiplier, shift = found
        assert found == multiplier_and_shift.in_full(factor)
        assert 2**30 <= multiplier < 2**31
        error = abs(Fraction(multiplier) / Fraction(2) ** (31 + shift) - Fraction(factor)) / Fraction(factor)
        assert error <= Fraction(1, 2**31)


def test_a_code_is_the_exact_product_rounded_half_to_even_and_clamped(sets):
    for acc, multiplier, shift, zero_point, low in sets("11.4"):
        exact = [Fraction(int(a) * multiplier, 2 ** (31 + shift)) for a in acc]
        expected = [min(max(round(value) + zero_point, low), 255) for value in exact]
        for answer in (requantize.requantize, requantize.in_full):
            codes = answer(acc, multiplier, shift, zero_point, low)
            assert (codes.tolist(), codes.dtype) == (expected, np.uint8)


def test_the_sum_is_within_half_a_step_of_the_real_one(sets):
    for q_a, q_b, a, b, y in sets("11.5"):
        codes = add_codes.add_codes(q_a, q_b, a, b, y)
        assert np.array_equal(codes, add_codes.in_full(q_a, q_b, a, b, y))
        real = a[0] * (q_a.astype(float) - a[1]) + b[0] * (q_b.astype(float) - b[1])
        inside = np.clip(real / y[0] + y[1], 0, 255)
        assert np.abs(codes - inside).max() <= 0.5 + 512 / 2**20


def test_the_bytes_are_those_of_the_fullest_step(sets):
    for sizes, reads in sets("11.6", draws=60):
        fullest = 0
        for step in range(1, len(sizes)):
            later = set(itertools.chain.from_iterable(reads[step - 1 :]))
            needed = [t for t in range(len(sizes)) if t == step or (t < step and t in later)]
            fullest = max(fullest, sum(sizes[t] for t in needed))
        assert most_bytes.most_bytes(sizes, reads) == fullest


def test_the_case_beyond_a_float64_is_one():
    case = next(case.make() for case in find("11.4").cases if "float64" in case.asks)
    assert isinstance(case, tuple)
    acc, multiplier, shift, zero_point, low = case
    exact = Fraction(int(acc[0]) * multiplier, 2 ** (31 + shift))
    by_float = round(float(acc[0]) * (multiplier / 2 ** (31 + shift)))
    assert round(exact) == by_float + 1
    assert requantize.requantize(acc, multiplier, shift, zero_point, low)[0] == round(exact)
