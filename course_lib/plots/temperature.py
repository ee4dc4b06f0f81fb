"""What the temperature does to an answer: probabilities, entropy, and the 1/T² law of the gradient."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from matplotlib.axes import Axes
from numpy.typing import ArrayLike

from course_lib.distillation import entropy
from course_lib.plots.arrays import floats, picture
from course_lib.plots.compact import compact_figure
from course_lib.plots.labels import percent
from course_lib.plots.style import COLOURS, MARKERS, CourseFigure, finish, new_figure, styled


@styled
def temperature_figure(logits: ArrayLike, names: Sequence[str], temperatures: Sequence[float]) -> CourseFigure:
    """softmax(z/T) of the same logits at several temperatures, one panel each.

    Args:
        logits: (C,).
        names: C names.
        temperatures: T > 0 each.
    """
    z = torch.from_numpy(floats(logits))
    figure, axes = new_figure(3.2 * len(temperatures), 2.5, len(temperatures))
    words = []
    for i, (temperature, panel) in enumerate(zip(temperatures, np.atleast_1d(axes), strict=True)):
        p = (z / temperature).softmax(0).tolist()
        panel.bar(range(len(z)), [100 * value for value in p], color=COLOURS[i], width=0.6)
        panel.set_xticks(range(len(z)), names)
        panel.set_ylim(0, 112)
        for x, value in enumerate(p):
            panel.text(x, 100 * value + 2, percent(value), ha="center", fontsize=9)
        panel.set(xlabel="class", ylabel="probability, %", title=f"T = {temperature:g}")
        words.append(f"T = {temperature:g}: " + ", ".join(f"{n} {percent(v)}" for n, v in zip(names, p, strict=True)))
    return finish(figure, alt=f"The teacher's probabilities soften as the temperature grows. {'; '.join(words)}.")


@styled
def soft_answers_figure(
    images: ArrayLike,
    logits: ArrayLike,
    labels: ArrayLike,
    names: Sequence[str],
    *,
    temperatures: Sequence[float],
    top: int = 6,
) -> CourseFigure:
    """One row a sign: the picture, then softmax(z/T) of the classes with the largest logits, a panel a temperature.

    Args:
        images: (N, 3, H, W), uint8 or float in [0, 1].
        logits: (N, C).
        labels: (N,), the true classes, drawn in their own colour.
        names: C names.
        temperatures: T > 0, one a panel.
        top: how many classes a panel shows.
    """
    images, columns = np.asarray(images), len(temperatures)
    classes: list[int] = np.asarray(labels).tolist()
    figure, panels = compact_figure(
        2.2 + 3.2 * columns, 2.1 * len(images), 1 + columns, len(images), squeeze=False,
        width_ratios=[1.5] + [2.4] * columns,
    )  # fmt: skip
    words = []
    for row, image, z, label in zip(panels, images, torch.from_numpy(floats(logits)), classes, strict=True):
        row[0].imshow(picture(image), interpolation="nearest")
        row[0].set_axis_off()
        best: list[int] = z.argsort(descending=True)[:top].tolist()
        for axes, t in zip(row[1:], temperatures, strict=True):
            p = (z / t).softmax(-1)
            own = best.index(label) if label in best else -1
            _answer_bars(axes, (100 * p[best]).tolist(), [names[c] for c in best], own)
            bits = entropy(p, unit="bits").item()
            axes.set_title(f"T = {t:g}: entropy {bits:.2f} bits")
            shown = ", ".join(f"{names[c]} {100 * p[c]:.1f} %" for c in best[:4])
            words.append(f"sign {names[label]} at T = {t:g}: {shown}")
    return finish(figure, alt=f"The teacher's answers to {len(images)} signs. {'; '.join(words)}.")


def _answer_bars(axes: Axes, percents: Sequence[float], names: Sequence[str], own: int) -> None:
    """One bar a class; number ``own`` (−1: none) is the right one."""
    place = range(len(names))
    axes.barh(place, percents, 0.65, color=[COLOURS[2] if i == own else COLOURS[1] for i in place])
    for y, value in enumerate(percents):
        axes.text(value + 2, y, f"{value:.1f}" if value >= 0.05 else "<0.1", va="center", fontsize=8)
    axes.set_yticks(place, [f"{name}{' ✓' if i == own else ''}" for i, name in enumerate(names)], fontsize=8)
    axes.invert_yaxis()
    axes.grid(visible=False, axis="y")
    axes.set(xlim=(0, 115), xlabel="probability, %", ylabel="class")


@styled
def entropy_figure(temperatures: ArrayLike, bits: ArrayLike, classes: int, *, name: str) -> CourseFigure:
    """Entropy of softmax(z/T) in bits over T (logarithmic): median and middle 90 % of the images, and log₂ C above.

    Args:
        temperatures: (K,).
        bits: (K, N), the entropy of each image's answer.
        classes: C.
        name: whose answers these are.
    """
    t, bits = floats(temperatures), floats(bits)
    figure, axes = new_figure(6.0, 3.2)
    _band(axes, t, bits, COLOURS[0], name)
    axes.axhline(
        np.log2(classes), color="#000000", linestyle="--", label=f"all {classes} classes alike: log₂ {classes}"
    )
    axes.set(xlabel="temperature T", ylabel="entropy of the answer, bits", xscale="log", ylim=(0, None))
    axes.legend(loc="lower right")
    words = ", ".join(f"{np.median(row):.2g} at T = {at:.3g}" for at, row in zip(t, bits, strict=True))
    return finish(figure, alt=f"Median entropy in bits of the {name}: {words}; at most {np.log2(classes):.2f}.")


@styled
def square_law_figure(
    temperatures: ArrayLike, gradients: ArrayLike, ratios: ArrayLike, deviations: ArrayLike
) -> CourseFigure:
    """The 1/T² law, all axes logarithmic: gradients fall as 1/T²; times T² they reach their limit; the error is ~1/T.

    Args:
        temperatures: (K,).
        gradients: (K, N), norm of the KL's gradient of each image.
        ratios: (K, N), norm of T²·gradient over the norm of its limit.
        deviations: (K, N), ‖T²·gradient − limit‖/‖limit‖.
    """
    t, gradients, ratios, deviations = map(floats, (temperatures, gradients, ratios, deviations))
    figure, panels = new_figure(11.0, 3.4, columns=3)
    titles = ("without T²", "with T²", "how near")
    labels = ("norm of the gradient of KL", "T²·gradient over its limit, norms", "relative distance from the limit")
    for i, (axes, values) in enumerate(zip(panels, (gradients, ratios, deviations), strict=True)):
        _band(axes, t, values, COLOURS[i], "measured")
        axes.set(xlabel="temperature T", ylabel=labels[i], title=titles[i], xscale="log", yscale="log")
    _slope(panels[0], t, gradients, -2)
    panels[1].axhline(1, color="#000000", linestyle="--", label="limit")
    low, high = float(np.median(ratios, 1).min()), float(np.median(ratios, 1).max())
    panels[1].set_ylim(min(0.02, low / 2), max(10.0, 2 * high))
    _slope(panels[2], t, deviations, -1)
    for axes, place in zip(panels, ("lower left", "lower right", "lower left"), strict=True):
        axes.legend(loc=place)
    words = ", ".join(f"{np.median(row):.2g} at T = {at:.3g}" for at, row in zip(t, ratios, strict=True))
    return finish(
        figure,
        alt="The gradient of KL falls as 1/T². Times T², its norm over that of its limit is in the median "
        f"{words}; the distance from the limit falls as 1/T, to {np.median(deviations[-1]):.2g}.",
    )


def _slope(axes: Axes, t: np.ndarray, values: np.ndarray, power: int) -> None:
    """A line t^power through the last median: what a power law would look like."""
    some = t >= 3
    line = np.median(values[-1]) * (t[some] / t[-1]) ** power
    axes.plot(t[some], line, color="#000000", linestyle="--", label=f"slope −{-power}")


def _band(axes: Axes, t: np.ndarray, values: np.ndarray, colour: str, label: str) -> None:
    """Median over images as a line with markers, the middle 90 % as a band."""
    low, median, high = np.quantile(values, [0.05, 0.5, 0.95], axis=1)
    axes.fill_between(t, low, high, color=colour, alpha=0.2, linewidth=0, label="90 % of the images")
    axes.plot(t, median, color=colour, marker=MARKERS[0], markersize=4, label=f"{label}, median")
