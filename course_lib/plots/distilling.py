"""The figures of "How does a student learn from a teacher?": what wrong answers know, what a loss pushes, sweeps.

The *share* of class k in the wrong answers to class c is the teacher's mean probability of k on images of c, divided
by what it gives to all classes other than c. Shares of a row sum to 1, whatever the temperature.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator
from numpy.typing import ArrayLike
from torch import Tensor

from course_lib.distillation import entropy, label_loss, pseudo_label_loss, soft_target_loss
from course_lib.measure import Measurement
from course_lib.plots.style import COLOURS, MARKERS, CourseFigure, finish, new_figure, styled
from course_lib.plots.teacher import CompactFigure


def wrong_answer_shares(probabilities: ArrayLike, labels: ArrayLike, classes: int) -> np.ndarray:
    """share[c, k] = mean pₖ over the images of class c, over the sum of those of all k ≠ c; 0 on the diagonal.

    Args: probabilities: (N, C), of a teacher at some temperature; labels: (N,); classes: C.
    Raises: ValueError: a class has no image.
    """
    p, y = np.asarray(probabilities, np.float64), np.asarray(labels)
    if missing := sorted(set(range(classes)) - set(y.tolist())):
        raise ValueError(f"labels must hold every class, got none of {missing}")
    means = np.stack([p[y == c].mean(0) for c in range(classes)])
    np.fill_diagonal(means, 0.0)
    return means / means.sum(1, keepdims=True)


@styled
def wrong_answers_figure(
    images: ArrayLike, shares: ArrayLike, classes: Sequence[int], names: Sequence[str], groups: Sequence[str]
) -> CourseFigure:
    """One column a true class: an image of it, and the five classes with the largest share of its wrong answers.

    Args:
        images: (N, 3, H, W), one for each of ``classes``. shares: (C, C). names, groups: one for each of C classes;
            bars of classes in the true class's own group are filled, others hatched.
    """
    shares = np.asarray(shares, float)
    figure = CompactFigure(figsize=(2.3 * len(classes), 3.3), layout="constrained")
    FigureCanvasAgg(figure)
    grid, told = figure.subplots(2, len(classes), squeeze=False, height_ratios=[1, 1.5]), []
    for column, (image, true) in enumerate(zip(images, classes, strict=True)):
        top, bottom = grid[:, column]
        top.imshow(np.moveaxis(np.asarray(image), 0, -1), interpolation="nearest")
        top.set_title(names[true], loc="center")
        top.set_axis_off()
        best = np.argsort(-shares[true])[:5]
        own = [groups[k] == groups[true] for k in best]
        _share_bars(bottom, 100 * shares[true, best], [names[k] for k in best], own)
        bottom.set(xlim=(0, 100), xlabel="share, %", ylabel="taken for" if column == 0 else " ")
        told.append(f"{names[true]}: " + ", ".join(f"{names[k]} {100 * shares[true, k]:.0f} %" for k in best[:3]))
    figure.suptitle("Where the wrong probability goes (filled: same group of signs)", x=0.01, ha="left", fontsize=11)
    return finish(figure, alt=f"Share of the teacher's wrong probability. {'; '.join(told)}.")


def _share_bars(axes, values: np.ndarray, names: Sequence[str], own: Sequence[bool]) -> None:
    """Filled bars for the true class's own group, hatched ones for others."""
    for y, (value, filled) in enumerate(zip(values, own, strict=True)):
        style = {"color": COLOURS[0]} if filled else {"color": "white", "edgecolor": COLOURS[1], "hatch": "///"}
        axes.barh(y, value, height=0.7, **style)
    axes.set_yticks(range(len(names)), names, fontsize=8)
    axes.invert_yaxis()
    axes.grid(axis="y", visible=False)


