"""The interactive part on signs: spoil an image and ask the network again."""

from __future__ import annotations

from collections.abc import Sequence

import ipywidgets
import numpy as np
import torch
from numpy.typing import ArrayLike
from torch import nn

from course_lib.data.classes import CLASS_NAMES
from course_lib.data.corruptions import spoil
from course_lib.plots import CourseFigure, top_answers_figure
from course_lib.widgets.panel import figure_panel, slider


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

    def draw(sign: int, pixels: int, blur: float, gain: float, rotation_deg: float) -> CourseFigure:
        image = torch.from_numpy(np.array(images[sign])).float() / 255
        image = spoil(image, pixels=pixels, blur=blur, gain=gain, rotation_deg=rotation_deg)
        with torch.inference_mode():
            probabilities = (model(image[None])[0] / temperature).softmax(0).numpy()
        return top_answers_figure(image, probabilities, int(labels[sign]), names)

    side = images.shape[-1]
    return figure_panel(
        draw,
        sign=slider("sign", 0, 0, len(images) - 1, 1),
        pixels=slider("native size, px", side, 6, side, 1),
        blur=slider("blur σ, px", 0.0, 0.0, 4.0, 0.25),
        gain=slider("light ×", 1.0, 0.1, 3.0, 0.1),
        rotation_deg=slider("rotation, °", 0, -90, 90, 5),
    )
