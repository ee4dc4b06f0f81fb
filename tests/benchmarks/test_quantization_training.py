"""Finished trainings are kept; drops are from the control and from the shipped weights; what is scored is the file."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from course_lib.data import SignDataset
from course_lib.experiments.pruning_study import Parts
from course_lib.experiments.teacher_pruning import right_on
from course_lib.models import SignStudent
from course_lib.quantization.aware import AwareNetwork

SIGNS = 40


@pytest.fixture
def benchmark(load_script):
    return load_script("benchmarks/quantization_training.py")


@pytest.fixture
def cheap(benchmark, monkeypatch, isolated_cache):
    """Trainings that cost nothing: the n-th arm is wrong on the first n images."""
    benchmark.runs = []

    def run_arm(bits, plan, parts, shipped, seed):
        arm = list(benchmark.ARMS.values()).index(bits)
        benchmark.runs.append((arm, seed))
        return arm, 1.0

    def score(wrong, part):
        return {"right": [int(i >= wrong) for i in range(SIGNS)], "agreement": 1 - wrong / 1000}

    monkeypatch.setattr(benchmark, "run_arm", run_arm)
    monkeypatch.setattr(benchmark, "score", score)
    return benchmark


@pytest.fixture
def parts():
    part = SignDataset(np.random.default_rng(0).integers(0, 256, (40, 3, 32, 32), np.uint8), np.arange(40) % 4)
    return Parts(part, part, part)


def test_every_arm_runs_once_a_seed_and_is_kept(cheap, parts):
    rights, told = cheap.trainings("rendered", parts, None, {"version": 1}, afresh=False)
    assert len(rights) == len(told) == len(cheap.runs) == cheap.SEEDS * len(cheap.ARMS) == 15
    again, _ = cheap.trainings("rendered", parts, None, {"version": 1}, afresh=False)
    assert (again, len(cheap.runs)) == (rights, 15)
    cheap.trainings("rendered", parts, None, {"version": 2}, afresh=False)
    assert len(cheap.runs) == 30


def test_on_real_signs_the_asked_arms_are_trained_and_told(cheap, parts):
    rights, told = cheap.trainings("gtsrb", parts, None, {"version": 1}, afresh=False)
    assert {arm for arm, _ in rights} == {"fp32", "w4a4_lsq", "w2a2_lsq"}
    agreements = {row["arm"]: row["agreement"] for row in told}
    figures = cheap.figures_of(rights, [1] * SIGNS, np.arange(SIGNS), agreements)
    assert set(cheap.TARGETS) < set(figures)
    assert not [name for name in figures if name.startswith(("w8a8", "w3a3"))]


def test_drops_are_from_the_control_and_from_the_shipped_weights(cheap, parts):
    rights, told = cheap.trainings("rendered", parts, None, {"version": 1}, afresh=False)
    for seed in range(3):
        rights["fp32", cheap.FIRST_SEED + seed] = [0] * 2 + [1] * (SIGNS - 2)
    agreements = {row["arm"]: row["agreement"] for row in told}
    figures = cheap.figures_of(rights, [1] * SIGNS, np.arange(SIGNS), agreements)
    assert figures["shipped_accuracy"].value == 100
    assert figures["fp32_drop_from_shipped_points"].value == 5
    assert figures["w2a2_lsq_drop_from_shipped_points"].value == 10  # the fifth arm: 4 of 40
    assert figures["w2a2_lsq_drop_points"].value == 5
    assert figures["w8a8_lsq_drop_points"].value == -2.5
    assert figures["w2a2_lsq_drop_points"].note.endswith("the interval holds the target")
    assert figures["w4a4_lsq_drop_points"].note is None
    assert figures["w2a2_lsq_agreement"].value == 99.6
    assert {name for name, figure in figures.items() if figure.target == "≤ 0.5"} == {"w4a4_lsq_drop_points"}
    assert {name for name, figure in figures.items() if figure.target == "≤ 2.5"} == {"w2a2_lsq_drop_points"}


def test_an_arm_trains_on_codes_the_control_in_float_and_the_shipped_student_stays(benchmark, parts):
    torch.manual_seed(0)
    shipped = SignStudent(num_classes=4, channels=(8, 8), strides=(2, 2)).eval()
    before = [p.detach().clone() for p in shipped.parameters()]
    plan = replace(benchmark.STUDY["rendered"], epochs=2)
    for bits in (None, benchmark.ARMS["w2a2_lsq"]):
        network, seconds = benchmark.run_arm(bits, plan, parts, shipped, 1)
        assert isinstance(network, AwareNetwork) == (bits is not None)
        assert seconds > 0
        found = benchmark.score(network, parts.scoring)
        assert found["agreement"] >= 0.975  # 39 of 40
        assert np.abs(np.subtract(found["right"], right_on(network, parts.scoring))).sum() <= 1
    assert all(torch.equal(p, kept) for p, kept in zip(shipped.parameters(), before, strict=True))


def test_all_arms_share_views_order_and_rates(benchmark):
    for plan in benchmark.STUDY.values():
        recipe = plan.recipe(7)
        assert (recipe.epochs, recipe.views, recipe.seed) == (plan.epochs, plan.epochs, 7)
        assert 0 < plan.frozen < plan.epochs
