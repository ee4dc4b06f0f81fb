"""Which way each loss on answers pushes the student's logits."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator
from numpy.typing import ArrayLike
from torch import Tensor

from course_lib.distillation import entropy, pushes
from course_lib.plots.arrays import picture
from course_lib.plots.compact import compact_figure
from course_lib.plots.style import COLOURS, CourseFigure, finish, styled


@styled
def push_figure(
    image: ArrayLike,
    teacher_logits: Tensor,
    student_logits: Tensor,
    label: int,
    names: Sequence[str],
    *,
    temperature: float,
    alpha: float,
) -> CourseFigure:
    """One sign, the teacher's seven best classes at T, and which way each loss pushes the student's logits of them.

    Args:
        image: (3, H, W).
        teacher_logits, student_logits: (C,).
        label: the true class.
        names: C names.
        temperature, alpha: as in ``distillation.pushes``.
    """
    p = (torch.as_tensor(teacher_logits) / temperature).softmax(0)
    best: list[int] = p.argsort(descending=True)[:7].tolist()
    found = pushes(student_logits, teacher_logits, label, temperature, alpha)
    bits = float(entropy(p, unit="bits"))
    figure, (sign, answers, axes) = compact_figure(9.6, 3.3, 3, width_ratios=[1.1, 2.2, 3.4])
    sign.imshow(picture(image), interpolation="nearest")
    sign.set_title(names[label], loc="center")
    sign.set_axis_off()
    own = best.index(label) if label in best else -1
    _answer_bars(answers, p[best].tolist(), [names[c] for c in best], own)
    answers.set_title(f"teacher at T = {temperature:g}: {bits:.2f} bits")
    axes.set_title(f"push on the student, α = {alpha:g}")
    _push_bars(axes, {name: values[best].numpy() for name, values in found.items()})
    figure.legend(*axes.get_legend_handles_labels(), loc="outside lower right", ncols=3)
    told = "; ".join(f"{name}: {_first_three(values, best, names)}" for name, values in found.items())
    shown = ", ".join(f"{names[c]} {100 * p[c]:.0f} %" for c in best[:3])
    teacher = f"the teacher at T = {temperature:g}: {shown}, entropy {bits:.2f} bits"
    return finish(figure, alt=f"A sign ({names[label]}); {teacher}. Pushes, α = {alpha:g}: {told}.")


def _first_three(values: Tensor, best: Sequence[int], names: Sequence[str]) -> str:
    return ", ".join(f"{names[c]} {values[c]:+.2g}" for c in best[:3])


def _answer_bars(axes: Axes, probabilities: Sequence[float], names: Sequence[str], own: int) -> None:
    """One bar a class; number ``own`` (−1: none) is the right one."""
    colours = [COLOURS[2] if i == own else COLOURS[0] for i in range(len(names))]
    axes.barh(range(len(names)), [100 * p for p in probabilities], color=colours)
    axes.set(xlim=(0, 100), xlabel="probability, %", ylabel="class")
    axes.set_yticks(range(len(names)), names)
    axes.invert_yaxis()
    axes.grid(axis="y", visible=False)


def _push_bars(axes: Axes, found: Mapping[str, np.ndarray]) -> None:
    """Three bars a class; logarithmic beyond ±0.01, so that small pushes on unlikely classes stay visible."""
    count = len(next(iter(found.values())))
    for i, (name, values) in enumerate(found.items()):
        axes.barh(np.arange(count) + 0.27 * (i - 1), values, 0.25, color=COLOURS[(1, 5, 0)[i]], label=name)
    axes.axvline(0, color="#000000", linewidth=1)
    axes.set_xscale("symlog", linthresh=0.01)
    end = 1.2 * max(1.0, *(np.abs(values).max() for values in found.values()))
    axes.set(xlim=(-end, end), xlabel="−∂loss/∂logit (right: lift this class)", ylabel=" ")
    axes.set_yticks(range(count), [""] * count)
    axes.invert_yaxis()
    axes.grid(axis="y", visible=False)
    axes.xaxis.set_major_locator(FixedLocator([-10, -1, -0.1, -0.01, 0, 0.01, 0.1, 1, 10]))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
