"""Figures of the chapter on KL and cross-entropy: prices of codes, two fits, underflow, temperature, the 1/T² law."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from numpy.typing import ArrayLike

from course_lib.distillation import cross_entropy, entropy, kl_divergence
from course_lib.plots.style import COLOURS, MARKERS, CourseFigure, finish, new_figure, styled
from course_lib.plots.teacher import CompactFigure


@styled
def code_price_figure(p: ArrayLike, q: ArrayLike, names: Sequence[str]) -> CourseFigure:
    """Left: p and q, bar beside bar. Right: what a message costs in bits, CE = H + KL, both ways.

    Args: p, q: (C,), ≥ 0, summing to 1; qᵢ = 0 where pᵢ > 0 is drawn as an arrow to infinity. names: C names.
    Raises: ValueError: p or q is no distribution, or there is not one name an outcome.
    """
    p, q = (torch.from_numpy(_array(x)) for x in (p, q))
    if len(names) != len(p):
        raise ValueError(f"one name an outcome: got {len(names)} names and {len(p)} probabilities")
    figure, (left, right) = new_figure(9.0, 3.2, columns=2)
    place = np.arange(len(p))
    left.bar(place - 0.2, 100 * p.numpy(), 0.38, color=COLOURS[0], label="p: what happens")
    left.bar(
        place + 0.2, 100 * q.numpy(), 0.38, color=COLOURS[1], hatch="//", edgecolor="white", label="q: what is expected"
    )
    left.set_xticks(place, names)
    left.set(xlabel="outcome", ylabel="probability, %", ylim=(0, 100))
    left.legend(loc="upper right")
    words = []
    for y, (pair, a, b) in enumerate((("p, code for q", p, q), ("q, code for p", q, p))):
        h, kl, ce = (f.item() for f in (entropy(a, unit="bits"), *(d(a, b, unit="bits") for d in _PRICES)))
        _price_bar(right, y, h, kl)
        words.append(f"outcomes from {pair}: entropy {h:.3f} + KL {kl:.3f} = {ce:.3f} bits")
    right.set_yticks((0, 1), ("p, code for q:\nCE(p, q)", "q, code for p:\nCE(q, p)"))
    right.set(xlabel="bits a message", ylabel="outcomes from", ylim=(2.15, -0.5), xlim=(0, _PRICE_LIMIT))
    right.set_title("CE = H + KL")
    right.grid(visible=False, axis="y")
    right.legend(*_first_two(right), loc="lower right", ncols=2)
    shown = ", ".join(f"{n} {100 * a:.0f} and {100 * b:.0f} %" for n, a, b in zip(names, p, q, strict=True))
    return finish(figure, alt=f"Two distributions p and q over {len(p)} outcomes: {shown}. {'; '.join(words)}.")


_PRICES = (kl_divergence, cross_entropy)
_PRICE_LIMIT = 7.0


def _price_bar(axes, y: int, h: float, kl: float) -> None:
    """One bar: the entropy, then the excess; cut off at the axis' end, with the true sum in words."""
    axes.barh(y, h, 0.5, color=COLOURS[2], label="entropy H")
    shown = min(kl, _PRICE_LIMIT - h)
    axes.barh(y, shown, 0.5, left=h, color=COLOURS[5], hatch="..", edgecolor="white", label="excess KL")
    text = f"{h:.3f} + {kl:.3f} = {h + kl:.3f}" if np.isfinite(kl) else f"{h:.3f} + ∞: the code has no word for it"
    axes.text(min(h + shown, 3.6) + 0.1, y + 0.42, text, va="center", fontsize=9)


def _first_two(axes) -> tuple[list, list]:
    handles, labels = axes.get_legend_handles_labels()
    return handles[:2], labels[:2]


@styled
def two_fits_figure(x: ArrayLike, target: ArrayLike, fits: Mapping[str, ArrayLike]) -> CourseFigure:
    """A density with two peaks (area) and the best fits of a simpler one (lines).

    Args: x: places; target, fits' values: densities at x.
    """
    x, target = _array(x), _array(target)
    figure, axes = new_figure(7.0, 3.8)
    axes.fill_between(x, target, color="#BBBBBB", label="target p")
    words = []
    for i, (name, density) in enumerate(fits.items()):
        density = _array(density)
        axes.plot(x, density, color=COLOURS[i], linestyle=("-", "--", ":")[i % 3], linewidth=2, label=name)
        words.append(f"{name}, highest at {x[density.argmax()]:.1f}")
    axes.set(xlabel="x", ylabel="density", ylim=(0, None), title="Forward covers, reverse picks")
    figure.legend(loc="outside lower center")
    return finish(figure, alt=f"A density with two peaks and Gaussians fitted to it: {'; '.join(words)}.")


