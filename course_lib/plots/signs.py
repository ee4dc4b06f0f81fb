"""Pictures of signs, and what networks answer to them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import ArrayLike

from course_lib.plots.arrays import floats, picture
from course_lib.plots.compact import compact_figure
from course_lib.plots.labels import percent, shortened
from course_lib.plots.style import COLOURS, CourseFigure, finish, new_figure, styled


@styled
def picture_grid(
    images: ArrayLike, captions: Sequence[str], *, columns: int, title: str, alt: str, inch: float = 1.0
) -> CourseFigure:
    """Images (N, 3, H, W), uint8 or float in [0, 1], row by row, each with its caption above it.

    Args:
        images: as above.
        captions: one an image.
        columns: pictures in a row.
        inch: width and height of one picture.
    Raises: ValueError: no image, or not one caption an image.
    """
    images = np.asarray(images)
    if len(images) == 0 or len(captions) != len(images):
        raise ValueError(f"one caption an image, at least one: got {len(images)} images and {len(captions)} captions")
    rows = -(-len(images) // columns)
    lines = 1 + max(caption.count("\n") for caption in captions)
    figure, axes = compact_figure(inch * columns, (inch + 0.13 * lines) * rows + 0.35, columns=columns, rows=rows)
    figure.photographic = True
    for axis in np.ravel(axes):
        axis.set_axis_off()
    for axis, image, caption in zip(np.ravel(axes), images, captions, strict=False):
        axis.imshow(picture(image), interpolation="nearest")
        axis.set_title(caption, fontsize=7, loc="center", pad=2)
    figure.suptitle(title, x=0.01, ha="left", fontsize=11)
    return finish(figure, alt=alt)


@styled
def answer_figure(
    image: ArrayLike, answers: Mapping[str, ArrayLike], class_names: Sequence[str], *, top: int = 3
) -> CourseFigure:
    """A sign, and the ``top`` classes that each network gives the most probability, as bars.

    Args:
        image: (3, H, W), uint8.
        answers: network → probabilities (C,), summing to 1.
        class_names: C names.
        top: how many classes a network shows.
    Raises: ValueError: probabilities that are not (C,) or do not sum to 1.
    """
    for name, p in answers.items():
        if np.shape(p) != (len(class_names),) or not np.isclose(np.sum(p), 1, atol=1e-3):
            raise ValueError(f"{name!r} must give {len(class_names)} probabilities that sum to 1, got {np.shape(p)}")
    figure, axes = new_figure(3.0 + 3.6 * len(answers), 1.9, 1 + len(answers))
    axes[0].imshow(picture(image))
    axes[0].set_axis_off()
    words = []
    for i, (name, p) in enumerate(answers.items()):
        best: list[int] = np.argsort(p)[::-1][:top].tolist()
        values: list[float] = floats(p)[best].tolist()
        panel = axes[i + 1]
        panel.barh(range(top), [100 * value for value in values], color=COLOURS[i], height=0.6)
        panel.set_yticks(range(top), [shortened(class_names[c]) for c in best])
        panel.invert_yaxis()
        panel.set_xlim(0, 118)
        panel.set_xticks((0, 50, 100))
        for y, value in enumerate(values):
            panel.text(100 * value + 2, y, percent(value), va="center", fontsize=9)
        panel.set(xlabel="probability, %", ylabel="class", title=name)
        words.append(
            f"{name}: " + ", ".join(f"{class_names[c]} {percent(v)}" for c, v in zip(best, values, strict=True))
        )
    return finish(figure, alt=f"A traffic sign and the first {top} answers of each network. {'; '.join(words)}.")


@styled
def top_answers_figure(image: ArrayLike, probabilities: ArrayLike, label: int, names: Sequence[str]) -> CourseFigure:
    """One image (3, H, W) and the three most probable of the C classes; the true one is marked with a tick."""
    probabilities = np.asarray(probabilities)
    top: list[int] = np.argsort(-probabilities)[:3].tolist()
    figure, (left, right) = compact_figure(8.0, 2.4, columns=2)
    left.imshow(picture(image), interpolation="nearest")
    left.set_axis_off()
    colours = [COLOURS[2] if c == label else COLOURS[1] for c in top]
    right.barh(range(3), 100 * probabilities[top], color=colours)
    right.set_yticks(range(3), [f"{names[c]}{' ✓' if c == label else ''}" for c in top])
    right.invert_yaxis()
    right.grid(axis="y", visible=False)
    right.set(xlim=(0, 100), xlabel="probability, %", ylabel="class")
    answers = "; ".join(f"{names[c]} {100 * probabilities[c]:.0f} %" for c in top)
    return finish(figure, alt=f"A sign ({names[label]}) and the network's three best answers: {answers}.")
