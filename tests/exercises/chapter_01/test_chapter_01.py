"""Chapter 01's exercises: the references agree with the library."""

from __future__ import annotations

import math
import statistics

import numpy as np
import pytest

from course_lib.evaluation import bootstrap_ratio
from course_lib.exercises.chapter_01.convolution_macs import conv_macs
from course_lib.exercises.chapter_01.convolution_macs import ex as convolution_macs
from course_lib.exercises.chapter_01.interleaved_times import compare_times
from course_lib.exercises.chapter_01.interleaved_times import ex as interleaved_times
from course_lib.exercises.chapter_01.least_time import ex as least_time
from course_lib.exercises.chapter_01.least_time import least_time_ms
from course_lib.exercises.chapter_01.weight_bytes import weight_bytes
from course_lib.measure import total_macs
from course_lib.measure.roofline import achieved_gflops, attainable_gflops

P95_METHODS = (
    "inverted_cdf averaged_inverted_cdf closest_observation interpolated_inverted_cdf hazen weibull linear "
    "median_unbiased normal_unbiased lower higher midpoint nearest"
).split()


def _drawn(exercise, count: int) -> list:
    rng = np.random.default_rng(0)
    return [*exercise.examples, *(exercise.inputs_fn(rng) for _ in range(count))]


def test_01_1_counts_what_the_library_counts():
    for conv, height, width in _drawn(convolution_macs, 50):
        assert conv_macs(conv, height, width) == total_macs(conv, (1, conv.in_channels, height, width))


def test_01_2_gives_the_library_s_ratio():
    for baseline_ms, variant_ms in _drawn(interleaved_times, 20):
        assert compare_times(baseline_ms, variant_ms)[2] == bootstrap_ratio(baseline_ms, variant_ms, seed=0).value


def test_01_2_asks_for_p95_where_every_usual_definition_gives_the_same():
    for baseline_ms, variant_ms in _drawn(interleaved_times, 200):
        p95 = compare_times(baseline_ms, variant_ms)[1]
        theirs = [np.percentile(variant_ms, 95, method=method) for method in P95_METHODS]
        ranked = np.sort(variant_ms)
        theirs += [statistics.quantiles(variant_ms, n=20)[-1], ranked[int(0.95 * len(ranked))]]
        theirs += [ranked[math.ceil(0.95 * len(ranked)) - 1], ranked[-1 - len(ranked) // 20]]
        np.testing.assert_allclose(theirs, p95, rtol=1e-12)


def test_01_2_gives_1_for_the_page_s_two_rounds():
    a, b = np.array([2.0, 1.0]), np.array([1.0, 2.0])
    assert compare_times(a, b)[2] == pytest.approx(1)
    assert compare_times(b, a)[2] == pytest.approx(1)


def test_01_3_is_the_library_s_roofline_read_as_a_time():
    for macs, bytes_moved, peak_gflops, bandwidth_gbs in _drawn(least_time, 50):
        time_ms = least_time_ms(macs, bytes_moved, peak_gflops, bandwidth_gbs)
        roof = attainable_gflops(2 * macs / bytes_moved, peak_gflops, bandwidth_gbs)
        assert achieved_gflops(macs, time_ms) == pytest.approx(roof)


@pytest.mark.parametrize("bits", [1, 2, 3, 4, 5, 7, 8, 16])
def test_01_4_is_the_size_of_codes_that_are_really_packed(bits):
    shape = (3, 5, 1, 3)
    packed = np.packbits(np.ones((math.prod(shape), bits), np.uint8).ravel())
    assert weight_bytes(shape, bits) == packed.nbytes + np.ones(shape[0], np.float32).nbytes
