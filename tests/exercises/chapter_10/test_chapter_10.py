"""Chapter 10's exercises ask for what the library has."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from course_lib.exercises.chapter_10.best_clip import best_clip, in_full
from course_lib.exercises.chapter_10.bytes_of_a_layer import in_full as bytes_in_full
from course_lib.exercises.chapter_10.bytes_of_a_layer import layer_bytes
from course_lib.exercises.chapter_10.codes_of_values import quantize as quantize_in_bytes
from course_lib.exercises.chapter_10.noise_in_decibels import sqnr as noise_db
from course_lib.exercises.chapter_10.scale_and_zero_point import scale_and_zero_point
from course_lib.exercises.chapter_10.weights_by_channel import quantize_weights
from course_lib.exercises.engine.judge import judge
from course_lib.exercises.engine.registry import find
from course_lib.quantization import Affine, Codes, dequantize, from_range, min_max, optimal_clip, quantize, sqnr_db


def test_scale_and_zero_point_are_the_librarys(sets):
    for low, high, bits in sets("10.1", draws=30):
        theirs = from_range(torch.tensor(low), torch.tensor(high), Codes(bits, signed=False))
        scale, zero_point = scale_and_zero_point(low, high, bits)
        assert scale == pytest.approx(theirs.scale.item(), rel=1e-6)
        assert zero_point == theirs.zero_point.item()


def test_the_codes_are_the_librarys(sets):
    for x, scale, zero_point, bits in sets("10.2", draws=30):
        theirs = Affine(Codes(bits), torch.tensor(scale), torch.tensor(zero_point, dtype=torch.int32))
        found = quantize_in_bytes(x, scale, zero_point, bits)
        assert found.dtype == torch.int8
        assert found.tolist() == quantize(x, theirs).tolist()


def test_the_noise_is_the_librarys(sets):
    for x, restored in sets("10.3", draws=30):
        assert noise_db(x, restored) == pytest.approx(sqnr_db(x, restored))


def test_the_clip_is_the_librarys_best_and_near_the_law_on_many_values(sets):
    for x, clips, bits in sets("10.4", draws=30):
        errors = {}
        for alpha in clips:
            ends = torch.tensor(-alpha), torch.tensor(alpha)
            affine = from_range(*ends, Codes(bits, restricted=True), symmetric=True)
            errors[alpha] = (dequantize(quantize(x, affine), affine) - x).square().mean().item()
        least = min(errors.values())
        assert errors[best_clip(x, clips, bits)] <= least * (1 + 1e-5)
        assert in_full(x, clips, bits) == best_clip(x, clips, bits)
    x = torch.tensor(np.random.default_rng(0).laplace(0, 1, 40_000), dtype=torch.float32)
    assert best_clip(x, np.arange(2, 9, 0.4).tolist(), 4) == pytest.approx(optimal_clip("laplacian", 4), abs=0.4)


def test_no_two_clips_are_equally_good(sets):
    for x, clips, bits in sets("10.4", draws=30):
        most = 2 ** (bits - 1) - 1
        errors = sorted(
            ((x.double() * most / a).round().clamp(-most, most) * a / most - x).square().mean() for a in clips
        )
        assert errors[1] > 1.002 * errors[0]  # float32 knows six digits


def test_the_weights_codes_are_the_librarys(sets):
    for w, bits in sets("10.5", draws=30):
        theirs = min_max(w, Codes(bits, restricted=True), symmetric=True, axis=0)
        codes, scale = quantize_weights(w, bits)
        torch.testing.assert_close(scale, theirs.scale)
        assert codes.tolist() == quantize(w, theirs).tolist()


def test_the_bytes_are_those_of_packed_codes_of_the_library(sets):
    for shape, bits, block, scale_bits, symmetric in sets("10.6", draws=30):
        found = layer_bytes(shape, bits, block, scale_bits, symmetric)
        assert bytes_in_full(shape, bits, block, scale_bits, symmetric) == found
        row = int(np.prod(shape[1:]))
        if row % block == 0:
            affine = min_max(torch.ones(shape[0], row), Codes(bits), symmetric=symmetric, axis=1, block=block)
            counts = [(shape[0] * row, bits), (affine.scale.numel(), scale_bits)]
            counts += [] if symmetric else [(affine.zero_point.numel(), bits)]
            assert found == sum(-(-n * b // 8) for n, b in counts) + 4 * shape[0]


def test_codes_in_another_container_are_told_so():
    exercise = find("10.2")

    def wide(x, scale, zero_point, bits):
        return quantize_in_bytes(x, scale, zero_point, bits).int()

    verdict = judge(exercise, wide)
    assert verdict.state == "wrong"
    assert "the right codes, but as int32: expected int8" in verdict.message
