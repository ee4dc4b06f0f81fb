"""Interactive parts of "What does a good baseline look like?": spoil an image and ask again; refuse when unsure."""

from __future__ import annotations

from collections.abc import Sequence

import ipywidgets
import numpy as np
import torch
from numpy.typing import ArrayLike
from torch import Tensor, nn
from torch.nn import functional as F

from course_lib.data.classes import CLASS_NAMES
from course_lib.evaluation import coverage_curve
from course_lib.plots import CourseFigure, coverage_figure, top_answers_figure
from course_lib.widgets.panel import figure_panel


def spoil(image: Tensor, *, pixels: int, blur: float, gain: float, rotation_deg: float) -> Tensor:
    """A sign seen from farther, out of focus, in other light, tilted: (3, H, H) in [0, 1] → the same shape.

    Args:
        pixels: native size: the image is shrunk to pixels × pixels (mean over areas) and enlarged again (bilinear).
        blur: standard deviation of a Gaussian, in pixels of the image; 0 for none.
        gain: factor on the light, clipped at white. rotation_deg: counter-clockwise.
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
        reach = int(np.ceil(3 * blur))
        kernel = torch.exp(-(torch.arange(-reach, reach + 1.0) ** 2) / (2 * blur**2))
        kernel = (kernel / kernel.sum()).view(1, 1, -1, 1)
        out = out.transpose(0, 1)  # each colour is blurred as an image of its own
        out = F.conv2d(F.pad(out, (0, 0, reach, reach), mode="replicate"), kernel)
        out = F.conv2d(F.pad(out, (reach, reach, 0, 0), mode="replicate"), kernel.transpose(2, 3)).transpose(0, 1)
    return (gain * out[0]).clamp(0, 1)


def sign_explorer(
    model: nn.Module, images: ArrayLike, labels: ArrayLike, *, temperature: float, names: Sequence[str] = CLASS_NAMES
) -> ipywidgets.VBox:
    """Sliders spoil one of the images (N, 3, H, H), uint8; the model's three best answers follow.

    Args: temperature: divides the logits before the softmax; 1 for the model as it is.
    Raises: ValueError: no image, or not one label an image.
    """
    images, labels = np.asarray(images), np.asarray(labels)
    if len(images) == 0 or labels.shape != (len(images),):
        raise ValueError(f"one label an image, at least one: got {len(images)} images and labels {labels.shape}")

    def draw(sign: int, **spoiling: float) -> CourseFigure:
        image = spoil(torch.from_numpy(np.array(images[sign])).float() / 255, **spoiling)
        with torch.inference_mode():
            probabilities = (model(image[None])[0] / temperature).softmax(0).numpy()
        return top_answers_figure(image, probabilities, int(labels[sign]), names)

    side = images.shape[-1]
    return figure_panel(
        draw,
        sign=_slider("sign", 0, 0, len(images) - 1, 1),
        pixels=_slider("native size, px", side, 6, side, 1),
        blur=_slider("blur σ, px", 0.0, 0.0, 4.0, 0.25),
        gain=_slider("light ×", 1.0, 0.1, 3.0, 0.1),
        rotation_deg=_slider("rotation, °", 0, -90, 90, 5),
    )


def threshold_explorer(confidence: ArrayLike, right: ArrayLike) -> ipywidgets.VBox:
    """A slider for the confidence below which the network refuses to answer; coverage and accuracy follow.

    Args: confidence (N,) in [0, 1]. right (N,): 1 where the answer is right.
    """
    grid = np.linspace(0, 0.995, 200)
    curve = coverage_curve(confidence, right, grid)
    return figure_panel(
        lambda threshold: coverage_figure(grid, *curve, chosen=threshold),
        threshold=_slider("threshold", 0.5, 0.0, 0.995, 0.005),
    )


def _slider(
    text: str, value: float, low: float, high: float, step: float
) -> ipywidgets.IntSlider | ipywidgets.FloatSlider:
    """Waits until the handle is let go: each value costs a drawing."""
    kind = ipywidgets.FloatSlider if isinstance(step, float) else ipywidgets.IntSlider
    style = {"readout_format": ".3f" if step < 0.01 else ".2f"} if isinstance(step, float) else {}
    return kind(
        value, min=low, max=high, step=step, description=text, continuous_update=False,
        style={"description_width": "8em"}, layout={"width": "28em"}, **style,
    )  # fmt: skip
