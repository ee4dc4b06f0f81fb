"""Boards before anyone has measured: their roofs over one network, and one network's layers under one roof."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.ticker import FuncFormatter

from course_lib.plots.labels import plain_ticks, quantity_text
from course_lib.plots.style import COLOURS, MARKERS, CourseFigure, finish, new_figure, styled

_LINES = ("-", "--", "-.", ":")


@styled
def board_roofs_figure(roofs: Mapping[str, tuple[float, float]], layers: Mapping[str, float]) -> CourseFigure:
    """Speed over operations an element, both logarithmic: what each board allows each layer at most.

    Elements, not bytes: then a layer stands at one place whatever the width of its numbers, and a narrower number
    raises the slanted roof.

    Args:
        roofs: board → (G operations/s, G elements/s), at least one.
        layers: layer → operations for each element that is moved, at least one.
    """
    figure, axes = new_figure(7.5, 4.6)
    at = np.array(list(layers.values()))
    x = np.geomspace(min(0.5, at.min() / 2), max(1000.0, 3 * at.max()), 300)
    told = []
    for i, (name, (peak, elements)) in enumerate(roofs.items()):
        axes.plot(x, np.minimum(peak, x * elements), _LINES[i % 4], color=COLOURS[i], linewidth=1.6)
        height = np.minimum(peak, at * elements)
        axes.plot(at, height, MARKERS[i], color=COLOURS[i], markersize=7, label=name)
        slow = int((at * elements < peak).sum())
        told.append(f"{name}: {quantity_text(peak)} G operations/s, {slow} of {len(at)} layers on the slanted part")
    axes.set_xscale("log")
    axes.set_yscale("log")
    _plain_powers(axes.yaxis)
    plain_ticks(axes.xaxis)
    axes.set(xlabel="operations for each element moved", ylabel="G operations/s, at most")
    for name in {min(layers, key=layers.__getitem__), max(layers, key=layers.__getitem__)}:
        axes.axvline(layers[name], color="#888888", linestyle=":", linewidth=1)
        axes.text(layers[name], axes.get_ylim()[0], f" {name}", va="bottom", fontsize=8, color="#555555")
    figure.legend(loc="outside upper center", ncols=2)
    return finish(figure, alt=f"What documented peaks allow {len(at)} layers. {'; '.join(told)}.")


@styled
def least_times_figure(layers: Mapping[str, tuple[float, float, float]], title: str) -> CourseFigure:
    """Each layer's three times on a logarithmic axis: to compute, to move its bytes, and assumed for starting it.

    Args:
        layers: layer → (µs to compute, µs to move, µs assumed for starting it: 0 is not drawn), at least one.
        title: what runs where.
    """
    figure, axes = new_figure(7.5, 0.9 + 0.34 * (len(layers) + 2))
    names, times = list(layers), np.array(list(layers.values()))
    for i, name in enumerate(("to compute", "to move its bytes", "assumed for starting it")):
        if times[:, i].any():
            _markers(axes, times[:, i], i, name)
    axes.set_xscale("log")
    _plain_powers(axes.xaxis)
    low, high = times[times > 0].min(), times.max()
    axes.set_xlim(low / 2, high * 2)
    axes.set_yticks(range(len(names)), names)
    axes.set_ylim(len(names) - 0.5, -0.5)
    axes.set(xlabel="µs", ylabel="layer", title=title)
    figure.legend(loc="outside lower center", ncols=3)
    told = "; ".join(f"{name} {_told(values)}" for name, values in layers.items())
    return finish(figure, alt=f"{title}. µs to compute, to move, to start: {told}.")


def _plain_powers(axis: Axis) -> None:
    """0.01, 1, 1,000 without exponents."""
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.10g}"))


def _markers(axes: Axes, values: np.ndarray, i: int, name: str) -> None:
    """One kind of time, a little above or below the others' line, so that equal times do not hide one another."""
    place = np.arange(len(values)) + 0.18 * (i - 1)
    axes.plot(values, place, MARKERS[i], color=COLOURS[i], markersize=7, label=name)


def _told(values: Sequence[float]) -> str:
    return " / ".join(quantity_text(value) for value in values)
