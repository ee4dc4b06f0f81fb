"""Chapter 16's exercises ask for what the library has, and their cases hold what their statements promise."""

from __future__ import annotations

from math import isinf

import pytest

from course_lib.deploy.onnx import relative_error
from course_lib.exercises.chapter_16.agreement import agreement
from course_lib.exercises.chapter_16.faults_of_a_comparison import NAMES, faults, with_ifs
from course_lib.exercises.chapter_16.latency_and_throughput import latency_and_throughput
from course_lib.exercises.chapter_16.line_and_batch import in_full as line_in_full
from course_lib.exercises.chapter_16.line_and_batch import largest_batch
from course_lib.exercises.chapter_16.waiting_in_line import waits_at_servers
from course_lib.measure.serving import waiting_times
from course_lib.measure.times import Times


def test_the_line_of_the_solution_is_the_librarys(sets):
    for question in sets("16.1", draws=30):
        assert line_in_full(*question) == pytest.approx(largest_batch(*question))


def test_no_batch_is_decided_by_rounding(sets):
    for batches, times, deadline in sets("16.1", draws=30):
        a, b, _ = largest_batch(batches, times, deadline)
        exact = (deadline - a) / b
        assert b > 0
        assert abs(exact - round(exact)) > 1e-3


def test_median_and_p95_are_the_librarys(sets):
    for times, batch, warmup in sets("16.2", draws=30):
        kept = Times("back to back", ((tuple(times[warmup:]),),), busy=None)
        p50, p95, images = latency_and_throughput(times, batch, warmup)
        assert (p50, p95) == pytest.approx((kept.p50, kept.p95))
        assert images * sum(times[warmup:]) / 1000 == pytest.approx(batch * (len(times) - warmup))


def test_the_error_is_the_librarys_where_there_is_no_nan(sets):
    infinite = 0
    for found, expected in sets("16.3", draws=30):
        share, error = agreement(found, expected)
        assert 0 <= share <= 1
        if isinf(error):
            infinite += 1
        else:
            assert error == pytest.approx(relative_error(found, expected), rel=1e-5)
    assert infinite >= 5


def test_one_server_is_the_librarys_and_more_make_nobody_wait_longer(sets):
    for arrivals, services, servers in sets("16.4", draws=30):
        alone = waits_at_servers(arrivals, services, 1)
        assert alone == pytest.approx(waiting_times(arrivals, services).tolist())
        several = waits_at_servers(arrivals, services, servers)
        assert all(few >= many - 1e-9 for few, many in zip(alone, several, strict=True))


def test_images_wait_at_one_two_and_three_servers_in_the_fixed_cases(sets):
    waiting = {
        servers for arrivals, services, servers in sets("16.4", 0) if any(waits_at_servers(arrivals, services, servers))
    }
    assert {1, 2, 3} <= waiting


def test_each_fault_stands_in_a_fixed_case_and_is_absent_from_another(sets):
    answers = [faults(*question) for question in sets("16.5", draws=0)]
    for name in NAMES:
        assert any(name in answer for answer in answers)
        assert any(name not in answer for answer in answers)


def test_plain_questions_find_the_same_faults(sets):
    for question in sets("16.5", draws=60):
        assert with_ifs(*question) == faults(*question)
