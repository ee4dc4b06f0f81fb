"""The budget's sliders: one that is moved changes the verdict and the picture."""

from __future__ import annotations

import pytest

from course_lib.widgets import budget_explorer


@pytest.fixture
def explorer(ledger):
    """The widget on three rows, at a budget that only the distilled student keeps."""
    return budget_explorer(ledger, latency_ms=0.3, size_kb=500, accuracy=0.96)


def test_the_first_picture_shows_the_budget_it_was_given(explorer):
    picture, words, *sliders = explorer.children
    assert picture.value.startswith("<img alt=")
    assert "Within 0.3 ms, 500 kB and 96.0 %: student distilled FP32." in words.value
    assert [round(slider.value, 3) for slider in sliders] == [0.3, 500, 0.96]


@pytest.mark.parametrize(
    ("index", "value", "fitting"),
    [
        (2, 0.15, "none"),
        (3, 100, "none"),
        (4, 0.93, "student distilled FP32, student pruned INT8"),
    ],
)
def test_a_moved_slider_changes_the_verdict_and_the_picture(explorer, index, value, fitting):
    before = explorer.children[0].value
    explorer.children[index].value = value
    assert explorer.children[1].value.endswith(f": {fitting}.</small>")
    assert explorer.children[0].value != before


def test_the_sliders_reach_every_variant_and_the_start(ledger):
    explorer = budget_explorer(ledger, latency_ms=50, size_kb=1, accuracy=0.5)
    latency, size, floor = explorer.children[2:]
    assert 10**latency.min < 0.1 < 50 <= 10**latency.max * 1.0001
    assert 10**size.min <= 1.0001 < 5700 < 10**size.max
    assert floor.min <= 0.5
    assert (latency.value, size.value, floor.value) == pytest.approx((50, 1, 0.5))


@pytest.mark.parametrize("wrong", [{"latency_ms": -1}, {"size_kb": 0}, {"accuracy": 97}])
def test_an_impossible_start_is_refused(ledger, wrong):
    with pytest.raises(ValueError, match="must be positive"):
        budget_explorer(ledger, **({"latency_ms": 1, "size_kb": 400, "accuracy": 0.9} | wrong))
