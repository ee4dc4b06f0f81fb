"""The figures on fusion show what they are given."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.container import ErrorbarContainer
from matplotlib.patches import Rectangle

from course_lib import plots
from course_lib.evaluation import Estimate

SHARES = {"MACs": {"convolutions": 1.0, "BatchNorm": 0.0}, "time": {"convolutions": 0.75, "BatchNorm": 0.25}}
RIM = np.pad(np.zeros((4, 4)), 1, constant_values=0.5)
STEPS = {"folded": Estimate(1.2, 1.1, 1.3, 10, "×"), "fused": Estimate(0.9, 0.8, 1.1, 10, "×")}
FIGURES = {
    "shares": lambda: plots.shares_figure(SHARES),
    "bandwidth": lambda: plots.bandwidth_figure([1e4, 1e6, 1e8], [50, 30, 8], {"largest": 3e5}),
    "rim": lambda: plots.rim_figure({"folded": RIM, "as it was": 0 * RIM}),
    "one rim": lambda: plots.rim_figure({"folded": RIM}),
    "steps": lambda: plots.steps_figure({"teacher": STEPS, "student": STEPS}),
    "one setting": lambda: plots.steps_figure({"teacher": STEPS}),
    "saving": lambda: plots.saving_figure(35, 4.5, 6.0, 20.0, 0.4),
    "no saving": lambda: plots.saving_figure(3, -4.5, 6.0, 20.0, -0.1),
}


def bars_of(axes: Axes) -> list[Rectangle]:
    return [patch for patch in axes.patches if isinstance(patch, Rectangle)]


@pytest.mark.parametrize("make", FIGURES.values(), ids=FIGURES.keys())
def test_each_figure_draws_with_labels_and_alt_text(make, check_drawn):
    check_drawn(make(), most_bytes=60_000)


def test_the_bars_of_a_quantity_fill_its_row():
    bars = bars_of(plots.shares_figure(SHARES).axes[0])
    assert [round(bar.get_x() + bar.get_width()) for bar in bars] == [100, 75, 100, 100]


def test_the_rim_is_counted():
    figure = plots.rim_figure({"folded": RIM, "as it was": 0 * RIM})
    assert "folded: 20 of 36 pixels are off, by up to 0.5" in figure.alt_text
    assert "as it was: 0 of 36" in figure.alt_text


@pytest.mark.parametrize("width", [7.5, 3.2], ids=["as it is", "small"])
def test_labels_of_the_sizes_do_not_collide(width):
    sizes = 3 * 2**20 * np.array([1 / 32, 1 / 8, 1 / 2, 2, 8, 32, 96])
    marks = {"largest activation, 1 image": 262144, "largest activation, 32 images": 32 * 262144}
    figure = plots.bandwidth_figure(sizes, [42, 47, 44, 12, 11, 10, 9], marks)
    figure.set_size_inches(width, width * 0.48)
    figure.canvas.draw()
    axes = figure.axes[0]
    shown = [
        label for label in axes.get_xticklabels() if axes.get_xlim()[0] <= label.get_position()[0] <= axes.get_xlim()[1]
    ]
    assert [label.get_text() for label in shown] == ["100 kB", "1 MB", "10 MB", "100 MB"]
    boxes = [label.get_window_extent() for label in shown]
    assert all(left.x1 + 4 < right.x0 for left, right in itertools.pairwise(boxes))
    assert "98.3 kB 42 GB/s" in figure.alt_text
    assert "32 images: 8.39 MB" in figure.alt_text


def test_each_step_stands_in_its_row_of_each_panel():
    figure = plots.steps_figure({"teacher": STEPS, "student": STEPS})
    assert [label.get_text() for label in figure.axes[0].get_yticklabels()] == ["folded", "fused"]
    for panel in figure.axes:
        drawn = [bars.lines[0] for bars in panel.containers if isinstance(bars, ErrorbarContainer)]
        assert [np.asarray(line.get_xydata())[0].tolist() for line in drawn] == [[1.2, 0.0], [0.9, 1.0]]


def test_the_predicted_bar_is_the_sum_of_calls_and_bytes():
    first, second, measured = bars_of(plots.saving_figure(35, 4.5, 6.0, 20.0, 0.4).axes[0])
    assert first.get_width() == pytest.approx(0.21)
    assert second.get_x() == pytest.approx(0.21)
    assert second.get_width() == pytest.approx(0.225)
    assert measured.get_width() == pytest.approx(0.4)
