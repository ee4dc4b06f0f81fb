"""Chapter 00's figures show the numbers they are given, say them in words, and refuse what they cannot show."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
from matplotlib.patches import FancyBboxPatch

from course_lib.plots import answer_figure, budget_figure, course_map_figure, recorded_figure, temperature_figure
from course_lib.plots.journey import keeps_budget, percent, quantity_text
from course_lib.publishing.curriculum import PARTS


def recorded(*names: str) -> dict:
    """A recorded main job with these rungs, each ten times as fast as the one before."""
    rows = [
        {"name": name, "latency_ms_p50": 2.0 / 10**i, "accuracy": {"value": 0.98 - i / 100, "low": 0.9, "high": 0.99}}
        for i, name in enumerate(names)
    ]
    return {"ledger": {"rows": rows}}


def bars(figure) -> list[float]:
    """The lengths of all bars, panel by panel."""
    return [max(p.get_width(), p.get_height()) for axes in figure.axes for p in axes.patches]


IMAGE = np.zeros((3, 8, 8), np.uint8)
NAMES = ("stop", "yield", "priority road", "no entry")


def test_an_answer_shows_the_most_probable_classes_first():
    p = np.array([0.1, 0.6, 0.05, 0.25])
    figure = answer_figure(IMAGE, {"teacher": p}, NAMES)
    assert [tick.get_text() for tick in figure.axes[1].get_yticklabels()] == ["yield", "no entry", "stop"]
    np.testing.assert_allclose([bar.get_width() for bar in figure.axes[1].patches], [60, 25, 10])
    assert figure.alt_text.endswith("teacher: yield 60 %, no entry 25 %, stop 10 %.")


def test_two_networks_answer_side_by_side():
    p = np.array([0.1, 0.6, 0.05, 0.25])
    figure = answer_figure(IMAGE, {"teacher": p, "final": p[::-1]}, NAMES, top=2)
    assert [axes.get_title(loc="left") for axes in figure.axes[1:]] == ["teacher", "final"]
    assert "final: priority road 60 %, stop 25 %" in figure.alt_text


@pytest.mark.parametrize("p", [np.ones(4), np.array([0.5, 0.5]), np.array([[0.25] * 4])])
def test_what_is_no_distribution_over_the_classes_is_refused(p):
    with pytest.raises(ValueError, match="'teacher' must give 4 probabilities that sum to 1"):
        answer_figure(IMAGE, {"teacher": p}, NAMES)


def test_temperature_divides_the_logits():
    z = np.array([1.0, 2.0, 4.0])
    figure = temperature_figure(z, ["a", "b", "c"], (1, 4))
    for axes, temperature in zip(figure.axes, (1, 4), strict=True):
        expected = np.exp(z / temperature) / np.exp(z / temperature).sum()
        np.testing.assert_allclose([bar.get_height() for bar in axes.patches], 100 * expected)
        assert axes.get_title(loc="left") == f"T = {temperature}"


def test_huge_logits_do_not_overflow():
    figure = temperature_figure([1000.0, 0.0], ["a", "b"], (1,))
    assert [bar.get_height() for bar in figure.axes[0].patches] == [100, 0]


@pytest.mark.parametrize(
    ("p", "text"), [(0.0, "0 %"), (0.004, "<1 %"), (0.006, "1 %"), (0.5, "50 %"), (0.996, ">99 %"), (1.0, "100 %")]
)
def test_rounding_claims_no_certainty(p, text):
    assert percent(p) == text


def test_a_recorded_job_is_one_panel_with_a_line_through_the_ladder_only():
    names = ("teacher FP32", "teacher INT8", "student distilled FP32", "student pruned INT8")
    figure = recorded_figure({"rendered": recorded(*names), "gtsrb": recorded(*names[:1])})
    assert [axes.get_title(loc="left") for axes in figure.axes] == ["rendered signs", "real signs (GTSRB)"]
    path = figure.axes[0].lines[0].get_xydata()
    np.testing.assert_allclose(path, [(2.0, 98), (0.02, 96), (0.002, 95)])
    assert [text.get_text() for text in figure.legends[0].get_texts()] == list(names)
    beside = figure.axes[0].collections
    hollow = {c.get_label(): (c.get_facecolor() == 1).all() for c in beside if c.get_label() in names}
    assert hollow == {name: name == "teacher INT8" for name in names}
    assert "real signs (GTSRB): teacher FP32 98.0 % at 2 ms" in figure.alt_text


def test_a_rung_far_below_the_others_stands_on_the_edge_with_its_number():
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


@pytest.mark.parametrize(("value", "text"), [(0.11513, "0.115"), (88.4, "88.4"), (661.2, "661"), (5705.4, "5,710")])
def test_numbers_have_three_digits_and_no_exponent(value, text):
    assert quantity_text(value) == text


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
    assert figure.axes[0].get_title(loc="left") == f"{len(fitting)} of 3 variants keep the budget"
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


def test_the_map_has_one_box_a_chapter_and_fills_those_that_are_written():
    figure = course_map_figure(PARTS, ["00", "02"])
    labels = {text.get_text().split()[0]: text.get_color() for text in figure.axes[0].texts}
    chapters = [chapter.number for part in PARTS.values() for chapter in part]
    assert [number for number in labels if number.isdigit()] == chapters
    assert [number for number, colour in labels.items() if colour == "white"] == ["00", "02"]
    boxes = [patch for patch in figure.axes[0].patches if isinstance(patch, FancyBboxPatch)]
    assert [chapters[i] for i, box in enumerate(boxes) if box.get_facecolor() != (1, 1, 1, 1)] == ["00", "02"]
    assert figure.alt_text.endswith("Written so far: 00, 02.")


def test_the_map_of_two_parts_leads_from_the_first_to_the_second():
    chapters = [SimpleNamespace(number="00", topic="a"), SimpleNamespace(number="01", topic="b")]
    figure = course_map_figure({"One": chapters, "Two": chapters[:1]}, [])
    # Three boxes, one arrow down in the first part, one to the second.
    assert len(figure.axes[0].patches) == 5
