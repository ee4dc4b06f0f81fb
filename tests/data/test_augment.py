"""A view keeps a sign's meaning, is what its numbers say, and can be replayed."""

from __future__ import annotations

import hashlib
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image
from torch.nn import functional as F

from course_lib.data import Augmentation

AMOUNTS = [name for name in vars(Augmentation()) if name not in ("seed", "padding")]
NOTHING = dict.fromkeys(AMOUNTS, 0)
EXTRAS = {"noise": 0.03, "blur": 0.3, "erase": 0.3}


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
    # Pixel by pixel: how many different numbers rounding leaves depends on the processor.
    torch.testing.assert_close(out, 0.4 + 1.3 * (halves - 0.4), rtol=0, atol=1e-5)
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


@pytest.mark.parametrize("field", AMOUNTS)
@pytest.mark.parametrize("amount", [-0.1, float("nan")])
def test_a_negative_amount_is_refused_by_name(field, amount):
    with pytest.raises(ValueError, match=f"{field} must be a number in "):
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


# What is off by default: noise, blur, erased rectangles, contrast on a log scale, reflection.

# SHA-256 of the numbers (50, 9), and six pixels of the views, as they were before any of this could be switched on.
FROZEN = {
    (0, 0): (
        "7e52fee9166ffc60a6df85f1b8de841cbcadf8762da0a1c37ef85471727787f6",
        [0.66084, 0.77431, 0.63683, 0.30556, 0.28406, 1.0],
    ),
    (3, 4): (
        "69f83bdb32d0a522bbe0b6fd48a41417f5a25606b78c8e838979e7aed99c20ba",
        [0.17451, 0.96224, 0.6189, 0.38924, 0.20445, 0.5037],
    ),
}


def columns(view, numbers):
    """Gain, contrast and saturation, as the first version of ``apply`` took them from the table."""
    amounts = (view.brightness, view.contrast, view.saturation)
    gain, contrast, saturation = (a * numbers[:, 6 + k].view(-1, 1, 1, 1) for k, a in enumerate(amounts))
    return gain.exp(), 1 + contrast, 1 + saturation


def first_version(view, images, numbers):
    """The views as they were before there was anything to switch on."""
    grid = F.affine_grid(view._matrices(numbers), list(images.shape), align_corners=False)
    out = F.grid_sample(images, grid, padding_mode="border", align_corners=False)
    gain, contrast, saturation = columns(view, numbers)
    grey = out.mean(1, keepdim=True)
    out = grey + saturation * (out - grey)
    mean = grey.mean((2, 3), keepdim=True)
    return (gain * (mean + contrast * (out - mean))).clamp_(0, 1)


@pytest.mark.parametrize(("seed", "number"), FROZEN)
def test_with_everything_new_switched_off_numbers_and_views_are_the_first_version_s_bit_for_bit(seed, number):
    digest, pixels = FROZEN[seed, number]
    view = Augmentation(seed=seed)
    table = view.table(50, number)
    assert hashlib.sha256(table.numpy().tobytes()).hexdigest() == digest
    images = torch.arange(50 * 3 * 8 * 8).reshape(50, 3, 8, 8).mul(37).remainder(256).float() / 255
    out = view.apply(images, table)
    assert torch.equal(out, first_version(view, images, table))
    torch.testing.assert_close(out[:6, 0, 3, 4], torch.tensor(pixels), rtol=0, atol=1e-4)


@pytest.mark.parametrize("extra", EXTRAS)
def test_what_is_switched_on_leaves_the_first_nine_numbers_and_each_other_s_numbers_alone(extra):
    plain, one_more, all_on = Augmentation(seed=2), Augmentation(seed=2, **{extra: 0.5}), Augmentation(seed=2, **EXTRAS)
    assert torch.equal(one_more.table(30, 7)[:, :9], plain.table(30, 7))
    assert torch.equal(one_more.table(30, 7), all_on.table(30, 7))
    assert torch.equal(all_on.table(30, 7)[:4], all_on.table(4, 7))
    assert not torch.equal(all_on.table(30, 7)[:, 9:], all_on.table(30, 8)[:, 9:])
    assert not torch.equal(all_on.table(30, 7)[:, 9:], replace(all_on, seed=3).table(30, 7)[:, 9:])


