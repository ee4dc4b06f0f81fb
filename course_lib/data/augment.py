"""Random views of a sign that keep its meaning, each a pure function of (seed, view, image).

A view turns, zooms, shifts, shears, brightens and flattens an image a little. It never mirrors it: "keep right"
mirrored is "keep left", which is another class (33/34, 36/37, 38/39, 19/20), and a mirrored "80" is nothing at all.

The usual way draws the random numbers as batches pass by, so that a view depends on everything that happened before.
Here all images' numbers for view v come at once from a generator seeded by (seed, v), and image i takes row i. So a
view can be *replayed*: a killed run resumes to the same result, and a teacher's logits can be computed once for
exactly the view that the student will see.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

_COLUMNS = 9  # rotation, zoom, shift x, shift y, shear, aspect, brightness, contrast, saturation


@dataclass(frozen=True)
class Augmentation:
    """How far a view may go; each amount is the half-width of a uniform distribution.

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
    Raises: ValueError for a negative amount, or one that would turn an image over (zoom or aspect ≥ 1) or into its
        negative (contrast or saturation > 1).
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

    def __post_init__(self) -> None:
        for name, amount in vars(self).items():
            if name != "seed" and not amount >= 0:
                raise ValueError(f"{name} must be ≥ 0, got {amount}")
        for name in ("zoom", "aspect"):
            if not getattr(self, name) < 1:
                raise ValueError(f"{name} must be < 1 (a scale of 0 or less mirrors), got {getattr(self, name)}")
        for name in ("contrast", "saturation"):
            if not getattr(self, name) <= 1:
                raise ValueError(f"{name} must be ≤ 1 (more gives negatives), got {getattr(self, name)}")

    def table(self, count: int, view: int) -> Tensor:
        """The numbers of view ``view`` for images 0..count−1: (count, 9), uniform in [−1, 1).

        Raises: ValueError for a view below 0.

        >>> view = Augmentation(seed=1)
        >>> view.table(3, 0).shape, torch.equal(view.table(3, 0)[:2], view.table(2, 0))
        (torch.Size([3, 9]), True)
        """
        if view < 0:
            raise ValueError(f"view must be ≥ 0, got {view}")
        generator = torch.Generator().manual_seed(self.seed * 1_000_003 + view)
        return torch.rand(count, _COLUMNS, generator=generator) * 2 - 1

    def apply(self, images: Tensor, numbers: Tensor) -> Tensor:
        """Views of images (B, 3, H, W), float in [0, 1], from their rows (B, 9) of ``table``; the same shape.

        Raises: ValueError for another number of rows than of images.

        >>> brighter = Augmentation(0, 0, 0, 0, 0, brightness=0.5, contrast=0, saturation=0)
        >>> numbers = torch.zeros(1, 9)
        >>> numbers[0, 6] = 1.0  # the brightest of the range: a gain of e^0.5
        >>> round(float(brighter.apply(torch.full((1, 3, 4, 4), 0.5), numbers).mean()), 3)
        0.824
        """
        if len(images) != len(numbers):
            raise ValueError(f"one row of numbers an image: got {len(images)} images and {len(numbers)} rows")
        grid = F.affine_grid(self._matrices(numbers), list(images.shape), align_corners=False)
        out = F.grid_sample(images, grid, padding_mode="border", align_corners=False)
        gain, contrast, saturation = (
            column.view(-1, 1, 1, 1)
            for column in (
                torch.exp(self.brightness * numbers[:, 6]),
                1 + self.contrast * numbers[:, 7],
                1 + self.saturation * numbers[:, 8],
            )
        )
        grey = out.mean(1, keepdim=True)
        out = grey + saturation * (out - grey)
        mean = grey.mean((2, 3), keepdim=True)
        return (gain * (mean + contrast * (out - mean))).clamp_(0, 1)

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
