"""Figures of batches and queues draw what they are given, and say it in words."""

from __future__ import annotations

from math import inf

import numpy as np
import pytest
from matplotlib.collections import LineCollection

from course_lib import plots

LINES = {"teacher": (0.5, 1.8), "pruned": (0.03, 0.04)}
CURVES = {"teacher": {1: 2.3, 8: 14.9}, "pruned": {1: 0.07, 8: 0.35}}
ROWS = {"eager": [(1.0, 1.0, 1.0), (1.0, 1.0, 1.0)], "runtime": [(5.0, 4.5, 5.5), (2.0, 1.8, 2.2)]}
FIGURES = {
    "batches": lambda: plots.batch_figure(CURVES, LINES),
    "deadline": lambda: plots.deadline_figure(LINES, rate=300, deadline_ms=40),
    "queue": lambda: plots.queue_figure([0.1, 0.9], {"by chance": [0.06, 4.5]}, {0.1: 0.055, 0.9: 4.5}),
    "cadences": lambda: plots.cadences_figure(ROWS, ["back to back", "30 a second"], "A network"),
}


@pytest.mark.parametrize("make", FIGURES.values(), ids=FIGURES.keys())
def test_each_figure_draws_with_labels_and_alt_text(make, check_drawn):
    check_drawn(make(), most_bytes=80_000)


def test_images_a_second_are_the_batch_over_its_time():
    figure = FIGURES["batches"]()
    assert figure.axes[1].get_lines()[0].get_ydata() == pytest.approx([1000 / 2.3, 8000 / 14.9])
    assert "teacher: 2.30 ms and 435 images/s at batch 1" in plots.alt_text(figure)
    assert np.asarray(figure.axes[0].get_lines()[1].get_ydata())[-1] == pytest.approx(0.5 + 8 * 1.8)


def test_the_ticks_of_the_batches_are_those_that_were_measured():
    assert FIGURES["batches"]().axes[0].get_xticks().tolist() == [1, 8]


def test_the_deadline_tells_the_largest_batch_in_time_and_where_there_is_none():
    assert "pruned: at most 12" in plots.alt_text(FIGURES["deadline"]())
    text = plots.alt_text(plots.deadline_figure({"slow": (50.0, 1.0)}, rate=inf, deadline_ms=20))
    assert "slow: none is in time" in text
    assert "all images are there" in text


def test_a_processor_that_falls_behind_has_no_largest_batch():
    """At 3000 images a second a batch of 17 could be answered in 40 ms, but the next one is there after 6 ms."""
    text = plots.alt_text(plots.deadline_figure(LINES, rate=3000, deadline_ms=40))
    assert "teacher: cannot keep up" in text
    assert "pruned: at most" in text


def test_the_intervals_are_drawn_for_each_cadence():
    first, second = (bars.get_children()[-1] for bars in FIGURES["cadences"]().axes[0].containers)
    assert isinstance(first, LineCollection)
    assert isinstance(second, LineCollection)
    assert first.get_segments()[1][:, 0].tolist() == [4.5, 5.5]
    assert second.get_segments()[1][:, 0].tolist() == [1.8, 2.2]
