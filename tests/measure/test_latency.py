"""Latency on a clock that only the variants advance: cadences, rounds, medians, ratios, starvation."""

from __future__ import annotations

import gc
import importlib
import types
from collections.abc import Callable

import numpy as np
import pytest

from course_lib.measure import BACK_TO_BACK, CADENCES, IN_TURN, THIRTY_A_SECOND, Cadence, latency, latency_by_cadence

cadence_module = importlib.import_module("course_lib.measure.cadence")


class FakeClock:
    """A clock that only variants and sleep advance: latencies are then exact and the test needs no real time."""

    def __init__(self, monkeypatch):
        self.now, self.busy, self.log = 0, 0, []
        self.share = 1.0  # of a call's time in which the process runs
        clocks = {"perf_counter_ns": self.look, "process_time_ns": lambda: self.busy, "sleep": self.sleep}
        monkeypatch.setattr(cadence_module, "time", types.SimpleNamespace(**clocks))

    def look(self) -> int:
        self.now += self.tick
        return self.now

    tick = 0  # what a look at the clock costs, in ns

    def sleep(self, seconds: float) -> None:
        self.log.append("sleep")
        self.now += round(1e9 * seconds)

    def variant(self, name: str, ms) -> Callable[[], None]:
        def call():
            self.log.append(name)
            ns = round(1e6 * (ms(self) if callable(ms) else ms))
            self.now += ns
            self.busy += round(self.share * ns)

        return call


def test_latency_reports_the_true_median_tail_and_ratio_of_a_fake_clock(monkeypatch):
    clock = FakeClock(monkeypatch)
    slow_every_tenth = iter([2.0] * 3 + ([2.0] * 9 + [8.0]) * 10)
    variants = {"a": clock.variant("a", 3.0), "b": clock.variant("b", lambda _: next(slow_every_tenth))}
    report = latency(variants, warmup=3, repeats=100, threads=1, seed=0)
    assert (report.p50("a"), report.p95("a")) == (3.0, 3.0)
    assert (report.p50("b"), report.p95("b")) == (2.0, 8.0)
    assert report.ratio("a", "b").value == pytest.approx(1.5)
    assert report.samples_ms["b"].shape == (100, 1)


def test_rounds_are_interleaved_each_variant_once_in_an_order_that_changes(monkeypatch):
    clock = FakeClock(monkeypatch)
    names = ["a", "b", "c"]
    latency({n: clock.variant(n, 5.0) for n in names}, warmup=2, repeats=40, threads=1, seed=0)
    rounds = np.array(clock.log[3 * 2 :]).reshape(40, 3)  # after warm-up
    assert all(sorted(r) == names for r in rounds)
    assert len({tuple(r) for r in rounds}) == 6
    assert clock.log[:6] == ["a", "a", "b", "b", "c", "c"]


def test_a_slowing_machine_does_not_move_the_ratio(monkeypatch):
    clock = FakeClock(monkeypatch)

    def drifting(ms):
        return lambda c: ms * (1 + c.now / 1e9)  # twice as slow after one second

    variants = {"a": clock.variant("a", drifting(3.0)), "b": clock.variant("b", drifting(1.5))}
    ratio = latency(variants, warmup=1, repeats=400, threads=1, seed=0).ratio("a", "b")
    assert ratio.value == pytest.approx(2.0, rel=0.01)
    assert 1.98 < ratio.low <= ratio.high < 2.02


def test_the_same_seed_gives_the_same_order_and_another_seed_another(monkeypatch):
    logs = []
    for seed in (0, 0, 1):
        clock = FakeClock(monkeypatch)
        latency({n: clock.variant(n, 2.0) for n in "abcd"}, warmup=1, repeats=10, threads=1, seed=seed)
        logs.append(clock.log)
    assert logs[0] == logs[1] != logs[2]


def test_more_work_takes_measurably_longer_on_the_real_clock():
    small, large = np.ones((40, 40)), np.ones((400, 400))
    variants = {"large": lambda: large @ large, "small": lambda: small @ small}
    report = latency(variants, warmup=3, repeats=15, threads=1, seed=0)
    assert report.ratio("large", "small").low > 3  # 1000 times the work


def test_the_garbage_collector_rests_while_the_clock_runs_and_returns_afterwards_also_after_an_error():
    seen = []
    latency({"a": lambda: seen.append(gc.isenabled())}, warmup=1, repeats=2, threads=1, seed=0)
    assert seen[-1] is False
    assert gc.isenabled()

    def fails_later(left=iter([1] * 50)):  # noqa: B008
        next(left)

    with pytest.raises(RuntimeError):
        latency({"a": fails_later, "b": lambda: None}, warmup=1, repeats=500, threads=1, seed=0)
    assert gc.isenabled()


