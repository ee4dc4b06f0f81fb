"""The figures of the chapter on the teacher draw the numbers they are given and say them in words."""

from __future__ import annotations

import math
from io import BytesIO

import numpy as np
import pytest
from PIL import Image

from course_lib import plots
from course_lib.data.classes import CLASS_NAMES
from course_lib.evaluation import Calibration, Estimate, ReliabilityBin
from course_lib.experiments.split_discipline import SplitScore
from course_lib.plots.teacher import SHORT_NAMES


def test_a_picture_grid_shows_each_image_under_its_caption_and_hides_the_rest():
    images = np.random.default_rng(0).integers(0, 256, (5, 3, 8, 8), dtype=np.uint8)
    figure = plots.picture_grid(images, [f"n {i}" for i in range(5)], columns=3, title="t", alt="five")
    shown = [axes for axes in figure.axes if axes.images]
    assert [axes.get_title(loc="center") for axes in shown] == [f"n {i}" for i in range(5)]
    assert np.array_equal(shown[3].images[0].get_array(), np.moveaxis(images[3], 0, -1))
    assert len(figure.axes) == 6
    assert not any(axes.axison for axes in figure.axes)


@pytest.mark.parametrize(("count", "captions"), [(0, 0), (2, 1)])
def test_a_picture_grid_needs_one_caption_an_image(count, captions):
    with pytest.raises(ValueError, match="one caption an image"):
        plots.picture_grid(np.zeros((count, 3, 4, 4)), ["x"] * captions, columns=2, title="t", alt="a")


def test_a_figure_shows_itself_in_fewer_bytes_and_nearly_the_same_colours():
    rng = np.random.default_rng(0)
    smooth = np.clip(rng.normal(90, 12, (6, 3, 32, 32)), 0, 255).astype(np.uint8)
    line = plots.learning_rate_figure({"a": rng.random(50)}, 10)
    for figure, most in ((plots.picture_grid(smooth, ["x"] * 6, columns=3, title="t", alt="noise"), 0.7), (line, 0.5)):
        compact, plain = figure.png(), plots.CourseFigure.png(figure)
        assert len(compact) < most * len(plain)
        small, full = (np.asarray(Image.open(BytesIO(d)).convert("RGB")).astype(int) for d in (compact, plain))
        assert np.abs(small - full).mean() < 4
        assert len(figure.html()) < 4 / 3 * 1.05 * len(compact)  # base64 takes a third more


def test_every_class_has_its_own_short_name():
    assert len(set(SHORT_NAMES)) == len(CLASS_NAMES)
    assert (SHORT_NAMES[14], SHORT_NAMES[38], SHORT_NAMES[42]) == ("stop", "keep right", "end truck ban")
    assert not any("\n" in name or len(name) > 18 for name in SHORT_NAMES)


def test_the_split_figure_joins_test_and_unseen_and_tells_the_means():
    scores = [
        SplitScore(k, s, 1.0, t, u) for s, (k, t, u) in enumerate([("by image", 0.9, 0.6), ("by track", 0.7, 0.6)])
    ]
    scores.append(SplitScore("by image", 2, 1.0, 0.8, 0.6))
    figure = plots.split_figure(scores)
    assert "Split by image: 85 % on its own test part, 60 % on unseen signs" in figure.alt_text
    assert [axes.get_title(loc="left") for axes in figure.axes] == ["split by image", "split by track"]
    assert figure.axes[0].lines[0].get_ydata().tolist() == pytest.approx([90, 60])


def test_the_learning_rate_figure_marks_the_ends_of_the_epochs():
    figure = plots.learning_rate_figure({"a": [0.001, 0.002, 0.001, 0.0], "b": [0.002] * 4}, 2)
    assert figure.axes[0].lines[0].get_ydata().tolist() == pytest.approx([1, 2, 1, 0])
    assert [line.get_xdata()[0] for line in figure.axes[0].lines[1:]] == [2]
    assert "a: from 1 over at most 2 to 0" in figure.alt_text


