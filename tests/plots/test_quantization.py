"""Quantization's figures show the numbers that they are given, and a granularity looks alike in all of them."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from course_lib import plots
from course_lib.plots.quantization import GRANULARITIES
from course_lib.quantization import Affine, Codes, clip_error, from_range, min_max

X = torch.tensor(np.random.default_rng(0).normal(0.3, 1, 2000), dtype=torch.float32)
ALPHAS = np.linspace(1, 8, 12)


def clip():
    laws = {name: [clip_error(name, 4, alpha) for alpha in ALPHAS] for name in ("gaussian", "laplacian")}
    return plots.clip_figure(
        ALPHAS,
        laws,
        {name: [e.total for e in law] for name, law in laws.items()},
        {"gaussian": 2.6, "laplacian": 4.8},
        4,
    )


def bits():
    lines = {name: [0.9 - 0.1 * i, 0.95, 0.97] for i, name in enumerate(GRANULARITIES)}
    return plots.bits_figure([2, 4, 8], {"weights": lines, "both": {"channel": [0.1, 0.5, 0.9]}}, 0.98, 1 / 43)


FIGURES = {
    "ruler": lambda: plots.ruler_figure(X, min_max(X, Codes(4, signed=False))),
    "ruler, 8 bits, clipped": lambda: plots.ruler_figure(X, min_max(X / 2, Codes(8), symmetric=True)),
    "noise": lambda: plots.noise_figure([2, 3], {"a": [10.0, 16.0], "b": [5, 11]}, {"a": [9.5, 16.9], "b": [6, 12]}),
    "clip": clip,
    "ranges": lambda: plots.channel_ranges_figure({"conv 1": [0.1, 2.0, 0.5], "classifier": [0.4, 0.3]}),
    "bits": bits,
}


@pytest.mark.parametrize("make", FIGURES.values(), ids=FIGURES.keys())
def test_each_figure_draws_with_labels_and_alt_text(make, check_drawn):
    check_drawn(make(), most_bytes=90_000)


def test_the_ruler_has_a_mark_for_each_code_and_tells_what_is_clipped():
    affine = Affine(Codes(2), torch.tensor(1.0), torch.tensor(0, dtype=torch.int32))  # −2 … 1
    figure = plots.ruler_figure(torch.tensor([-2.0, 0.25, 1.0, 3.0]), affine)
    marks = figure.axes[0].collections[0].get_segments()
    assert [segment[0][0] for segment in marks] == [-2, -1, 0, 1]
    rounded, clipped = figure.axes[1].get_lines()
    assert torch.as_tensor(rounded.get_ydata()).tolist() == [0, -0.25, 0]
    assert (list(clipped.get_xdata()), list(clipped.get_ydata())) == ([3], [-2])
    assert "25.0 % of them are clipped" in plots.alt_text(figure)
    assert "Z = 0" in figure.axes[0].get_title(loc="left")


def test_values_less_than_half_a_step_outside_are_rounded_not_clipped():
    affine = from_range(torch.tensor(-1.0), torch.tensor(1.0), Codes(2, restricted=True), symmetric=True)
    figure = plots.ruler_figure(torch.tensor([1.4, -1.4, 0.0, 1.6]), affine)
    rounded, clipped = figure.axes[1].get_lines()
    assert (len(rounded.get_xdata()), len(clipped.get_xdata())) == (3, 1)


def test_each_tensor_has_a_panel_with_its_points_and_its_law_on_one_scale():
    figure = FIGURES["noise"]()
    assert [axes.get_title(loc="left") for axes in figure.axes] == ["a", "b"]
    for axes, points, line in zip(figure.axes, ([10, 16], [5, 11]), ([9.5, 16.9], [6, 12]), strict=True):
        law, measured = axes.get_lines()
        assert np.asarray(measured.get_ydata()).tolist() == points
        assert np.asarray(law.get_ydata()).tolist() == line
        assert axes.get_ylim() == figure.axes[0].get_ylim()
    assert "b 5.0 (6.0), 11.0 (12.0)" in plots.alt_text(figure)


def test_a_clip_is_told_in_the_unit_of_its_distribution():
    labels = [axes.get_xlabel() for axes in clip().axes]
    assert labels == ["clip α, in units of the standard deviation", "clip α, in units of mean |x|"]


def test_rounding_grows_clipping_falls_and_the_best_clip_is_marked():
    figure = clip()
    for axes, best in zip(figure.axes, (2.6, 4.8), strict=True):
        rounding, clipping, both, _, mark = axes.get_lines()
        assert (np.diff(rounding.get_ydata()) > 0).all()
        assert (np.diff(clipping.get_ydata()) < 0).all()
        assert both.get_ydata() == pytest.approx(np.add(rounding.get_ydata(), clipping.get_ydata()))
        assert mark.get_xdata()[0] == best


def test_a_granularity_keeps_its_colour_whichever_others_are_drawn():
    left, right = bits().axes
    drawn = {line.get_label(): line.get_color() for line in left.get_lines()}
    assert right.get_lines()[0].get_color() == drawn[GRANULARITIES["channel"]]
    assert list(np.asarray(left.get_lines()[0].get_ydata())) == pytest.approx([90, 95, 97])
