"""Finished runs are kept, and every question has its figures."""

from __future__ import annotations

import pytest

from course_lib.experiments.drift import ARMS, CONDITIONS, Plan, Row


@pytest.fixture
def benchmark(load_script, monkeypatch, isolated_cache):
    """benchmarks/drift.py with streams and trainings that cost nothing; ``runs`` and ``begun`` count them."""
    module = load_script("benchmarks/drift.py")
    module.runs, module.begun, module.streams = [], [], []

    def run_arm(arm, plan, parts, start, seed):
        module.runs.append((arm, seed, start))
        shift = list(ARMS).index(arm) / 100 + seed / 10_000
        told = [(0, "day"), *enumerate(CONDITIONS, 1)]
        return None, [Row(arm, seed, w, c, dict.fromkeys(CONDITIONS, 0.5 + shift), 0.9, 0.1) for w, c in told]

    monkeypatch.setattr(module, "stream", lambda plan: module.streams.append(plan))
    monkeypatch.setattr(module, "begin", lambda plan, parts, student, seed: module.begun.append(seed) or ("d", "p"))
    monkeypatch.setattr(module, "run_arm", run_arm)
    return module


def test_every_arm_runs_once_a_seed_from_its_own_start_and_is_kept(benchmark):
    rows = benchmark.study(Plan(), [320, 321])
    assert [(arm, seed) for arm, seed, _ in benchmark.runs] == [(arm, seed) for seed in (320, 321) for arm in ARMS]
    assert all(start == ("d" if arm.startswith("dense") else "p") for arm, _, start in benchmark.runs)
    assert benchmark.begun == [320, 321]
    assert len(benchmark.streams) == 1
    assert benchmark.study(Plan(), [320, 321]) == rows
    assert len(benchmark.runs) == 2 * len(ARMS)
    benchmark.study(Plan(moved=0.1), [320])
    assert len(benchmark.runs) == 3 * len(ARMS)


def test_each_question_has_a_figure_along_the_stream_and_for_each_condition_at_its_end(benchmark):
    found = benchmark.figures(benchmark.study(Plan(), [320, 321, 322]))
    assert len(found) == 4 * (len(ARMS) + len(benchmark.PAIRS))
    assert found["frozen_along"].value == pytest.approx(50 + 3.21)
    gain = found["replay_gain_end_day_points"]
    difference = list(ARMS).index("fixed_replay") - list(ARMS).index("fixed")
    assert (gain.value, gain.n, gain.unit) == (pytest.approx(difference), 3, "points")
