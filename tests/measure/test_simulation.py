"""Simulated timing sessions: the disturbances are what they say, and only the paired median survives them all."""

from __future__ import annotations

import numpy as np
import pytest

from course_lib.measure.simulation import SLOW, simulate_session, speedup_estimates


@pytest.mark.parametrize("drift", [0.0, 0.5, 1.0])
def test_in_blocks_the_ratio_of_means_follows_the_formula(drift):
    s = simulate_session(2.0, 4000, drift=drift, interruptions=0.0, interleaved=False, seed=0)
    expected = 2 * (1 + drift / 4) / (1 + 3 * drift / 4)
    assert s.a_ms.mean() / s.b_ms.mean() == pytest.approx(expected, rel=0.01)


def test_interleaved_means_do_not_see_the_drift():
    s = simulate_session(2.0, 4000, drift=1.0, interruptions=0.0, interleaved=True, seed=0)
    assert s.a_ms.mean() / s.b_ms.mean() == pytest.approx(2.0, rel=0.01)


@pytest.mark.parametrize("interleaved", [True, False])
def test_every_place_in_the_order_is_used_once(interleaved):
    s = simulate_session(2.0, 50, drift=0.1, interruptions=0.1, interleaved=interleaved, seed=3)
    assert sorted(np.concatenate([s.a_at, s.b_at])) == list(range(100))


def test_each_round_holds_both_variants_and_neither_is_always_first():
    s = simulate_session(2.0, 200, drift=0.0, interruptions=0.0, interleaved=True, seed=0)
    assert (s.a_at // 2 == s.b_at // 2).all()
    assert 60 < (s.a_at < s.b_at).sum() < 140


def test_interruptions_are_as_frequent_and_as_slow_as_stated():
    s = simulate_session(1.0, 20_000, drift=0.0, interruptions=0.1, interleaved=True, seed=0)
    slow = s.b_ms > SLOW / 2
    assert slow.mean() == pytest.approx(0.1, abs=0.01)
    assert np.median(s.b_ms[slow]) == pytest.approx(SLOW, rel=0.02)


def test_only_the_paired_median_holds_the_truth_under_drift_and_interruptions():
    blocks_mean, blocks_median, _, paired = speedup_estimates(2.0, 1000, drift=0.5, interruptions=0.05, seed=0).values()
    assert blocks_median.high < 1.9
    assert blocks_mean.value < 1.9
    assert paired.low <= 2.0 <= paired.high
    assert paired.high - paired.low < 0.05


def test_the_same_seed_gives_the_same_session_and_another_seed_another():
    one, again, other = (
        simulate_session(2.0, 10, drift=0.1, interruptions=0.1, interleaved=True, seed=s) for s in (1, 1, 2)
    )
    assert (one.a_ms == again.a_ms).all()
    assert (one.a_ms != other.a_ms).any()


@pytest.mark.parametrize("wrong", [{"truth": 0.0}, {"rounds": 1}, {"drift": -0.1}, {"interruptions": 1.1}])
def test_arguments_outside_their_range_are_refused(wrong):
    arguments = {"truth": 2.0, "rounds": 10, "drift": 0.0, "interruptions": 0.0} | wrong
    with pytest.raises(ValueError, match="need truth > 0"):
        simulate_session(interleaved=True, seed=0, **arguments)


def test_the_clock_slows_down_as_the_session_goes_on():
    s = simulate_session(1.0, 400, drift=1.0, interruptions=0.0, interleaved=False, seed=0)
    assert s.a_ms[-100:].mean() > 1.2 * s.a_ms[:100].mean()
    assert s.b_ms[:100].mean() > s.a_ms[:100].mean()
