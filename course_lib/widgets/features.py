"""The interactive part on inner layers: where two networks look, sign by sign and layer by layer."""

from __future__ import annotations

from collections.abc import Sequence

import ipywidgets
import numpy as np
import torch
from numpy.typing import ArrayLike
from torch import nn

from course_lib.data.classes import SHORT_NAMES
from course_lib.distillation import (
    Taps,
    attention_map,
    attention_transfer_loss,
)
from course_lib.plots import CourseFigure, attention_figure
from course_lib.widgets.panel import figure_panel

WIDE = {"style": {"description_width": "8em"}, "layout": {"width": "28em"}}


def attention_pair_figure(
    teacher: nn.Module,
    student: nn.Module,
    image: ArrayLike,
    label: int,
    *,
    pair: tuple[str, str],
    power: float,
    form: str,
) -> CourseFigure:
    """One image (3, H, H), uint8, and the attention maps of a student's and a teacher's layer on it.

    Args: pair: (student's layer, teacher's layer), module names; power, form: as in ``attention_map``.
    """
    batch = torch.from_numpy(np.array(image))[None].float() / 255
    features = []
    for model, name in zip((student, teacher), pair, strict=True):
        with torch.no_grad(), Taps(model, [name]) as taps:
            model(batch)
            features.append(taps[name])
    options = {"power": power, "form": form}
    maps = {}
    for name, layer, found in zip(("student", "teacher"), pair, features, strict=True):
        maps[f"{name}, {layer}"] = attention_map(found, **options).view(1, *found.shape[2:]).numpy()
    distance = attention_transfer_loss(*features, distance="norm", **options)
    caption = f"{SHORT_NAMES[label]}, ‖Δ‖ = {distance:.2f}"
    return attention_figure(batch.numpy(), maps, [caption], inch=2.3)


def attention_explorer(
    teacher: nn.Module, student: nn.Module, images: ArrayLike, labels: ArrayLike, pairs: Sequence[tuple[str, str]]
) -> ipywidgets.VBox:
    """Choose an image (N, 3, H, H), uint8, a pair of layers, the power and the form: where do both networks look?

    Args: pairs: (student's layer, teacher's layer), module names.
    Raises: ValueError: no image, not one label an image, or no pair.
    """
    images, labels = np.asarray(images), np.asarray(labels)
    if len(images) == 0 or labels.shape != (len(images),) or not pairs:
        raise ValueError(
            "at least one image, one label an image and one pair of layers are needed: "
            f"got {len(images)} images, labels {labels.shape}, {len(pairs)} pairs"
        )

    def draw(sign: int, pair: tuple[str, str], power: float, form: str) -> CourseFigure:
        chosen = {"pair": pair, "power": power, "form": form}
        return attention_pair_figure(teacher, student, images[sign], int(labels[sign]), **chosen)

    return figure_panel(
        draw,
        sign=ipywidgets.IntSlider(0, 0, len(images) - 1, description="sign", continuous_update=False, **WIDE),
        pair=ipywidgets.Dropdown(
            options=[(" – ".join(pair), tuple(pair)) for pair in pairs], description="layers", **WIDE
        ),
        power=ipywidgets.FloatSlider(
            2.0, min=1, max=8, step=0.5, description="power p", continuous_update=False, **WIDE
        ),
        form=ipywidgets.Dropdown(options=["sum", "max"], description="over channels", **WIDE),
    )