@styled
def underflow_figure(distance: ArrayLike, losses: Mapping[str, ArrayLike]) -> CourseFigure:
    """Loss −log q(label), in nats, over the logit that the label lacks; each line ends where it becomes infinite."""
    distance = _array(distance)
    figure, axes = new_figure(7.0, 3.2)
    words = []
    for i, (name, values) in enumerate(losses.items()):
        values = _array(values)
        finite = np.isfinite(values)
        style = {"color": COLOURS[i], "linestyle": ("-", "--", "-.", ":")[i % 4], "linewidth": 4 - i}
        axes.plot(distance[finite], values[finite], label=name, **style)
        if finite.all():
            words.append(f"{name}: finite throughout")
            continue
        last = int(np.flatnonzero(finite)[-1])
        axes.plot(distance[last], values[last], marker="x", markersize=10, markeredgewidth=2.5, color=COLOURS[i])
        axes.annotate(
            f"∞ beyond {distance[last]:.0f}", (distance[last], values[last]), (10, -12), textcoords="offset points"
        )
        words.append(f"{name}: infinite beyond {distance[last]:.0f}")
    axes.set(xlabel="largest logit − label's logit", ylabel="loss −log q(label), nats")
    axes.set_title("softmax, then log: the label's probability rounds to 0")
    axes.legend(loc="upper left")
    return finish(figure, alt=f"Loss over the distance of two logits. {'; '.join(words)}.")


@styled
def soft_answers_figure(
    images: Sequence[ArrayLike],
    logits: ArrayLike,
    labels: Sequence[int],
    names: Sequence[str],
    *,
    temperatures: Sequence[float],
    top: int = 6,
) -> CourseFigure:
    """One row a sign: the picture, then softmax(z/T) of the classes with the largest logits, a panel a temperature.

    Args: images: (3, H, W), uint8 or float in [0, 1]; logits: (N, C); labels: N classes, drawn in their own colour.
    """
    logits = torch.from_numpy(_array(logits))
    figure = CompactFigure(figsize=(2.2 + 3.2 * len(temperatures), 2.1 * len(images)), layout="constrained")
    panels = figure.subplots(
        len(images), 1 + len(temperatures), squeeze=False, width_ratios=[1.5] + [2.4] * len(temperatures)
    )
    words = []
    for row, image, z, label in zip(panels, images, logits, labels, strict=True):
        row[0].imshow(np.moveaxis(np.asarray(image), 0, -1), interpolation="nearest")
        row[0].set_axis_off()
        best = z.argsort(descending=True)[:top].tolist()
        for axes, t in zip(row[1:], temperatures, strict=True):
            p = (z / t).softmax(-1)
            _answer_bars(
                axes, 100 * p[best].numpy(), [names[c] for c in best], best.index(label) if label in best else -1
            )
            bits = entropy(p, unit="bits").item()
            axes.set_title(f"T = {t:g}: entropy {bits:.2f} bits")
            shown = ", ".join(f"{names[c]} {100 * p[c]:.1f} %" for c in best[:4])
            words.append(f"sign {names[label]} at T = {t:g}: {shown}")
    return finish(figure, alt=f"The teacher's answers to {len(images)} signs. {'; '.join(words)}.")


def _answer_bars(axes, percent: ArrayLike, names: Sequence[str], own: int) -> None:
    place = range(len(names))
    axes.barh(place, percent, 0.65, color=[COLOURS[2] if i == own else COLOURS[1] for i in place])
    for y, value in enumerate(percent):
        axes.text(float(value) + 2, y, f"{value:.1f}" if value >= 0.05 else "<0.1", va="center", fontsize=8)
    axes.set_yticks(place, [f"{name}{' ✓' if i == own else ''}" for i, name in enumerate(names)], fontsize=8)
    axes.invert_yaxis()
    axes.grid(visible=False, axis="y")
    axes.set(xlim=(0, 115), xlabel="probability, %", ylabel="class")


