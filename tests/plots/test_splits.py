"""Figures of splits and choices draw the scores they were given."""

from __future__ import annotations

import pytest

from course_lib import plots
from course_lib.experiments.split_discipline import SplitScore

SCORES = [SplitScore("by image", 0, 1.0, 0.9, 0.6), SplitScore("by track", 1, 1.0, 0.7, 0.6)]
FIGURES = {
    "split": lambda: plots.split_figure(SCORES),
    "selection": lambda: plots.selection_figure({500: ([1, 50], [0.0, 1.7])}, {500: [0.0, 1.6]}),
}


@pytest.mark.parametrize("make", FIGURES.values(), ids=FIGURES.keys())
def test_each_figure_draws_with_labels_and_alt_text(make, check_drawn):
    check_drawn(make(), most_bytes=80_000)


def test_the_split_figure_joins_test_and_unseen_and_tells_the_means():
    scores = [
        SplitScore(k, s, 1.0, t, u) for s, (k, t, u) in enumerate([("by image", 0.9, 0.6), ("by track", 0.7, 0.6)])
    ]
    scores.append(SplitScore("by image", 2, 1.0, 0.8, 0.6))
    figure = plots.split_figure(scores)
    assert "Split by image: 85 % on its own test part, 60 % on unseen signs" in figure.alt_text
    assert [axes.get_title(loc="left") for axes in figure.axes] == ["split by image", "split by track"]
    assert figure.axes[0].lines[0].get_ydata().tolist() == pytest.approx([90, 60])


def test_the_selection_figure_draws_simulated_points_and_derived_lines():
    figure = plots.selection_figure({500: ([1, 50], [0.0, 1.7])}, {500: [0.0, 1.6]})
    derived, simulated = figure.axes[0].lines
    assert derived.get_ydata().tolist() == pytest.approx([0, 1.6])
    assert simulated.get_ydata().tolist() == pytest.approx([0, 1.7])
    assert "500 images: 1.70 points with 50 candidates" in figure.alt_text
