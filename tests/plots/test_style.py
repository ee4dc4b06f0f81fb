"""A figure shows itself as one picture whose description is its alt attribute, the same bytes each time."""

from __future__ import annotations

from base64 import b64decode
from html.parser import HTMLParser

import pytest

from course_lib.plots.style import CourseFigure, finish, image_html, new_figure

ALT = 'Loss < 0.5 & "falling", −∞ at T = 1'


class Images(HTMLParser):
    """Collects the attributes of each img."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.found: list[dict[str, str | None]] = []
        self.feed(html)

    def handle_starttag(self, tag, attrs):
        if tag == "img":
            self.found.append(dict(attrs))


def drawn() -> CourseFigure:
    figure, axes = new_figure(2, 1)
    axes.plot([0, 1], [0, 1])
    axes.set(xlabel="T", ylabel="loss")
    return finish(figure, alt=ALT)


def test_a_figure_shows_itself_as_one_image_with_its_alt_text_and_as_words():
    bundle = drawn()._repr_mimebundle_()
    (image,) = Images(bundle["text/html"]).found
    assert image["alt"] == ALT
    assert image["src"].startswith("data:image/png;base64,")
    assert b64decode(image["src"].split(",")[1]).startswith(b"\x89PNG")
    assert bundle["text/plain"] == f"Figure: {ALT}"


def test_no_kind_of_output_repeats_the_picture_or_hides_its_text():
    # JupyterLab shows image/png without the alt text, and twice the picture would be twice the bytes.
    assert set(drawn()._repr_mimebundle_()) == {"text/html", "text/plain"}


def test_the_same_figure_gives_the_same_bytes():
    assert drawn().html() == drawn().html()


def test_a_picture_without_words_is_refused():
    with pytest.raises(ValueError, match="alt must describe the picture"):
        image_html(b"PNG", " ")
