"""The fusion benchmark compares networks that compute the same, and tells each target's outcome with its parts."""

from __future__ import annotations

import dataclasses
import json

import pytest
import torch

from course_lib.evaluation import Estimate
from course_lib.experiments import fusion_study
from course_lib.experiments.fusion_study import Saving, Session, pooled


@pytest.fixture
def bench(load_script):
    return load_script("benchmarks/fusion.py")


def one(ratio: float, measured: float = 1.0, predicted: float = 1.2) -> Session:
    steps = ["A/A", "channels last", *fusion_study.STEPS]
    estimate = Estimate(ratio, ratio - 0.01, ratio + 0.01, 10, "×")
    return Session(dict.fromkeys(steps, estimate), estimate, Saving(measured, predicted, measured, 4.0, 35, 50.0))


def test_every_step_computes_what_the_network_computes():
    model, x = fusion_study.network("student"), torch.rand(2, 3, 32, 32)
    steps = fusion_study.variants(model, x)
    assert list(steps)[:3] == ["eager", "A/A", "channels last"]
    with torch.no_grad():
        expected = model(x)
        for run in steps.values():
            assert (run(x) - expected).abs().max() <= 1e-5 * expected.abs().max()


def test_a_session_survives_its_way_through_json():
    found = fusion_study.session("student", batch=1, rounds=2, seed=0)
    assert fusion_study.from_json(json.loads(json.dumps(dataclasses.asdict(found)))) == found
    assert found.saving.calls == 10
    assert found.saving.by_traffic > 0 < found.saving.by_loop
    assert set(found.speedups) == {"A/A", "channels last", *fusion_study.STEPS}


def test_another_network_is_refused():
    with pytest.raises(ValueError, match="name must be one of teacher, student, resnet18, got 'vgg'"):
        fusion_study.network("vgg")


def test_the_teacher_at_batch_1_carries_the_targets(bench):
    found = [one(1.2), one(1.3), one(1.25)]
    figures = bench.speedups("teacher", 1, found) | bench.prediction("teacher", 1, found)
    assert figures["fusion_speedup"].target == "≥ 1.15"
    assert figures["fusion_speedup"].met
    assert figures["traffic_prediction_error"].value == pytest.approx(0.2)
    assert figures["traffic_prediction_error"].met
    assert figures["teacher_1_error_by_loop"].value == 0
    assert "teacher_1_aa" in figures
    assert pooled(found)["fusion alone"].value == pytest.approx(1.25, abs=0.01)
    others = bench.speedups("student", 32, found) | bench.prediction("student", 32, found)
    assert "fusion_speedup" not in others
    assert all(figure.target is None for figure in others.values())


def test_misses_are_told_with_their_reason(bench):
    found = [one(1.01, measured=1.0, predicted=0.5)] * 3
    figures = bench.speedups("teacher", 1, found) | bench.prediction("teacher", 1, found)
    assert "convolutions take" in figures["fusion_speedup"].note
    assert "leaves out caches" in figures["traffic_prediction_error"].note
