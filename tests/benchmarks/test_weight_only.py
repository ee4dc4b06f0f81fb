"""The benchmark of weight-only layers compares the same layer in floats and in codes, in bytes, noise and time."""

from __future__ import annotations

import time

import pytest
import torch
from torch import Tensor

from course_lib.quantization import WeightOnlyLinear

KINDS = (("bytes_ratio", ""), ("sqnr", "_db"), ("time_ratio", ""))


@pytest.fixture
def bench(load_script):
    return load_script("benchmarks/weight_only.py")


def test_every_width_has_bytes_noise_and_time(bench):
    found = bench.figures_of(64, 96, repeats=5)
    assert list(found) == [
        "float_64_96_ms",
        *(f"{name}_{bits}_bits_64_96{unit}" for bits in (8, 4) for name, unit in KINDS),
    ]
    # Weights of b bits, 16 more for 32 of them, and a bias of 32 bits.
    for bits in (8, 4):
        ratio = (32 * 64 + 32) / ((bits + 16 / 32) * 64 + 32)
        assert found[f"bytes_ratio_{bits}_bits_64_96"].value == pytest.approx(ratio, abs=1e-3)
        slower = found[f"time_ratio_{bits}_bits_64_96"]
        assert 0 < slower.low <= slower.value <= slower.high
    assert found["sqnr_8_bits_64_96_db"].value > found["sqnr_4_bits_64_96_db"].value + 20


def test_a_slow_quantized_layer_has_a_ratio_above_1(bench, monkeypatch):
    def slow(layer: WeightOnlyLinear, x: Tensor) -> Tensor:
        time.sleep(0.02)
        return x

    monkeypatch.setattr(WeightOnlyLinear, "forward", slow)
    assert all(bench.figures_of(64, 8, repeats=5)[f"time_ratio_{bits}_bits_64_8"].value > 1 for bits in (8, 4))


def test_a_call_runs_the_layer_without_gradient(bench):
    layer, x = bench.float_layer(32, 4), torch.ones(1, 32)
    found = bench.call(layer, x)()
    assert torch.equal(found, layer(x))
    assert not found.requires_grad
