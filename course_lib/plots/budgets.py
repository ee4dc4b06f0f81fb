"""Budgets: how much each layer can give, what the rules take from it, what images and drifting data ask for.

A layer, a rule and an arm keep their colour and marker in all figures.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import ArrayLike

from course_lib.experiments.drift_rows import CONDITIONS, DENSE_FROZEN, LABELS, Row
from course_lib.plots.arrays import floats
from course_lib.plots.style import COLOURS, MARKERS, CourseFigure, finish, new_figure, styled

_LINES = ("-", "--", "-.", ":")
_HATCHES = ("", "//", "..", "xx")


@styled
def sensitivity_figure(curves: Mapping[str, tuple[ArrayLike, ArrayLike]]) -> CourseFigure:
    """Accuracy (%) over the share of channels (%) that one layer alone has lost, a line for each layer.

    Args: curves: layer → (ratios removed, accuracies), fractions, both (K,).
    """
    figure, axes = new_figure(7.0, 3.6)
    told = []
    for i, (layer, (ratios, scores)) in enumerate(curves.items()):
        removed, right = 100 * floats(ratios), 100 * floats(scores)
        axes.plot(removed, right, color=COLOURS[i], marker=MARKERS[i], markersize=5, label=layer)
        told.append(f"{layer} {np.interp(50, removed, right):.0f} %")
    axes.set(xlabel="channels of this layer removed, %", ylabel="accuracy, %", ylim=(0, 102))
    axes.legend(loc="lower left")
    return finish(figure, alt=f"Accuracy when one layer alone is cut. At half of its channels: {', '.join(told)}.")


@styled
def together_figure(ratios: ArrayLike, alone: Mapping[str, ArrayLike], together: ArrayLike) -> CourseFigure:
    """Points lost over the ratio: what the layers lose alone, stacked, beside what they lose together.

    Args:
        ratios: (K,), removed from every layer, fractions.
        alone: layer → (K,), points lost when it alone is cut.
        together: (K,), points lost when all are cut.
    """
    removed, joint = 100 * floats(ratios), floats(together)
    figure, axes = new_figure(7.0, 3.6)
    places, bottom = np.arange(len(removed)), np.zeros(len(removed))
    for i, (layer, losses) in enumerate(alone.items()):
        values = floats(losses)
        axes.bar(places - 0.2, values, 0.38, bottom=bottom, color=COLOURS[i], hatch=_HATCHES[i % 4], label=layer)
        bottom = bottom + values
    axes.bar(places + 0.2, joint, 0.38, color="#666666", label="all together")
    for place, total, measured in zip(places, bottom, joint, strict=True):
        axes.text(place - 0.2, total + 1, f"{total:.0f}", ha="center", fontsize=8)
        axes.text(place + 0.2, measured + 1, f"{measured:.0f}", ha="center", fontsize=8)
    axes.set_xticks(places, [f"{ratio:g} %" for ratio in removed])
    axes.set(xlabel="channels removed from every layer", ylabel="accuracy lost, points")
    axes.grid(visible=False, axis="x")
    figure.legend(loc="outside upper center", ncols=len(alone) + 1, fontsize=8)
    told = "; ".join(
        f"{ratio:g} %: sum {total:.0f}, together {measured:.0f}"
        for ratio, total, measured in zip(removed, bottom, joint, strict=True)
    )
    return finish(figure, alt=f"Points lost by layers cut alone, added up, and by all cut together. {told}.")


@styled
def allocation_figure(kept: Mapping[str, Mapping[str, float]], title: str = "") -> CourseFigure:
    """The share of each layer's channels that a rule keeps (%), one bar a layer and a rule.

    Args: kept: rule → layer → fraction in [0, 1]; every rule has the same layers.
    """
    layers = list(next(iter(kept.values())))
    figure, axes = new_figure(7.0, 3.0)
    width, told = 0.8 / len(kept), []
    for i, (rule, by_layer) in enumerate(kept.items()):
        place = np.arange(len(layers)) + (i - (len(kept) - 1) / 2) * width
        values = [100 * by_layer[layer] for layer in layers]
        bars = axes.bar(place, values, width, color=COLOURS[i], hatch=_HATCHES[i % 4], label=rule)
        axes.bar_label(bars, [f"{value:.0f}" for value in values], fontsize=8)
        told.append(f"{rule}: " + ", ".join(f"{n} {v:.0f} %" for n, v in zip(layers, values, strict=True)))
    axes.set_xticks(range(len(layers)), layers)
    axes.set(xlabel="layer", ylabel="channels kept, %", ylim=(0, 112), title=title)
    axes.grid(visible=False, axis="x")
    figure.legend(loc="outside upper center", ncols=len(kept))
    said = f"{title}. " if title else ""
    return finish(figure, alt=f"{said}Channels kept in each layer. {'; '.join(told)}.")


@styled
def predicted_times_figure(times: Mapping[str, tuple[ArrayLike, ArrayLike]]) -> CourseFigure:
    """Measured over predicted time (ms), a marker for each rule, with the line on which both are equal.

    Args: times: rule → (predicted ms, measured ms), both (K,).
    """
    figure, axes = new_figure(5.6, 3.8)
    largest, told = 0.0, []
    for i, (rule, (predicted, measured)) in enumerate(times.items()):
        x, y = floats(predicted), floats(measured)
        axes.plot(x, y, MARKERS[i], color=COLOURS[i], linestyle="", label=rule)
        largest = max(largest, x.max(), y.max())
        told.append(f"{rule}: measured {(y / x).min():.2f} to {(y / x).max():.2f} of the prediction")
    axes.plot([0, 1.05 * largest], [0, 1.05 * largest], color="#000000", linewidth=1, label="equal")
    axes.set(xlabel="sum of the layers' times, ms", ylabel="time of the network, ms")
    axes.set(xlim=(0, 1.05 * largest), ylim=(0, 1.05 * largest))
    axes.legend(loc="upper left", fontsize=8)
    return finish(figure, alt=f"Measured over predicted time of cut networks. {'; '.join(told)}.")


@styled
def accuracy_and_time_figure(
    families: Mapping[str, tuple[ArrayLike, ArrayLike]], whole: tuple[float, float]
) -> CourseFigure:
    """Accuracy (%) over measured time (ms), a line for each family of cut networks, and a star for the whole one.

    Args:
        families: name → (ms, accuracies as fractions), both (K,), in any order.
        whole: (ms, accuracy) of the network before the cut.
    """
    figure, axes = new_figure(7.0, 3.8)
    told = []
    for i, (name, (times, scores)) in enumerate(families.items()):
        x, y = floats(times), 100 * floats(scores)
        order = x.argsort()
        axes.plot(
            x[order], y[order], color=COLOURS[i], marker=MARKERS[i], markersize=5, linestyle=_LINES[i % 4], label=name
        )
        told.append(f"{name}: {y.min():.0f} to {y.max():.0f} % at {x.min():.3f} to {x.max():.3f} ms")
    axes.plot(whole[0], 100 * whole[1], "*", color="#000000", markersize=12, linestyle="", label="whole")
    axes.set(xlabel="measured time, ms", ylabel="accuracy, %", ylim=(0, 102))
    axes.set_xlim(left=0)
    axes.legend(loc="upper left", fontsize=8)
    return finish(figure, alt=f"Accuracy over time of cut networks. {'; '.join(told)}; whole: {whole[0]:.3f} ms.")


@styled
def gates_figure(shares: Mapping[str, ArrayLike], executed: ArrayLike) -> CourseFigure:
    """How many images (%) switch each channel on, the channels of a layer sorted, and the work of the images.

    Args:
        shares: layer → (C,), for each channel the fraction of the images that switch it on.
        executed: (N,), executed MACs / MACs of the plain network of each image.
    """
    figure, (left, right) = new_figure(9.0, 3.4, columns=2)
    told = []
    for i, (layer, values) in enumerate(shares.items()):
        on = 100 * np.sort(floats(values))[::-1]
        place = 100 * (np.arange(len(on)) + 0.5) / len(on)
        left.plot(place, on, color=COLOURS[i], linestyle=_LINES[i % 4], marker=MARKERS[i], markevery=0.25, label=layer)
        told.append(f"{layer} {on.min():.0f} to {on.max():.0f} %")
    left.set(xlabel="channels of the layer, sorted, %", ylabel="images that switch it on, %", ylim=(-2, 104))
    left.legend(loc="lower left", fontsize=8)
    work = 100 * floats(executed)
    right.hist(work, bins=30, color=COLOURS[4])
    right.axvline(work.mean(), color="#000000", linestyle="--", label=f"mean {work.mean():.0f} %")
    right.set(xlabel="MACs executed, % of the plain network", ylabel="images")
    right.legend(loc="upper left")
    return finish(
        figure,
        alt=f"Images that switch a channel on: {', '.join(told)}. Executed MACs of an image: mean {work.mean():.0f} %, "
        f"from {work.min():.0f} to {work.max():.0f} %.",
    )


@styled
def stream_figure(rows: Sequence[Row], arms: Sequence[str]) -> CourseFigure:
    """Held-out accuracy (%) in each condition over the windows that have passed, mean over seeds, a line an arm.

    Args:
        rows: see ``drift_rows``, all seeds.
        arms: that are drawn, names of ``drift_rows.LABELS``.
    """
    figure, panels = new_figure(11.0, 3.8, columns=len(CONDITIONS))
    windows = sorted({row.window for row in rows})
    now = {row.window: row.condition for row in rows}
    told = []
    for axes, condition in zip(panels, CONDITIONS, strict=True):
        inside = [window for window in windows if window and now[window] == condition]
        axes.axvspan(inside[0] - 0.5, inside[-1] + 0.5, color="#EEEEEE", zorder=0)
        ends = []
        for arm in arms:
            place = list(LABELS).index(arm)
            colour = "#777777" if arm == DENSE_FROZEN else COLOURS[place]
            means = [_mean(rows, arm, window, condition) for window in windows]
            axes.plot(
                windows, means, color=colour, marker=MARKERS[place], markersize=4, linestyle=_LINES[place % 4],
                label=LABELS[arm],
            )  # fmt: skip
            ends.append(f"{LABELS[arm]} {means[-1]:.0f} %")
        axes.set(xlabel="windows passed", ylabel="accuracy, %", ylim=(0, 102), title=f"held-out {condition}")
        told.append(f"{condition}: {', '.join(ends)}")
    handles, labels = panels[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside upper center", ncols=4, fontsize=8)
    return finish(
        figure, alt=f"Accuracy over the stream; grey: the stream is in this condition. At its end, {'; '.join(told)}."
    )


def _mean(rows: Sequence[Row], arm: str, window: int, condition: str) -> float:
    found = [100 * row.accuracy[condition] for row in rows if row.arm == arm and row.window == window]
    return float(np.mean(found))
