"""The interactive part on quantization: drag the range and the bits of a ruler, and watch codes, error and SQNR."""

from __future__ import annotations

import ipywidgets
from torch import Tensor

from course_lib.plots import CourseFigure, ruler_figure
from course_lib.quantization import Codes, from_range
from course_lib.widgets.panel import figure_panel, slider


def ruler_explorer(tensors: dict[str, Tensor], bits: int = 4) -> ipywidgets.VBox:
    """Choose a tensor, bits, the ends of the range as parts of the tensor's own, and the kind of codes.

    Args:
        tensors: name → (N,), floats; none of them 0 throughout.
        bits: at the start, 2 … 8.
    Raises: ValueError: no tensors, or one that is empty, not finite, or 0 throughout.
    """
    if not tensors:
        raise ValueError("tensors must hold at least one, got none")
    for name, x in tensors.items():
        if x.numel() == 0 or not bool(x.isfinite().all()) or not bool(x.any()):
            raise ValueError(f"{name} must hold finite values that are not all 0")

    def draw(tensor: str, bits: int, lower: float, upper: float, codes: str) -> CourseFigure:
        x = tensors[tensor].flatten().float()
        ends = lower * x.min().clamp(max=0), upper * x.max().clamp(min=0)
        kind = Codes(bits, signed=codes != "unsigned, asymmetric")
        return ruler_figure(x, from_range(*ends, kind, symmetric=codes == "signed, symmetric"))

    return figure_panel(
        draw,
        tensor=ipywidgets.Dropdown(options=list(tensors), description="tensor"),
        bits=slider("bits", bits, 2, 8, 1),
        lower=slider("lower end, × min", 1.0, 0.0, 1.5, 0.05),
        upper=slider("upper end, × max", 1.0, 0.05, 1.5, 0.05),
        codes=ipywidgets.Dropdown(
            options=["unsigned, asymmetric", "signed, asymmetric", "signed, symmetric"], description="codes"
        ),
    )
