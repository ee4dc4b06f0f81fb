"""The roofline's figure draws the roof where the formula has it."""

from __future__ import annotations

import numpy as np
import pytest

from course_lib import plots
from course_lib.measure.roofline import RooflinePoint

POINTS = {"teacher": [RooflinePoint("conv", 60.0, 70.0), RooflinePoint("classifier", 0.5, 2.0)]}
FIGURES = {
    "roofline": lambda: plots.roofline_figure(73.0, 19.0, POINTS),
    "two roofs": lambda: plots.roofline_figure(73.0, 19.0, POINTS, cache_gbs=90.0),
}


@pytest.mark.parametrize("make", FIGURES.values(), ids=FIGURES.keys())
def test_each_figure_draws_with_labels_and_alt_text(make, check_drawn):
    check_drawn(make(), most_bytes=80_000)


def test_the_roof_bends_at_the_ridge_and_points_stand_where_they_were_measured():
    lines = plots.roofline_figure(73.0, 19.0, POINTS).axes[0].get_lines()
    x, y = lines[0].get_data()
    assert np.allclose(y, np.minimum(73.0, 19.0 * x))
    assert lines[-1].get_xydata().tolist() == [[60.0, 70.0], [0.5, 2.0]]


def test_the_memory_roofs_name_stands_at_the_slanted_roof():
    axes = plots.roofline_figure(73.0, 19.0, POINTS).axes[0]
    (text,) = [text for text in axes.texts if text.get_text() == "memory: 19 GB/s"]
    x, y = text.get_position()
    assert 19.0 * x / 1.2 <= y <= 19.0 * x


def test_the_cache_s_roof_is_dashed_and_ends_at_the_flat_one():
    figure = plots.roofline_figure(73.0, 19.0, POINTS, cache_gbs=90.0)
    (dashed,) = (line for line in figure.axes[0].get_lines() if line.get_linestyle() == "--")
    x, y = dashed.get_data()
    np.testing.assert_allclose(y, np.asarray(x) * 90.0)
    assert y[-1] == 73.0
    assert "cache roof 90 GB/s" in figure.alt_text
