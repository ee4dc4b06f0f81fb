"""Entropy, cross-entropy and KL as pictures: the price of a wrong code, two fits, and underflow."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from matplotlib.axes import Axes
from numpy.typing import ArrayLike

from course_lib.distillation import cross_entropy, entropy, kl_divergence
from course_lib.plots.arrays import floats
from course_lib.plots.style import COLOURS, CourseFigure, finish, new_figure, styled

_PRICE_LIMIT = 7.0  # bits: where the axis of prices ends


@styled
def code_price_figure(p: ArrayLike, q: ArrayLike, names: Sequence[str]) -> CourseFigure:
    """Left: p and q, bar beside bar. Right: what a message costs in bits, CE = H + KL, both ways.

    Args:
        p, q: (C,), ≥ 0, summing to 1; where pᵢ > 0 and qᵢ = 0, the bar ends at the axis' end and the text says ∞.
        names: C names.
    Raises: ValueError: p or q is no distribution, or there is not one name an outcome.
    """
    p, q = floats(p), floats(q)
    if len(names) != len(p):
        raise ValueError(f"one name an outcome: got {len(names)} names and {len(p)} probabilities")
    figure, (left, right) = new_figure(9.0, 3.2, columns=2)
    place = np.arange(len(p))
    left.bar(place - 0.2, 100 * p, 0.38, color=COLOURS[0], label="p: what happens")
    left.bar(place + 0.2, 100 * q, 0.38, color=COLOURS[1], hatch="//", edgecolor="white", label="q: what is expected")
    left.set_xticks(place, names)
    left.set(xlabel="outcome", ylabel="probability, %", ylim=(0, 100))
    left.legend(loc="upper right")
    words = []
    for y, (pair, a, b) in enumerate((("p, code for q", p, q), ("q, code for p", q, p))):
        a, b = torch.from_numpy(a), torch.from_numpy(b)
        h, kl = entropy(a, unit="bits").item(), kl_divergence(a, b, unit="bits").item()
        ce = cross_entropy(a, b, unit="bits").item()
        _price_bar(right, y, h, kl)
        words.append(f"outcomes from {pair}: entropy {h:.3f} + KL {kl:.3f} = {ce:.3f} bits")
    right.set_yticks((0, 1), ("p, code for q:\nCE(p, q)", "q, code for p:\nCE(q, p)"))
    right.set(xlabel="bits a message", ylabel="outcomes from", ylim=(2.15, -0.5), xlim=(0, _PRICE_LIMIT))
    right.set_title("CE = H + KL")
    right.grid(visible=False, axis="y")
    handles, labels = right.get_legend_handles_labels()
    right.legend(handles[:2], labels[:2], loc="lower right", ncols=2)
    shown = ", ".join(f"{n} {100 * a:.0f} and {100 * b:.0f} %" for n, a, b in zip(names, p, q, strict=True))
    return finish(figure, alt=f"Two distributions p and q over {len(p)} outcomes: {shown}. {'; '.join(words)}.")


def _price_bar(axes: Axes, y: int, h: float, kl: float) -> None:
    """One bar: the entropy, then the excess; cut off at the axis' end, with the true sum in words."""
    axes.barh(y, h, 0.5, color=COLOURS[2], label="entropy H")
    shown = min(kl, _PRICE_LIMIT - h)
    axes.barh(y, shown, 0.5, left=h, color=COLOURS[5], hatch="..", edgecolor="white", label="excess KL")
    text = f"{h:.3f} + {kl:.3f} = {h + kl:.3f}" if np.isfinite(kl) else f"{h:.3f} + ∞: the code has no word for it"
    axes.text(min(h + shown, 3.6) + 0.1, y + 0.42, text, va="center", fontsize=9)


@styled
def two_fits_figure(x: ArrayLike, target: ArrayLike, fits: Mapping[str, ArrayLike]) -> CourseFigure:
    """A density with two peaks (area) and the best fits of a simpler one (lines).

    Args:
        x: (N,), places.
        target: (N,), density at x.
        fits: name → (N,), density at x.
    """
    x, target = floats(x), floats(target)
    figure, axes = new_figure(7.0, 3.8)
    axes.fill_between(x, target, color="#BBBBBB", label="target p")
    words = []
    for i, (name, density) in enumerate(fits.items()):
        density = floats(density)
        axes.plot(x, density, color=COLOURS[i], linestyle=("-", "--", ":")[i % 3], linewidth=2, label=name)
        words.append(f"{name}, highest at {x[density.argmax()]:.1f}")
    axes.set(xlabel="x", ylabel="density", ylim=(0, None), title="Forward covers, reverse picks")
    figure.legend(loc="outside lower center")
    return finish(figure, alt=f"A density with two peaks and Gaussians fitted to it: {'; '.join(words)}.")


@styled
def underflow_figure(distance: ArrayLike, losses: Mapping[str, ArrayLike]) -> CourseFigure:
    """Loss −log q(label), in nats, over the logit that the label lacks; each line ends where it becomes infinite.

    Args:
        distance: (N,), largest logit − label's logit.
        losses: way to compute → (N,), nats.
    """
    distance = floats(distance)
    figure, axes = new_figure(7.0, 3.2)
    words = []
    for i, (name, values) in enumerate(losses.items()):
        values = floats(values)
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
