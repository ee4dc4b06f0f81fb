"""What the engine answers with: objects that show themselves in a notebook and read well in a terminal."""

from __future__ import annotations

import html
from dataclasses import dataclass

_MARKS = {
    "right": ("✓", "#1b7f4d"),
    "wrong": ("✗", "#b3401f"),
    "not attempted": ("○", "#808080"),
    "too busy": ("…", "#808080"),
    "broken": ("!", "#808080"),
}


@dataclass(frozen=True, repr=False)
class Note:
    """A text with a richer twin for notebooks.

    Args:
        text: what a terminal shows.
        html: its twin in HTML, or None.
        markdown: its twin in Markdown, or None.
    """

    text: str
    html: str | None = None
    markdown: str | None = None

    def __repr__(self) -> str:
        return self.text

    def _repr_html_(self) -> str | None:
        return self.html

    def _repr_markdown_(self) -> str | None:
        return self.markdown


@dataclass(frozen=True, repr=False)
class Verdict:
    """The answer of ``check``; true only if the exercise is passed.

    Args:
        id: the exercise's, "04.2".
        title: the exercise's.
        state: "right", "wrong", "not attempted"; "too busy" if the machine left the code no time, and "broken" if the
            exercise's own code failed: nothing is said about the answer then.
        points: earned by this answer.
        message: what to tell the learner; lines separated by newlines.
        printed: what the learner's code printed.
    """

    id: str
    title: str
    state: str
    points: int
    message: str
    printed: str = ""

    def __bool__(self) -> bool:
        return self.state == "right"

    def __repr__(self) -> str:
        lines = [f"{_MARKS[self.state][0]} {self.id} {self.title}: {self.state}", *self.message.split("\n")]
        if self.printed:
            lines += ["Your code printed:", *("  " + line for line in self.printed.rstrip().split("\n"))]
        return "\n  ".join(line for line in lines if line)

    def _repr_html_(self) -> str:
        mark, colour = _MARKS[self.state]
        body = "<br>".join(html.escape(line) for line in self.message.split("\n"))
        printed = f"<details><summary>Your code printed</summary><pre>{html.escape(self.printed)}</pre></details>"
        return (
            f'<div style="border-left:4px solid {colour};padding:4px 12px">'
            f"<b>{mark} {self.id} {html.escape(self.title)}: {self.state}</b><br>{body}"
            f"{printed if self.printed else ''}</div>"
        )
