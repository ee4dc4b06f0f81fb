"""The main job's figures show the recorded rows, and which of them keep a budget."""

from __future__ import annotations

import numpy as np
import pytest

from course_lib.measure.budget import keeps_budget
from course_lib.plots import budget_figure, recorded_figure


def recorded(*names: str) -> dict:
    """A recorded main job with these variants, each ten times as fast as the one before."""
    rows = [
        {
            "name": name,
            "times": [{"cadence": "back to back", "p50_ms": 2.0 / 10**i}, {"cadence": "in turn", "p50_ms": 9.0}],
            "accuracy": {"value": 0.98 - i / 100, "low": 0.9, "high": 0.99},
        }
        for i, name in enumerate(names)
    ]
    return {"ledger": {"rows": rows}}


def test_a_recorded_job_is_one_panel_with_a_line_through_the_main_rows_only():
    names = ("teacher FP32", "teacher INT8", "student distilled FP32", "student pruned INT8")
    job = recorded(*names)
    job["ledger"]["rows"][1]["marks"] = ["starved"]
    figure = recorded_figure({"rendered": job, "gtsrb": recorded(*names[:1])})
    assert [axes.get_title(loc="left") for axes in figure.axes] == ["rendered signs", "real signs (GTSRB)"]
    path = figure.axes[0].lines[0].get_xydata()
    np.testing.assert_allclose(path, [(2.0, 98), (0.02, 96), (0.002, 95)])
    assert [text.get_text() for text in figure.legends[0].get_texts()] == list(names)
    beside = figure.axes[0].collections
    hollow = {c.get_label(): (c.get_facecolor() == 1).all() for c in beside if c.get_label() in names}
    assert hollow == {name: name == "teacher INT8" for name in names}
    assert figure.legends[0].get_title().get_text() == "hollow: carries a mark"
    assert not recorded_figure({"rendered": recorded(*names)}).legends[0].get_title().get_text()
    assert "real signs (GTSRB): teacher FP32 98.0 % at 2 ms" in figure.alt_text


def test_a_variant_looks_the_same_in_every_figure_and_like_no_other():
    first = recorded_figure({"rendered": recorded("teacher FP32", "student pruned INT8")})
    other = recorded_figure({"rendered": recorded("student pruned INT8", "a network of your own", "teacher FP32")})

    def looks(figure):
        points = [c for c in figure.axes[0].collections if c.get_label()[0] != "_"]
        return {c.get_label(): (tuple(c.get_facecolor()[0]), c.get_paths()[0].vertices.tolist()) for c in points}

    one, two = looks(first), looks(other)
    assert len(two) == 3
    assert {name: two[name] for name in one} == one
    assert len({str(look) for look in two.values()}) == 3


def test_a_variant_far_below_the_others_stands_on_the_edge_with_its_number():
    job = recorded("teacher FP32", "student pruned INT8", "… with 50 % zeros")
    job["ledger"]["rows"][2]["accuracy"] = {"value": 0.76, "low": 0.7, "high": 0.8}
    figure = recorded_figure({"rendered": job})
    low, high = figure.axes[0].get_ylim()
    assert 85 < low < 90
    assert 99 < high < 101
    zeros = next(c for c in figure.axes[0].collections if c.get_label() == "… with 50 % zeros")
    np.testing.assert_allclose(zeros.get_offsets(), [(0.02, low)])
    assert [text.get_text() for text in figure.axes[0].texts] == ["76 % ↓"]
    assert "… with 50 % zeros 76.0 % at 0.02 ms" in figure.alt_text


@pytest.mark.parametrize("results", [{}, {"rendered": {}}, {"rendered": {"ledger": {"rows": []}}}])
def test_a_result_without_rows_is_refused(results):
    with pytest.raises(ValueError, match="at least one recorded ledger with rows"):
        recorded_figure(results)


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
    assert [r.name for r in ledger if keeps_budget(r, **limits)] == fitting
    figure = budget_figure(ledger, **limits)
    assert figure.axes[0].get_title(loc="left") == f"Variants within the budget: {len(fitting)} of 3"
    assert figure.alt_text.endswith(f"{', '.join(fitting) or 'none'}.")


def test_the_budget_figure_marks_the_limits_that_are_broken(ledger):
    figure = budget_figure(ledger, latency_ms=0.15, size_kb=500, accuracy=0.975)
    broken = [[("✗" in text.get_text()) for text in axes.texts] for axes in figure.axes]
    assert broken == [[True, True, False], [True, False, False], [False, True, True]]
    assert [axes.lines[0].get_xdata()[0] for axes in figure.axes] == [0.15, 500, 97.5]


@pytest.mark.parametrize("wrong", [{"latency_ms": 0}, {"size_kb": -1}, {"accuracy": 98}])
def test_an_impossible_budget_is_refused(ledger, wrong):
    with pytest.raises(ValueError, match="must be positive and accuracy in"):
        budget_figure(ledger, **({"latency_ms": 1, "size_kb": 1, "accuracy": 0.9} | wrong))


def test_both_figures_draw_with_labels_and_alt_text(ledger, check_drawn):
    check_drawn(recorded_figure({"rendered": recorded("teacher FP32", "student pruned INT8")}), most_bytes=80_000)
    check_drawn(budget_figure(ledger, latency_ms=1, size_kb=500, accuracy=0.96), most_bytes=80_000)
