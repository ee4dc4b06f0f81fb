"""Training with rounding: the staircase and its gradients, a weight that swings, and accuracy over the bits."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from numpy.typing import ArrayLike

from course_lib.plots.arrays import floats
from course_lib.plots.style import COLOURS, MARKERS, CourseFigure, finish, new_figure, styled
from course_lib.quantization import Affine, Codes, fake_quantize
from course_lib.quantization.aware import LearnedStep

METHODS = {
    "trained": "trained on codes (LSQ)",
    "min-max": "rounded after training, min-max",
    "AdaRound": "rounded after training, AdaRound",
}
"""The ways to few bits: each keeps its colour and marker."""


@styled
def staircase_figure(step: float, codes: Codes, width: float = 6.0) -> CourseFigure:
    """x̂ over x, and beside it what is taken for its derivatives by x and by the step.

    Args: step: > 0; codes: zero point 0; width: x is drawn from −width to width, > 0.
    """
    x = torch.linspace(-width, width, 1201)
    leaf = x.clone().requires_grad_()
    affine = Affine(codes, torch.tensor(float(step)), torch.tensor(0, dtype=torch.int32))
    restored = fake_quantize(leaf, affine)
    (by_x,) = torch.autograd.grad(restored.sum(), leaf)
    # One step for each value, so that the gradients are not summed.
    many = Affine(codes, torch.full_like(x, step), torch.zeros_like(x).int(), axis=0)
    quantizer = LearnedStep(many, batched=False, relative=False)
    (by_step,) = torch.autograd.grad(quantizer(x).sum(), quantizer.factor)
    by_step = by_step / quantizer.gradient_scale(x)
    ends = step * codes.low, step * codes.high
    figure, (left, middle, right) = new_figure(10.0, 3.3, columns=3)
    left.plot(x, x, color="#777777", linestyle=":", label="x itself")
    left.plot(x, restored.detach(), color=COLOURS[0], label="x̂")
    left.set(xlabel="x", ylabel="x̂", title=f"{codes.bits} bits, step {step:g}")
    left.legend(loc="upper left")
    middle.plot(x, by_x, color=COLOURS[1])
    middle.set(xlabel="x", ylabel="∂x̂/∂x", title="straight through", ylim=(-0.1, 1.2))
    right.plot(x, by_step, color=COLOURS[2])
    right.set(xlabel="x", ylabel="∂x̂/∂S", title="by the step (LSQ)")
    return finish(
        figure,
        alt=f"{codes.bits} bits, step {step:g}: x̂ is a staircase from {ends[0]:g} to {ends[1]:g}. Its derivative by x "
        f"is taken for 1 between, to half a step beyond, and for 0 outside. Its derivative by the step is a sawtooth "
        f"between −½ and ½, {codes.low} at and below {ends[0]:g}, {codes.high} at and above {ends[1]:g}.",
    )


@styled
def swinging_figure(weights: ArrayLike, used: ArrayLike, target: float) -> CourseFigure:
    """A weight in full and as it is used, over the steps of its training.

    Args: weights, used: (K,); target: what the loss asks for.
    """
    kept, rounded = floats(weights), floats(used)
    figure, axes = new_figure(9.0, 3.3)
    axes.plot(kept, color=COLOURS[0], label="weight in full")
    axes.plot(rounded, color=COLOURS[1], linestyle="", marker=".", markersize=4, label="weight as it is used")
    axes.axhline(target, color="#777777", linestyle="--", linewidth=1, label=f"asked for: {target:g}")
    axes.axhline(0.5, color="#777777", linestyle=":", linewidth=1, label="threshold between the codes")
    axes.set(xlabel="step of gradient descent", ylabel="weight", ylim=(-0.15, 1.15))
    figure.legend(loc="outside right center")
    tail = rounded[len(rounded) // 2 :]
    return finish(
        figure,
        alt=f"The weight in full climbs from {kept[0]:.2f} to the threshold 0.5 and stays around it, between "
        f"{kept[len(kept) // 2 :].min():.2f} and {kept[len(kept) // 2 :].max():.2f}; the weight that is used swings "
        f"between {tail.min():g} and {tail.max():g}, and has the mean {tail.mean():.2f} in the second half.",
    )


Line = tuple[ArrayLike, ArrayLike, ArrayLike, ArrayLike]
"""Bits, values, and the low and the high ends of their intervals (the values themselves where there are none)."""


@styled
def low_bits_figure(panels: Mapping[str, tuple[float, Mapping[str, Line]]], lost: Mapping[str, Line]) -> CourseFigure:
    """Accuracy over the bits of weights and activations, and below it, on a scale of its own, what training loses.

    Args:
        panels: data set, a column each → (accuracy in float32, trained as long; method of ``METHODS`` → its line), %.
        lost: data set → points lost to float32 by the network trained on codes; where it is absent nothing is drawn.
    """
    figure, drawn = new_figure(9.0, 5.6, columns=max(1, len(panels)), rows=2)
    every = [line for _, lines in panels.values() for line in lines.values()] + list(lost.values())
    widths = sorted({float(b) for bits, *_ in every for b in floats(bits)})
    told, handles = [], dict[str, Artist]()
    for (upper, lower), (name, (whole, lines)) in zip(drawn.reshape(2, -1).T, panels.items(), strict=True):
        upper.axhline(whole, color="#000000", linestyle="--", linewidth=1, label="float32, trained as long")
        for method, line in lines.items():
            _draw(upper, line, method, widths)
            told.append(f"{name}, {METHODS[method]}: {_told(line)}")
        upper.set(ylabel="accuracy, %", title=name, ylim=(0, 103))
        if name in lost:
            _draw(lower, lost[name], "trained", widths)
            lower.axhline(0, color="#000000", linestyle="--", linewidth=1)
            told.append(f"{name}, points lost to float32: {_told(lost[name])}")
        lower.set(ylabel="points lost to float32")
        lower.set_visible(name in lost)
        for axes in (upper, lower):
            axes.set(xlabel="bits of weights and activations", xlim=(-0.4, len(widths) - 0.6))
            axes.set_xticks(range(len(widths)), [f"{b:g}" for b in widths])
        for handle, label in zip(*upper.get_legend_handles_labels(), strict=True):
            handles.setdefault(label, handle)
    _same_scale([lower for lower, name in zip(drawn.reshape(2, -1)[1], panels, strict=True) if name in lost])
    figure.legend(list(handles.values()), list(handles), loc="outside lower center", ncols=2)
    wholes = ", ".join(f"{name} {whole:.1f}" for name, (whole, _) in panels.items())
    return finish(figure, alt=f"Accuracy in per cent over bits; float32: {wholes}. {'; '.join(told)}.")


def _draw(axes: Axes, line: Line, method: str, widths: list[float]) -> None:
    """The line with its intervals; open markers, the later the larger, so that none hides another."""
    place, (bits, *values) = list(METHODS).index(method), line
    points, low, high = (floats(each) for each in values)
    axes.errorbar(
        [widths.index(float(b)) for b in floats(bits)], points, np.clip([points - low, high - points], 0, None),
        color=COLOURS[place], marker=MARKERS[place], markersize=5 + 3 * place, capsize=3, label=METHODS[method],
        markerfacecolor=COLOURS[place] if place == 0 else "none",
    )  # fmt: skip


def _told(line: Line) -> str:
    bits, values, *_ = (floats(each) for each in line)
    return ", ".join(f"{value:.1f} at {b:g}" for b, value in zip(bits, values, strict=True))


def _same_scale(drawn: list[Axes]) -> None:
    """The same y axis, 0 in it, for all."""
    if drawn:
        ends = [end for axes in drawn for end in axes.get_ylim()]
        for axes in drawn:
            axes.set_ylim(min(*ends, 0), max(ends))
