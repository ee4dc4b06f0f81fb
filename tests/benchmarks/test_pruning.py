"""Finished trainings of the schedules are kept, and a dense network is trained once a seed."""

from __future__ import annotations

import numpy as np
import pytest

from course_lib.data import SignDataset, Splits
from course_lib.experiments.pruning_study import ARMS, DENSE, PRUNING_RATIOS, Dense, Plan, Score

RUNS = len(DENSE) + len(PRUNING_RATIOS) * (len(ARMS) - len(DENSE))


@pytest.fixture
def benchmark(load_script, monkeypatch, isolated_cache):
    """benchmarks/pruning.py with data and trainings that cost nothing; ``runs`` and ``seeds`` count trainings."""
    module = load_script("benchmarks/pruning.py")
    module.runs, module.seeds, module.stop_at = [], [], None
    part = SignDataset(np.zeros((3, 3, 1, 1), np.uint8), np.arange(3))

    def train_dense(plan, parts, seed, folder):
        module.seeds.append(seed)
        (folder / "early.pt").write_bytes(b"")
        return Dense({}, {})

    def run_arm(arm, ratio, plan, parts, dense, seed):
        if len(module.runs) == module.stop_at:
            raise KeyboardInterrupt
        module.runs.append((arm, ratio, seed))
        return None, Score(arm, ratio, seed, 0.5 + list(ARMS).index(arm) / 100 + seed / 1000, 1, 5, 1.0)

    monkeypatch.setattr(module, "load", lambda data: Splits(part, part, part))
    monkeypatch.setattr(module.Parts, "of", classmethod(lambda cls, splits: cls(part, part, part)))
    monkeypatch.setattr(module, "train_dense", train_dense)
    monkeypatch.setattr(module, "run_arm", run_arm)
    return module


def test_every_arm_runs_once_a_seed_and_fraction_from_one_dense_training(benchmark):
    found = benchmark.scores(Plan(), [300, 301])
    assert benchmark.seeds == [300, 301]
    assert len(found) == len(set(benchmark.runs)) == 2 * RUNS
    assert benchmark.scores(Plan(), [300, 301]) == found
    assert len(benchmark.runs) == 2 * RUNS


def test_an_interrupted_run_continues_and_another_plan_or_afresh_trains_again(benchmark):
    benchmark.stop_at = 4
    with pytest.raises(KeyboardInterrupt):
        benchmark.scores(Plan(), [300])
    benchmark.stop_at = None
    benchmark.scores(Plan(), [300])
    assert len(benchmark.runs) == RUNS
    benchmark.scores(Plan(epochs=9), [300])
    benchmark.scores(Plan(), [300], afresh=True)
    assert len(benchmark.runs) == 3 * RUNS


def test_each_arm_and_fraction_has_a_figure_and_the_dense_control_its_accuracy(benchmark):
    figures = benchmark.schedule_figures(benchmark.scores(Plan(), [300, 301, 302]))
    assert len(figures) == 1 + RUNS - 1
    assert figures["dense_accuracy"].value == pytest.approx(50 + 30.1)
    gain = figures["cubic_90_gain_points"]
    assert (gain.value, gain.n, gain.unit) == (pytest.approx(100 * list(ARMS).index("cubic") / 100), 3, "points")
