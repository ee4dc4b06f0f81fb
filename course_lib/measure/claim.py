"""claim(text, condition): a fact in words, asserted, so that prose and code cannot drift apart.

Two kinds of facts need two kinds of answers. *Facts that hold on any machine* (the fused network gives the same
logits) raise an AssertionError when they fail. *Facts about hardware* (INT8 is faster than FP32) depend on the
processor in front of the learner: there, failing would blame the learner for their laptop, so such a claim never
raises; it shows what was measured here beside the reference machine's number and says that both are right.

For strict notebook tests: the text of an ordinary claim must not hold numbers that vary between runs, and a cell
whose claim is about hardware carries the tag ``nbval-ignore-output``. When COURSE_CLAIMS_LOG names a file, every claim
appends one line of JSON to it, which is how CI sees hardware claims that did not hold.
"""

from __future__ import annotations

import html
import json
import os
from dataclasses import dataclass
from typing import Any

from course_lib.storage.files import disk_errors

WHY = "another processor, other instructions or other load can turn this around"


@dataclass(frozen=True)
class Claim:
    """What ``claim`` returns: shows itself as one line in a notebook and in a terminal.

    Args:
        text: the fact, in words.
        holds: whether it was true here.
        hardware: whether it depends on the machine.
        measured: what was found here, with its unit; hardware claims only.
        reference: what the reference machine recorded.
    """

    text: str
    holds: bool
    hardware: bool = False
    measured: str | None = None
    reference: str | None = None

    def __repr__(self) -> str:
        if not self.hardware:
            return f"✓ {self.text}"
        verdict = "✓" if self.holds else "✗ not on this machine:"
        here = f" Here: {self.measured}." if self.measured else ""
        there = f" Reference machine: {self.reference}." if self.reference else ""
        why = "" if self.holds else f" Both can be right: {WHY}."
        return f"{verdict} {self.text}.{here}{there}{why}"

    def _repr_markdown_(self) -> str:
        return repr(self)

    def _repr_html_(self) -> str:
        colour = "#009E73" if self.holds else "#D55E00"
        return f'<div style="border-left:3px solid {colour};padding-left:0.6em">{html.escape(repr(self))}</div>'


def claim(
    text: str, condition: Any, *, hardware: bool = False, measured: str | None = None, reference: str | None = None
) -> Claim:
    """State ``text`` and assert it.

    Args:
        text: a full statement in words, without a final full stop for hardware claims.
        condition: a bool, or a NumPy or Torch scalar that is one.
        hardware: the fact depends on the machine: never raise, show ``measured`` beside ``reference``.
        measured, reference: what was found here and on the reference machine, with units (hardware claims only).
    Raises:
        AssertionError: the condition is false and the fact does not depend on hardware.
        TypeError: condition is not a single truth value (an array, or None from a forgotten return).
        ValueError: text is empty, or measured or reference is given for a claim that is not about hardware.
    """
    if not isinstance(text, str) or not text.strip():
        raise ValueError(f"text must say what is claimed, got {text!r}")
    if not hardware and (measured or reference):
        raise ValueError("measured and reference belong to claims about hardware; put hardware=True")
    made = Claim(text, _truth(condition), hardware, measured, reference)
    _log(made)
    if not made.holds and not hardware:
        raise AssertionError(text)
    return made


def _truth(condition: Any) -> bool:
    value = condition.item() if getattr(condition, "ndim", None) == 0 and hasattr(condition, "item") else condition
    if not isinstance(value, bool):
        raise TypeError(f"condition must be True or False, got {type(condition).__name__}; use .all() for an array")
    return value


def _log(made: Claim) -> None:
    path = os.environ.get("COURSE_CLAIMS_LOG")
    if path:
        line = {key: value for key, value in vars(made).items() if value is not None}
        with disk_errors(path, every=True), open(path, "a", encoding="utf-8") as stream:
            stream.write(json.dumps(line, ensure_ascii=False) + "\n")
