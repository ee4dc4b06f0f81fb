"""Batches, deadlines and queues: equal to what is written out by hand, to the theory, and refused where senseless."""

from __future__ import annotations

from math import inf

import numpy as np
import pytest

from course_lib.measure.serving import (
    batch_line,
    expected_wait,
    keeps_up,
    largest_batch,
    oldest_wait_ms,
    waiting_times,
)


def test_the_line_is_numpys_least_squares():
    rng = np.random.default_rng(0)
    for _ in range(20):
        batches = rng.integers(1, 40, 6).tolist()
        times = rng.uniform(0.1, 9, 6).tolist()
        b, a = np.polyfit(batches, times, 1)
        assert batch_line(batches, times) == pytest.approx((a, b), abs=1e-9)


@pytest.mark.parametrize(("batches", "times"), [([1], [2.0]), ([3, 3], [1.0, 2.0]), ([1, 2], [1.0])])
def test_a_line_needs_two_different_batches_and_a_time_for_each(batches, times):
    with pytest.raises(ValueError, match="two batches"):
        batch_line(batches, times)


def test_the_largest_batch_meets_the_deadline_and_the_next_one_does_not():
    rng = np.random.default_rng(1)
    for rate in (inf, 30.0, 400.0):
        for _ in range(50):
            a, b, deadline = rng.uniform(0, 5), rng.uniform(0.01, 2), rng.uniform(1, 200)
            found = largest_batch(a, b, deadline, rate)
            assert oldest_wait_ms(found + 1, a, b, rate) > deadline
            assert found == 0 or oldest_wait_ms(found, a, b, rate) <= deadline + 1e-9


def test_a_batch_that_meets_the_deadline_exactly_counts():
    assert largest_batch(0.1, 0.1, 1.0) == 9
    assert largest_batch(0.3, 0.1, 0.6) == 3


def test_no_batch_fits_where_one_image_is_late():
    assert largest_batch(5.0, 1.0, 5.5) == 0
    assert largest_batch(50.0, 1.0, 5.5) == 0


def test_a_batch_keeps_up_where_no_batch_waits_for_the_one_before():
    rng = np.random.default_rng(4)
    answers = []
    for _ in range(60):
        a, b, rate, batch = rng.uniform(0, 5), rng.uniform(0.1, 2), rng.uniform(50, 2000), int(rng.integers(1, 20))
        full = 1000 * batch / rate * np.arange(20)  # when the batches are full, in ms
        waits = waiting_times(full, np.full(20, a + b * batch))
        answers.append(keeps_up(batch, a, b, rate))
        assert answers[-1] == (waits.max() < 1e-6)
        assert keeps_up(batch + 1, a, b, rate) or not answers[-1]
    assert {True, False} == set(answers)


@pytest.mark.parametrize("call", [lambda: oldest_wait_ms(0, 1, 1), lambda: oldest_wait_ms(1, 1, 1, rate=0)])
def test_no_images_and_no_rate_are_refused(call):
    with pytest.raises(ValueError, match="need batch"):
        call()


def test_images_that_take_no_time_are_refused():
    with pytest.raises(ValueError, match="b_ms"):
        largest_batch(1.0, 0.0, 5.0)


def test_waits_follow_lindleys_recursion():
    rng = np.random.default_rng(2)
    arrivals, services = np.cumsum(rng.exponential(1, 200)), rng.uniform(0, 1.5, 200)
    waits = waiting_times(arrivals, services)
    wanted = [0.0]
    for n in range(199):
        wanted.append(max(0.0, wanted[-1] + services[n] - (arrivals[n + 1] - arrivals[n])))
    assert waits == pytest.approx(wanted)


def test_the_simulated_mean_is_pollaczeks_and_khinchines():
    rng = np.random.default_rng(3)
    services = rng.choice([0.5, 0.5, 0.5, 2.5], 200_000)
    arrivals = np.cumsum(rng.exponential(1 / 0.6, 200_000))
    assert waiting_times(arrivals, services).mean() == pytest.approx(expected_wait(0.6, services), rel=0.1)


def test_a_first_image_before_zero_does_not_wait():
    assert waiting_times([-5.0, -4.5], [1.0, 1.0]).tolist() == [0.0, 0.5]
    assert waiting_times([], []).tolist() == []


@pytest.mark.parametrize(("arrivals", "services"), [([1, 0], [1, 1]), ([0, 1], [1]), ([0, 1], [1, -1]), ([[0]], [[1]])])
def test_arrivals_out_of_order_and_wrong_services_are_refused(arrivals, services):
    with pytest.raises(ValueError, match="ascend"):
        waiting_times(arrivals, services)


def test_a_server_that_is_always_busy_has_no_mean_wait():
    assert expected_wait(2.0, [0.5]) == inf
    assert expected_wait(0.0, [0.5]) == 0