def test_a_variant_that_raises_is_named_with_its_error():
    def broken():
        raise KeyError("images")

    with pytest.raises(RuntimeError, match="variant 'student' raised KeyError: 'images'"):
        latency({"teacher": lambda: None, "student": broken}, warmup=1, repeats=2, threads=1, seed=0)


def test_an_interrupt_is_not_swallowed():
    def interrupted():
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        latency({"a": interrupted}, warmup=1, repeats=2, threads=1, seed=0)


@pytest.mark.parametrize("wrong", [{"warmup": 0}, {"repeats": 1}, {"threads": 0}])
def test_latency_refuses_no_warmup_one_round_or_no_threads(wrong):
    with pytest.raises(ValueError, match="warmup ≥ 1, repeats ≥ 2, threads ≥ 1"):
        latency({"a": lambda: None}, **({"warmup": 1, "repeats": 2, "threads": 1, "seed": 0} | wrong))
    with pytest.raises(ValueError, match="at least one"):
        latency({}, warmup=1, repeats=2, threads=1, seed=0)


def test_the_report_marks_a_ratio_that_proves_nothing_and_names_unknown_variants(monkeypatch):
    clock = FakeClock(monkeypatch)
    noise = np.random.default_rng(0).lognormal(1, 0.2, 1000).tolist()
    variants = {n: clock.variant(n, lambda _: noise.pop()) for n in ("a", "twin")}
    variants["fast"] = clock.variant("fast", 1.0)
    report = latency(variants, warmup=1, repeats=30, threads=2, seed=0)
    text = str(report).splitlines()
    assert "interval includes 1" in next(line for line in text if line.startswith("twin"))
    assert "interval includes 1" not in next(line for line in text if line.startswith("fast"))
    assert "30 interleaved rounds, in turn, after 1 warm-up calls, 2 thread(s)" in str(report)
    assert "<td" in report._repr_html_()
    with pytest.raises(ValueError, match="no variant 'b'; there are 'a', 'twin', 'fast'"):
        report.p50("b")


# Cadences.


def test_the_three_cadences_have_the_course_s_names_and_say_what_a_call_finds():
    assert [c.name for c in CADENCES] == ["back to back", "in turn", "30 a second"]
    assert all(c.finds for c in CADENCES)
    assert IN_TURN.calls == 1
    assert THIRTY_A_SECOND.period_s == pytest.approx(1 / 30)


def test_every_sample_is_one_call_for_fast_and_slow_variants_alike(monkeypatch):
    clock = FakeClock(monkeypatch)
    variants = {"fast": clock.variant("fast", 0.003), "slow": clock.variant("slow", 4.0)}
    for one in CADENCES:
        report = latency(variants, warmup=1, repeats=5, threads=1, seed=0, cadence=one)
        assert {name: ms.shape for name, ms in report.samples_ms.items()} == dict.fromkeys(variants, (5, one.calls))
        assert report.p50("fast") == pytest.approx(0.003)
        assert report.cadence == one


def test_back_to_back_drops_the_calls_that_settle_and_keeps_each_of_the_others(monkeypatch):
    clock = FakeClock(monkeypatch)
    cold = iter([9.0] + [5.0, 4.0, 1.0, 2.0, 3.0] * 2)
    report = latency(
        {"a": clock.variant("a", lambda _: next(cold))},
        warmup=1, repeats=2, threads=1, seed=0, cadence=Cadence("block", calls=3, settle=2),
    )  # fmt: skip
    assert report.samples_ms["a"].tolist() == [[1.0, 2.0, 3.0]] * 2


def test_thirty_a_second_starts_calls_a_thirtieth_of_a_second_apart_asleep_between(monkeypatch):
    clock = FakeClock(monkeypatch)
    starts = []
    calls = {"a": lambda: (starts.append(clock.now), clock.variant("a", 2.0)())}
    latency(calls, warmup=1, repeats=2, threads=1, seed=0, cadence=THIRTY_A_SECOND)
    block = np.array(starts[1 : 1 + THIRTY_A_SECOND.settle + THIRTY_A_SECOND.calls])
    assert np.diff(block) == pytest.approx(1e9 / 30, abs=2)
    assert clock.log.count("sleep") == 2 * (THIRTY_A_SECOND.settle + THIRTY_A_SECOND.calls)


def test_a_call_that_is_longer_than_the_period_is_followed_at_once(monkeypatch):
    clock = FakeClock(monkeypatch)
    pace = Cadence("late", calls=4, period_s=0.001)
    report = latency({"a": clock.variant("a", 5.0)}, warmup=1, repeats=2, threads=1, seed=0, cadence=pace)
    assert clock.now == 5_000_000 * (1 + 2 * 4)
    assert report.p50("a") == 5.0


