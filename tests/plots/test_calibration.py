"""Figures of confidence draw what was measured in each bin and at each threshold."""

from __future__ import annotations

import math

import pytest

from course_lib import plots
from course_lib.evaluation import Calibration, ReliabilityBin

FULL, EMPTY = ReliabilityBin(0.5, 1, 10, 0.7, 0.9), ReliabilityBin(0, 0.5, 0, math.nan, math.nan)
FIGURES = {
    "reliability": lambda: plots.reliability_figure({"raw": Calibration(0.2, (EMPTY, FULL))}),
    "coverage": lambda: plots.coverage_figure([0, 0.5, 0.9], [1, 0.8, 0.5], [0.9, 0.95, 0.99], chosen=0.5),
}


@pytest.mark.parametrize("make", FIGURES.values(), ids=FIGURES.keys())
def test_each_figure_draws_with_labels_and_alt_text(make, check_drawn):
    check_drawn(make(), most_bytes=80_000)


def test_the_reliability_figure_skips_empty_bins_and_tells_the_error():
    full, empty = ReliabilityBin(0.5, 1, 10, 0.7, 0.9), ReliabilityBin(0, 0.5, 0, math.nan, math.nan)
    figure = plots.reliability_figure({"raw": Calibration(0.2, (empty, full))})
    assert figure.axes[0].collections[0].get_offsets().tolist() == [pytest.approx([90, 70])]
    assert not figure.axes[0].collections[0].get_clip_on()
    assert [(text.get_text(), text.xy[0]) for text in figure.axes[0].texts] == [("10", pytest.approx(90))]
    assert "raw: expected calibration error 20.00 points over 1 bins" in figure.alt_text


def test_the_coverage_figure_tells_what_the_chosen_threshold_does():
    figure = plots.coverage_figure([0, 0.5, 0.9], [1, 0.8, 0.5], [0.9, 0.95, 0.99], chosen=0.5)
    assert "at 50.0 %, 80.0 % answered and 95.00 % of them right" in figure.alt_text
    assert figure.axes[0].lines[-1].get_xdata()[0] == pytest.approx(50)
    assert len(plots.coverage_figure([0, 1], [1, 1], [1, 1]).axes[0].lines) == 2
