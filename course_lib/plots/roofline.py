"""The roofline: how fast layers run, under the speed that the machine allows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes

from course_lib.measure.roofline import RooflinePoint, attainable_gflops, ridge_intensity
from course_lib.plots.labels import plain_ticks
from course_lib.plots.style import COLOURS, MARKERS, CourseFigure, finish, new_figure, styled


@styled
def roofline_figure(
    peak_gflops: float,
    bandwidth_gbs: float,
    points: Mapping[str, Sequence[RooflinePoint]],
    *,
    cache_gbs: float | None = None,
) -> CourseFigure:
    """Speed (GFLOP/s) over arithmetic intensity (FLOP/byte), both logarithmic: the roof and what layers achieve.

    Args:
        peak_gflops: the flat roof.
        bandwidth_gbs: the slanted roof, GB/s.
        points: model → its layers; the slowest layer of each model is named.
        cache_gbs: a second slanted roof, that of a cache, GB/s; None: none.
    """
    figure, axes = new_figure(7.5, 4.4)
    everything = [p for layers in points.values() for p in layers]
    left, right = min([0.1, *(p.intensity / 2 for p in everything)]), max([200, *(2 * p.intensity for p in everything)])
    bottom = min([attainable_gflops(left, peak_gflops, bandwidth_gbs), *(p.gflops for p in everything)]) / 2
    _roof(axes, peak_gflops, bandwidth_gbs, (left, right, bottom))
    if cache_gbs is not None:
        _cache_roof(axes, peak_gflops, cache_gbs, (left, right))
    for i, (model, layers) in enumerate(points.items()):
        xy = [(p.intensity, p.gflops) for p in layers]
        axes.plot(*zip(*xy, strict=True), MARKERS[i], color=COLOURS[i], alpha=0.8, markersize=7, label=model)
        lowest = min(layers, key=lambda p: p.gflops)
        beside = (7, -11 if i == 0 else 5)  # two models' slowest layers may lie on one another
        axes.annotate(lowest.name, (lowest.intensity, lowest.gflops), beside, textcoords="offset points", fontsize=8)
    highest = 2 * max([peak_gflops, *(p.gflops for p in everything)])
    _frame(axes, (left, right), (bottom, highest))
    figure.legend(loc="outside upper left", ncols=len(points))
    roofs = f"compute roof {peak_gflops:.3g} GFLOP/s, memory roof {bandwidth_gbs:.3g} GB/s, "
    roofs += "" if cache_gbs is None else f"cache roof {cache_gbs:.3g} GB/s, "
    ridge = f"ridge at {ridge_intensity(peak_gflops, bandwidth_gbs):.3g} FLOP/byte"
    return finish(figure, alt=f"Roofline: {roofs}{ridge}. {'; '.join(_range(*item) for item in points.items())}.")


def _range(model: str, layers: Sequence[RooflinePoint]) -> str:
    speeds = [p.gflops for p in layers]
    return f"{model}: {len(layers)} layers from {min(speeds):.3g} to {max(speeds):.3g} GFLOP/s"


def _frame(axes: Axes, x: tuple[float, float], y: tuple[float, float]) -> None:
    axes.set_xscale("log")
    axes.set_yscale("log")
    plain_ticks(axes.xaxis)
    plain_ticks(axes.yaxis)
    axes.set_xlim(*x)
    axes.set_ylim(*y)
    axes.set(xlabel="arithmetic intensity, FLOP/byte", ylabel="speed, GFLOP/s")


def _roof(axes: Axes, peak_gflops: float, bandwidth_gbs: float, edges: tuple[float, float, float]) -> None:
    """Both roofs, the ridge between them, and what they stand for; edges: left, right and bottom of the picture."""
    left, right, bottom = edges
    x, ridge = np.geomspace(left, right, 200), ridge_intensity(peak_gflops, bandwidth_gbs)
    axes.plot(x, [attainable_gflops(i, peak_gflops, bandwidth_gbs) for i in x], color="#000000", linewidth=1.5)
    axes.axvline(ridge, color="#888888", linestyle=":", linewidth=1)
    axes.text(ridge, bottom * 1.15, f" ridge {ridge:.2g} FLOP/byte", color="#555555")
    axes.text(right, peak_gflops * 1.1, f"compute: {peak_gflops:.3g} GFLOP/s", ha="right")
    start = (left * ridge) ** 0.5
    axes.text(1.15 * start, start * bandwidth_gbs, f"memory: {bandwidth_gbs:.3g} GB/s", va="top")


def _cache_roof(axes: Axes, peak_gflops: float, cache_gbs: float, edges: tuple[float, float]) -> None:
    """The slanted roof of what lies in a cache, dashed, up to the flat one."""
    left, ridge = edges[0], ridge_intensity(peak_gflops, cache_gbs)
    axes.plot([left, ridge], [left * cache_gbs, peak_gflops], color="#000000", linewidth=1.2, linestyle="--")
    axes.text(1.05 * left, peak_gflops, f"cache (dashed): {cache_gbs:.3g} GB/s", va="center")