@styled
def likeness_figure(shares: Mapping[str, ArrayLike], groups: Sequence[str]) -> CourseFigure:
    """The whole table of shares, one panel a network, classes sorted by group; white lines part the groups.

    Args: shares: network → (C, C). groups: the group of each class.
    """
    order = np.argsort(groups, kind="stable")
    kinds = np.asarray(groups)[order]
    edges = [i for i in range(1, len(kinds)) if kinds[i] != kinds[i - 1]]
    middles = [(a + b - 1) / 2 for a, b in zip([0, *edges], [*edges, len(kinds)], strict=True)]
    figure = CompactFigure(figsize=(4.3 * len(shares) + 1.2, 4.2), layout="constrained")
    FigureCanvasAgg(figure)
    panels, told = np.ravel(figure.subplots(1, len(shares))), []
    for i, (axes, (name, table)) in enumerate(zip(panels, shares.items(), strict=True)):
        table = np.asarray(table, float)
        picture = axes.imshow(100 * table[np.ix_(order, order)], cmap="viridis", vmin=0, vmax=30)
        for at in edges:
            axes.axhline(at - 0.5, color="white", linewidth=0.8)
            axes.axvline(at - 0.5, color="white", linewidth=0.8)
        axes.set_xticks(middles, [""] * len(middles))
        axes.set_yticks(middles, dict.fromkeys(kinds) if i == 0 else [""] * len(middles))
        axes.set(title=name, xlabel="taken for (same order)", ylabel="true class, by group" if i == 0 else " ")
        axes.grid(visible=False)
        told.append(f"{name}: {100 * same_group_share(table, groups):.0f} % of it stays in the group")
    bar = figure.colorbar(picture, ax=panels, label="share of the wrong probability, %", extend="max", shrink=0.8)
    bar.ax.set_xlabel(" ")
    return finish(figure, alt=f"Tables of where wrong probability goes, classes sorted by group. {'; '.join(told)}.")


def same_group_share(shares: ArrayLike, groups: Sequence[str]) -> float:
    """The share of wrong probability that falls on classes of the true class's own group, mean over the classes."""
    same = np.asarray(groups)[:, None] == np.asarray(groups)[None]
    return float((np.asarray(shares, float) * same).sum(1).mean())


def pushes(student_logits: Tensor, teacher_logits: Tensor, label: int, temperature: float, alpha: float) -> dict:
    """−∂loss/∂(student's logits) of one image: a positive number lifts the class; loss → (C,).

    Args: student_logits, teacher_logits: (C,). temperature, alpha: of the two mixed losses.
    """
    target, y = torch.as_tensor(teacher_logits)[None], torch.tensor([label])

    def push(loss) -> Tensor:
        s = torch.as_tensor(student_logits).detach().clone()[None].requires_grad_()
        loss(s).backward()
        return -s.grad[0]

    soft = push(lambda s: soft_target_loss(s, target, temperature))
    hard = push(lambda s: label_loss(s, y))
    return {
        "label": hard,
        "pseudo-label": push(lambda s: pseudo_label_loss(s, target)),
        "soft targets and label": alpha * soft + (1 - alpha) * hard,
    }


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
    """One sign, the teacher's seven best classes at T, and which way each loss pushes the student's logits of them."""
    p = (torch.as_tensor(teacher_logits) / temperature).softmax(0)
    best = p.argsort(descending=True)[:7].tolist()
    found = pushes(student_logits, teacher_logits, label, temperature, alpha)
    bits = float(entropy(p, unit="bits"))
    figure = CompactFigure(figsize=(9.6, 3.3), layout="constrained")
    FigureCanvasAgg(figure)
    picture, answers, axes = figure.subplots(1, 3, width_ratios=[1.1, 2.2, 3.4])
    picture.imshow(np.moveaxis(np.asarray(image), 0, -1), interpolation="nearest")
    picture.set_title(names[label], loc="center")
    picture.set_axis_off()
    colours = [COLOURS[2] if c == label else COLOURS[0] for c in best]
    answers.barh(range(len(best)), 100 * p[best].numpy(), color=colours)
    answers.set_title(f"teacher at T = {temperature:g}: {bits:.2f} bits")
    answers.set(xlim=(0, 100), xlabel="probability, %", ylabel="class")
    axes.set_title(f"push on the student, α = {alpha:g}")
    _push_bars(axes, {name: values[best].numpy() for name, values in found.items()})
    for panel in (answers, axes):
        panel.set_yticks(range(len(best)), [names[c] for c in best] if panel is answers else [""] * len(best))
        panel.invert_yaxis()
        panel.grid(axis="y", visible=False)
    figure.legend(*axes.get_legend_handles_labels(), loc="outside lower right", ncols=3)
    told = "; ".join(f"{name}: {_signed(values, best, names)}" for name, values in found.items())
    shown = ", ".join(f"{names[c]} {100 * p[c]:.0f} %" for c in best[:3])
    return finish(
        figure,
        alt=f"A sign ({names[label]}); the teacher at T = {temperature:g}: {shown}, entropy {bits:.2f} bits. "
        f"Pushes, α = {alpha:g}: {told}.",
    )