@styled
def square_law_figure(
    temperatures: ArrayLike, gradients: ArrayLike, ratios: ArrayLike, deviations: ArrayLike
) -> CourseFigure:
    """The 1/T² law, all axes logarithmic: gradients fall as 1/T²; times T² they reach their limit; the error is ~1/T.

    Args:
        temperatures: (K,). gradients: (K, N), norm of the KL's gradient of each image.
        ratios: (K, N), norm of T²·gradient over the norm of its limit.
        deviations: (K, N), ‖T²·gradient − limit‖/‖limit‖.
    """
    t, gradients, ratios, deviations = map(_array, (temperatures, gradients, ratios, deviations))
    figure, panels = new_figure(11.0, 3.4, columns=3)
    titles = ("without T²", "with T²", "how near")
    labels = ("norm of the gradient of KL", "T²·gradient over its limit, norms", "relative distance from the limit")
    for i, (axes, values) in enumerate(zip(panels, (gradients, ratios, deviations), strict=True)):
        _band(axes, t, values, COLOURS[i], "measured")
        axes.set(xlabel="temperature T", ylabel=labels[i], title=titles[i], xscale="log", yscale="log")
    _slope(panels[0], t, gradients, -2)
    panels[1].axhline(1, color="#000000", linestyle="--", label="limit")
    panels[1].set_ylim(0.02, 10)
    _slope(panels[2], t, deviations, -1)
    for axes, place in zip(panels, ("lower left", "lower right", "lower left"), strict=True):
        axes.legend(loc=place)
    words = ", ".join(f"{np.median(row):.2g} at T = {at:.3g}" for at, row in zip(t, ratios, strict=True))
    return finish(
        figure,
        alt="The gradient of KL falls as 1/T². Times T², its norm over that of its limit is in the median "
        f"{words}; the distance from the limit falls as 1/T, to {np.median(deviations[-1]):.2g}.",
    )


def _slope(axes, t: np.ndarray, values: np.ndarray, power: int) -> None:
    """A line t^power through the last median: what a power law would look like."""
    some = t >= 3
    line = np.median(values[-1]) * (t[some] / t[-1]) ** power
    axes.plot(t[some], line, color="#000000", linestyle="--", label=f"slope −{-power}")


def _band(axes, t: np.ndarray, values: np.ndarray, colour: str, label: str) -> None:
    """Median over images as a line with markers, the middle 90 % as a band."""
    low, median, high = np.quantile(values, [0.05, 0.5, 0.95], axis=1)
    axes.fill_between(t, low, high, color=colour, alpha=0.2, linewidth=0, label="90 % of the images")
    axes.plot(t, median, color=colour, marker=MARKERS[0], markersize=4, label=f"{label}, median")


@styled
def entropy_figure(temperatures: ArrayLike, bits: ArrayLike, classes: int, *, name: str) -> CourseFigure:
    """Entropy of softmax(z/T) in bits over T (logarithmic): median and middle 90 % of the images, and log₂ C above.

    Args: temperatures: (K,). bits: (K, N). classes: C. name: whose answers these are.
    """
    t, bits = _array(temperatures), _array(bits)
    figure, axes = new_figure(6.0, 3.2)
    _band(axes, t, bits, COLOURS[0], name)
    axes.axhline(
        np.log2(classes), color="#000000", linestyle="--", label=f"all {classes} classes alike: log₂ {classes}"
    )
    axes.set(xlabel="temperature T", ylabel="entropy of the answer, bits", xscale="log", ylim=(0, None))
    axes.legend(loc="lower right")
    words = ", ".join(f"{np.median(row):.2g} at T = {at:.3g}" for at, row in zip(t, bits, strict=True))
    return finish(figure, alt=f"Median entropy in bits of the {name}: {words}; at most {np.log2(classes):.2f}.")


def _array(values: ArrayLike | torch.Tensor) -> np.ndarray:
    """Float64; PyTorch's tensors warn when NumPy converts them itself."""
    return values.detach().double().numpy() if isinstance(values, torch.Tensor) else np.asarray(values, float)
