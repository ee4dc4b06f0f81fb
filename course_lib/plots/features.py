"""Inner layers as pictures: where they are active, and how far they are from the teacher's."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from numpy.typing import ArrayLike

from course_lib.distillation import middle_share
from course_lib.plots.arrays import floats, picture
from course_lib.plots.compact import compact_figure
from course_lib.plots.style import COLOURS, CourseFigure, finish, new_figure, styled


@styled
def attention_figure(
    images: ArrayLike, maps: Mapping[str, ArrayLike], captions: Sequence[str], *, inch: float = 1.15
) -> CourseFigure:
    """Each image and, beside it, where each layer is active: bright is active, the darkened picture shines through.

    Args:
        images: (N, 3, S, S) in [0, 1] or uint8.
        maps: layer → (N, h, h) ≥ 0; drawn at their own resolution, each from 0 to its own maximum, where the places
            of convolutions with odd kernels and half of that as padding are centred.
        captions: one an image.
    Raises: ValueError: no image or no map, or not one caption and one map an image.
    """
    images, maps = np.asarray(images), {name: floats(values) for name, values in maps.items()}
    images = images / 255 if images.dtype == np.uint8 else images
    sizes = {len(captions), *(len(m) for m in maps.values())}
    if len(images) == 0 or not maps or sizes != {len(images)}:
        raise ValueError(
            f"one caption and one map a layer for each image, at least one: got {len(images)} images, {len(captions)} "
            f"captions, maps {[len(m) for m in maps.values()]}"
        )
    columns, height = 1 + len(maps), (inch + 0.12) * len(images) + 0.25
    figure, grid = compact_figure(inch * columns, height, columns, len(images), squeeze=False)
    for row, image, caption in zip(grid, images, captions, strict=True):
        row[0].imshow(picture(image), interpolation="nearest")
        row[0].set_title(caption, fontsize=8, loc="center", pad=2)
    for column, (name, values) in zip(grid.T[1:], maps.items(), strict=True):
        column[0].set_title(name, fontsize=8, loc="center", pad=2)
        for axes, image, q in zip(column, images, values, strict=True):
            _map_over_picture(axes, image, q)
    for axes in grid.flat:
        axes.set_axis_off()
        axes.set(xlim=(-0.5, images.shape[-1] - 0.5), ylim=(images.shape[-1] - 0.5, -0.5))
    told = "; ".join(
        f"{name} ({q.shape[1]}×{q.shape[2]}): {100 * middle_share(q):.0f} % in the middle quarter of the picture"
        for name, q in maps.items()
    )
    return finish(figure, alt=f"Signs ({', '.join(captions)}) and where each layer is active. {told}.")


def _map_over_picture(axes: Axes, image: np.ndarray, q: np.ndarray) -> None:
    """The map (h, h) over the darkened picture (3, S, S), each place on the pixels that it is centred on."""
    axes.imshow(0.5 * image.mean(0), cmap="gray", vmin=0, vmax=1, interpolation="nearest")
    # Odd kernels, padded by half: place i is centred on pixel i·S/h, so a map sits half a cell up and left.
    side = image.shape[-1]
    low, high = -0.5 * side / len(q), side - 0.5 * side / len(q)
    colours = {"cmap": "inferno", "vmin": 0, "vmax": q.max() or 1, "alpha": 0.75}
    axes.imshow(q, extent=(low, high, high, low), interpolation="nearest", **colours)


@styled
def agreement_figure(rows: Mapping[str, Mapping[str, float]]) -> CourseFigure:
    """One panel a measure, one bar a network: how far its features are from the teacher's.

    Args:
        rows: measure (with its direction) → network → value ≥ 0.
    """
    figure, panels = new_figure(9.0, 2.7, columns=len(rows))
    told = []
    for axes, (measure, values) in zip(np.ravel(panels), rows.items(), strict=True):
        for i, value in enumerate(values.values()):
            axes.barh(i, value, color=COLOURS[i], height=0.65)
            axes.annotate(f"{value:.3g}", (value, i), (3, 0), textcoords="offset points", va="center", fontsize=9)
        axes.set_yticks(range(len(values)), list(values) if axes is np.ravel(panels)[0] else [""] * len(values))
        axes.invert_yaxis()
        axes.set(title=measure, xlabel="value", ylabel="network" if axes is np.ravel(panels)[0] else " ")
        axes.set_xlim(0, 1.3 * max(*values.values(), 1e-12))
        axes.grid(visible=False, axis="y")
        told.append(f"{measure}: " + ", ".join(f"{name} {value:.3g}" for name, value in values.items()))
    return finish(figure, alt=f"Distance from the teacher's features. {'; '.join(told)}.")
