"""The map shows every chapter, and which of them are written."""

from __future__ import annotations

from types import SimpleNamespace

from matplotlib.patches import FancyBboxPatch

from course_lib.plots import course_map_figure
from course_lib.publishing.curriculum import PARTS


def test_the_map_has_one_box_a_chapter_and_fills_those_that_are_written():
    figure = course_map_figure(PARTS, ["00", "02"])
    labels = {text.get_text().split()[0]: text.get_color() for text in figure.axes[0].texts}
    chapters = [chapter.number for part in PARTS.values() for chapter in part]
    assert [number for number in labels if number.isdigit()] == chapters
    assert [number for number, colour in labels.items() if colour == "white"] == ["00", "02"]
    boxes = [patch for patch in figure.axes[0].patches if isinstance(patch, FancyBboxPatch)]
    assert [chapters[i] for i, box in enumerate(boxes) if box.get_facecolor() != (1, 1, 1, 1)] == ["00", "02"]
    assert figure.alt_text.endswith("Written so far: 00, 02.")


def test_the_map_of_two_parts_leads_from_the_first_to_the_second():
    chapters = [SimpleNamespace(number="00", topic="a"), SimpleNamespace(number="01", topic="b")]
    figure = course_map_figure({"One": chapters, "Two": chapters[:1]}, [])
    # Three boxes, one arrow down in the first part, one to the second.
    assert len(figure.axes[0].patches) == 5


def test_the_map_draws_with_alt_text(check_drawn):
    check_drawn(course_map_figure(PARTS, ["00"]), most_bytes=120_000)
