"""Curves over steps, epochs and rounds of training."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import ArrayLike

from course_lib.plots.compact import compact_figure
from course_lib.plots.labels import plain_ticks
from course_lib.plots.style import COLOURS, MARKERS, CourseFigure, finish, new_figure, styled


@styled
def learning_rate_figure(rates: Mapping[str, ArrayLike], steps_per_epoch: int) -> CourseFigure:
    """Learning rate at every step of a training, one panel a schedule; dotted lines end the epochs.

    Args:
        rates: schedule → (steps,), learning rate of each step.
        steps_per_epoch: steps between two dotted lines.
    """
    figure, panels = compact_figure(9.0, 2.8, columns=len(rates))
    told = []
    for axes, (name, values), colour in zip(np.ravel(panels), rates.items(), COLOURS, strict=False):
        values = np.asarray(values)
        axes.plot(np.arange(len(values)), 1000 * values, color=colour, linewidth=1.2)
        for end in range(steps_per_epoch, len(values), steps_per_epoch):
            axes.axvline(end, color="#888888", linewidth=0.8, linestyle=":")
        axes.set(xlabel="step (batch; dotted: an epoch ends)", ylabel="learning rate × 1000", title=name)
        axes.set_ylim(bottom=0)
        told.append(
            f"{name}: from {1000 * values[0]:.2g} over at most {1000 * values.max():.2g} to {1000 * values[-1]:.2g}"
        )
    return finish(figure, alt=f"Learning rate × 1000 against the step. {'; '.join(told)}.")


@styled
def history_figure(histories: Mapping[str, Sequence[Mapping[str, float]]]) -> CourseFigure:
    """Training loss (left) and validation accuracy (right) after each epoch, one line a training.

    Args:
        histories: training → one dict an epoch, as ``training.History.epochs`` holds them.
    """
    figure, (left, right) = compact_figure(8.0, 3.0, columns=2)
    told = []
    for i, (name, rows) in enumerate(histories.items()):
        style = {"color": COLOURS[i % 7], "marker": MARKERS[i % 8], "label": name}
        epochs = [row["epoch"] + 1 for row in rows]
        left.plot(epochs, [row["loss"] for row in rows], **style)
        right.plot(epochs, [100 * row["validation_accuracy"] for row in rows], **style)
        told.append(f"{name}: {100 * rows[-1]['validation_accuracy']:.0f} % after {len(rows)} epochs")
    for axes in (left, right):
        axes.set_xlabel("epoch")
        axes.xaxis.get_major_locator().set_params(integer=True)
    left.set_ylabel("training loss, nats")
    right.set_ylabel("validation accuracy, %")
    left.set_ylim(bottom=0)
    right.legend()
    return finish(figure, alt=f"Training loss and validation accuracy by epoch. {'; '.join(told)}.")


@styled
def terms_figure(histories: Mapping[str, Sequence[Mapping[str, float]]], terms: Sequence[str]) -> CourseFigure:
    """One panel a term, its mean in each epoch before weighting, one line a training.

    Args:
        histories: training → ``Distiller.history``.
        terms: which of them.
    """
    figure, panels = new_figure(2.6 * len(terms) + 0.6, 3.0, columns=len(terms))
    told = []
    for axes, term in zip(np.ravel(panels), terms, strict=True):
        for i, (name, epochs) in enumerate(histories.items()):
            values = [epoch[term] for epoch in epochs]
            axes.plot(range(1, len(values) + 1), values, color=COLOURS[i], marker=MARKERS[i], label=name)
            told.append(f"{term}, {name}: {values[0]:.3g} to {values[-1]:.3g}")
        axes.set(title=term, xlabel="epoch", ylabel="mean of the term")
        axes.set_xticks(range(1, len(values) + 1))
        axes.set_ylim(bottom=0)
    figure.legend(*np.ravel(panels)[0].get_legend_handles_labels(), loc="outside lower center", ncols=len(histories))
    return finish(figure, alt=f"Terms from the first epoch to the last. {'; '.join(told)}.")


@styled
def shrinkage_figure(rounds: ArrayLike, errors: Mapping[str, ArrayLike]) -> CourseFigure:
    """Error over the number of self-distillation rounds, one line a curve, the lowest point marked.

    Args:
        rounds: (R,).
        errors: curve → (R,), mean squared error > 0.
    """
    rounds = np.asarray(rounds)
    figure, axes = new_figure(6.5, 3.0)
    told = []
    for i, (name, values) in enumerate(errors.items()):
        values = np.asarray(values, float)
        best = int(values.argmin())
        axes.plot(rounds, values, color=COLOURS[i], marker=MARKERS[i], markersize=4, label=name)
        axes.plot(rounds[best], values[best], "*", color=COLOURS[i], markersize=15)
        told.append(f"{name}: {values[0]:.3g} at first, lowest {values[best]:.3g} in round {rounds[best]}")
    axes.set(xlabel="round (0: trained on the labels)", ylabel="mean squared error (logarithmic)")
    axes.set_yscale("log")
    plain_ticks(axes.yaxis)
    axes.legend()
    return finish(figure, alt=f"Mean squared error after each round of self-distillation. {'; '.join(told)}.")
