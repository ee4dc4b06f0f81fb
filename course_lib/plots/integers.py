"""Integer arithmetic: how far accumulators go, where a product is rounded to, where two machines' codes part.

A rounding and a machine keep their colour and marker in all figures.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import ArrayLike

from course_lib.plots.arrays import floats
from course_lib.plots.style import COLOURS, MARKERS, CourseFigure, finish, new_figure, styled

_HATCHES = ("", "..", "//", "xx")
_LINES = ("-", "--", "-.", ":")


@styled
def accumulator_figure(largest: Mapping[str, Mapping[str, float]], bits: Sequence[int]) -> CourseFigure:
    """The largest |accumulator| of each layer, bounds and what some images gave side by side, with word sizes.

    Args:
        largest: label → layer → largest |value|, > 0, of the same layers.
        bits: of signed words; 2^(bits − 1) is drawn as a line.
    """
    figure, axes = new_figure(7.0, 3.4)
    layers = list(next(iter(largest.values())))
    places, width = np.arange(len(layers)), 0.8 / len(largest)
    for i, (label, values) in enumerate(largest.items()):
        place = places + width * (i - (len(largest) - 1) / 2)
        heights = [values[layer] for layer in layers]
        axes.bar(place, heights, 0.95 * width, color=COLOURS[i], hatch=_HATCHES[i % 4], label=label)
    for count in bits:
        axes.axhline(2.0 ** (count - 1), color="#000000", linestyle="--", linewidth=1)
        axes.text(len(places) - 0.35, 2.0 ** (count - 1), f"end of\n{count} bits", va="center", fontsize=8)
    axes.set_yscale("log")
    axes.set_xticks(places, layers)
    axes.set(xlabel="layer", ylabel="largest |accumulator|", xlim=(-0.6, len(places) - 0.4))
    axes.set_ylim(2.0 ** (min(bits) - 1) / 32, 2.0 ** (max(bits) - 1) * 4)
    axes.grid(visible=False, axis="x")
    figure.legend(loc="outside upper center", ncols=len(largest))
    told = "; ".join(
        f"{label}: " + ", ".join(f"{layer} {values[layer]:,.0f}" for layer in layers)
        for label, values in largest.items()
    )
    ends = ", ".join(f"{count} bits end at {2 ** (count - 1):,}" for count in bits)
    return finish(figure, alt=f"Largest accumulator of each layer. {told}; {ends}.")


@styled
def rounding_figure(exact: float, rounded: Mapping[str, int], title: str) -> CourseFigure:
    """One product between two integers, and where each rounding sends it.

    Args:
        exact: the product, in steps of the output.
        rounded: rounding → integer.
    """
    figure, axes = new_figure(7.0, 2.4)
    low = int(np.floor(min(exact, *rounded.values()))) - 1
    high = int(np.ceil(max(exact, *rounded.values()))) + 1
    axes.axvline(exact, color="#000000", linewidth=1, label=f"product {exact:.6g}")
    for half in np.arange(low, high) + 0.5:
        axes.axvline(half, color="#BBBBBB", linestyle=":", linewidth=1)
    for i, value in enumerate(rounded.values()):
        axes.plot([exact, value], [i, i], color=COLOURS[i], linewidth=2)
        axes.plot(value, i, MARKERS[i], color=COLOURS[i], markersize=9)
    axes.set_yticks(range(len(rounded)), list(rounded))
    axes.invert_yaxis()
    axes.set(xlabel="steps of the output (dotted: halves)", ylabel="rounding", title=title)
    axes.set(xlim=(low - 0.1, high + 0.1), xticks=range(low, high + 1), ylim=(len(rounded) - 0.5, -0.5))
    axes.grid(visible=False)
    told = ", ".join(f"{name} {value}" for name, value in rounded.items())
    return finish(figure, alt=f"{title}. The product {exact:.6g} becomes: {told}.")


@styled
def mean_shift_figure(shifts: ArrayLike, means: Mapping[str, tuple[ArrayLike, ArrayLike]]) -> CourseFigure:
    """Mean of result − exact over the bits that are shifted out: of numbers of both signs, and of those above 0.

    Args:
        shifts: (K,), bits.
        means: rounding → (both signs, above 0), each (K,), in steps of the output.
    """
    bits = floats(shifts)
    figure, panels = new_figure(9.0, 3.4, columns=2)
    told = []
    for which, (axes, numbers) in enumerate(zip(panels, ("of both signs", "above 0"), strict=True)):
        for i, (name, pair) in enumerate(means.items()):
            axes.plot(
                bits, floats(pair[which]), color=COLOURS[i], marker=MARKERS[i], markersize=5, linestyle=_LINES[i % 4],
                label=name,
            )  # fmt: skip
        axes.set(xlabel="bits shifted out", ylabel="mean of result − exact, steps", title=f"numbers {numbers}")
        axes.set(ylim=(-0.55, 0.35))
        ends = ", ".join(f"{name} {floats(pair[which])[-1]:+.3f}" for name, pair in means.items())
        told.append(f"{numbers}: {ends}")
    handles, labels = panels[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside upper center", ncols=len(means))
    return finish(figure, alt=f"Mean shift of each rounding; with {bits[-1]:.0f} bits shifted out, {'; '.join(told)}.")


@styled
def parting_figure(layers: Sequence[str], shares: Mapping[str, ArrayLike]) -> CourseFigure:
    """Codes of each layer (%) that differ from another machine's, a line for each way to compare.

    Args:
        layers: names, from the image on.
        shares: way → (layers,), fractions.
    """
    figure, axes = new_figure(8.0, 3.6)
    told = []
    for i, (name, values) in enumerate(shares.items()):
        percent = 100 * floats(values)
        axes.plot(percent, color=COLOURS[i], marker=MARKERS[i], markersize=5, linestyle=_LINES[i % 4], label=name)
        told.append(f"{name}: largest {percent.max():.2f} %, last layer {percent[-1]:.2f} %")
    axes.set_xticks(range(len(layers)), layers, rotation=60, ha="right", fontsize=8)
    axes.set(xlabel="layer", ylabel="codes that differ, %")
    axes.legend(loc="upper left")
    return finish(figure, alt=f"Share of differing codes over the layers. {'; '.join(told)}.")
