"""A figure shows itself in few bytes."""

from __future__ import annotations

from base64 import b64decode
from io import BytesIO

import numpy as np
from PIL import Image

from course_lib import plots


def test_a_figure_shows_itself_in_fewer_bytes_and_nearly_the_same_colours():
    rng = np.random.default_rng(0)
    smooth = np.clip(rng.normal(90, 12, (6, 3, 32, 32)), 0, 255).astype(np.uint8)
    line = plots.learning_rate_figure({"a": rng.random(50)}, 10)
    for figure, most in ((plots.picture_grid(smooth, ["x"] * 6, columns=3, title="t", alt="noise"), 0.7), (line, 0.5)):
        compact, plain = figure.png(), plots.CourseFigure.png(figure)
        assert len(compact) < most * len(plain)
        small, full = (np.asarray(Image.open(BytesIO(png)).convert("RGB")).astype(int) for png in (compact, plain))
        assert np.abs(small - full).mean() < 4
        shown = figure._repr_mimebundle_()["text/html"]
        assert len(b64decode(shown.split("base64,")[1].split('"')[0])) < most * len(plain)
        assert f'alt="{figure.alt_text}"' in shown
