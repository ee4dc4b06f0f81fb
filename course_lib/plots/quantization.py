"""Quantization: the codes on a ruler, the noise over the bits, the two errors of a clip, and what a scale must span.

A granularity keeps its colour and marker in all figures: those of its place in ``GRANULARITIES``.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from matplotlib.artist import Artist
from matplotlib.ticker import LogLocator, NullFormatter
from numpy.typing import ArrayLike
from torch import Tensor

from course_lib.plots.arrays import floats
from course_lib.plots.style import COLOURS, MARKERS, CourseFigure, finish, new_figure, styled
from course_lib.quantization import Affine, ClipError, dequantize, quantize, sqnr_db

GRANULARITIES = {
    "tensor": "one scale for each tensor",
    "channel": "one for each channel",
    "block": "one for each block",
}
"""Which weights share a scale: all of a layer, those of an output channel, or a block of a few."""
CLIP_UNITS = {"gaussian": "the standard deviation", "laplacian": "mean |x|"}
"""In what the clip of a distribution is measured."""


@styled
def ruler_figure(x: Tensor, affine: Affine) -> CourseFigure:
    """Where the codes lie among the values, and what is lost: x̂ − x over x.

    Args: x: (N,), float; affine: one scale for all.
    """
    codes, scale, zero_point = affine.codes, affine.scale.item(), int(affine.zero_point)
    ends = [scale * (codes.low - zero_point), scale * (codes.high - zero_point)]
    noise = dequantize(quantize(x, affine), affine) - x
    clipped = (x < ends[0] - scale / 2) | (x > ends[1] + scale / 2)
    left_end, right_end = min(float(x.min()), ends[0]), max(float(x.max()), ends[1])
    figure, (top, bottom) = new_figure(8.0, 4.4, rows=2)
    top.hist(x.numpy(), bins=np.linspace(left_end, right_end, 81), color=COLOURS[4], label="values")
    grid = scale * (np.arange(codes.low, codes.high + 1) - zero_point)
    most = top.get_ylim()[1]
    thin = len(grid) > 64
    top.vlines(grid, -0.12 * most, -0.02 * most, color=COLOURS[0], linewidth=0.5 if thin else 1.4, label="codes")
    top.vlines(0, -0.14 * most, 1.0 * most, color="#000000", linestyle="--", linewidth=1, label=f"0: code {zero_point}")
    top.set(xlabel="value", ylabel="count", ylim=(-0.16 * most, 1.4 * most))
    top.legend(loc="upper right", ncols=3)
    worth = sqnr_db(x, x + noise)
    words = (
        f"{codes.bits} bits, codes {codes.low} … {codes.high}: S = {scale:.4g}, Z = {zero_point}, SQNR {worth:.1f} dB"
    )
    top.set_title(words)
    for part, colour, marker, label in ((~clipped, 0, ".", "rounded"), (clipped, 1, "x", "clipped")):
        bottom.plot(
            x[part], noise[part], marker, color=COLOURS[colour], markersize=3 if marker == "." else 5,
            label=f"{label}: {100 * part.double().mean():.1f} %",
        )  # fmt: skip
    for axes in (top, bottom):
        axes.set_xlim(left_end - 0.02 * (right_end - left_end), right_end + 0.02 * (right_end - left_end))
    bottom.set(xlabel="value", ylabel="restored − value")
    figure.legend(*bottom.get_legend_handles_labels(), loc="outside lower right", ncols=2)
    return finish(
        figure,
        alt=f"{words}. The codes stand for {ends[0]:.3g} … {ends[1]:.3g}; the values from {float(x.min()):.3g} to "
        f"{float(x.max()):.3g}. {100 * clipped.double().mean():.1f} % of them are clipped; the largest error is "
        f"{float(noise.abs().max()):.3g}.",
    )


@styled
def noise_figure(bits: ArrayLike, measured: Mapping[str, ArrayLike], laws: Mapping[str, ArrayLike]) -> CourseFigure:
    """SQNR (dB) over the bits, one panel a tensor: points measured, and the line of the law.

    Args: bits: (K,); measured, laws: tensor → (K,), dB; both have the same tensors.
    """
    figure, panels = new_figure(10.0, 3.2, columns=len(measured))
    told = []
    ends = [
        edge for values in (*measured.values(), *laws.values()) for edge in (min(floats(values)), max(floats(values)))
    ]
    for axes, (name, values) in zip(np.atleast_1d(panels), measured.items(), strict=True):
        axes.plot(bits, floats(laws[name]), color=COLOURS[0], linewidth=1, label="law")
        axes.plot(bits, floats(values), linestyle="", color=COLOURS[1], marker="o", markersize=5, label="measured")
        pairs = ", ".join(f"{v:.1f} ({w:.1f})" for v, w in zip(floats(values), floats(laws[name]), strict=True))
        told.append(f"{name} {pairs}")
        axes.set(xlabel="bits of a code", ylabel="SQNR, dB", xticks=floats(bits), title=name)
        axes.set_ylim(min(ends) - 3, max(ends) + 3)
    figure.legend(*np.atleast_1d(panels)[0].get_legend_handles_labels(), loc="outside lower center", ncols=2)
    return finish(figure, alt=f"SQNR in dB over bits, measured and by the law in parentheses: {'; '.join(told)}.")


@styled
def clip_figure(
    alphas: ArrayLike,
    laws: Mapping[str, list[ClipError]],
    measured: Mapping[str, ArrayLike],
    best: Mapping[str, float],
    bits: int,
) -> CourseFigure:
    """Rounding, clipping and their sum over the clip, one panel a distribution; points measured; the best clip.

    Args:
        alphas: (K,), in units of ``CLIP_UNITS``.
        laws: distribution, one of ``CLIP_UNITS`` → K errors.
        measured: distribution → (K,), mean squared error.
        best: distribution → its best clip.
        bits: of the codes; for the title.
    """
    figure, panels = new_figure(9.0, 3.6, columns=len(laws))
    told = []
    for axes, (name, errors) in zip(np.atleast_1d(panels), laws.items(), strict=True):
        parts = {"rounding": [e.rounding for e in errors], "clipping": [e.clipping for e in errors]}
        for (part, values), style, colour in zip(parts.items(), ("--", "-."), (0, 1), strict=True):
            axes.plot(alphas, values, color=COLOURS[colour], linestyle=style, label=part)
        axes.plot(alphas, [e.total for e in errors], color="#000000", label="sum")
        axes.plot(alphas, floats(measured[name]), ".", color=COLOURS[3], markersize=7, label="measured")
        axes.axvline(best[name], color="#777777", linestyle=":", label="best clip")
        least = min(e.total for e in errors)
        axes.set(xlabel=f"clip α, in units of {CLIP_UNITS[name]}", ylabel="mean squared error", yscale="log")
        axes.set_ylim(least / 30, 4 * max(e.total for e in errors))
        axes.set_title(f"{name.capitalize()}, {bits} bits: best at {best[name]:.2f}")
        told.append(f"{name}: best clip {best[name]:.2f}, error {least:.4f}; the widest drawn {errors[-1].total:.4f}")
    figure.legend(*np.atleast_1d(panels)[0].get_legend_handles_labels(), loc="outside lower center", ncols=5)
    return finish(figure, alt=f"Mean squared error of {bits}-bit codes over the clip. {'; '.join(told)}.")


@styled
def channel_ranges_figure(ranges: Mapping[str, ArrayLike]) -> CourseFigure:
    """max|w| of each output channel, layer by layer, on a logarithmic axis.

    Args: ranges: layer → (C,), > 0.
    """
    figure, axes = new_figure(7.5, 3.2)
    told = []
    for place, (layer, values) in enumerate(ranges.items()):
        found = np.sort(floats(values))
        spread = np.linspace(-0.25, 0.25, len(found))
        axes.plot(place + spread, found, ".", color=COLOURS[1], markersize=5, label=None if place else "one channel")
        axes.hlines(
            found.max(), place - 0.35, place + 0.35, color=COLOURS[0], linewidth=2,
            label=None if place else "the tensor",
        )  # fmt: skip
        told.append(f"{layer} {found.min():.2g} to {found.max():.2g}")
    axes.set_xticks(range(len(ranges)), list(ranges))
    axes.set(xlabel="layer, its channels in order", ylabel="max |w|", yscale="log")
    axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes.yaxis.set_major_formatter("{x:g}")
    axes.yaxis.set_minor_formatter(NullFormatter())
    figure.legend(loc="outside upper right", ncols=2)
    return finish(figure, alt=f"Largest weight of each channel, from least to most: {'; '.join(told)}.")


@styled
def bits_figure(
    bits: ArrayLike, accuracies: Mapping[str, Mapping[str, ArrayLike]], whole: float, chance: float
) -> CourseFigure:
    """Accuracy (%) over the bits, one panel for each thing that is quantized, one line for each granularity.

    Args:
        bits: (K,).
        accuracies: panel → name in ``GRANULARITIES`` → (K,), fractions.
        whole, chance: accuracy of the FP32 network and of a guess, fractions.
    """
    figure, panels = new_figure(9.0, 3.6, columns=len(accuracies))
    told = []
    for axes, (what, lines) in zip(np.atleast_1d(panels), accuracies.items(), strict=True):
        for name, values in lines.items():
            place, percents = list(GRANULARITIES).index(name), 100 * floats(values)
            axes.plot(
                bits, percents, color=COLOURS[place], marker=MARKERS[place], markersize=5, label=GRANULARITIES[name]
            )  # fmt: skip
            told.append(f"{what}, {name}: " + ", ".join(f"{p:.1f}" for p in percents))
        axes.axhline(100 * whole, color="#000000", linestyle="--", linewidth=1, label="FP32")
        axes.axhline(100 * chance, color="#777777", linestyle=":", linewidth=1, label="a guess")
        axes.set(xlabel="bits of a code", ylabel="accuracy, %", ylim=(0, 102), xticks=floats(bits), title=what)
    handles: dict[str, Artist] = {}
    for axes in np.atleast_1d(panels):
        for handle, label in zip(*axes.get_legend_handles_labels(), strict=True):
            handles.setdefault(label, handle)
    figure.legend(list(handles.values()), list(handles), loc="outside lower center", ncols=len(handles))
    shown = ", ".join(f"{b:g}" for b in floats(bits))
    return finish(
        figure, alt=f"Accuracy in per cent at {shown} bits; FP32 {100 * whole:.1f}. {'; '.join(told)}."
    )  # fmt: skip
