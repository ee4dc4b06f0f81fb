"""A view keeps a sign's meaning, is what its numbers say, and can be replayed."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image
from torch.nn import functional as F

from course_lib.data import Augmentation

NOTHING = dict.fromkeys(vars(Augmentation()), 0)


def only(**amounts):
    return Augmentation(**{**NOTHING, **amounts})


def smooth(count=1, side=32, seed=0):
    """Random images without detail: interpolation loses nothing that a tolerance would have to hide."""
    coarse = torch.rand(count, 3, 4, 4, generator=torch.Generator().manual_seed(seed))
    return F.interpolate(coarse, (side, side), mode="bicubic").clamp(0, 1)


def one(column, value=1.0, count=1):
    numbers = torch.zeros(count, 9)
    numbers[:, column] = value
    return numbers


def test_no_amount_is_no_change():
    images = torch.rand(4, 3, 32, 32)
    view = only()
    torch.testing.assert_close(view.apply(images, view.table(4, 3)), images, rtol=0, atol=1e-5)


def test_a_shift_by_a_quarter_moves_eight_of_32_pixels():
    image = torch.rand(1, 3, 32, 32)
    right = only(shift=0.25).apply(image, one(2))
    torch.testing.assert_close(right[..., :24], image[..., 8:], rtol=0, atol=1e-5)
    down = only(shift=0.25).apply(image, one(3, -1))
    torch.testing.assert_close(down[..., 8:, :], image[..., :24, :], rtol=0, atol=1e-5)


def test_a_quarter_turn_equals_rot90():
    image = torch.rand(1, 3, 16, 16)
    turned = only(rotation_deg=90).apply(image, one(0))
    torch.testing.assert_close(turned, torch.rot90(image, 1, (2, 3)), rtol=0, atol=1e-4)


@pytest.mark.parametrize("degrees", [-10, 25])
def test_a_turn_equals_pil_s_around_the_same_centre(degrees):
    image = smooth()
    turned = only(rotation_deg=abs(degrees)).apply(image, one(0, np.sign(degrees)))
    channels = [Image.fromarray(c.numpy()).rotate(degrees, Image.Resampling.BILINEAR) for c in image[0]]
    expected = torch.stack([torch.from_numpy(np.array(c)) for c in channels])
    # PIL fills the corners with black, we with the border: compare where both read the image.
    inner = (slice(None), slice(7, -7), slice(7, -7))
    torch.testing.assert_close(turned[0][inner], expected[inner], rtol=0, atol=1e-4)


@pytest.mark.parametrize(("field", "column", "x", "y"), [("zoom", 1, 1.5, 1.5), ("aspect", 5, 1.5, 1.0)])
def test_zoom_scales_both_axes_and_aspect_one(field, column, x, y):
    across = torch.linspace(-1 + 1 / 32, 1 - 1 / 32, 32).expand(1, 3, 32, 32) * 0.25 + 0.5
    inner = slice(8, 24)
    for image, scale in ((across, x), (across.mT, y)):
        out = only(**{field: 0.5}).apply(image, one(column))
        torch.testing.assert_close(
            out[..., inner, inner] - 0.5, (image[..., inner, inner] - 0.5) * scale, rtol=0, atol=1e-4
        )


def test_shear_moves_a_row_by_its_height():
    across = torch.linspace(-1 + 1 / 32, 1 - 1 / 32, 32).expand(1, 3, 32, 32) * 0.25 + 0.5
    out = only(shear=0.2).apply(across, one(4))
    expected = across + 0.2 * (across.mT - 0.5)
    torch.testing.assert_close(out[..., 8:24, 8:24], expected[..., 8:24, 8:24], rtol=0, atol=1e-4)


def test_brightness_contrast_and_saturation_equal_the_sums_by_hand():
    grey = torch.full((1, 3, 8, 8), 0.4)
    torch.testing.assert_close(only(brightness=0.5).apply(grey, one(6)), grey * np.exp(0.5), rtol=1e-5, atol=0)
    torch.testing.assert_close(only(brightness=0.5).apply(grey, one(6, -1)), grey * np.exp(-0.5), rtol=1e-5, atol=0)
    halves = grey.clone()
    halves[..., :4], halves[..., 4:] = 0.2, 0.6
    out = only(contrast=0.3).apply(halves, one(7))
    torch.testing.assert_close(out.unique(), torch.tensor([0.4 - 0.26, 0.4 + 0.26]), rtol=0, atol=1e-5)
    colour = torch.tensor([0.2, 0.4, 0.6]).view(1, 3, 1, 1).expand(1, 3, 8, 8).contiguous()
    faded = only(saturation=0.5).apply(colour, one(8, -1))
    torch.testing.assert_close(faded[0, :, 0, 0], torch.tensor([0.3, 0.4, 0.5]), rtol=0, atol=1e-5)


def test_views_stay_within_0_and_1_even_with_large_amounts():
    wild = Augmentation(180, 0.9, 0.9, 2.0, 0.9, 3.0, 1.0, 1.0)
    for view in range(5):
        out = wild.apply(torch.rand(16, 3, 16, 16), wild.table(16, view))
        assert out.isfinite().all()
        assert out.min() >= 0
        assert out.max() <= 1


def test_a_view_can_be_replayed_and_differs_from_the_next_and_from_another_seed():
    images = smooth(6)
    view = Augmentation(seed=3)
    out = [a.apply(images, a.table(6, v)) for a, v in ((view, 4), (Augmentation(seed=3), 4), (view, 5))]
    other = Augmentation(seed=4)
    assert torch.equal(out[0], out[1])
    assert not torch.equal(out[0], out[2])
    assert not torch.equal(out[0], other.apply(images, other.table(6, 4)))
    assert not torch.equal(view.table(6, 4)[0], view.table(6, 4)[1])


def test_drawing_a_view_leaves_torch_s_own_generator_alone():
    before = torch.get_rng_state()
    Augmentation().table(10, 0)
    assert torch.equal(torch.get_rng_state(), before)


def test_an_image_s_view_does_not_depend_on_the_batch_it_comes_in():
    images, view = smooth(12), Augmentation()
    table = view.table(12, 2)
    whole = view.apply(images, table)
    picked = torch.tensor([7, 2, 11])
    torch.testing.assert_close(view.apply(images[picked], table[picked]), whole[picked], rtol=0, atol=1e-6)
    assert torch.equal(view.table(5, 2), table[:5])


def test_the_numbers_are_uniform_between_minus_one_and_one():
    table = Augmentation().table(20_000, 0)
    assert table.shape == (20_000, 9)
    assert table.min() >= -1
    assert table.max() < 1
    # Standard error of a mean of 20,000 such numbers: 0.58 / √20,000 = 0.004.
    assert table.mean(0).abs().max() < 0.02
    assert (table.var(0) - 1 / 3).abs().max() < 0.02


def test_no_view_is_nearer_to_the_mirrored_sign_than_to_the_sign():
    arrow = torch.zeros(1, 3, 32, 32)
    arrow[..., 8:24, 6:12] = 1.0
    arrow[..., 8:13, 6:24] = 1.0
    centred = arrow - arrow.mean()
    view = Augmentation()
    for v in range(4):
        out = view.apply(arrow.expand(50, -1, -1, -1), view.table(50, v))
        out = out - out.mean((1, 2, 3), keepdim=True)
        assert ((out * centred).sum((1, 2, 3)) > (out * centred.flip(3)).sum((1, 2, 3))).all()


def test_the_images_given_are_not_changed():
    images = smooth(3)
    before = images.clone()
    view = Augmentation()
    view.apply(images, view.table(3, 0))
    assert torch.equal(images, before)


@pytest.mark.parametrize("field", [name for name in NOTHING if name != "seed"])
@pytest.mark.parametrize("amount", [-0.1, float("nan")])
def test_a_negative_amount_is_refused_by_name(field, amount):
    with pytest.raises(ValueError, match=f"{field} must be ≥ 0"):
        Augmentation(**{field: amount})


@pytest.mark.parametrize(("field", "amount"), [("zoom", 1.0), ("aspect", 1.5), ("contrast", 1.1), ("saturation", 2.0)])
def test_an_amount_that_would_turn_an_image_over_is_refused(field, amount):
    with pytest.raises(ValueError, match=f"{field} must be"):
        Augmentation(**{field: amount})


def test_a_negative_view_or_too_few_numbers_are_refused():
    view = Augmentation()
    with pytest.raises(ValueError, match="view must be ≥ 0, got -1"):
        view.table(3, -1)
    with pytest.raises(ValueError, match="3 images and 2 rows"):
        view.apply(smooth(3), view.table(2, 0))
