"""Random views of a sign that keep its meaning, each a pure function of (seed, view, image).

A view turns, zooms, shifts, shears, brightens and flattens an image a little. It never mirrors it: "keep right"
mirrored is "keep left", which is another class (33/34, 36/37, 38/39, 19/20), and a mirrored "80" is nothing at all.

The usual way draws the random numbers as batches pass by, so that a view depends on everything that happened before.
Here all images' numbers for view v come at once from a generator seeded by (seed, v), and image i takes row i. So a
view can be *replayed*: a killed run resumes to the same result, and a teacher's logits can be computed once for
exactly the view that the student will see.

What a camera adds (blur, noise) and what stands in front of a sign (an erased rectangle: DeVries & Taylor 2017,
arXiv:1708.04552, Zhong et al. 2020, arXiv:1708.04896) is off unless asked for. Its numbers come from a second generator
and stand behind the first nine, so that switching it on turns no image another way. An image's noise is a whole field
of numbers; its row holds the seed of a generator of its own, and so the field does not depend on the batch either.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from course_lib.arguments import number, whole

_COLUMNS = 9  # rotation, zoom, shift x, shift y, shear, aspect, brightness, contrast, saturation
_MORE = 11  # noise's deviation and seed, blur or not, erase or not, height, width, top, left, red, green, blue
_SMALLEST, _LARGEST = 4, 12  # sides of an erased rectangle, in pixels


@dataclass(frozen=True)
class Augmentation:
    """How far a view may go; each amount is the half-width of a uniform distribution, unless it says otherwise.

    The order is: turn and shift, saturation, contrast, gain, blur, rectangle, noise.

    Args:
        rotation_deg: degrees, ≥ 0.
        zoom: fraction, in [0, 1) (0.1: a scale in 0.9..1.1 of both axes).
        shift: fraction of the side, ≥ 0, in each direction.
        shear: horizontal shift per unit of height, ≥ 0.
        aspect: fraction, in [0, 1): a scale of the horizontal axis alone.
        brightness: on a log scale, ≥ 0 (0.4: a gain between 1/1.49 and 1.49).
        contrast: fraction around the image's own mean, in [0, 1].
        saturation: fraction around the image's grey version, in [0, 1].
        seed: two augmentations with equal seeds give equal views.
        contrast_log: on a log scale, ≥ 0 (0.5: a factor between 1/1.65 and 1.65); it multiplies ``contrast``'s factor,
            and both are drawn by one number, so use one of them.
        noise: the largest standard deviation of Gaussian noise, ≥ 0, in units of [0, 1]; each image's own is uniform
            from 0 to it.
        blur: probability, in [0, 1], of the mean over 3×3 neighbours.
        erase: probability, in [0, 1], of one rectangle in a random colour, 4 to 12 pixels a side.
        padding: what a view shows beyond the edge: "border" repeats the last pixel, "reflection" mirrors the image.
    Raises: ValueError for a negative amount, one that would turn an image over (zoom or aspect ≥ 1) or into its
        negative (contrast or saturation > 1), a probability above 1, or an unknown padding.
    """

    rotation_deg: float = 10.0
    zoom: float = 0.12
    shift: float = 0.08
    shear: float = 0.12
    aspect: float = 0.06
    brightness: float = 0.5
    contrast: float = 0.3
    saturation: float = 0.3
    seed: int = 0
    contrast_log: float = 0.0
    noise: float = 0.0
    blur: float = 0.0
    erase: float = 0.0
    padding: str = "border"

    def __post_init__(self) -> None:
        if self.padding not in ("border", "reflection"):
            raise ValueError(f"padding must be 'border' or 'reflection', got {self.padding!r}")
        whole("seed", self.seed)
        # A scale of 0 or less mirrors, a factor of more than 1 around the mean gives negatives, and two are chances.
        ends = {name: {"below": 1} for name in ("zoom", "aspect")}
        ends |= {name: {"most": 1} for name in ("contrast", "saturation", "blur", "erase")}
        for name, amount in vars(self).items():
            if name not in ("seed", "padding"):
                number(name, amount, least=0, **ends.get(name, {}))

    def table(self, count: int, view: int) -> Tensor:
        """The numbers of view ``view`` for images 0..count−1: (count, 9), uniform in [−1, 1).

        With noise, blur or erased rectangles there are 20 columns; the first nine stay what they are without.

        Raises: ValueError for a view below 0.

        >>> view = Augmentation(seed=1)
        >>> view.table(3, 0).shape, torch.equal(view.table(3, 0)[:2], view.table(2, 0))
        (torch.Size([3, 9]), True)
        >>> noisy = Augmentation(seed=1, noise=0.03)
        >>> noisy.table(3, 0).shape, torch.equal(noisy.table(3, 0)[:, :9], view.table(3, 0))
        (torch.Size([3, 20]), True)
        """
        if view < 0:
            raise ValueError(f"view must be ≥ 0, got {view}")
        generator = torch.Generator().manual_seed(self.seed * 1_000_003 + view)
        numbers = torch.rand(count, _COLUMNS, generator=generator) * 2 - 1
        if not self._draws_more():
            return numbers
        # NumPy's seeds are sequences: no (seed, view) of the generator above can meet one of these.
        more = np.random.default_rng((self.seed % 2**64, view, 1)).random((count, _MORE), dtype=np.float32)
        return torch.cat([numbers, torch.from_numpy(more) * 2 - 1], 1)

    def apply(self, images: Tensor, numbers: Tensor) -> Tensor:
        """Views of images (B, 3, H, W), float in [0, 1], from their rows (B, 9 or 20) of ``table``; the same shape.

        Raises: ValueError for another number of rows than of images, or rows drawn without what is switched on.

        >>> brighter = Augmentation(0, 0, 0, 0, 0, brightness=0.5, contrast=0, saturation=0)
        >>> numbers = torch.zeros(1, 9)
        >>> numbers[0, 6] = 1.0  # the brightest of the range: a gain of e^0.5
        >>> round(float(brighter.apply(torch.full((1, 3, 4, 4), 0.5), numbers).mean()), 3)
        0.824
        """
        if len(images) != len(numbers):
            raise ValueError(f"one row of numbers an image: got {len(images)} images and {len(numbers)} rows")
        columns = _COLUMNS + _MORE
        if self._draws_more() and numbers.shape[1] != columns:
            raise ValueError(
                f"need rows of {columns} numbers, got {numbers.shape[1]}: draw them with this augmentation"
            )
        out = self._coloured(self._moved(images, numbers), numbers)
        if not self._draws_more():
            return out
        more = numbers[:, _COLUMNS:]
        out = _erased(self._blurred(out, more), more, self.erase)
        return out.add_(_noise(out, self.noise * (more[:, 0] + 1) / 2, more[:, 1])).clamp_(0, 1) if self.noise else out

    def _draws_more(self) -> bool:
        return self.noise > 0 or self.blur > 0 or self.erase > 0

    def _moved(self, images: Tensor, numbers: Tensor) -> Tensor:
        grid = F.affine_grid(self._matrices(numbers), list(images.shape), align_corners=False)
        return F.grid_sample(images, grid, padding_mode=self.padding, align_corners=False)

    def _coloured(self, out: Tensor, numbers: Tensor) -> Tensor:
        gain, contrast, saturation = (
            column.view(-1, 1, 1, 1)
            for column in (
                torch.exp(self.brightness * numbers[:, 6]),
                (1 + self.contrast * numbers[:, 7]) * torch.exp(self.contrast_log * numbers[:, 7]),
                1 + self.saturation * numbers[:, 8],
            )
        )
        grey = out.mean(1, keepdim=True)
        out = grey + saturation * (out - grey)
        mean = grey.mean((2, 3), keepdim=True)
        return (gain * (mean + contrast * (out - mean))).clamp_(0, 1)

    def _blurred(self, images: Tensor, more: Tensor) -> Tensor:
        """At the edge the mean is over the neighbours that are there."""
        chosen = _happens(more[:, 2], self.blur)
        images[chosen] = F.avg_pool2d(images[chosen], 3, stride=1, padding=1, count_include_pad=False)
        return images

    def _matrices(self, numbers: Tensor) -> Tensor:
        """Affine maps from output to input coordinates, (B, 2, 3)."""
        angle = torch.deg2rad(self.rotation_deg * numbers[:, 0])
        cos, sin = angle.cos(), angle.sin()
        zoom, aspect = 1 + self.zoom * numbers[:, 1], 1 + self.aspect * numbers[:, 5]
        shear = self.shear * numbers[:, 4]
        # A shift of `shift` of the side is 2·shift in grid_sample's coordinates, which run from −1 to 1.
        dx, dy = 2 * self.shift * numbers[:, 2], 2 * self.shift * numbers[:, 3]
        row_x = torch.stack([zoom * aspect * cos, zoom * (shear * cos - sin), dx], 1)
        row_y = torch.stack([zoom * aspect * sin, zoom * (shear * sin + cos), dy], 1)
        return torch.stack([row_x, row_y], 1)


def _happens(uniform: Tensor, probability: float) -> Tensor:
    """Where a number in [−1, 1) says that something of this probability happens: (B,), bool."""
    return (uniform + 1) / 2 < probability


def _erased(images: Tensor, more: Tensor, probability: float) -> Tensor:
    """One rectangle of one colour in each image that is chosen; a rectangle is never larger than the image."""
    height, width = images.shape[2:]
    unit = (more[:, 4:] + 1) / 2  # (B, 7), in [0, 1)
    rows, columns = (
        _span(unit[:, side], unit[:, start], size) for side, start, size in ((0, 2, height), (1, 3, width))
    )
    inside = rows[:, None, :, None] & columns[:, None, None, :]  # (B, 1, H, W)
    inside &= _happens(more[:, 3], probability).view(-1, 1, 1, 1)
    return torch.where(inside, unit[:, 4:, None, None], images)


def _span(side: Tensor, start: Tensor, size: int) -> Tensor:
    """Which of ``size`` pixels lie in a stretch of 4 to 12 of them: (B, size), bool."""
    length = (_SMALLEST + (side * (_LARGEST - _SMALLEST + 1)).floor()).clamp(max=size)
    # A product of a number below 1 may round up to the count of places itself.
    first = torch.minimum((start * (size - length + 1)).floor(), size - length)[:, None]
    places = torch.arange(size, device=side.device)
    return (places >= first) & (places < first + length[:, None])


def _noise(images: Tensor, deviations: Tensor, seeds: Tensor) -> Tensor:
    """A field of Gaussian noise for each image, one of 2²⁴, chosen by its own number and nothing else."""
    generator, fields = torch.Generator(), torch.empty(images.shape)
    # A uniform float32 of [−1, 1) is a multiple of 2⁻²³: the product is a whole number.
    for field, seed in zip(fields, ((seeds + 1) * 2**23).long().tolist(), strict=True):
        field.normal_(generator=generator.manual_seed(seed))
    return fields.to(images.device) * deviations.view(-1, 1, 1, 1)
