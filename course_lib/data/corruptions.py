"""What a camera does to a sign on a bad day: far away, out of focus, in other light, tilted.

Unlike the views of ``augment`` these are not drawn at random: each amount is given, so that one can be turned up alone
until the network errs.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional as F


def spoil(image: Tensor, *, pixels: int, blur: float, gain: float, rotation_deg: float) -> Tensor:
    """A sign seen from farther, out of focus, in other light, tilted: (3, H, H) in [0, 1] → the same shape.

    Args:
        image: (3, H, H), float in [0, 1].
        pixels: native size: the image is shrunk to pixels × pixels (mean over areas) and enlarged again (bilinear).
        blur: standard deviation of a Gaussian, in pixels of the image; 0 for none.
        gain: factor on the light, clipped at white.
        rotation_deg: counter-clockwise.

    >>> image = torch.tensor([[0.25, 0.75], [0.25, 0.75]]).expand(3, 2, 2)
    >>> spoil(image, pixels=2, blur=0.0, gain=2.0, rotation_deg=0)[0].tolist()
    [[0.5, 1.0], [0.5, 1.0]]
    >>> spoil(image, pixels=1, blur=0.0, gain=1.0, rotation_deg=0)[0].tolist()
    [[0.5, 0.5], [0.5, 0.5]]
    """
    side = image.shape[-1]
    angle = torch.deg2rad(torch.tensor(float(rotation_deg)))
    matrix = torch.stack(
        [angle.cos(), -angle.sin(), angle.new_zeros(()), angle.sin(), angle.cos(), angle.new_zeros(())]
    )
    grid = F.affine_grid(matrix.view(1, 2, 3), [1, 3, side, side], align_corners=False)
    out = F.grid_sample(image[None], grid, padding_mode="border", align_corners=False) if rotation_deg else image[None]
    if pixels < side:
        small = F.interpolate(out, (pixels, pixels), mode="area")
        out = F.interpolate(small, (side, side), mode="bilinear", align_corners=False)
    if blur > 0:
        reach = math.ceil(3 * blur)
        kernel = torch.exp(-(torch.arange(-reach, reach + 1.0) ** 2) / (2 * blur**2))
        kernel = (kernel / kernel.sum()).view(1, 1, -1, 1)
        out = out.transpose(0, 1)  # each colour is blurred as an image of its own
        out = F.conv2d(F.pad(out, (0, 0, reach, reach), mode="replicate"), kernel)
        out = F.conv2d(F.pad(out, (reach, reach, 0, 0), mode="replicate"), kernel.transpose(2, 3)).transpose(0, 1)
    return (gain * out[0]).clamp(0, 1)
