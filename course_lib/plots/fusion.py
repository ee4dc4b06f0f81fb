"""Fusion: where time and bytes lie by operator, memory's speed by size, a wrong border, and what fusion saves."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import ArrayLike

from course_lib.evaluation import Estimate
from course_lib.plots.arrays import floats
from course_lib.plots.labels import byte_ticks, bytes_text, plain_ticks
from course_lib.plots.style import COLOURS, MARKERS, CourseFigure, finish, new_figure, styled

HATCHES = ("", "//", "..", "xx")


@styled
def shares_figure(shares: Mapping[str, Mapping[str, float]]) -> CourseFigure:
    """One bar for each quantity, cut by kind of operator, in per cent.

    Args: shares: quantity ("time") → kind ("BatchNorm") → fraction in [0, 1]; each quantity has the same kinds.
    """
    figure, axes = new_figure(8.0, 0.7 * len(shares) + 1.4)
    kinds = list(next(iter(shares.values())))
    starts = np.zeros(len(shares))
    for number, kind in enumerate(kinds):
        widths = 100 * np.array([found[kind] for found in shares.values()])
        look = {"color": COLOURS[number], "hatch": HATCHES[number % 4], "edgecolor": "white", "label": kind}
        axes.barh(range(len(shares)), widths, 0.6, left=starts, **look)
        for y, (start, width) in enumerate(zip(starts, widths, strict=True)):
            if width >= 6:
                box = {"facecolor": "white", "edgecolor": "none", "pad": 1}
                axes.text(start + width / 2, y, f"{width:.0f}", ha="center", va="center", fontsize=9, bbox=box)
        starts += widths
    axes.set_yticks(range(len(shares)), list(shares))
    axes.invert_yaxis()
    axes.grid(visible=False, axis="y")
    axes.set(xlabel="share, %", ylabel="of the", xlim=(0, 100))
    figure.legend(loc="outside upper left", ncols=len(kinds))
    parts = (
        f"{name}: " + ", ".join(f"{kind} {100 * x:.0f} %" for kind, x in found.items())
        for name, found in shares.items()
    )
    return finish(figure, alt=f"Shares by kind of operator. {'; '.join(parts)}.")


@styled
def bandwidth_figure(bytes_: ArrayLike, gbs: ArrayLike, marks: Mapping[str, float]) -> CourseFigure:
    """How fast arrays of each size are read and written, both axes logarithmic.

    Args: bytes_: of all arrays together; gbs: GB/s; marks: name → bytes, drawn as vertical lines.
    """
    x, y = floats(bytes_), floats(gbs)
    figure, axes = new_figure(7.5, 3.6)
    axes.plot(x, y, "o-", color=COLOURS[0])
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.set_ylim(y.min() / 1.4, y.max() * 1.4)
    for number, (name, size) in enumerate(marks.items(), 1):
        axes.axvline(size, color=COLOURS[number], linestyle=("--", ":", "-.")[number % 3], label=name)
    byte_ticks(axes.xaxis)
    plain_ticks(axes.yaxis)
    axes.set(xlabel="read and written again and again", ylabel="GB/s")
    figure.legend(loc="outside upper left", ncols=2)
    points = ", ".join(f"{bytes_text(a)} {b:.3g} GB/s" for a, b in zip(x, y, strict=True))
    places = "; ".join(f"{name}: {bytes_text(size)}" for name, size in marks.items())
    return finish(figure, alt=f"Memory's speed by the size of what is moved: {points}. Marked: {places}.")


@styled
def rim_figure(errors: Mapping[str, ArrayLike]) -> CourseFigure:
    """One picture a title: |error| of each output pixel, all on one scale.

    Args: errors: title → (H, W), ≥ 0.
    """
    maps = {title: floats(values) for title, values in errors.items()}
    highest = max(1e-12, *(values.max() for values in maps.values()))
    figure, axes = new_figure(3.4 * len(maps) + 0.8, 3.3, columns=len(maps))
    panels = np.atleast_1d(axes)
    for panel, (title, values) in zip(panels, maps.items(), strict=True):
        drawn = panel.imshow(values, cmap="cividis", vmin=0, vmax=highest)
        panel.set(xlabel="column", ylabel="row", title=title)
        panel.grid(visible=False)
    bar = figure.colorbar(drawn, ax=panels.tolist(), label="|error|")
    bar.ax.set_xlabel(" ")
    parts = (
        f"{title}: {np.count_nonzero(values > highest / 1e3)} of {values.size} pixels are off, by up to "
        f"{values.max():.2g}" for title, values in maps.items()
    )  # fmt: skip
    return finish(figure, alt=f"Errors by pixel. {'; '.join(parts)}.")


@styled
def steps_figure(found: Mapping[str, Mapping[str, Estimate]]) -> CourseFigure:
    """One panel a setting, one row a step: times faster, with its 95 % interval; each step has its colour and marker.

    Args: found: setting ("teacher, 1 image") → step ("folded") → ratio; all settings have the same steps.
    """
    steps = list(next(iter(found.values())))
    figure, axes = new_figure(2.4 * len(found) + 1.2, 0.42 * len(steps) + 1.1, columns=len(found))
    for panel, (setting, ratios) in zip(np.atleast_1d(axes), found.items(), strict=True):
        for y, ratio in enumerate(ratios.values()):
            width = [[max(0.0, ratio.value - ratio.low)], [max(0.0, ratio.high - ratio.value)]]
            look = {"color": COLOURS[y % 7], "marker": MARKERS[y % 8], "capsize": 3, "markersize": 7}
            panel.errorbar(ratio.value, y, xerr=width, **look)
        panel.axvline(1, color="#000000", linestyle="--", linewidth=1)
        panel.set(xlabel="times faster, ×", ylabel="step", title=setting, ylim=(len(steps) - 0.5, -0.5))
        first = panel is np.atleast_1d(axes)[0]
        panel.set_yticks(range(len(steps)), steps if first else [""] * len(steps))
        panel.set_ylabel("step" if first else " ")
        panel.grid(visible=False, axis="y")
    parts = (
        f"{setting}: " + ", ".join(f"{step} {r.value:.2f} [{r.low:.2f}, {r.high:.2f}]" for step, r in ratios.items())
        for setting, ratios in found.items()
    )
    return finish(figure, alt=f"Times faster than the untouched network (dashed: 1). {'; '.join(parts)}.")


@styled
def saving_figure(
    calls: int, megabytes: float, overhead_us: float, bandwidth_gbs: float, measured_ms: float
) -> CourseFigure:
    """What calls and bytes that are gone should save, one behind the other, and below what was measured.

    Args:
        calls: that are gone; megabytes: 10⁶ bytes that are no longer moved.
        overhead_us: of one call, µs; bandwidth_gbs: > 0, GB/s.
        measured_ms: saved time, ms.
    """
    by_calls, by_bytes = calls * overhead_us / 1e3, megabytes / bandwidth_gbs
    figure, axes = new_figure(7.5, 2.3)
    words = f"{calls} calls × {overhead_us:.3g} µs", f"{megabytes:.3g} MB / {bandwidth_gbs:.3g} GB/s"
    axes.barh(0, by_calls, 0.6, color=COLOURS[0], label=words[0])
    axes.barh(0, by_bytes, 0.6, left=by_calls, color=COLOURS[1], hatch="//", edgecolor="white", label=words[1])
    axes.barh(1, measured_ms, 0.6, color="#777777", label="measured")
    axes.set_yticks([0, 1], ["predicted", "measured"])
    axes.invert_yaxis()
    axes.grid(visible=False, axis="y")
    axes.set(xlabel="saved, ms", ylabel=" ")
    figure.legend(loc="outside upper left", ncols=3)
    return finish(
        figure,
        alt=f"Predicted: {by_calls:.3g} ms for {words[0]} and {by_bytes:.3g} ms for {words[1]}, together "
        f"{by_calls + by_bytes:.3g} ms. Measured: {measured_ms:.3g} ms.",
    )