def test_awake_looks_at_the_clock_instead_of_sleeping(monkeypatch):
    clock = FakeClock(monkeypatch)
    clock.tick = 1000
    pace = Cadence("awake", calls=3, period_s=0.01, awake=True)
    latency({"a": clock.variant("a", 2.0)}, warmup=1, repeats=2, threads=1, seed=0, cadence=pace)
    assert "sleep" not in clock.log
    assert clock.now == pytest.approx(2 * (2 * 10e6 + 2e6) + 2e6, rel=0.01)


def test_calls_ahead_are_made_and_not_timed(monkeypatch):
    clock = FakeClock(monkeypatch)
    times = iter([7.0, 9.0, 1.0, 9.0, 1.0])
    pace = Cadence("warmed", ahead=1)
    report = latency(
        {"a": clock.variant("a", lambda _: next(times))}, warmup=1, repeats=2, threads=1, seed=0, cadence=pace
    )
    assert report.samples_ms["a"].tolist() == [[1.0], [1.0]]


def test_the_ratio_compares_medians_of_rounds_so_that_one_slow_call_moves_nothing(monkeypatch):
    clock = FakeClock(monkeypatch)
    slow_one = iter(([4.0] * 4 + [400.0]) * 11)
    variants = {"a": clock.variant("a", lambda _: next(slow_one)), "b": clock.variant("b", 2.0)}
    report = latency(variants, warmup=5, repeats=10, threads=1, seed=0, cadence=Cadence("five", calls=5))
    found = report.ratio("a", "b")
    assert (found.value, found.low, found.high) == pytest.approx((2.0, 2.0, 2.0))
    assert found.n == 10
    assert report.samples_ms["a"].max() == 400.0


def test_a_process_that_is_not_let_run_is_seen_and_one_that_sleeps_between_calls_is_not(monkeypatch):
    clock = FakeClock(monkeypatch)
    variants = {"a": clock.variant("a", 2.0)}
    report = latency(variants, warmup=1, repeats=3, threads=1, seed=0, cadence=THIRTY_A_SECOND)
    assert report.busy["a"] == pytest.approx(1.0)
    clock.share = 0.6
    report = latency(variants, warmup=1, repeats=3, threads=1, seed=0, cadence=BACK_TO_BACK)
    assert report.busy["a"] == pytest.approx(0.6)


@pytest.mark.parametrize(
    "wrong", [{"calls": 0}, {"settle": -1}, {"period_s": -1.0}, {"period_s": float("nan")}, {"ahead": -1}]
)
def test_a_cadence_refuses_what_cannot_be_called(wrong):
    with pytest.raises(ValueError, match="a cadence needs calls ≥ 1"):
        Cadence("x", **wrong)


# Cadences that take turns.


def test_a_slowing_machine_slows_every_cadence_alike(monkeypatch):
    clock = FakeClock(monkeypatch)
    variants = {"a": clock.variant("a", lambda c: 3.0 * (1 + c.now / 5e9))}  # twice as slow after five seconds
    paces = {Cadence("pairs", calls=2): 200, IN_TURN: 400}
    found = latency_by_cadence(variants, paces, warmup=1, threads=1, seed=0)
    assert [report.cadence.name for report in found] == ["pairs", "in turn"]
    assert [report.samples("a").shape for report in found] == [(200, 2), (400, 1)]
    pairs, turns = (report.p50("a") for report in found)
    assert turns / pairs == pytest.approx(1, abs=0.15)  # in two blocks it is 1.4
    ends = [report.samples("a")[-1, -1] / report.samples("a")[0, 0] for report in found]
    assert min(ends) > 1.5


@pytest.mark.parametrize("rounds", [2, 3, 5, 9, 10, 11, 24])
def test_every_round_that_is_asked_for_is_made_and_no_other(monkeypatch, rounds):
    clock = FakeClock(monkeypatch)
    variants = {name: clock.variant(name, 1.0) for name in "ab"}
    first, second = latency_by_cadence(variants, {IN_TURN: rounds, BACK_TO_BACK: 2}, warmup=1, threads=1, seed=0)
    assert first.repeats == len(first.samples("a")) == rounds
    assert second.samples("b").shape == (2, 20)
    assert first.ratio("a", "b").value == pytest.approx(1.0)
    assert first.busy["a"] == pytest.approx(1.0)


def test_one_cadence_is_measured_in_one_go(monkeypatch):
    logs = []
    for function in (latency, lambda variants, repeats, **o: latency_by_cadence(variants, {IN_TURN: repeats}, **o)):
        clock = FakeClock(monkeypatch)
        function({n: clock.variant(n, 2.0) for n in "abc"}, repeats=12, warmup=2, threads=1, seed=3)
        logs.append(clock.log)
    assert logs[0] == logs[1]


def test_one_round_of_a_cadence_is_refused():
    with pytest.raises(ValueError, match="repeats ≥ 2"):
        latency_by_cadence({"a": int}, {IN_TURN: 5, BACK_TO_BACK: 1}, warmup=1, threads=1, seed=0)
