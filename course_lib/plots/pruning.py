"""Pruning: where a threshold cuts, which layers give, when weights go, what is lost, and what zeros weigh.

Each way of pruning keeps its colour and marker in all figures: those of its place in ``ARMS``.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import ArrayLike

from course_lib.evaluation import Estimate
from course_lib.experiments.pruning_study import ARMS, DENSE
from course_lib.plots.arrays import floats
from course_lib.plots.style import COLOURS, MARKERS, CourseFigure, finish, new_figure, styled

_LINES = ("-", "--", "-.", ":")


@styled
def threshold_figure(
    magnitudes: ArrayLike, thresholds: ArrayLike, zeros: Mapping[str, ArrayLike], accuracies: ArrayLike, at: int
) -> CourseFigure:
    """One threshold for all weights: the histogram that it cuts, the zeros of each layer, and the accuracy.

    Args:
        magnitudes: (N,), |w| of all weights.
        thresholds: (K,), rising.
        zeros: layer → (K,), its fraction below each threshold; "all" for all layers together.
        accuracies: (K,), fractions.
        at: which threshold is shown, 0..K − 1.
    """
    cut, right = floats(thresholds)[at], 100 * floats(accuracies)
    shares = {layer: 100 * floats(values) for layer, values in zeros.items()}
    figure, (left, middle, last) = new_figure(11.0, 3.2, columns=3)
    _, edges, bars = left.hist(floats(magnitudes), bins=60, color=COLOURS[0])
    for edge, bar in zip(edges, bars, strict=False):
        bar.set_facecolor(COLOURS[1] if edge < cut else COLOURS[0])
    left.axvline(cut, color="#000000", linestyle="--", label="threshold")
    left.legend(loc="upper right")
    left.set(xlabel="magnitude |w|", ylabel="weights", yscale="log", title=f"threshold {cut:.3f}")
    layers = [layer for layer in shares if layer != "all"]
    middle.barh(layers, [shares[layer][at] for layer in layers], color=COLOURS[1])
    middle.invert_yaxis()
    middle.set(xlabel="zeros, %", ylabel="layer", xlim=(0, 100), title=f"{shares['all'][at]:.1f} % of all weights")
    last.plot(shares["all"], right, color=COLOURS[0], marker=".")
    last.plot(shares["all"][at], right[at], color=COLOURS[1], marker="o", markersize=9)
    last.set(xlabel="zeros in all layers, %", ylabel="accuracy, %", ylim=(0, 100), title=f"{right[at]:.1f} % right")
    told = ", ".join(f"{layer} {shares[layer][at]:.0f} %" for layer in layers)
    return finish(
        figure,
        alt=f"Threshold {cut:.3f}: {shares['all'][at]:.1f} % of the weights are below it ({told}); accuracy "
        f"{right[at]:.1f} %, without zeros {right[0]:.1f} %.",
    )


@styled
def layers_figure(zeros: Mapping[str, Mapping[str, float]]) -> CourseFigure:
    """The fraction of each layer that is zero (%), one bar a layer and a way of choosing.

    Args: zeros: way → layer → fraction in [0, 1]; every way has the same layers.
    """
    layers = list(next(iter(zeros.values())))
    figure, axes = new_figure(7.0, 3.0)
    width, told = 0.8 / len(zeros), []
    for i, (way, by_layer) in enumerate(zeros.items()):
        place = np.arange(len(layers)) + (i - (len(zeros) - 1) / 2) * width
        values = [100 * by_layer[layer] for layer in layers]
        bars = axes.bar(place, values, width, color=COLOURS[i], hatch=("", "//", "..")[i % 3], label=way)
        axes.bar_label(bars, [f"{value:.0f}" for value in values], fontsize=8)
        told.append(f"{way}: " + ", ".join(f"{n} {v:.1f} %" for n, v in zip(layers, values, strict=True)))
    axes.set_xticks(range(len(layers)), layers)
    axes.set(xlabel="layer", ylabel="zeros, %", ylim=(0, 109))
    figure.legend(loc="outside upper right", ncols=len(zeros))
    return finish(figure, alt=f"Zeros of each layer. {'; '.join(told)}.")


@styled
def schedules_figure(fractions: Mapping[str, ArrayLike]) -> CourseFigure:
    """The fraction removed (%) at each step of the retraining.

    Args: fractions: name of an arm of ``ARMS`` → (steps,), in [0, 1].
    """
    figure, axes = new_figure(6.5, 3.0)
    told = []
    for i, (arm, values) in enumerate(fractions.items()):
        percents, place = 100 * floats(values), _place(arm)
        axes.step(
            range(len(percents)), percents, where="post", color=COLOURS[place], linestyle=_LINES[i % 4],
            label=ARMS[arm],
        )  # fmt: skip
        half = percents[len(percents) // 4]
        told.append(f"{ARMS[arm]}: {half:.0f} % after a quarter of the steps, {percents[-1]:.0f} % at the end")
    axes.set(xlabel="step of the retraining", ylabel="weights removed, %", ylim=(0, 100))
    axes.legend(loc="lower right")
    return finish(figure, alt=f"Fraction removed over time. {'; '.join(told)}.")


@styled
def pruning_losses_figure(differences: Mapping[str, Mapping[float, Estimate]]) -> CourseFigure:
    """Accuracy minus the dense control's (points, 95 % interval over seeds), one group for each fraction of zeros.

    An arm that removes nothing is a line with a band, across all fractions.

    Args: differences: name of an arm of ``ARMS`` → fraction removed → difference; all have the same fractions.
    """
    ratios = list(next(iter(differences.values())))
    figure, axes = new_figure(9.0, 4.2)
    told = []
    pruned = [arm for arm in differences if arm not in DENSE]
    for arm, by_ratio in differences.items():
        words = [f"{e.value:+.1f} [{e.low:+.1f}, {e.high:+.1f}]" for e in by_ratio.values()]
        if arm in DENSE:
            only = next(iter(by_ratio.values()))
            axes.axhspan(only.low, only.high, color="#777777", alpha=0.15, linewidth=0)
            axes.axhline(only.value, color="#777777", linestyle="--", label=ARMS[arm])
            told.append(f"{ARMS[arm]} {words[0]}")
            continue
        place, shift = _place(arm), 0.8 * ((pruned.index(arm) + 0.5) / len(pruned) - 0.5)
        values = np.array([by_ratio[ratio].value for ratio in ratios])
        reach = [[e.value - e.low, e.high - e.value] for e in by_ratio.values()]
        axes.errorbar(
            np.arange(len(ratios)) + shift, values, yerr=np.array(reach).T, color=COLOURS[place],
            marker=MARKERS[place], linestyle="", capsize=3, label=ARMS[arm],
        )  # fmt: skip
        told.append(f"{ARMS[arm]} {', '.join(words)}")
    axes.axhline(0, color="#000000", linewidth=1)
    axes.set_xticks(range(len(ratios)), [f"{100 * ratio:g} %" for ratio in ratios])
    axes.set(xlabel="weights removed", ylabel="accuracy − dense, points")
    axes.grid(visible=False, axis="x")
    figure.legend(loc="outside upper center", ncols=4, fontsize=8)
    shown = ", ".join(f"{100 * ratio:g} %" for ratio in ratios)
    return finish(figure, alt=f"Accuracy minus the dense control's in points at {shown} zeros. {'; '.join(told)}.")


@styled
def storage_figure(fractions: ArrayLike, sizes: Mapping[str, ArrayLike]) -> CourseFigure:
    """The size of the file over the fraction of zeros, in per cent of the dense one.

    Args:
        fractions: (K,), zeros, in [0, 1].
        sizes: format → (K,), bytes; "dense" is 100 %.
    """
    zeros, whole = 100 * floats(fractions), floats(sizes["dense"])
    figure, axes = new_figure(6.5, 3.4)
    told = []
    for i, (form, values) in enumerate(sizes.items()):
        percents = 100 * floats(values) / whole
        axes.plot(zeros, percents, color=COLOURS[i], marker=MARKERS[i], markersize=4, label=form)
        told.append(f"{form} {percents[-1]:.0f} %")
    axes.set(xlabel="zeros, %", ylabel="bytes of the file, % of dense", ylim=(0, None))
    axes.legend(loc="lower left")
    return finish(figure, alt=f"Bytes over zeros. At {zeros[-1]:.0f} % zeros, of the dense file: {', '.join(told)}.")


def _place(arm: str) -> int:
    """The arm's number, which gives colour and marker, among those that remove weights."""
    return [name for name in ARMS if name not in DENSE].index(arm)
