"""Every rule has its accuracies, and its difference to the uniform rule is taken within a seed."""

from __future__ import annotations

import pytest

from course_lib.experiments.allocation_study import RULES, Score


def test_differences_are_paired_with_the_uniform_rule(load_script):
    module = load_script("benchmarks/allocation.py")
    scores = [
        Score(rule, seed, (4, 4), 0.5, 0.9 + 0.01 * i, 0.8 + 0.02 * i + seed / 1000, 0.95 - 0.01 * i + seed / 100)
        for seed in (1, 2, 3)
        for i, rule in enumerate(RULES)
    ]
    found = module.figures(scores)
    assert len(found) == 3 * len(RULES) + 2 * (len(RULES) - 1)
    assert found["uniform_trained"].value == pytest.approx(97)
    gain = found["search_gain_points"]
    assert (gain.value, gain.low, gain.high, gain.n) == (pytest.approx(-2), pytest.approx(-2), pytest.approx(-2), 3)
    assert found["greedy_gain_at_once_points"].value == pytest.approx(2)
