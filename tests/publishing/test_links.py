"""Every link of a page or document leads to a file, and a heading, that exists in the checkout."""

from __future__ import annotations

import nbformat
import pytest

from course_lib.publishing.curriculum import CHAPTERS, written
from course_lib.publishing.links import dead_links, markdown_of, targets
from course_lib.publishing.notebooks import NOTEBOOKS
from course_lib.storage.files import ROOT

PAGES = sorted(NOTEBOOKS.glob("*.ipynb"))
DOCUMENTS = sorted({*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), *ROOT.glob("datasets/**/*.md")})


@pytest.mark.parametrize("path", [*PAGES, *DOCUMENTS], ids=lambda path: path.name)
def test_every_link_leads_somewhere(path):
    assert dead_links(path) == []


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.stem)
def test_every_page_links_the_notation_and_another_page(path):
    found = targets(markdown_of(path))
    assert "../docs/notation.md" in found
    assert any(target.endswith(".ipynb") and not target.startswith(path.stem) for target in found)


def test_no_page_links_a_chapter_that_is_not_written():
    there = {page.chapter.name for page in written()}
    missing = {f"{chapter.name}.ipynb" for chapter in CHAPTERS if chapter.name not in there}
    linked = {target.rsplit("/", 1)[-1] for path in [*PAGES, *DOCUMENTS] for target in targets(markdown_of(path))}
    assert not linked & missing


@pytest.fixture
def checkout(tmp_path):
    """A checkout with a page in notebooks/ and a document in docs/."""
    for folder in ("notebooks", "docs"):
        (tmp_path / folder).mkdir()
    (tmp_path / "docs" / "notation.md").write_text("# Notation\n\n## Where it lives\n", encoding="utf-8")

    def page(markdown: str) -> list[str]:
        notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_markdown_cell(markdown)])
        path = tmp_path / "notebooks" / "00_page.ipynb"
        nbformat.write(notebook, path)
        return dead_links(path, tmp_path)

    return page


@pytest.mark.parametrize(
    "markdown",
    [
        "[notation](../docs/notation.md)",
        "[there](../docs/notation.md#where-it-lives) and [there](../docs/notation.md#Where-it-lives)",
        "# Here\n[here](#Here)",
        "[paper](https://arxiv.org/abs/1503.02531) [mail](mailto:a@b.c)",
        "`W[0](gone.md)`, and\n```\n[x](gone.md)\n```",
        '<a href="../docs/notation.md">x</a>',
    ],
)
def test_a_good_link_is_left_alone(checkout, markdown):
    assert checkout(markdown) == []


@pytest.mark.parametrize(
    ("markdown", "problem"),
    [
        ("[x](docs/notation.md)", "docs/notation.md leads nowhere"),
        ("[x](../docs/notation.md#gone)", "../docs/notation.md#gone names no heading of notation.md"),
        ("![x](gone.png)", "gone.png leads nowhere"),
        ("[x](../../elsewhere.md)", "../../elsewhere.md leads out of the course"),
        ('<img src="gone.png" alt="x">', "gone.png leads nowhere"),
        ("`code` [x](gone.md) `code`", "gone.md leads nowhere"),
        ("[x](#gone)", "#gone names no heading of 00_page.ipynb"),
    ],
)
def test_a_dead_link_is_named(checkout, markdown, problem):
    assert checkout(markdown) == [problem]
