"""Chapter 00's exercises: the references agree with the library and PyTorch, and no draw lies near a tie."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from course_lib.exercises.chapter_00.eight_bits import ex as eight_bits
from course_lib.exercises.chapter_00.eight_bits import round_trip
from course_lib.exercises.chapter_00.ledger_rows import compare_rows
from course_lib.measure import load_result


@pytest.mark.parametrize("name", ["rendered", "gtsrb"])
def test_00_1_compares_as_the_recorded_ledger_does(name):
    rows = load_result(f"journey_{name}")["ledger"]["rows"]
    columns = [
        {"accuracy": r["accuracy"]["value"], "bytes": r["size_bytes"], "p50_ms": r["times"][0]["p50_ms"]} for r in rows
    ]
    for row, column in zip(rows[1:], columns[1:], strict=True):
        smaller, faster, lost = compare_rows(columns[0], column)
        assert smaller == pytest.approx(row["size_ratio"])
        assert lost == pytest.approx(-row["accuracy_change"]["value"])
        # p50 over p50 of all sessions is no mean of the sessions' ratios: their clocks differ.
        assert faster == pytest.approx(row["times"][0]["speedup"]["value"], rel=0.25)


def test_00_2_is_pytorch_s_affine_quantizer():
    rng = np.random.default_rng(0)
    for _ in range(200):
        x, low, high = eight_bits.inputs_fn(rng)
        scale, zero_point, codes, restored = round_trip(x, low, high)
        theirs = torch.fake_quantize_per_tensor_affine(torch.tensor(x), scale, zero_point, 0, 255)
        np.testing.assert_allclose(restored, theirs.numpy(), rtol=1e-6)  # PyTorch rounds the scale to float32
        assert codes.dtype == np.uint8


def test_00_2_keeps_its_inputs_clear_of_ties():
    rng = np.random.default_rng(0)
    for _ in range(200):
        x, low, high = eight_bits.inputs_fn(rng)
        scale, zero_point, _, restored = round_trip(x, low, high)
        inside = (x >= min(low, 0)) & (x <= max(high, 0))
        assert inside.sum() == 6
        assert np.abs(np.abs(x / scale - np.floor(x / scale)) - 0.5)[inside].min() > 0.05
        assert np.abs(restored - x)[inside].max() <= 0.5 * scale
        # A number beyond each end, so that a missing clip shows in every draw.
        assert ((x / scale + zero_point) > 256).any()
        assert ((x / scale + zero_point) < -1).any()
