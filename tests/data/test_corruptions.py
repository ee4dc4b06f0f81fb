"""Spoiling an image does what it says, and nothing else."""

from __future__ import annotations

import pytest
import torch

from course_lib.data.corruptions import spoil

NOTHING = {"pixels": 32, "blur": 0.0, "gain": 1.0, "rotation_deg": 0}
IMAGE = torch.rand(3, 32, 32, generator=torch.Generator().manual_seed(0))


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
