"""Points carry their distances, and tables of similarity tell how much alike the images of a class are."""

from __future__ import annotations

import numpy as np
import pytest

from course_lib import plots
from course_lib.widgets.relations import SQUARE

RNG = np.random.default_rng(0)
FEATURES = {"teacher": RNG.random((6, 4)), "student": RNG.random((6, 9))}
FIGURES = {
    "points": lambda: plots.points_figure(SQUARE, 2 * SQUARE, {"distance loss": 0.0}),
    "similarity": lambda: plots.similarity_figure(FEATURES, [3]),
}


@pytest.mark.parametrize("make", FIGURES.values(), ids=FIGURES.keys())
def test_each_figure_draws_with_labels_and_alt_text(make, check_drawn):
    check_drawn(make(), most_bytes=90_000)


def test_points_are_labelled_with_distances_over_their_mean():
    teacher, student = plots.points_figure(SQUARE, 3 * SQUARE, {}).axes
    mean = (4 + 2 * 2**0.5) / 6
    labels = [sorted(t.get_text() for t in axes.texts if "." in t.get_text()) for axes in (teacher, student)]
    assert labels[0] == labels[1] == sorted([f"{1 / mean:.2f}"] * 4 + [f"{2**0.5 / mean:.2f}"] * 2)


def test_the_similarity_table_tells_how_much_alike_the_images_of_a_class_are():
    rows = np.array([[1.0, 0, 0], [1, 1, 0], [0, 0, 1], [0.5, 0, 1]])  # two images of each class
    table = [[1, 1, 0, 0.5], [1, 2, 0, 0.5], [0, 0, 1, 1], [0.5, 0.5, 1, 1.25]]
    table = [np.divide(row, np.linalg.norm(row)) for row in table]
    same = np.mean([table[i][j] for i, j in ((0, 1), (1, 0), (2, 3), (3, 2))])
    other = np.mean([table[i][j] for i in range(4) for j in range(4) if (i < 2) != (j < 2)])
    assert f"teacher: {same / other:.1f}." in plots.alt_text(plots.similarity_figure({"teacher": rows}, [2]))
