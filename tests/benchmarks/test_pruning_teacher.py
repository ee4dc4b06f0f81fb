"""Finished recoveries are kept, and every figure compares what its name says."""

from __future__ import annotations

import numpy as np
import pytest

from course_lib.data import SignDataset
from course_lib.experiments.pruning_study import Parts
from course_lib.experiments.teacher_pruning import ARMS, BUDGETS
from course_lib.models import SignTeacher

SIGNS = 40


@pytest.fixture
def benchmark(load_script, monkeypatch, isolated_cache):
    """benchmarks/pruning_teacher.py with trainings that cost nothing: the n-th arm is wrong on the first n images."""
    module = load_script("benchmarks/pruning_teacher.py")
    module.runs = []

    def run_arm(arm, plan, parts, start, table, seed):
        module.runs.append((arm, seed))
        return list(ARMS).index(arm), 1.0

    monkeypatch.setattr(module, "run_arm", run_arm)
    monkeypatch.setattr(module, "right_on", lambda wrong, part: [int(i >= wrong) for i in range(SIGNS)])
    monkeypatch.setattr(module, "teacher_table", lambda *args, **options: None)
    return module


@pytest.fixture
def parts():
    part = SignDataset(np.zeros((3, 3, 1, 1), np.uint8), np.arange(3))
    return Parts(part, part, part)


NETWORKS = dict.fromkeys(("whole", *BUDGETS))


def test_every_arm_runs_once_a_seed_and_is_kept(benchmark, parts):
    rights, told = benchmark.trainings("rendered", parts, NETWORKS, {"version": 1}, afresh=False)
    count = benchmark.SEEDS * sum(len(budgets) for budgets in benchmark.RUNS["rendered"].values())
    assert len(rights) == len(told) == len(benchmark.runs) == count
    again, _ = benchmark.trainings("rendered", parts, NETWORKS, {"version": 1}, afresh=False)
    assert (again, len(benchmark.runs)) == (rights, count)
    benchmark.trainings("rendered", parts, NETWORKS, {"version": 2}, afresh=False)
    assert len(benchmark.runs) == 2 * count


def test_figures_are_drops_from_the_unpruned_and_differences_of_arms(benchmark, parts):
    rights, _ = benchmark.trainings("rendered", parts, NETWORKS, {"version": 1}, afresh=False)
    figures = benchmark.accuracy_figures(rights, [1] * SIGNS, np.arange(SIGNS))
    assert figures["unpruned_accuracy"].value == 100
    assert figures["drop_points_at_half_macs"].value == 0
    assert figures["tuned_drop_points_at_quarter_macs"].value == 100 / SIGNS
    assert figures["dense_drop_points"].value == 600 / SIGNS
    assert figures["distilled_minus_fresh_distilled_points_at_quarter_macs"].value == 200 / SIGNS
    assert figures["tuned_accuracy_at_tenth_macs"].value == 97.5
    assert "distilled_minus_fresh_distilled_points_at_half_macs" not in figures


def test_times_are_of_the_cut_networks_as_fractions_of_the_whole_one(benchmark, monkeypatch):
    monkeypatch.setattr(benchmark, "PACES", dict.fromkeys(benchmark.PACES, 2))
    monkeypatch.setattr(benchmark, "SESSIONS", 1)
    shape = {"blocks": (1, 1), "num_classes": 3}
    networks = {"whole": SignTeacher(channels=(16, 16), **shape).eval()}
    networks |= {name: SignTeacher(channels=(8, 8), **shape).eval() for name in BUDGETS}
    figures = benchmark.time_figures(networks, np.zeros((1, 3, 32, 32), np.float32))
    for name in BUDGETS:
        assert 0.2 < figures[f"macs_ratio_at_{name}_macs"].value < 0.35
        assert 0.2 < figures[f"parameter_ratio_at_{name}_macs"].value < 0.35
        assert figures[f"latency_ratio_at_{name}_macs"].n > 0
        assert figures[f"latency_ratio_in_turn_at_{name}_macs"].n > 0
    assert {"aa", "aa_in_turn"} <= figures.keys()
    assert not any("whole" in name for name in figures)
