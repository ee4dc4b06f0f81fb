"""The timing of fake quantization compares two functions that compute the same, and reports the worst ratio."""

from __future__ import annotations

import pytest
import torch

from course_lib.measure import Measurement
from course_lib.quantization import fake_quantize


@pytest.fixture
def bench(load_script):
    return load_script("benchmarks/quantization_speed.py")


@pytest.mark.parametrize("axis", [None, 0])
def test_both_compute_the_same_values_and_gradients(bench, axis):
    x, affine = bench.question(10_000, axis)
    assert torch.equal(fake_quantize(x, affine), bench.fused(x, affine))
    gradients = []
    for function in (fake_quantize, bench.fused):
        bench.step(function, x, affine)()
        gradients.append(x.grad)
    assert torch.equal(*gradients)
    assert 0 < (gradients[0] == 0).sum() < x.numel() / 2  # some are clipped


def test_every_size_and_granularity_is_timed_with_an_interval(bench, monkeypatch):
    monkeypatch.setattr(bench, "SIZES", (1000, 2000))
    found = bench.ratios(repeats=5)
    assert list(found) == ["per_tensor_1000", "per_tensor_2000", "per_channel_1000", "per_channel_2000"]
    assert all(0 < figure.low <= figure.value <= figure.high for figure in found.values())


def test_the_figure_is_the_worst_ratio_and_a_miss_is_told(bench):
    def ratio(value: float) -> Measurement:
        return Measurement(value, "×", 5, "m", value - 0.1, value + 0.1)

    good = bench.worst({"per_tensor_10": ratio(1.1), "per_channel_10": ratio(1.2)})
    assert (good.value, good.low, good.note) == (1.2, pytest.approx(1.1), None)
    assert "per channel 10 values" in good.meaning
    assert "several passes" in bench.worst({"per_tensor_10": ratio(1.6)}).note