def test_the_history_figure_counts_epochs_from_one_and_shows_percent():
    rows = [
        {"epoch": 0, "loss": 2.0, "validation_accuracy": 0.5},
        {"epoch": 1, "loss": 1.0, "validation_accuracy": 0.7},
    ]
    figure = plots.history_figure({"student": rows})
    assert figure.axes[1].lines[0].get_xydata().tolist() == [[1, 50], [2, 70]]
    assert "student: 70 % after 2 epochs" in figure.alt_text


def test_the_slice_figure_draws_every_slice_and_names_the_lowest():
    night, day = Estimate(0.8, 0.7, 0.9, 50, clusters=10), Estimate(0.99, 0.98, 1.0, 500, clusters=90)
    figure = plots.slice_figure(
        {"weather": {"night": night, "day": day}}, Estimate(0.97, 0.96, 0.98, 550, clusters=100)
    )
    assert "Lowest: weather, night" in figure.alt_text
    assert [text.get_text() for text in figure.axes[0].get_yticklabels()] == ["night  (n = 50)", "day  (n = 500)"]
    dashed = figure.axes[0].lines[-1]
    assert dashed.get_xdata()[0] == pytest.approx(97)


def test_the_reliability_figure_skips_empty_bins_and_tells_the_error():
    full, empty = ReliabilityBin(0.5, 1, 10, 0.7, 0.9), ReliabilityBin(0, 0.5, 0, math.nan, math.nan)
    figure = plots.reliability_figure({"raw": Calibration(0.2, (empty, full))})
    assert figure.axes[0].collections[0].get_offsets().tolist() == [pytest.approx([90, 70])]
    assert "raw: expected calibration error 20.00 points over 1 bins" in figure.alt_text


def test_the_confusion_figure_writes_counts_and_names_the_greatest_error_true_class_first():
    figure = plots.confusion_figure([[8, 2, 0], [0, 5, 1]], ["30", "80", "other"], title="t")
    assert sorted(text.get_text() for text in figure.axes[0].texts) == ["1", "2", "5", "8"]
    assert "Most frequent errors: 30 called 80 2 times, 80 called other 1 times" in figure.alt_text
    assert figure.axes[0].get_ylabel() == "true"
    assert figure.axes[0].get_xlabel().startswith("predicted")


def test_the_selection_figure_draws_simulated_points_and_derived_lines():
    figure = plots.selection_figure({500: ([1, 50], [0.0, 1.7])}, {500: [0.0, 1.6]})
    derived, simulated = figure.axes[0].lines
    assert derived.get_ydata().tolist() == pytest.approx([0, 1.6])
    assert simulated.get_ydata().tolist() == pytest.approx([0, 1.7])
    assert "500 images: 1.70 points with 50 candidates" in figure.alt_text


def test_the_coverage_figure_tells_what_the_chosen_threshold_does():
    figure = plots.coverage_figure([0, 0.5, 0.9], [1, 0.8, 0.5], [0.9, 0.95, 0.99], chosen=0.5)
    assert "at 50.0 %, 80.0 % answered and 95.00 % of them right" in figure.alt_text
    assert figure.axes[0].lines[-1].get_xdata()[0] == pytest.approx(50)
    assert len(plots.coverage_figure([0, 1], [1, 1], [1, 1]).axes[0].lines) == 2


def test_the_top_answers_are_sorted_and_the_true_one_is_ticked():
    figure = plots.top_answers_figure(np.zeros((3, 4, 4)), [0.1, 0.6, 0.05, 0.25], 3, ["a", "b", "c", "d"])
    assert [text.get_text() for text in figure.axes[1].get_yticklabels()] == ["b", "d ✓", "a"]
    assert "b 60 %; d 25 %; a 10 %" in figure.alt_text