def test_the_further_numbers_are_uniform_and_no_copy_of_one_another():
    table = Augmentation(**EXTRAS).table(20_000, 0)
    assert table.dtype == torch.float32
    assert table.min() >= -1
    assert table.max() < 1
    assert table.mean(0).abs().max() < 0.02
    assert (torch.corrcoef(table.T) - torch.eye(table.shape[1])).abs().max() < 0.04


def test_with_everything_on_an_image_s_view_does_not_depend_on_the_batch_it_comes_in():
    images, view = smooth(40), Augmentation(**EXTRAS, contrast_log=0.5, padding="reflection")
    table = view.table(40, 2)
    whole = view.apply(images, table)
    for picked in (torch.tensor([7, 2, 11]), torch.tensor([39]), torch.arange(39, -1, -1)):
        torch.testing.assert_close(view.apply(images[picked], table[picked]), whole[picked], rtol=0, atol=1e-6)
    assert torch.equal(view.apply(images, view.table(40, 2)), whole)


def test_views_with_everything_on_differ_leave_torch_s_generator_alone_and_stay_within_0_and_1():
    images, view = torch.rand(30, 3, 32, 32), Augmentation(noise=0.5, blur=1, erase=1, contrast_log=1)
    before, kept = torch.get_rng_state(), images.clone()
    first, second = (view.apply(images, view.table(30, number)) for number in (0, 1))
    assert torch.equal(torch.get_rng_state(), before)
    assert torch.equal(images, kept)
    assert not torch.equal(first, second)
    assert (first.min(), first.max()) == (0, 1)


def test_noise_is_gaussian_up_to_its_amount_and_each_image_s_own():
    grey, view = torch.full((400, 3, 32, 32), 0.5), only(noise=0.1)
    table = view.table(400, 0)
    noise = view.apply(grey, table) - 0.5
    spread = noise.std((1, 2, 3))
    # An image has 3,072 pixels: the standard error of its standard deviation is 1/√6144 = 1.3 % of it.
    assert spread.max() < 0.1 * 1.05
    assert spread.min() < 0.01
    torch.testing.assert_close(spread.mean(), torch.tensor(0.05), rtol=0.1, atol=0)
    # A Gaussian lies within one standard deviation 68.3 % of the time, within two 95.4 %.
    scaled = (noise / spread.view(-1, 1, 1, 1)).abs()
    assert (scaled < 1).float().mean().item() == pytest.approx(0.683, abs=0.01)
    assert (scaled < 2).float().mean().item() == pytest.approx(0.954, abs=0.01)
    assert noise.mean().abs() < 1e-3
    flat = torch.corrcoef(noise.flatten(1))
    # Independent fields of 3,072 pixels: a correlation has a standard error of 0.018.
    assert (flat - torch.eye(400)).abs().max() < 0.12


def test_blur_is_the_mean_of_three_by_three_neighbours_for_the_share_of_images():
    images, view = torch.rand(2000, 3, 8, 8), only(blur=0.3)
    sharp = only().apply(images, view.table(2000, 0))
    out = view.apply(images, view.table(2000, 0))
    blurred = ~torch.isclose(out, sharp, rtol=0, atol=1e-4).flatten(1).all(1)
    assert blurred.float().mean().item() == pytest.approx(0.3, abs=0.04)
    padded = F.pad(torch.ones(1, 1, 8, 8), (1, 1, 1, 1))
    counts = F.conv2d(padded, torch.ones(1, 1, 3, 3))  # neighbours that are there: 9, or 6 and 4 at the edge
    sums = F.conv2d(F.pad(sharp, (1, 1, 1, 1)), torch.ones(3, 1, 3, 3), groups=3)
    torch.testing.assert_close(out[blurred], (sums / counts)[blurred], rtol=0, atol=1e-4)
    assert not blurred.all()
    assert torch.equal(out[~blurred], sharp[~blurred])


