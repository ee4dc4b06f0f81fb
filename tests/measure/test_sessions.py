"""Several sessions become one ledger whose intervals cover them."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest
from scipy import stats

from course_lib.evaluation import Estimate, ratio_over_sessions
from course_lib.measure import IN_TURN, Ledger, Times, pool_sessions, ratio_of


def session(ledger: Ledger, factors: dict[str, float], seed: int, *, busy: float = 1.0, again: float = 1.0) -> Ledger:
    """The ledger of conftest, as another process would have measured it: its rows slower by their factor."""
    rng = np.random.default_rng(seed)

    def times(ms: float) -> Times:
        rounds = tuple((float(ms * f),) for f in rng.lognormal(0, 0.001, 30))
        return Times(IN_TURN.name, (rounds,), busy=busy)

    ms = {row.name: row.times[0].p50 * factors.get(row.name, 1.0) for row in ledger}
    rows = tuple(dataclasses.replace(row, times=(times(ms[row.name]),)) for row in ledger)
    return dataclasses.replace(ledger, rows=rows, again=(times(2.0 * again),))


@pytest.fixture
def three(ledger) -> list[Ledger]:
    return [session(ledger, {"student pruned INT8": f}, seed) for seed, f in enumerate((1.0, 1.1, 1.2))]


def test_all_calls_are_kept_by_session_and_the_rest_is_the_first_one_s(three):
    found = pool_sessions(three)
    assert found.sessions == 3
    for i, row in enumerate(found):
        assert row.times[0].rounds == 90
        assert row.times[0].sessions == tuple(one.rows[i].times[0].sessions[0] for one in three)
        assert dataclasses.replace(row, times=()) == dataclasses.replace(three[0].rows[i], times=())
    assert "90 interleaved rounds in 3 sessions" in found.caption()


def test_a_ratio_is_the_geometric_mean_of_the_sessions_with_student_s_interval(three):
    found = pool_sessions(three)["student pruned INT8"].speedup
    own = [ratio_of(one.rows[0].times[0], one.rows[2].times[0], one.seed).value for one in three]
    low, high = stats.t.interval(0.95, 2, np.mean(np.log(own)), np.std(np.log(own), ddof=1) / math.sqrt(3))
    assert found.value == pytest.approx(math.exp(np.mean(np.log(own))))
    assert (found.low, found.high) == pytest.approx((math.exp(low), math.exp(high)))
    assert (found.n, found.clusters) == (90, 3)
    assert found.includes(20.0 / 1.2)  # the sessions differ by more than their rounds do
    assert found.high / found.low > 1.2


def test_the_a_a_row_is_pooled_too_and_the_least_let_run_session_decides(ledger):
    three = [session(ledger, {}, seed, busy=busy) for seed, busy in enumerate((1.0, 0.7, 1.0))]
    found = pool_sessions(three)
    assert found.again[0].speedup.includes(1)
    assert found.again[0].speedup.clusters == 3
    assert found["teacher FP32"].times[0].busy == 0.7
    assert "starved" in found.marks(found["teacher FP32"])


def test_one_session_keeps_its_own_interval(ledger):
    alone = session(ledger, {}, 0)
    found = pool_sessions([alone])
    assert found["student pruned INT8"].speedup == ratio_of(alone.rows[0].times[0], alone.rows[2].times[0], 0)
    assert found["teacher FP32"].speedup is None


DIFFERENCES = {
    "the cadences": lambda one: dataclasses.replace(one, cadences=(dataclasses.replace(IN_TURN, calls=2),)),
    "the machine": lambda one: dataclasses.replace(one, machine={"cpu": "another"}),
    "the threads": lambda one: dataclasses.replace(one, threads=2),
    "the rows": lambda one: dataclasses.replace(one, rows=(*one.rows[:2], dataclasses.replace(one.rows[2], macs=2))),
}


@pytest.mark.parametrize(("what", "change"), DIFFERENCES.items())
def test_sessions_of_other_measurements_are_refused(three, what, change):
    with pytest.raises(ValueError, match=f"session 3 is another measurement than session 1: {what} differ"):
        pool_sessions([three[0], three[1], change(three[2])])


def test_no_session_is_refused():
    with pytest.raises(ValueError, match="at least one session"):
        pool_sessions([])
    with pytest.raises(ValueError, match="at least one session"):
        ratio_over_sessions([])


def test_swapping_the_two_inverts_the_ratio_of_sessions():
    forward = [Estimate(v, v, v, 30, "×") for v in (2.0, 2.5, 2.2)]
    backward = [Estimate(1 / v.value, 1 / v.value, 1 / v.value, 30, "×") for v in forward]
    one, other = ratio_over_sessions(forward), ratio_over_sessions(backward)
    assert (one.value, one.low, one.high) == pytest.approx((1 / other.value, 1 / other.high, 1 / other.low))