def _push_bars(axes, found: Mapping[str, np.ndarray]) -> None:
    """Three bars a class; logarithmic beyond ±0.01, so that small pushes on unlikely classes stay visible."""
    for i, (name, values) in enumerate(found.items()):
        axes.barh(np.arange(len(values)) + 0.27 * (i - 1), values, 0.25, color=COLOURS[(1, 5, 0)[i]], label=name)
    axes.axvline(0, color="#000000", linewidth=1)
    axes.set_xscale("symlog", linthresh=0.01)
    end = 1.2 * max(1.0, *(np.abs(values).max() for values in found.values()))
    axes.set(xlim=(-end, end), xlabel="−∂loss/∂logit (right: lift this class)", ylabel=" ")
    axes.xaxis.set_major_locator(FixedLocator([-10, -1, -0.1, -0.01, 0, 0.01, 0.1, 1, 10]))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))


def _signed(values: Tensor, best: Sequence[int], names: Sequence[str]) -> str:
    return ", ".join(f"{names[c]} {values[c]:+.2g}" for c in best[:3])


@styled
def sweep_figure(by_temperature: Mapping[float, Measurement], by_alpha: Mapping[float, Measurement]) -> CourseFigure:
    """Gain over the student alone (points, 95 % interval over seeds) over T (left) and over α (right).

    Args: setting → figure with an interval, in any order.
    """
    figure, panels = new_figure(9.0, 3.4, columns=2)
    told = []
    for i, (axes, name, rows) in enumerate(
        zip(panels, ("temperature T", "weight α of the teacher"), (by_temperature, by_alpha), strict=True)
    ):
        at = sorted(rows)
        value, low, high = (np.array([getattr(rows[x], part) for x in at]) for part in ("value", "low", "high"))
        axes.errorbar(at, value, yerr=[value - low, high - value], color=COLOURS[i], marker=MARKERS[i], capsize=3)
        axes.axhline(0, color="#000000", linewidth=1)
        axes.set(xlabel=name, ylabel="gain over the student alone, points")
        axes.set_xticks(at, [f"{x:g}" for x in at])
        told.append(f"{name}: " + ", ".join(f"{x:g} → {v:+.1f}" for x, v in zip(at, value, strict=True)))
    panels[0].set_xscale("log", base=2)
    panels[0].set_xticks(sorted(by_temperature), [f"{x:g}" for x in sorted(by_temperature)])
    low, high = zip(*(axes.get_ylim() for axes in panels), strict=True)
    for axes in panels:
        axes.set_ylim(min(low), max(high))
    return finish(figure, alt=f"Gain in points with 95 % intervals over seeds. {'; '.join(told)}.")


@styled
def regimes_figure(results: Mapping[str, Mapping[str, Measurement]]) -> CourseFigure:
    """Test accuracy (%) of the student alone and distilled, all labels and a tenth of them, one panel a data set.

    Args: results: data → recorded figures ``alone_accuracy``, ``soft_targets_accuracy``, and both ``…_tenth_…``.
    """
    figure, panels = new_figure(4.2 * len(results) + 0.6, 2.7, columns=len(results))
    told = []
    for axes, (data, figures) in zip(np.ravel(panels), results.items(), strict=True):
        for y, part in enumerate(("", "_tenth")):
            pair = [figures[f"{arm}{part}_accuracy"] for arm in ("alone", "soft_targets")]
            _joined_pair(axes, y, pair)
            told.append(
                f"{data}, {('all', 'a tenth')[y]}: alone {pair[0].value:.1f} %, distilled {pair[1].value:.1f} %"
            )
        axes.set_yticks((0, 1), ("all", "a tenth"))
        axes.set(title=data, xlabel="test accuracy, %", ylabel="labels", ylim=(1.6, -0.6))
        axes.grid(visible=False, axis="y")
    figure.legend(*np.ravel(panels)[0].get_legend_handles_labels(), loc="outside upper right", ncols=2)
    return finish(figure, alt=f"Accuracy of the student, means over seeds with intervals. {'; '.join(told)}.")


def _joined_pair(axes, y: int, pair: Sequence[Measurement]) -> None:
    """Alone and distilled in one row, each with its interval."""
    axes.plot([f.value for f in pair], [y, y], color="#999999", linewidth=2, zorder=1)
    for i, f in enumerate(pair):
        width = [[f.value - f.low], [f.high - f.value]]
        style = {"color": COLOURS[i], "marker": MARKERS[i], "markersize": 8 - 2 * i, "capsize": 3}
        axes.errorbar(f.value, y, xerr=width, label=("alone", "distilled")[i] if y == 0 else None, **style)
        put = (0, 10) if i else (0, -18)
        axes.annotate(f"{f.value:.1f}", (f.value, y), put, textcoords="offset points", ha="center", fontsize=9)
