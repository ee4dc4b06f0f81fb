"""Four ways to choose codes, each from the same start; drops are paired with float32; what is scored is the file."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from course_lib.data import SignDataset
from course_lib.models import sign_student
from course_lib.quantization.calibrated import simulated_logits

SIGNS, FRAMES = 10, 4


@pytest.fixture
def benchmark(load_script, monkeypatch):
    module = load_script("benchmarks/post_training.py")
    monkeypatch.setattr(module, "Rounding", lambda seed: Rounding(steps=3, patches=64, batch=16, seed=seed))
    Rounding = module.adaround.__globals__["Rounding"]
    return module


@pytest.fixture
def part():
    labels = np.repeat(np.arange(SIGNS), FRAMES) % 4
    images = np.random.default_rng(0).integers(0, 256, (SIGNS * FRAMES, 3, 32, 32), np.uint8)
    return SignDataset(images, labels, groups=np.repeat(np.arange(SIGNS), FRAMES))


@pytest.fixture
def student():
    torch.manual_seed(0)
    return sign_student(0.25).eval()


def test_the_ways_differ_in_what_they_say_they_change(benchmark, part, student):
    images = part.batch(np.arange(8))[0]
    found = {name: network for name, network, _ in benchmark.variants(student, images, 3, seed=5)}
    assert set(found) == set(benchmark.WORDS)
    assert not found["nearest"].rounded
    assert not found["bias"].rounded
    assert set(found["adaround"].rounded) == set(found["adaround_bias"].rounded) == set(found["nearest"].weights)
    for plain, corrected in (("nearest", "bias"), ("adaround", "adaround_bias")):
        pairs = zip(found[plain].graph.layers, found[corrected].graph.layers, strict=True)
        assert any(not torch.equal(one.bias, other.bias) for one, other in pairs if hasattr(one, "bias"))
    assert all(affine.codes.bits == 3 for affine in found["nearest"].weights.values())


def test_the_file_is_scored_and_its_agreement_told(benchmark, part, student):
    images = part.batch(np.arange(len(part)))[0]
    network = benchmark.quantize_network(student, images)
    right, agreement = benchmark.score(network, part)
    assert right == (simulated_logits(network, images).argmax(1).numpy() == part.labels).astype(int).tolist()
    assert agreement == 1.0


def test_every_seed_and_way_is_run_with_its_own_images(benchmark, part, student, monkeypatch):
    monkeypatch.setattr(benchmark, "BITS", {"student": (4, 2)})
    seen = []
    variants = benchmark.variants
    monkeypatch.setattr(
        benchmark,
        "variants",
        lambda model, images, bits, seed: seen.append((bits, seed, images)) or variants(model, images, bits, seed),
    )
    monkeypatch.setattr(benchmark, "CALIBRATION", 8)
    rights, told = benchmark.run("student", student, part, part)
    assert len(told) == 2 * benchmark.SEEDS * 4
    assert set(rights) == {f"student_w{bits}a8_{way}" for bits in (4, 2) for way in benchmark.WORDS}
    assert all(len(rows) == benchmark.SEEDS for rows in rights.values())
    assert {seed for _, seed, _ in seen} == {430, 431, 432}
    first, second = (images for bits, seed, images in seen if bits == 4 and seed < 432)
    assert not torch.equal(first, second)


def test_figures_are_paired_with_float32(benchmark, part):
    whole = {"student": [1] * 36 + [0] * 4}
    rights = {"student_w4a8_adaround": [[0] * wrong + [1] * (36 - wrong) + [0] * 4 for wrong in (0, 2, 4)]}
    figures = benchmark.figures_of(rights, whole, part)
    assert figures["student_fp32_accuracy"].value == 90.0
    assert figures["student_w4a8_adaround_accuracy"].value == pytest.approx(85.0)
    drop = figures["student_w4a8_adaround_drop_points"]
    assert drop.value == pytest.approx(5.0)
    assert drop.low <= drop.value <= drop.high
    assert drop.target == "≤ 0.5"
    assert "student_w4a8_nearest_drop_points" not in figures
