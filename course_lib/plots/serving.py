"""Serving: calls over the batch, a batch against its deadline, waits over the load, and one rank in two cadences."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import inf

import numpy as np
from matplotlib.ticker import NullLocator

from course_lib.measure import three_digits
from course_lib.measure.serving import keeps_up, largest_batch, oldest_wait_ms
from course_lib.plots.labels import plain_ticks
from course_lib.plots.style import COLOURS, MARKERS, CourseFigure, finish, new_figure, styled

Line = tuple[float, float]  # a and b in ms: t(B) = a + b·B


@styled
def batch_figure(curves: Mapping[str, Mapping[int, float]], lines: Mapping[str, Line]) -> CourseFigure:
    """ms of a call, and images a second, over the batch (all logarithmic): measured points and lines a + b·B.

    Args: curves: name → batch → ms of a call; lines: the same names → (a, b).
    """
    figure, (left, right) = new_figure(9.0, 3.8, columns=2)
    ticks, parts = sorted({batch for curve in curves.values() for batch in curve}), []
    for i, (name, curve) in enumerate(curves.items()):
        batches, ms = np.array(list(curve), float), np.array(list(curve.values()), float)
        fine = np.geomspace(batches.min(), batches.max(), 60)
        straight = lines[name][0] + lines[name][1] * fine
        for axes, points, line in ((left, ms, straight), (right, 1000 * batches / ms, 1000 * fine / straight)):
            axes.plot(batches, points, MARKERS[i], color=COLOURS[i], label=name, markerfacecolor="none", markersize=7)
            axes.plot(fine, line, color=COLOURS[i], linewidth=1, linestyle=("-", "--", ":", "-.")[i % 4])
        rate = 1000 * batches / ms
        parts.append(
            f"{name}: {three_digits(ms[0])} ms and {rate[0]:.0f} images/s at batch {batches[0]:g}, "
            f"{three_digits(ms[-1])} ms and {rate[-1]:.0f} images/s at batch {batches[-1]:g}"
        )
    for axes, words in ((left, "time of a call, ms"), (right, "images a second")):
        axes.set_xscale("log")
        axes.set_yscale("log")
        plain_ticks(axes.yaxis)
        axes.set_xticks(ticks, [f"{batch:g}" for batch in ticks])
        axes.xaxis.set_minor_locator(NullLocator())
        axes.set_xlabel("images in a call")
        axes.set_ylabel(words)
    left.set_title("A larger batch takes longer")
    right.set_title("and computes more images a second")
    left.legend()
    return finish(figure, alt=f"Points measured, lines a + b·B. {'; '.join(parts)}.")


@styled
def deadline_figure(lines: Mapping[str, Line], rate: float, deadline_ms: float, most: int = 32) -> CourseFigure:
    """What the first image of a batch waits for its answer, over the batch, with the deadline.

    Args:
        lines: name → (a, b) in ms.
        rate: images that arrive in a second; inf: all are there.
        deadline_ms: from the arrival of the first image to its answer.
        most: largest batch drawn.
    """
    figure, axes = new_figure(7.5, 3.8)
    batches, parts = np.arange(1, most + 1), []
    arrive = np.zeros(most) if rate == inf else 1000 * (batches - 1) / rate
    axes.plot(batches, arrive, color="#777777", linewidth=1, label="until the last image is there")
    for i, (name, (a, b)) in enumerate(lines.items()):
        waits = [oldest_wait_ms(int(batch), a, b, rate) for batch in batches]
        best = largest_batch(a, b, deadline_ms, rate)
        late = "none is in time" if not best else "cannot keep up" if not keeps_up(best, a, b, rate) else ""
        label = f"{name}: {late or f'at most {best}'}"
        style = {"linewidth": 1, "marker": MARKERS[i], "markersize": 4, "color": COLOURS[i]}
        axes.plot(batches, waits, label=label, **style)
        parts.append(label)
    axes.axhline(deadline_ms, color="#000000", linestyle="--", linewidth=1)
    axes.annotate("deadline", (0.3, deadline_ms), (0, 4), textcoords="offset points")
    axes.set_ylim(0, 2 * deadline_ms)
    axes.set_xlim(0, most + 1)
    axes.set_xlabel("images in a call")
    axes.set_ylabel("first image waits for its answer, ms")
    pace = "all images are there" if rate == inf else f"{rate:g} images arrive a second"
    axes.set_title(f"{pace}, deadline {deadline_ms:g} ms")
    axes.legend(loc="lower right")
    return finish(
        figure, alt=f"Wait of a batch's first image; {pace}, deadline {deadline_ms:g} ms. {'; '.join(parts)}."
    )


@styled
def queue_figure(
    loads: Sequence[float], waits: Mapping[str, Sequence[float]], theory: Mapping[float, float]
) -> CourseFigure:
    """Waits, as multiples of one computation, over the load: one series an arrival pattern, and the theory's mean.

    Args: loads: rate times mean service, ascending, below 1; waits: name → one number a load; theory: load → mean
        wait, at as many ascending loads as make a smooth line.
    """
    figure, axes = new_figure(7.5, 3.8)
    for i, (name, values) in enumerate(waits.items()):
        axes.plot(loads, values, MARKERS[i], color=COLOURS[i], label=name, markerfacecolor="none", markersize=7)
    axes.plot(
        list(theory),
        list(theory.values()),
        color="#000000",
        linewidth=1,
        label="Pollaczek and Khinchine: mean, by chance",
    )
    axes.set_xlabel("load: images a second times seconds an image")
    axes.set_ylabel("wait before the computation, in computations")
    axes.set_title("The line grows long before the processor is full")
    axes.legend()
    parts = [
        f"{name}: {values[0]:.2g} at load {loads[0]:g}, {values[-1]:.3g} at {loads[-1]:g}"
        for name, values in waits.items()
    ]
    return finish(figure, alt=f"Waits over the load. {'; '.join(parts)}.")


@styled
def cadences_figure(
    rows: Mapping[str, Sequence[tuple[float, float, float]]], cadences: Sequence[str], title: str
) -> CourseFigure:
    """How many times faster than the first row of the table each row is, in each cadence, with its interval.

    Args: rows: name → (value, low, high) a cadence; cadences: their names; title: what was measured.
    """
    figure, axes = new_figure(8.5, 0.5 * len(rows) + 1.3)
    offsets = np.linspace(-0.16, 0.16, len(cadences))
    for i, cadence in enumerate(cadences):
        found = np.array([row[i] for row in rows.values()], float)
        bars = np.maximum(0, [found[:, 0] - found[:, 1], found[:, 2] - found[:, 0]])
        style = {"color": COLOURS[i], "marker": MARKERS[i], "linestyle": "none", "capsize": 2, "label": cadence}
        axes.errorbar(found[:, 0], np.arange(len(rows)) + offsets[i], xerr=bars, **style)
    axes.set_xscale("log")
    plain_ticks(axes.xaxis)
    axes.axvline(1, color="#777777", linewidth=1)
    axes.set_yticks(range(len(rows)), list(rows))
    axes.set_ylim(len(rows) - 0.5, -0.5)
    axes.set_ylabel("run by")
    axes.set_xlabel("times faster than eager PyTorch in float32, × (bar: 95 % interval)")
    axes.set_title(title)
    axes.legend(loc="best")
    axes.grid(visible=False, axis="y")
    parts = [
        f"{name}: {', '.join(f'{row[i][0]:.3g} {cadence}' for i, cadence in enumerate(cadences))}"
        for name, row in rows.items()
    ]
    return finish(figure, alt=f"{title}: times faster than eager PyTorch. {'; '.join(parts)}.")
