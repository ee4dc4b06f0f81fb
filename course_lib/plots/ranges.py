"""Choosing ranges: where observers end a tensor, what that does to a network, and how far biases are off.

An observer keeps its colour, marker and line in all figures: those of its place in ``OBSERVERS``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import ArrayLike

from course_lib.plots.arrays import floats
from course_lib.plots.style import COLOURS, MARKERS, CourseFigure, finish, new_figure, styled

OBSERVERS = ("min-max", "moving average", "percentile", "least squares", "entropy")
"""In the order of the chapter."""
_HATCHES = ("", "//", "..", "xx")
_LINES = ("-", "--", "-.", ":", (0, (5, 1)))


def _look(name: str) -> dict[str, object]:
    """Colour, marker and line of an observer. Raises: ValueError: no such observer."""
    if name not in OBSERVERS:
        raise ValueError(f"an observer must be one of {', '.join(OBSERVERS)}, got {name!r}")
    place = OBSERVERS.index(name)
    return {"color": COLOURS[place], "marker": MARKERS[place], "linestyle": _LINES[place]}


@styled
def ends_figure(counts: ArrayLike, edges: ArrayLike, ends: Mapping[str, float], title: str) -> CourseFigure:
    """How many values lie where, and at which value each observer ends the range.

    Args:
        counts: (K,), of the bins; edges: (K + 1,).
        ends: one of ``OBSERVERS`` → upper end.
        title: which tensor.
    """
    numbers, borders = floats(counts), floats(edges)
    figure, axes = new_figure(8.0, 3.6)
    axes.stairs(numbers, borders, fill=True, color="#BBBBBB")
    top = 3 * numbers.max()
    axes.set_yscale("log")
    axes.set_ylim(0.7, top * 30)
    for i, (name, end) in enumerate(ends.items()):
        look = _look(name)
        height = top * 1.8**i
        axes.plot([end, end], [0.7, height], color=look["color"], linestyle=look["linestyle"], linewidth=1.6)
        axes.plot(end, height, marker=look["marker"], linestyle="", color=look["color"], label=f"{name}: {end:.2f}")
    axes.set(xlabel="value", ylabel="values in a bin", title=title)
    figure.legend(loc="outside upper center", ncols=3)
    told = ", ".join(f"{name} {end:.2f}" for name, end in ends.items())
    return finish(figure, alt=f"{title}: counts up to {borders[-1]:.2f}. Upper ends: {told}.")


@styled
def observers_figure(bits: ArrayLike, right: Mapping[str, ArrayLike], whole: float) -> CourseFigure:
    """Accuracy (%) over the bits of the activations, a line for each observer.

    Args:
        bits: (K,), whole numbers.
        right: one of ``OBSERVERS`` → (K,), fractions.
        whole: of the FP32 network.
    """
    widths = floats(bits)
    figure, axes = new_figure(7.0, 3.8)
    step = 0.06
    for i, (name, values) in enumerate(right.items()):
        shifted = widths + step * (i - (len(right) - 1) / 2)  # side by side: no marker hides another
        axes.plot(shifted, 100 * floats(values), markersize=6, label=name, **_look(name))
    axes.axhline(100 * whole, color="#000000", linestyle="-", linewidth=1, label="FP32")
    axes.set(xlabel="bits of the activations (markers stand side by side)", ylabel="accuracy, %", xticks=widths)
    axes.invert_xaxis()
    axes.legend(loc="lower left")
    told = "; ".join(
        f"{name} " + ", ".join(f"{100 * value:.1f}" for value in floats(values)) for name, values in right.items()
    )
    shown = ", ".join(f"{width:.0f}" for width in widths)
    return finish(figure, alt=f"Accuracy in per cent at {shown} bits; FP32 {100 * whole:.1f}. {told}.")


@styled
def draws_figure(images: Sequence[int], panels: Mapping[str, Mapping[str, ArrayLike]]) -> CourseFigure:
    """What calibration gives over the number of images: every draw a point, the mean a line, one panel a measure.

    Args:
        images: (K,), how many, > 0.
        panels: label of the axis → one of ``OBSERVERS`` → (K, draws).
    """
    figure, axes_of = new_figure(10.0, 3.6, columns=len(panels))
    places = np.arange(len(images))
    told = []
    for axes, (label, lines) in zip(np.atleast_1d(axes_of), panels.items(), strict=True):
        for i, (name, values) in enumerate(lines.items()):
            found, look = floats(values), _look(name)
            shifted = places + 0.12 * (i - (len(lines) - 1) / 2)
            across = np.repeat(shifted, found.shape[1])
            axes.plot(across, found.ravel(), linestyle="", marker=look["marker"], color=look["color"], markersize=4)
            axes.plot(shifted, found.mean(1), color=look["color"], linestyle=look["linestyle"], label=name)
            ends = f"{found[0].mean():.2f} to {found[-1].mean():.2f}"
            told.append(f"{label}, {name}: mean {ends}, spread {np.ptp(found[0]):.2f} to {np.ptp(found[-1]):.2f}")
        axes.set_xticks(places, [str(count) for count in images])
        axes.set(xlabel="calibration images", ylabel=label)
    figure.legend(*np.atleast_1d(axes_of)[0].get_legend_handles_labels(), loc="outside upper center", ncols=2)
    return finish(figure, alt=f"From {images[0]} to {images[-1]} images. {'; '.join(told)}.")


@styled
def shifts_figure(layers: Sequence[str], shifts: Mapping[str, ArrayLike]) -> CourseFigure:
    """How far the channels' means are from the FP32 ones, bars side by side for each layer.

    Args:
        layers: names, from the image on.
        shifts: what was measured → (layers,), in standard deviations of a layer's values; NaN where there is none.
    """
    figure, axes = new_figure(9.0, 3.4)
    places, width = np.arange(len(layers)), 0.8 / len(shifts)
    told = []
    for i, (label, values) in enumerate(shifts.items()):
        found = floats(values)
        place = places + width * (i - (len(shifts) - 1) / 2)
        axes.bar(place, found, 0.95 * width, color=COLOURS[i], hatch=_HATCHES[i % 4], label=label)
        told.append(f"{label}: " + ", ".join("none" if np.isnan(v) else f"{v:.3f}" for v in found))
    axes.set_xticks(places, layers)
    axes.set_xlim(-0.6, len(layers) - 0.4)
    axes.set(xlabel="layer", ylabel="shift / standard deviation")
    axes.grid(visible=False, axis="x")
    figure.legend(loc="outside upper center", ncols=2)
    return finish(figure, alt=f"Shift of the channels' means in {', '.join(layers)}. {'; '.join(told)}.")


@styled
def chosen_range_figure(
    counts: ArrayLike, edges: ArrayLike, low: float, high: float, words: str, tensor: str = ""
) -> CourseFigure:
    """A tensor's histogram, and the range that was chosen for it.

    Args:
        counts: (K,), of the bins; edges: (K + 1,).
        low, high: ends of the range.
        words: what the range costs; the title.
        tensor: its name; "": the axis says "value" alone.
    """
    numbers, borders = floats(counts), floats(edges)
    figure, axes = new_figure(8.0, 3.2)
    axes.stairs(numbers, borders, fill=True, color="#BBBBBB", label="values")
    axes.axvspan(low, high, color=COLOURS[0], alpha=0.15, label="range")
    for end in (low, high):
        axes.axvline(end, color=COLOURS[0], linewidth=1.6)
    axes.set_yscale("log")
    axes.set(xlabel=f"value in {tensor}" if tensor else "value", ylabel="values in a bin", title=words)
    figure.legend(loc="outside lower right", ncols=2)
    told = f"Values of {tensor}" if tensor else "Values"
    return finish(figure, alt=f"{words}. {told} lie in {borders[0]:.2f} … {borders[-1]:.2f}.")
