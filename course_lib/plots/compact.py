"""Figures that show themselves in few bytes, since a notebook has a size to keep."""

from __future__ import annotations

from io import BytesIO
from typing import Any

from matplotlib.backends.backend_agg import FigureCanvasAgg
from PIL import Image

from course_lib.plots.style import CourseFigure

# 29 levels a channel, closer together where it is dark, as the eye sees: noise takes fewer bits, dark digits stay.
_LEVELS = [round(255 * (round(28 * (v / 255) ** 0.5) / 28) ** 2) for v in range(256)]


class CompactFigure(CourseFigure):
    """Shows itself in a third of the bytes: 256 colours, or fewer levels where it is ``photographic``."""

    photographic = False

    def png(self) -> bytes:
        picture, stream = Image.open(BytesIO(super().png())).convert("RGB"), BytesIO()
        # A palette would give away the rare colours (a red sign, a sticker) among 43 noisy pictures.
        picture = picture.point(_LEVELS * 3) if self.photographic else picture.quantize(256)
        picture.save(stream, format="png", optimize=True)
        return stream.getvalue()


def compact_figure(
    width: float, height: float, columns: int = 1, rows: int = 1, **grid: Any
) -> tuple[CompactFigure, Any]:
    """As ``style.new_figure``, but compact.

    Args:
        grid: further arguments of ``Figure.subplots``, such as ``squeeze`` or ``width_ratios``.
    """
    figure = CompactFigure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    return figure, figure.subplots(rows, columns, **grid)
