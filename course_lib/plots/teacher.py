"""The figures of "What does a good baseline look like?": pictures of signs, splits, slices, calibration, mistakes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from io import BytesIO
from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from numpy.typing import ArrayLike
from PIL import Image

from course_lib.evaluation import Estimate
from course_lib.plots.style import COLOURS, MARKERS, CourseFigure, finish, styled

# The 43 classes in so few letters that a caption fits over a small picture.
SHORT_NAMES: tuple[str, ...] = tuple(
    """20, 30, 50, 60, 70, 80, end 80, 100, 120, no passing, no passing truck, right of way, priority, yield, stop,
    no vehicles, no trucks, no entry, caution, curve left, curve right, double curve, bumpy, slippery, narrows right,
    road work, signals, pedestrians, children, bicycles, ice or snow, animals, end all limits, turn right, turn left,
    ahead, ahead or right, ahead or left, keep right, keep left, roundabout, end no passing,
    end truck ban""".replace(",\n   ", ",").split(", ")
)

if TYPE_CHECKING:
    from course_lib.evaluation import Calibration
    from course_lib.experiments.split_discipline import SplitScore


# 29 levels a channel, closer together where it is dark, as the eye sees: noise takes fewer bits, dark digits stay.
_LEVELS = [round(255 * (round(28 * (v / 255) ** 0.5) / 28) ** 2) for v in range(256)]


class CompactFigure(CourseFigure):
    """Shows itself in a third of the bytes, since a notebook has a size to keep: 256 colours, or fewer levels."""

    photographic = False

    def png(self) -> bytes:
        picture, stream = Image.open(BytesIO(super().png())).convert("RGB"), BytesIO()
        # A palette would give away the rare colours (a red sign, a sticker) among 43 noisy pictures.
        picture = picture.point(_LEVELS * 3) if self.photographic else picture.quantize(256)
        picture.save(stream, format="png", optimize=True)
        return stream.getvalue()


def _figure(width: float, height: float, columns: int = 1, rows: int = 1) -> tuple[CompactFigure, Any]:
    figure = CompactFigure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    return figure, figure.subplots(rows, columns)


@styled
def picture_grid(
    images: ArrayLike, captions: Sequence[str], *, columns: int, title: str, alt: str, inch: float = 1.0
) -> CourseFigure:
    """Images (N, 3, H, W), uint8 or float in [0, 1], row by row, each with its caption above it.

    Args: inch: width and height of one picture.
    Raises: ValueError: no image, or not one caption an image.
    """
    images = np.asarray(images)
    if len(images) == 0 or len(captions) != len(images):
        raise ValueError(f"one caption an image, at least one: got {len(images)} images and {len(captions)} captions")
    rows = -(-len(images) // columns)
    lines = 1 + max(caption.count("\n") for caption in captions)
    figure, axes = _figure(inch * columns, (inch + 0.13 * lines) * rows + 0.35, columns=columns, rows=rows)
    figure.photographic = True
    for axis in np.ravel(axes):
        axis.set_axis_off()
    for axis, image, caption in zip(np.ravel(axes), images, captions, strict=False):
        axis.imshow(np.moveaxis(image, 0, -1), interpolation="nearest")
        axis.set_title(caption, fontsize=7, loc="center", pad=2)
    figure.suptitle(title, x=0.01, ha="left", fontsize=11)
    return finish(figure, alt=alt)


@styled
def split_figure(scores: Sequence[SplitScore]) -> CourseFigure:
    """Each student's score on its own test part joined to its score on unseen signs, one panel a kind of split."""
    kinds = list(dict.fromkeys(score.split for score in scores))
    figure, panels = _figure(7.5, 3.4, columns=len(kinds))
    told = []
    for axes, kind, colour in zip(np.ravel(panels), kinds, COLOURS, strict=False):
        pairs = np.array([(100 * s.test, 100 * s.unseen) for s in scores if s.split == kind])  # (seeds, 2)
        for pair in pairs:
            axes.plot([0, 1], pair, color=colour, alpha=0.35, marker="o", markersize=4)
        mean = pairs.mean(0)
        axes.plot([0, 1], mean, color=colour, linewidth=3, marker="s", markersize=8)
        for x, value in enumerate(mean):
            axes.annotate(f"{value:.0f} %", (x, value), (0, 10), textcoords="offset points", ha="center", weight="bold")
        axes.set_xticks([0, 1], ["its own\ntest part", "signs that\nnobody split"])
        axes.set(xlim=(-0.4, 1.4), ylim=(0, 105), xlabel="measured on", ylabel="accuracy, %", title=f"split {kind}")
        told.append(f"Split {kind}: {mean[0]:.0f} % on its own test part, {mean[1]:.0f} % on unseen signs")
    return finish(figure, alt=f"Scores of {len(pairs)} students a split, and their means. {'; '.join(told)}.")


