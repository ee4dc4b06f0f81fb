"""The sliders of the chapter on the teacher change the picture, and spoiling an image does what it says."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from course_lib.widgets import sign_explorer, threshold_explorer
from course_lib.widgets.teacher import spoil

NOTHING = {"pixels": 32, "blur": 0.0, "gain": 1.0, "rotation_deg": 0}
torch.manual_seed(0)
IMAGE = torch.rand(3, 32, 32)


class Brightness(nn.Module):
    """Answers 0 to dark images and 1 to bright ones."""

    def forward(self, images):
        mean = images.mean((1, 2, 3))
        return torch.stack([0.5 - mean, mean - 0.5, mean - 9], 1) * 20


def controls(box) -> dict:
    return {child.description: child for child in box.children if hasattr(child, "description") and child.description}


def picture(box) -> str:
    return box.children[0].value


def words(box) -> str:
    return box.children[1].value


def test_nothing_spoilt_is_the_image_itself():
    assert torch.equal(spoil(IMAGE, **NOTHING), IMAGE)


def test_blur_and_fewer_pixels_keep_the_light_and_lose_detail():
    for change in ({"blur": 2.0}, {"pixels": 8}):
        spoilt = spoil(IMAGE, **(NOTHING | change))
        assert spoilt.shape == IMAGE.shape
        assert spoilt.mean() == pytest.approx(IMAGE.mean().item(), abs=0.02)
        assert spoilt.std() < 0.4 * IMAGE.std()


def test_a_flat_image_survives_blur_and_shrinking():
    flat = torch.full((3, 32, 32), 0.25)
    assert torch.allclose(spoil(flat, pixels=7, blur=3.0, gain=1.0, rotation_deg=30), flat, atol=1e-6)


def test_gain_multiplies_and_clips_at_white():
    assert torch.allclose(spoil(IMAGE, **(NOTHING | {"gain": 2.0})), (2 * IMAGE).clamp(max=1))


def test_a_quarter_turn_is_counter_clockwise():
    turned = spoil(IMAGE, **(NOTHING | {"rotation_deg": 90}))
    assert torch.allclose(turned, torch.rot90(IMAGE, 1, (1, 2)), atol=1e-4)


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


def test_the_threshold_explorer_tells_coverage_and_accuracy_at_the_slider():
    box = threshold_explorer([0.4, 0.6, 0.8, 0.95], [0, 0, 1, 1])
    assert "50.0 %, 75.0 % answered and 66.67 % of them right" in words(box)
    before = picture(box)
    controls(box)["threshold"].value = 0.7
    assert "70.0 %, 50.0 % answered and 100.00 % of them right" in words(box)
    assert picture(box) != before