@pytest.mark.parametrize("side", [32, 8])
def test_an_erased_rectangle_is_4_to_12_pixels_a_side_in_one_random_colour(side):
    images, view = torch.rand(3000, 3, side, side), only(erase=0.5)
    numbers = view.table(3000, 0)
    changed = view.apply(images, numbers) - only().apply(images, numbers)
    touched = (changed != 0).any(1)  # (N, H, W); image and colour never agree in all three channels
    erased = touched.flatten(1).any(1)
    assert erased.float().mean().item() == pytest.approx(0.5, abs=0.03)
    rows, across = touched.any(2).sum(1)[erased], touched.any(1).sum(1)[erased]
    for found in (rows, across):
        assert sorted(found.unique().tolist()) == list(range(4, min(12, side) + 1))
    assert torch.equal(touched.flatten(1).sum(1)[erased], rows * across)  # a full rectangle
    edges = (touched[:, 0], touched[:, -1], touched[..., 0], touched[..., -1])
    assert all(0.01 < edge.any(1)[erased].float().mean() < 0.9 for edge in edges)  # it reaches them all, and none
    out = view.apply(images, numbers)
    colours = torch.stack([image[:, where][:, 0] for image, where in zip(out[erased], touched[erased], strict=True)])
    inside = [image[:, where] for image, where in zip(out[erased], touched[erased], strict=True)]
    assert all((pixels == pixels[:, :1]).all() for pixels in inside)
    assert colours.min() < 0.02
    assert colours.max() > 0.98
    assert (torch.corrcoef(colours.T) - torch.eye(3)).abs().max() < 0.1


def test_contrast_on_a_log_scale_is_a_factor_of_e_to_the_amount():
    halves = torch.full((1, 3, 8, 8), 0.4)
    halves[..., :4], halves[..., 4:] = 0.3, 0.5
    for value in (1.0, -1.0):
        out = only(contrast_log=0.5).apply(halves, one(7, value))
        torch.testing.assert_close(out, 0.4 + np.exp(0.5 * value) * (halves - 0.4), rtol=0, atol=1e-5)


def test_reflection_mirrors_what_is_beyond_the_edge_and_border_repeats_it():
    image = torch.rand(1, 3, 32, 32)
    mirrored = only(shift=0.25, padding="reflection").apply(image, one(2))
    torch.testing.assert_close(mirrored[..., 24:], image[..., 24:].flip(-1), rtol=0, atol=1e-5)
    repeated = only(shift=0.25).apply(image, one(2))
    torch.testing.assert_close(repeated[..., 24:], image[..., 31:].expand(-1, -1, -1, 8), rtol=0, atol=1e-5)


@pytest.mark.parametrize("field", ["blur", "erase"])
def test_a_probability_above_one_is_refused_by_name(field):
    with pytest.raises(ValueError, match=rf"{field} must be a number in \[0, 1\], got 1.5"):
        Augmentation(**{field: 1.5})


def test_an_unknown_padding_is_refused():
    with pytest.raises(ValueError, match=r"padding must be 'border' or 'reflection', got 'zeros'"):
        Augmentation(padding="zeros")


@pytest.mark.parametrize("extra", EXTRAS)
def test_numbers_that_were_drawn_without_what_is_on_are_refused(extra):
    with pytest.raises(ValueError, match=r"rows of 20 numbers, got 9: draw them with this augmentation"):
        Augmentation(**{extra: 0.1}).apply(smooth(3), Augmentation().table(3, 0))


def test_numbers_drawn_with_more_than_is_on_give_the_plain_view():
    images, rich = smooth(5), Augmentation(**EXTRAS)
    table = rich.table(5, 1)
    assert torch.equal(Augmentation().apply(images, table), Augmentation().apply(images, table[:, :9]))
