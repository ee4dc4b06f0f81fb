"""The figure of pushes says in words what it shows."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from course_lib import plots
from course_lib.distillation import pushes

NAMES = [f"c{i}" for i in range(8)]
TEACHER, STUDENT = torch.tensor([4.0, 2, 1, 0, 0, -1, -1, -2]), torch.zeros(8)
IMAGE = np.random.default_rng(0).random((3, 16, 16))
FIGURES = {"push": lambda: plots.push_figure(IMAGE, TEACHER, STUDENT, 0, NAMES, temperature=4, alpha=0.9)}


@pytest.mark.parametrize("make", FIGURES.values(), ids=FIGURES.keys())
def test_each_figure_draws_with_labels_and_alt_text(make, check_drawn):
    check_drawn(make(), most_bytes=80_000)


def test_the_push_figure_names_the_temperature_the_entropy_and_each_push():
    text = plots.alt_text(FIGURES["push"]())
    bits = float(-((p := (TEACHER / 4).softmax(0)) * p.log2()).sum())
    assert f"T = 4: c0 {100 * p[0]:.0f} %" in text
    assert f"entropy {bits:.2f} bits" in text
    assert "label: c0 +0.88, c1 -0.12" in text


def test_bars_stand_in_the_order_of_the_teachers_answer_with_the_label_in_its_own_colour():
    _, answers, moves = FIGURES["push"]().axes
    p = (TEACHER / 4).softmax(0)
    assert [bar.get_width() for bar in answers.patches] == pytest.approx(
        (100 * p.sort(descending=True).values[:7]).tolist()
    )
    colours = [bar.get_facecolor() for bar in answers.patches]
    assert colours.count(colours[0]) == 1
    found = pushes(STUDENT, TEACHER, 0, 4.0, 0.9)["label"]
    assert [bar.get_width() for bar in moves.patches[:7]] == pytest.approx(found[:7].tolist())
