"""The figures of wrong answers show the shares that they were given."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from course_lib import plots
from course_lib.distillation import wrong_answer_shares

NAMES, GROUPS = [f"c{i}" for i in range(8)], ["a", "a", "a", "b", "b", "b", "c", "c"]
P = np.random.default_rng(0).dirichlet(np.ones(8), 80)
LABELS = np.arange(80) % 8
SHARES = wrong_answer_shares(P, LABELS, 8)
TEACHER, STUDENT = torch.tensor([4.0, 2, 1, 0, 0, -1, -1, -2]), torch.zeros(8)
IMAGES = np.random.default_rng(1).random((2, 3, 16, 16))

FIGURES = {
    "wrong answers": lambda: plots.wrong_answers_figure(IMAGES, SHARES, [1, 6], NAMES, GROUPS),
    "likeness": lambda: plots.likeness_figure({"one": SHARES, "two": SHARES}, GROUPS),
    "likeness of one": lambda: plots.likeness_figure({"one": SHARES}, GROUPS),
}


@pytest.mark.parametrize("make", FIGURES.values(), ids=FIGURES.keys())
def test_each_figure_draws_with_labels_and_alt_text(make, check_drawn):
    check_drawn(make(), most_bytes=80_000)


def test_bars_of_the_own_group_are_filled_and_others_hatched():
    drawn = FIGURES["wrong answers"]()
    bars = drawn.axes[2].patches  # class 1 of group a
    best = np.argsort(-SHARES[1])[:5]
    assert [bar.get_hatch() is None for bar in bars] == [GROUPS[k] == "a" for k in best]
    assert np.allclose([bar.get_width() for bar in bars], 100 * SHARES[1, best])


def test_the_table_is_sorted_by_group():
    groups = ["b", "a", "b", "a"]
    shares = np.arange(16.0).reshape(4, 4) / 100
    drawn = plots.likeness_figure({"one": shares}, groups)
    order = [1, 3, 0, 2]
    assert np.allclose(drawn.axes[0].images[0].get_array(), 100 * shares[np.ix_(order, order)])
