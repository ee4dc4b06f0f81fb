"""The ledger as a picture: what each step of compression cost and bought."""

from __future__ import annotations

from typing import TYPE_CHECKING

from matplotlib.axes import Axes
from matplotlib.collections import PathCollection
from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator

from course_lib.measure import quantity
from course_lib.plots.style import CourseFigure, finish, new_figure, styled
from course_lib.plots.variants import HOLLOW, point_style, variant_look

if TYPE_CHECKING:
    from course_lib.measure import Ledger, Row


@styled
def ledger_figure(ledger: Ledger) -> CourseFigure:
    """Accuracy (%) over latency (ms, logarithmic): one point a row, its area the file's size, bars the 95 % interval.

    The horizontal bar reaches from p50 to p95; both axes are zoomed to the data. Hollow points carry a mark: see
    the ledger's notes; the times and their marks are those of the ledger's first cadence.
    """
    marks = {row.name: ledger.marks(row, ledger.cadences[0].name) for row in ledger}
    figure, axes = new_figure(9.0, 4.5)
    largest = max(row.size_bytes for row in ledger)
    for i, row in enumerate(ledger):
        _ledger_point(axes, row, i, share=row.size_bytes / largest, marked=bool(marks[row.name]))
    axes.set_xscale("log")
    times = [row.latency_ms_p50 for row in ledger]
    # Variants that are nearly equally fast need closer ticks, or no tick falls between them.
    axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5) if max(times) > 4 * min(times) else range(1, 10)))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(FuncFormatter(lambda ms, _: f"{ms:g}"))
    axes.margins(x=0.12, y=0.12)
    how = f"{ledger.cadences[0].name}, batch {ledger.input_shape[0]}, {ledger.threads} thread(s)"
    axes.set_xlabel(f"latency, ms ({how}; point p50, bar to p95)")
    axes.set_ylabel(f"accuracy on {ledger.data} test images, %")
    axes.set_title(ledger.title)
    # Markers of one size in the legend: the bytes are written there.
    title = HOLLOW if any(marks.values()) else None
    legend = figure.legend(loc="outside right upper", title=title, alignment="left")
    for handle in legend.legend_handles:
        if isinstance(handle, PathCollection):
            handle.set_sizes([50])
    points = "; ".join(
        f"{row.name}: {100 * row.accuracy.value:.1f} %, {row.latency_ms_p50:.3g} ms, {quantity(row.size_bytes, 'B')}"
        for row in ledger
    )
    return finish(figure, alt=f"Accuracy over latency for {len(ledger)} variants. {points}.")


def _ledger_point(axes: Axes, row: Row, number: int, *, share: float, marked: bool) -> None:
    """One variant with its bars; share: of its bytes in the largest file's. Hollow where it is marked."""
    x, y, colour = row.latency_ms_p50, 100 * row.accuracy.value, variant_look(row.name, number)[0]
    down, up = y - 100 * row.accuracy.low, 100 * row.accuracy.high - y
    tail, area = max(0.0, row.latency_ms_p95 - x), 40 + 560 * share
    # Large files lie below, so that no small point hides; names stand beside, since good variants crowd together.
    axes.errorbar(x, y, [[down], [up]], [[0], [tail]], color=colour, linewidth=1, capsize=2, zorder=2 + 1 / area)
    label = f"{row.name}, {quantity(row.size_bytes, 'B')}"
    style = point_style(row.name, number, marked=marked)
    axes.scatter(x, y, area, alpha=0.85, zorder=3 + 1 / area, label=label, **style)
