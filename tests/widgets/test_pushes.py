"""The sliders of the pushes change the picture, and the words say what T and α do."""

from __future__ import annotations

import ipywidgets
import numpy as np
import pytest

from course_lib.widgets import push_explorer

NAMES = [f"c{i}" for i in range(8)]
IMAGES = np.random.default_rng(0).integers(0, 255, (2, 3, 16, 16), np.uint8)
TEACHER = [[6.0, 3, 1, 0, 0, -1, -1, -2], [0, 5, 1, 0, 4, 0, 0, 0]]
STUDENT = np.zeros((2, 8))


def explorer() -> ipywidgets.VBox:
    return push_explorer(IMAGES, TEACHER, STUDENT, [0, 4], NAMES)


def control(box, name: str):
    return next(child for child in box.children if getattr(child, "description", "") == name)


def words(box) -> str:
    return box.children[1].value


def picture(box) -> str:
    return box.children[0].value


@pytest.mark.parametrize(("name", "value"), [("sign", 1), ("T", 16), ("α", 0.1)])
def test_every_control_redraws(name, value):
    box = explorer()
    before = picture(box)
    control(box, name).value = value
    assert picture(box) != before


def test_a_higher_temperature_raises_the_entropy():
    box, bits = explorer(), []
    for t in (1, 4, 32):
        control(box, "T").value = t
        bits.append(float(words(box).split("entropy ")[1].split(" bits")[0]))
    assert bits == sorted(bits)
    assert 2.9 < bits[-1] <= 3.0  # eight classes: at most 3 bits


def test_with_alpha_0_the_mix_pushes_like_the_label():
    box = explorer()
    control(box, "α").value = 0.0
    by_loss = dict(part.split(": ", 1) for part in words(box).split("Pushes, α = 0: ")[1][:-9].split("; "))
    assert by_loss["soft targets and label"] == by_loss["label"]


def test_the_pseudo_label_is_the_teachers_first_choice_where_it_errs():
    box = explorer()
    control(box, "sign").value = 1
    by_loss = dict(part.split(": ", 1) for part in words(box).split("Pushes, α = 0.9: ")[1][:-9].split("; "))
    assert by_loss["pseudo-label"].startswith("c1 +0.88, c4 -0.12")
    assert by_loss["label"].startswith("c1 -0.12, c4 +0.88")


@pytest.mark.parametrize(
    ("images", "teacher", "labels"),
    [(IMAGES[:1], TEACHER, [0, 4]), (IMAGES, TEACHER[:1], [0, 4]), (IMAGES, TEACHER, [0])],
)
def test_rows_that_do_not_belong_together_are_refused(images, teacher, labels):
    with pytest.raises(ValueError, match="one image, one label and one row"):
        push_explorer(images, teacher, STUDENT, labels, NAMES)


def test_no_sign_is_refused():
    with pytest.raises(ValueError, match="0 images, 0 labels, 0 and 0 rows"):
        push_explorer(IMAGES[:0], np.zeros((0, 8)), np.zeros((0, 8)), [], NAMES)
