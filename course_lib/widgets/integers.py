"""The interactive part on integers: an accumulator, a real factor, and where each rounding sends their product."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction

import ipywidgets
import numpy as np

from course_lib.plots import CourseFigure, rounding_figure
from course_lib.quantization.integer import HardwareFactor, shift_half_away, shift_half_even
from course_lib.widgets.panel import figure_panel, slider

FACTORS = (0.5, 0.25, 0.1, 0.0072, 0.75, 1.5)
REACH = 400


def rescaled_figure(accumulator: int, factor: float) -> CourseFigure:
    """An accumulator times a factor of 31 bits: the exact product, and where four ways of rounding send it.

    Args:
        accumulator: in int32's range.
        factor: in 2^−31 … 1.99; it is written as multiplier · 2^(−31 − shift).
    Raises: ValueError: a factor out of range.
    """
    if not 2**-31 <= factor < 2:
        raise ValueError(f"factor must be in 2^-31 … 2, got {factor}")
    found = HardwareFactor.of(np.array(factor))
    multiplier, bits = int(found.multiplier), 31 + int(found.shift)
    product = np.array(accumulator * multiplier)  # below 2^62: int64
    rounded = {
        "down (shift alone)": product >> bits,
        "half up": (product + (1 << (bits - 1))) >> bits,
        "half to even": shift_half_even(product, bits),
        "half away from 0": shift_half_away(product, bits),
    }
    title = f"{accumulator} · {factor:g} = {accumulator} · {multiplier:,} · 2^−{bits}"
    exact = float(Fraction(int(product), 1 << bits))
    return rounding_figure(exact, {name: int(value) for name, value in rounded.items()}, title)


def rounding_explorer(factors: Sequence[float] = FACTORS) -> ipywidgets.VBox:
    """Choose a factor and drag the accumulator; see ``rescaled_figure``.

    Args: factors: to choose from, each in 2^−31 … 1.99.
    Raises: ValueError: no factor, or one out of range.
    """
    if not factors:
        raise ValueError("factors must hold at least one number, got none")
    for factor in factors:
        rescaled_figure(1, factor)  # refuses what is out of range before anything is shown
    chosen = ipywidgets.Dropdown(
        options=[(f"{factor:g}", factor) for factor in factors], value=factors[0], description="factor",
        style={"description_width": "8em"}, layout={"width": "28em"},
    )  # fmt: skip
    return figure_panel(rescaled_figure, accumulator=slider("accumulator", 5, -REACH, REACH, 1), factor=chosen)
