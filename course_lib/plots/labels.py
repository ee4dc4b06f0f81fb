"""Words, numbers and ticks as figures write them."""

from __future__ import annotations

import math

from matplotlib.axis import Axis
from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator


def quantity_text(value: float) -> str:
    """Three significant digits without an exponent: 0.115, 88.4, 5,710."""
    return f"{float(f'{value:.3g}'):,.0f}" if value >= 100 else f"{value:.3g}"


def bytes_text(value: float) -> str:
    """Bytes in the unit that leaves the shortest number, of 1000: 512 B, 98.3 kB, 1 MB, 2.1 GB."""
    power = min(3, max(0, math.floor(math.log10(value) + 1e-9) // 3)) if value > 0 else 0
    return f"{quantity_text(value / 1000**power)} {('B', 'kB', 'MB', 'GB')[power]}"


def shortened(name: str, longest: int = 26) -> str:
    """The name, cut to ``longest`` letters with an ellipsis as the last."""
    return name if len(name) <= longest else name[: longest - 1] + "…"


def percent(p: float) -> str:
    """A probability for a label: "97 %", "<1 %" and ">99 %" where rounding would claim certainty."""
    if 0 < p < 0.005:
        return "<1 %"
    return ">99 %" if 0.995 <= p < 1 else f"{100 * p:.0f} %"


def byte_ticks(axis: Axis) -> None:
    """Of a logarithmic axis in bytes: a tick for each power of ten, with its unit."""
    axis.set_major_locator(LogLocator(subs=(1,)))
    axis.set_minor_locator(NullLocator())
    axis.set_major_formatter(FuncFormatter(lambda value, _: bytes_text(value)))


def plain_ticks(axis: Axis) -> None:
    """1, 2, 5, 10 … without powers of ten."""
    axis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axis.set_minor_locator(NullLocator())
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
