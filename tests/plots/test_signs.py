"""Pictures of signs and networks' answers show what they were given, and refuse what they cannot show."""

from __future__ import annotations

import numpy as np
import pytest

from course_lib import plots
from course_lib.plots import answer_figure

IMAGE = np.zeros((3, 8, 8), np.uint8)
NAMES = ("stop", "yield", "priority road", "no entry")
NOISE = np.random.default_rng(0).integers(0, 256, (5, 3, 8, 8), dtype=np.uint8)
FIGURES = {
    "grid": lambda: plots.picture_grid(
        NOISE, list("abcde"), columns=3, title="t", alt="five pictures of noise in two rows of three"
    ),
    "answer": lambda: plots.answer_figure(IMAGE, {"teacher": [0.1, 0.6, 0.05, 0.25]}, NAMES),
    "top answers": lambda: plots.top_answers_figure(IMAGE, [0.1, 0.6, 0.05, 0.25], 3, NAMES),
}


@pytest.mark.parametrize("make", FIGURES.values(), ids=FIGURES.keys())
def test_each_figure_draws_with_labels_and_alt_text(make, check_drawn):
    check_drawn(make(), most_bytes=80_000)


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


def test_an_answer_shows_the_most_probable_classes_first():
    p = np.array([0.1, 0.6, 0.05, 0.25])
    figure = answer_figure(IMAGE, {"teacher": p}, NAMES)
    assert [tick.get_text() for tick in figure.axes[1].get_yticklabels()] == ["yield", "no entry", "stop"]
    np.testing.assert_allclose([bar.get_width() for bar in figure.axes[1].patches], [60, 25, 10])
    assert figure.alt_text.endswith("teacher: yield 60 %, no entry 25 %, stop 10 %.")


def test_two_networks_answer_side_by_side():
    p = np.array([0.1, 0.6, 0.05, 0.25])
    figure = answer_figure(IMAGE, {"teacher": p, "final": p[::-1]}, NAMES, top=2)
    assert [axes.get_title(loc="left") for axes in figure.axes[1:]] == ["teacher", "final"]
    assert "final: priority road 60 %, stop 25 %" in figure.alt_text


@pytest.mark.parametrize("p", [np.ones(4), np.array([0.5, 0.5]), np.array([[0.25] * 4])])
def test_what_is_no_distribution_over_the_classes_is_refused(p):
    with pytest.raises(ValueError, match="'teacher' must give 4 probabilities that sum to 1"):
        answer_figure(IMAGE, {"teacher": p}, NAMES)


def test_the_top_answers_are_sorted_and_the_true_one_is_ticked():
    figure = plots.top_answers_figure(np.zeros((3, 4, 4)), [0.1, 0.6, 0.05, 0.25], 3, ["a", "b", "c", "d"])
    assert [text.get_text() for text in figure.axes[1].get_yticklabels()] == ["b", "d ✓", "a"]
    assert "b 60 %; d 25 %; a 10 %" in figure.alt_text
