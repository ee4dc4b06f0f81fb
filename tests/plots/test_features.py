"""Attention lies where it was measured, and agreement shows the values it was given."""

from __future__ import annotations

import numpy as np
import pytest
from matplotlib.image import AxesImage

from course_lib import plots

IMAGES = np.random.default_rng(0).integers(0, 255, (2, 3, 32, 32), dtype=np.uint8)
MAPS = {"teacher": np.eye(8)[None].repeat(2, 0), "student": np.ones((2, 4, 4))}
MEASURES = {m: {"alone": 0.1, "distilled": 0.2} for m in ("angle ↓", "hint ↓")}
FIGURES = {
    "attention": lambda: plots.attention_figure(IMAGES, MAPS, ["stop", "30"]),
    "agreement": lambda: plots.agreement_figure(MEASURES),
}


@pytest.mark.parametrize("make", FIGURES.values(), ids=FIGURES.keys())
def test_each_figure_draws_with_labels_and_alt_text(make, check_drawn):
    check_drawn(make(), most_bytes=90_000)


def test_each_place_of_a_map_lies_on_the_pixels_it_is_centred_on():
    figure = plots.attention_figure(IMAGES, MAPS, ["stop", "30"])
    pictures = [[a for a in axes.get_children() if isinstance(a, AxesImage)] for axes in figure.axes]
    assert [len(p) for p in pictures] == [1, 2, 2] * 2
    assert [p[1].get_array().shape for p in pictures if len(p) == 2] == [(8, 8), (4, 4)] * 2
    assert [tuple(p[1].get_extent()) for p in pictures if len(p) == 2] == [(-2, 30, 30, -2), (-4, 28, 28, -4)] * 2
    assert all(axes.get_xlim() == (-0.5, 31.5) for axes in figure.axes)
    assert "teacher (8×8): 50 %" in plots.alt_text(figure)
    assert "student (4×4): 25 % in the middle quarter" in plots.alt_text(figure)


@pytest.mark.parametrize(
    ("captions", "maps"), [(["one"], MAPS), (["a", "b"], {}), (["a", "b"], {"x": np.ones((1, 4, 4))})]
)
def test_an_attention_figure_without_a_map_or_caption_for_each_image_is_refused(captions, maps):
    with pytest.raises(ValueError, match="one caption and one map a layer"):
        plots.attention_figure(IMAGES, maps, captions)


def test_agreement_has_one_panel_a_measure_and_one_bar_a_network():
    left, right = plots.agreement_figure(MEASURES).axes
    assert (left.get_title(loc="left"), right.get_title(loc="left")) == ("angle ↓", "hint ↓")
    assert [bar.get_width() for bar in left.patches] == [0.1, 0.2]