@styled
def learning_rate_figure(rates: Mapping[str, ArrayLike], steps_per_epoch: int) -> CourseFigure:
    """Learning rate at every step of a training, one panel a schedule; dotted lines end the epochs."""
    figure, panels = _figure(9.0, 2.8, columns=len(rates))
    told = []
    for axes, (name, values), colour in zip(np.ravel(panels), rates.items(), COLOURS, strict=False):
        values = np.asarray(values)
        axes.plot(np.arange(len(values)), 1000 * values, color=colour, linewidth=1.2)
        for end in range(steps_per_epoch, len(values), steps_per_epoch):
            axes.axvline(end, color="#888888", linewidth=0.8, linestyle=":")
        axes.set(xlabel="step (batch)", ylabel="learning rate × 1000", title=name)
        axes.set_ylim(bottom=0)
        told.append(
            f"{name}: from {1000 * values[0]:.2g} over at most {1000 * values.max():.2g} to {1000 * values[-1]:.2g}"
        )
    return finish(figure, alt=f"Learning rate × 1000 against the step. {'; '.join(told)}.")


@styled
def history_figure(histories: Mapping[str, Sequence[Mapping[str, float]]]) -> CourseFigure:
    """Training loss (left) and validation accuracy (right) after each epoch, one line a training."""
    figure, (left, right) = _figure(8.0, 3.0, columns=2)
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
def slice_figure(slices: Mapping[str, Mapping[str, Estimate]], overall: Estimate) -> CourseFigure:
    """Accuracy with its 95 % interval in every slice of every axis, and the whole set's as a line."""
    rows = [(axis, name, score) for axis, found in slices.items() for name, score in found.items()]
    figure, axes = _figure(8.0, 0.9 + 0.2 * (len(rows) + len(slices)))
    y, ticks, labels = 0.0, [], []
    for i, (axis, found) in enumerate(slices.items()):
        axes.text(0.01, y - 0.1, axis, transform=axes.get_yaxis_transform(), weight="bold", fontsize=9)
        for name, score in found.items():
            y += 1
            value, low, high = 100 * score.value, 100 * score.low, 100 * score.high
            axes.errorbar(
                value, y, xerr=[[max(0, value - low)], [max(0, high - value)]], color=COLOURS[i % 7],
                marker=MARKERS[i % 8], capsize=2, markersize=5, linewidth=1.2,
            )  # fmt: skip
            ticks.append(y)
            labels.append(f"{name}  (n = {score.n:,})")
        y += 1.3
    axes.axvline(100 * overall.value, color="black", linewidth=1, linestyle="--")
    axes.set_yticks(ticks, labels, fontsize=8)
    axes.set_ylim(y - 0.5, -1)
    axes.grid(axis="y", visible=False)
    axes.set(xlabel="accuracy, % (bar: 95 % interval over signs; dashed: all test images)", ylabel="slice")
    worst = min(rows, key=lambda row: row[2].value)
    told = "; ".join(f"{axis}, {name}: {100 * score.value:.1f} %" for axis, name, score in rows)
    alt = f"Accuracy by slice. Lowest: {worst[0]}, {worst[1]}. {told}. All: {100 * overall.value:.1f} %."
    return finish(figure, alt=alt)


@styled
def reliability_figure(calibrations: Mapping[str, Calibration]) -> CourseFigure:
    """Reliability diagrams side by side: accuracy over confidence in each bin, and how many images lie in it."""
    figure, panels = _figure(3.2 * len(calibrations), 3.4, columns=len(calibrations))
    told = []
    for axes, (name, calibration), colour in zip(np.ravel(panels), calibrations.items(), COLOURS, strict=False):
        bins = [b for b in calibration.bins if b.count]
        axes.plot([0, 100], [0, 100], color="#888888", linestyle="--", linewidth=1)
        for b in bins:
            axes.plot([100 * b.confidence] * 2, [100 * b.confidence, 100 * b.accuracy], color=colour, linewidth=1.5)
        total = sum(b.count for b in bins)
        sizes = [12 + 300 * b.count / total for b in bins]
        axes.scatter(
            [100 * b.confidence for b in bins], [100 * b.accuracy for b in bins], sizes, color=colour, zorder=3
        )
        axes.set(xlim=(0, 104), ylim=(0, 106), xlabel="mean confidence in the bin, %", ylabel="accuracy in the bin, %")
        axes.set_title(f"{name}: ECE {100 * calibration.ece:.1f} points", fontsize=10)
        told.append(f"{name}: expected calibration error {100 * calibration.ece:.2f} points over {len(bins)} bins")
    return finish(figure, alt=f"Accuracy against confidence; the dashed diagonal is honest. {'; '.join(told)}.")


