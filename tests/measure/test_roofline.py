"""The roofline: bound, ridge, achieved speed, and points that join counts with times."""

from __future__ import annotations

import pytest
from torch import nn

from course_lib.measure import count_layers
from course_lib.measure.roofline import (
    achieved_gflops,
    attainable_gflops,
    convolution_intensity,
    ridge_intensity,
    roofline_points,
)


@pytest.mark.parametrize(("intensity", "expected"), [(0.5, 5.0), (10.0, 100.0), (40.0, 100.0)])
def test_below_the_ridge_memory_decides_and_above_it_compute(intensity, expected):
    assert attainable_gflops(intensity, 100.0, 10.0) == expected


def test_both_limits_meet_at_the_ridge():
    ridge = ridge_intensity(73.0, 19.0)
    assert ridge * 19.0 == pytest.approx(73.0)
    assert attainable_gflops(ridge, 73.0, 19.0) == pytest.approx(73.0)


def test_a_million_macs_in_a_millisecond_are_two_gflops():
    assert achieved_gflops(1_000_000, 1.0) == pytest.approx(2.0)


def test_points_join_counts_and_times_of_the_same_layer():
    counts = count_layers(nn.Sequential(nn.Linear(4, 1, bias=False), nn.ReLU(), nn.Linear(1, 1)), (1, 4))
    (point,) = roofline_points(counts, {"0": 0.5, "other": 9.0})
    assert (point.name, point.intensity) == ("0", pytest.approx(8 / 36))
    assert point.gflops == pytest.approx(8 / 0.5e6)


@pytest.mark.parametrize("bad", [0.0, -1.0, float("nan")])
def test_what_is_not_positive_is_refused(bad):
    with pytest.raises(ValueError, match="intensity must be positive"):
        attainable_gflops(bad, 100.0, 10.0)
    with pytest.raises(ValueError, match="time_ms must be positive"):
        achieved_gflops(1, bad)


def test_counts_and_times_without_a_common_layer_are_refused():
    with pytest.raises(ValueError, match="share no layer"):
        roofline_points(count_layers(nn.Linear(4, 1), (1, 4)), {"conv": 1.0})


@pytest.mark.parametrize("groups", [1, 8])
def test_intensity_is_that_of_the_real_layer(groups):
    conv = nn.Conv2d(8, 8, 3, padding=1, groups=groups, bias=False)
    (row,) = count_layers(conv, (2, 8, 4, 4)).values()
    assert convolution_intensity(8, 4, 3, groups, batch=2) == row.arithmetic_intensity
