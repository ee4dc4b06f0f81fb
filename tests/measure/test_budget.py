"""A budget has three limits, each included; an impossible one is refused."""

from __future__ import annotations

import pytest

from course_lib.measure.budget import keeps_budget, require_budget


@pytest.mark.parametrize(
    ("limits", "fitting"),
    [
        ({"latency_ms": 0.2, "size_kb": 400, "accuracy": 0.97}, ["student distilled FP32"]),
        ({"latency_ms": 0.199, "size_kb": 400, "accuracy": 0.9}, ["student pruned INT8"]),
        ({"latency_ms": 9, "size_kb": 399.9, "accuracy": 0.9}, ["student pruned INT8"]),
        ({"latency_ms": 9, "size_kb": 9000, "accuracy": 0.971}, ["teacher FP32"]),
        ({"latency_ms": 0.01, "size_kb": 9000, "accuracy": 0.9}, []),
    ],
)
def test_a_variant_fits_only_if_it_keeps_all_three_limits(ledger, limits, fitting):
    assert [row.name for row in ledger if keeps_budget(row, **limits)] == fitting


@pytest.mark.parametrize("wrong", [{"latency_ms": 0}, {"size_kb": -1}, {"accuracy": 98}, {"accuracy": -0.1}])
def test_an_impossible_budget_is_refused(wrong):
    with pytest.raises(ValueError, match="must be positive and accuracy in"):
        require_budget(**({"latency_ms": 1, "size_kb": 1, "accuracy": 0.9} | wrong))


def test_a_perfect_accuracy_and_none_may_be_asked_for():
    require_budget(1, 1, 0)
    require_budget(1, 1, 1)