@styled
def confusion_figure(counts: ArrayLike, names: Sequence[str], *, title: str) -> CourseFigure:
    """Confusion counts, rows true and columns predicted; the colour shows the row's fraction, logarithmically."""
    from matplotlib.colors import LogNorm

    counts = np.asarray(counts)
    fractions = counts / np.maximum(counts.sum(1, keepdims=True), 1)
    figure, axes = _figure(1.6 + 0.55 * counts.shape[1], 1.2 + 0.42 * len(counts))
    shown = np.ma.masked_equal(100 * fractions, 0)
    axes.imshow(shown, cmap="cividis", norm=LogNorm(0.1, 100), aspect="auto")
    for (i, j), count in np.ndenumerate(counts):
        if count:
            dark = fractions[i, j] < 0.05
            axes.text(j, i, f"{count}", ha="center", va="center", fontsize=8, color="white" if dark else "black")
    axes.grid(visible=False)
    axes.set_xticks(range(counts.shape[1]), names)
    axes.set_yticks(range(len(counts)), names[: len(counts)])
    axes.set(xlabel="predicted (colour: share of the row, logarithmic)", ylabel="true", title=title)
    wrong = [(counts[i, j], names[i], names[j]) for i, j in np.ndindex(counts.shape) if i != j and counts[i, j]]
    top = ", ".join(f"{a} called {b} {n} times" for n, a, b in sorted(wrong, reverse=True)[:3])
    return finish(figure, alt=f"Confusion matrix of {len(counts)} true classes. Most frequent errors: {top or 'none'}.")


@styled
def selection_figure(
    inflation: Mapping[int, tuple[ArrayLike, ArrayLike]], curves: Mapping[int, ArrayLike]
) -> CourseFigure:
    """How far the best of k equal models' test score lies above the truth: simulated points, derived lines.

    Args: inflation: test images n → (k, points simulated). curves: n → points derived for each of the same k.
    """
    figure, axes = _figure(7.0, 3.4)
    told = []
    for i, (n, (k, points)) in enumerate(inflation.items()):
        axes.plot(k, curves[n], color=COLOURS[i], linewidth=1.2)
        axes.plot(k, points, color=COLOURS[i], marker=MARKERS[i], linestyle="none", label=f"{n:,} test images")
        told.append(f"{n} images: {np.asarray(points)[-1]:.2f} points with {np.asarray(k)[-1]} candidates")
    axes.set_xscale("log")
    axes.set_xticks(list(k), [f"{count}" for count in k])
    axes.minorticks_off()
    axes.set_xlabel("candidates k among which the test set chose")
    axes.set_ylabel("winner's score − its truth, points")
    axes.legend(title="points simulated, lines derived")
    return finish(figure, alt=f"Inflation of the best test score against the number of candidates. {'; '.join(told)}.")


@styled
def coverage_figure(
    thresholds: ArrayLike, coverage: ArrayLike, accuracy: ArrayLike, chosen: float | None = None
) -> CourseFigure:
    """Coverage and accuracy of the answers whose confidence reaches a threshold; ``chosen`` marks one of them."""
    thresholds, coverage, accuracy = (100 * np.asarray(values, float) for values in (thresholds, coverage, accuracy))
    figure, axes = _figure(7.0, 3.2)
    axes.plot(thresholds, coverage, color=COLOURS[0], label="coverage: images answered")
    axes.plot(thresholds, accuracy, color=COLOURS[1], linestyle="--", label="accuracy of these answers")
    if chosen is not None:
        axes.axvline(100 * chosen, color="black", linewidth=1, linestyle=":")
    axes.set(xlabel="threshold on the confidence, %", ylabel="%")
    axes.legend(loc="lower left")
    shown = [0, len(thresholds) - 1]
    if chosen is not None:
        shown.insert(1, int(np.argmin(np.abs(thresholds - 100 * chosen))))
    told = [
        f"at {thresholds[i]:.1f} %, {coverage[i]:.1f} % answered and {accuracy[i]:.2f} % of them right" for i in shown
    ]
    return finish(figure, alt=f"Coverage and accuracy against the threshold: {'; '.join(told)}.")


@styled
def top_answers_figure(image: ArrayLike, probabilities: ArrayLike, label: int, names: Sequence[str]) -> CourseFigure:
    """One image (3, H, W) and the three most probable of the C classes; the true one is marked with a tick."""
    probabilities = np.asarray(probabilities)
    top = np.argsort(-probabilities)[:3]
    figure, (left, right) = _figure(8.0, 2.4, columns=2)
    left.imshow(np.moveaxis(np.asarray(image), 0, -1), interpolation="nearest")
    left.set_axis_off()
    colours = [COLOURS[2] if c == label else COLOURS[1] for c in top]
    right.barh(range(3), 100 * probabilities[top], color=colours)
    right.set_yticks(range(3), [f"{names[c]}{' ✓' if c == label else ''}" for c in top])
    right.invert_yaxis()
    right.grid(axis="y", visible=False)
    right.set(xlim=(0, 100), xlabel="probability, %", ylabel="class")
    answers = "; ".join(f"{names[c]} {100 * probabilities[c]:.0f} %" for c in top)
    return finish(figure, alt=f"A sign ({names[label]}) and the network's three best answers: {answers}.")
