"""The links of pages and documents: what a Markdown text points at, and which of it does not exist in this checkout.

A link on a page is relative to the page's folder, whatever the server's root is; JupyterLab, GitHub and an editor then
open the same file, as long as the root is the checkout or above it. So every target must lie in the checkout, and an
anchor must be a heading of the target: JupyterLab names it with the heading's own letters and hyphens for spaces,
GitHub in lower case without punctuation; both are accepted. Links to the web are not followed.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import unquote

import nbformat

from course_lib.storage.files import ROOT

# Code holds brackets and parentheses that are no links.
CODE = re.compile(r"^(```|~~~).*?^\1|(?<!`)(`+)(?!`)(?:(?!\n\s*\n).)*?(?<!`)\2(?!`)", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"\]\(\s*<?([^)\s>]+)>?(?:\s+[\"'(][^)]*)?\)|<(?:a|img)\b[^>]*?\b(?:href|src)=[\"']([^\"']+)[\"']")
WEB = re.compile(r"^(https?:|mailto:|data:|//)")


def targets(markdown: str) -> list[str]:
    """What the links and images of a Markdown text point at, in order.

    >>> targets("[a](b.md#c) ![d](e.png) `[no](link)`")
    ['b.md#c', 'e.png']
    """
    return [link or html for link, html in LINK.findall(CODE.sub("", markdown))]


def markdown_of(path: Path) -> str:
    """The Markdown of a document, of a notebook's text cells and of what its cells show as Markdown or HTML."""
    if path.suffix != ".ipynb":
        return path.read_text(encoding="utf-8")
    texts = []
    for cell in nbformat.read(path, as_version=4).cells:
        if cell.cell_type == "markdown":
            texts.append(cell.source)
        for output in cell.get("outputs", []):
            texts += [str(output.get("data", {}).get(kind, "")) for kind in ("text/markdown", "text/html")]
    return "\n\n".join(texts)


def dead_links(path: Path, root: Path = ROOT) -> list[str]:
    """The links of a document or notebook that lead nowhere or out of ``root``, each with the reason; [] if none."""
    return list(_dead(path.resolve(), root.resolve()))


def _dead(path: Path, root: Path) -> Iterator[str]:
    for target in dict.fromkeys(targets(markdown_of(path))):
        if WEB.match(target):
            continue
        name, _, anchor = unquote(target).partition("#")
        file = (path.parent / name).resolve() if name else path
        if not file.is_relative_to(root):
            yield f"{target} leads out of the course"
        elif not file.exists():
            yield f"{target} leads nowhere"
        elif anchor and anchor not in anchors(markdown_of(file)):
            yield f"{target} names no heading of {file.name}"


def anchors(markdown: str) -> set[str]:
    """The anchors of the headings, as JupyterLab and as GitHub name them.

    >>> sorted(anchors("## Where it lives: x"))
    ['Where-it-lives:-x', 'where-it-lives-x']
    """
    headings = re.findall(r"^#{1,6} +(.+?) *#*$", CODE.sub("", markdown), re.MULTILINE)
    named = re.findall(r"<a\b[^>]*?\b(?:id|name)=[\"']([^\"']+)[\"']", markdown)
    github = {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}
    return github | {heading.replace(" ", "-") for heading in headings} | set(named)
