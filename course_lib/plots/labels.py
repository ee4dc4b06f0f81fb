"""Words, numbers and ticks as figures write them."""

from __future__ import annotations

from matplotlib.axis import Axis
from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator


def quantity_text(value: float) -> str:
    """Three significant digits without an exponent: 0.115, 88.4, 5,710."""
    return f"{float(f'{value:.3g}'):,.0f}" if value >= 100 else f"{value:.3g}"


def shortened(name: str, longest: int = 26) -> str:
    """The name, cut to ``longest`` letters with an ellipsis as the last."""
    return name if len(name) <= longest else name[: longest - 1] + "…"


def percent(p: float) -> str:
    """A probability for a label: "97 %", "<1 %" and ">99 %" where rounding would claim certainty."""
    if 0 < p < 0.005:
        return "<1 %"
    return ">99 %" if 0.995 <= p < 1 else f"{100 * p:.0f} %"


def plain_ticks(axis: Axis) -> None:
    """1, 2, 5, 10 … without powers of ten."""
    axis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axis.set_minor_locator(NullLocator())
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
