"""Figures of slices and confusions draw every count and name the worst."""

from __future__ import annotations

import pytest

from course_lib import plots
from course_lib.evaluation import Estimate

NIGHT, DAY = Estimate(0.8, 0.7, 0.9, 50, clusters=10), Estimate(0.99, 0.98, 1.0, 500, clusters=90)
FIGURES = {
    "slices": lambda: plots.slice_figure(
        {"weather": {"night": NIGHT, "day": DAY}}, Estimate(0.97, 0.96, 0.98, 550, clusters=100)
    ),
    "confusion": lambda: plots.confusion_figure([[8, 2, 0], [0, 5, 1]], ["30", "80", "other"], title="t"),
}


@pytest.mark.parametrize("make", FIGURES.values(), ids=FIGURES.keys())
def test_each_figure_draws_with_labels_and_alt_text(make, check_drawn):
    check_drawn(make(), most_bytes=80_000)


def test_the_slice_figure_draws_every_slice_and_names_the_lowest():
    night, day = Estimate(0.8, 0.7, 0.9, 50, clusters=10), Estimate(0.99, 0.98, 1.0, 500, clusters=90)
    figure = plots.slice_figure(
        {"weather": {"night": night, "day": day}}, Estimate(0.97, 0.96, 0.98, 550, clusters=100)
    )
    assert "Lowest: weather, night" in figure.alt_text
    assert [text.get_text() for text in figure.axes[0].get_yticklabels()] == ["night  (n = 50)", "day  (n = 500)"]
    dashed = figure.axes[0].lines[-1]
    assert dashed.get_xdata()[0] == pytest.approx(97)


def test_the_confusion_figure_writes_counts_and_names_the_greatest_error_true_class_first():
    figure = plots.confusion_figure([[8, 2, 0], [0, 5, 1]], ["30", "80", "other"], title="t")
    assert sorted(text.get_text() for text in figure.axes[0].texts) == ["1", "2", "5", "8"]
    assert "Most frequent errors: 30 called 80 2 times, 80 called other 1 times" in figure.alt_text
    assert figure.axes[0].get_ylabel() == "true"
    assert figure.axes[0].get_xlabel().startswith("predicted")
