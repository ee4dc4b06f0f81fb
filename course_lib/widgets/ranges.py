"""The interactive part on ranges: drag both ends over a tensor's histogram, and watch clipping, step and noise."""

from __future__ import annotations

from collections.abc import Mapping

import ipywidgets
import numpy as np
import torch
from torch import Tensor

from course_lib.plots import CourseFigure, chosen_range_figure
from course_lib.quantization import Codes, fake_quantize, from_range, sqnr_db
from course_lib.widgets.panel import figure_panel, slider


def range_figure(x: Tensor, low: float, high: float, bits: int, name: str = "") -> CourseFigure:
    """The histogram of a tensor, a range, and in words what unsigned codes of it cost.

    Args:
        x: floats, finite, not 0 throughout.
        low, high: ends of the range, low ≤ 0 ≤ high, one of them not 0.
        bits: 2 … 8.
        name: of the tensor, for the axis.
    Raises: ValueError: a tensor without a finite value other than 0, or ends that do not enclose 0.
    """
    values = _checked(x)
    if not low <= 0 <= high or low == high:
        raise ValueError(f"low and high must enclose 0, got {low} and {high}")
    affine = from_range(torch.tensor(low).float(), torch.tensor(high).float(), Codes(bits, signed=False))
    outside = float(((values < low) | (values > high)).double().mean())
    noise = sqnr_db(values, fake_quantize(values, affine))
    words = (
        f"{low:.2f} … {high:.2f} in {bits} bits: {100 * outside:.3f} % clipped, step {float(affine.scale):.4f}, "
        f"SQNR {noise:.1f} dB"
    )
    counts, edges = np.histogram(values.numpy(), bins=120)
    return chosen_range_figure(counts, edges, low, high, words, name)


def range_explorer(tensors: Mapping[str, Tensor], bits: int = 4) -> ipywidgets.VBox:
    """Choose a tensor and bits, and drag the ends, as parts of the tensor's own smallest and largest value.

    Args:
        tensors: name → floats, finite, not 0 throughout.
        bits: at the start, 2 … 8.
    Raises: ValueError: no tensors, or one that ``range_figure`` refuses.
    """
    if not tensors:
        raise ValueError("tensors must hold at least one, got none")

    for x in tensors.values():
        _checked(x)

    def draw(tensor: str, bits: int, lower: float, upper: float) -> CourseFigure:
        x = tensors[tensor]
        return range_figure(x, lower * min(float(x.min()), 0.0), upper * max(float(x.max()), 0.0), bits, tensor)

    return figure_panel(
        draw,
        tensor=ipywidgets.Dropdown(
            options=list(tensors), description="tensor", style={"description_width": "8em"}, layout={"width": "28em"}
        ),
        bits=slider("bits", bits, 2, 8, 1),
        lower=slider("lower end, × min", 1.0, 0.05, 1.0, 0.05),
        upper=slider("upper end, × max", 1.0, 0.05, 1.0, 0.05),
    )


def _checked(x: Tensor) -> Tensor:
    values = x.detach().flatten().float()
    if values.numel() == 0 or not bool(values.isfinite().all()) or not bool(values.any()):
        raise ValueError("x must hold finite values that are not all 0")
    return values
