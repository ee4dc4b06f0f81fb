"""The sliders that spoil a sign change the picture, and the answer follows."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from course_lib.widgets import sign_explorer


class Brightness(nn.Module):
    """Answers 0 to dark images and 1 to bright ones."""

    def forward(self, images):
        mean = images.mean((1, 2, 3))
        return torch.stack([0.5 - mean, mean - 0.5, mean - 9], 1) * 20


def picture(box) -> str:
    return box.children[0].value


def words(box) -> str:
    return box.children[1].value


def controls(box) -> dict:
    return {child.description: child for child in box.children if getattr(child, "description", "")}


def test_the_sign_explorer_redraws_for_every_slider_and_the_answer_follows():
    images = np.full((2, 3, 32, 32), 40, np.uint8)
    images[:, :, 8:24, 8:20] = 90
    box = sign_explorer(Brightness(), images, [0, 1], temperature=1.0, names=["dark", "bright", "odd"])
    assert "answers: dark" in words(box)
    moves = {"light ×": 3.0, "native size, px": 6, "blur σ, px": 3.0, "rotation, °": 45, "sign": 1}
    assert set(controls(box)) == set(moves)
    for name, value in moves.items():
        before = picture(box)
        controls(box)[name].value = value
        assert picture(box) != before, name
    assert "A sign (bright)" in words(box)
    controls(box)["rotation, °"].value = 0


def test_more_light_turns_the_answer():
    box = sign_explorer(
        Brightness(), np.full((1, 3, 32, 32), 60, np.uint8), [0], temperature=1.0, names=["dark", "bright", "odd"]
    )
    controls(box)["light ×"].value = 3.0
    assert "answers: bright" in words(box)


def test_a_higher_temperature_makes_the_answer_less_sure():
    images, names = np.full((1, 3, 32, 32), 110, np.uint8), ["dark", "bright", "odd"]
    sure, unsure = (words(sign_explorer(Brightness(), images, [0], temperature=t, names=names)) for t in (1.0, 10.0))
    assert "dark 94 %" in sure
    assert "dark 57 %" in unsure


@pytest.mark.parametrize(("count", "labels"), [(0, []), (2, [0])])
def test_images_without_labels_are_refused(count, labels):
    with pytest.raises(ValueError, match="one label an image"):
        sign_explorer(Brightness(), np.zeros((count, 3, 32, 32), np.uint8), labels, temperature=1.0)
