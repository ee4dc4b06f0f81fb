"""A training that is finished is kept under all that decided it, and an interrupted run continues after it."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from course_lib.data import SignDataset, Splits
from course_lib.experiments.distillation_study import SMALL, Score


@pytest.fixture
def benchmark(load_script, monkeypatch, isolated_cache):
    """benchmarks/distillation.py with data, teachers and trainings that cost nothing; ``runs`` counts trainings."""
    module = load_script("benchmarks/distillation.py")
    module.runs, module.digest, module.stop_at = [], "1" * 64, None
    part = SignDataset(np.zeros((3, 3, 1, 1), np.uint8), np.arange(3))

    def run_arm(arm, study, splits, teacher, table, seed):
        if len(module.runs) == module.stop_at:
            raise KeyboardInterrupt
        module.runs.append((arm.name, seed))
        assert (teacher is None) == (arm.terms is None)
        return None, Score(study.name, arm.name, seed, 0.5 + seed / 100, None, 10, float(len(module.runs)))

    monkeypatch.setattr(module, "load", lambda data: Splits(part, part, part))
    monkeypatch.setattr(
        module.checkpoints, "load_for_split", lambda name, splits: (torch.nn.Linear(1, 1), {"sha256": module.digest})
    )
    monkeypatch.setattr(module, "_table", lambda *_: None)
    monkeypatch.setattr(module, "run_arm", run_arm)
    return module


def scores(module, **options):
    return module.scores("rendered", SMALL, ("alone", "soft_targets"), range(2), **options)


def test_what_was_trained_is_read_back_and_afresh_trains_again(benchmark):
    first = scores(benchmark)
    assert benchmark.runs == [("alone", 0), ("soft_targets", 0), ("alone", 1), ("soft_targets", 1)]
    assert scores(benchmark) == first
    assert len(benchmark.runs) == 4
    scores(benchmark, afresh=True)
    assert len(benchmark.runs) == 8


def test_an_interrupted_run_continues_where_it_stopped(benchmark):
    benchmark.stop_at = 3
    with pytest.raises(KeyboardInterrupt):
        scores(benchmark)
    benchmark.stop_at = None
    assert [score.seconds for score in scores(benchmark)] == [1.0, 2.0, 3.0, 4.0]


def test_another_teacher_is_another_training_and_a_score_edited_by_hand_is_trained_again(benchmark, isolated_cache):
    scores(benchmark)
    benchmark.digest = "2" * 64
    scores(benchmark)
    assert len(benchmark.runs) == 8
    (kept, *_) = (isolated_cache / "studies").glob("alone_seed0_*")
    text = (kept / "score.json").read_text()
    (kept / "score.json").write_text(text.replace("0.5", "0.9"))
    benchmark.digest = "1" * 64
    found = scores(benchmark)
    benchmark.digest = "2" * 64
    found += scores(benchmark)
    assert len(benchmark.runs) == 9
    assert {score.validation for score in found} == {0.5, 0.51}
