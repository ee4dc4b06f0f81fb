"""What a checkpoint's card may hold: each field's kind, so that a card is refused where it is read and not where its
text "high" is printed as a percentage.

Fields that are not named here are for readers, and may be anything that JSON holds.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from course_lib.arguments import number, whole

_DIGITS = re.compile("[0-9a-f]{64}")


def require_card(card: Mapping[str, Any]) -> None:
    """Raise KeyError, TypeError or ValueError naming the first field that is missing, or is not what it must be."""
    for name in ("file", "sha256", "architecture"):
        card[name]
    for name in ("command", "data", "date"):
        _kind(card, name, str)
    for name in ("recipe", "architecture", "machine", "versions", "plan"):
        _kind(card, name, dict)
    for name in ("data_fingerprint", "teacher_sha256"):
        if card.get(name) is not None and not (isinstance(card[name], str) and _DIGITS.fullmatch(card[name])):
            raise ValueError(f"{name} must be 64 hexadecimal digits, got {card[name]!r}")
    for name in ("validation_accuracy", "dropout"):
        if card.get(name) is not None:
            number(name, card[name], least=0, most=1)
    if "minutes" in card:
        number("minutes", card["minutes"], least=0)
    for name in ("bytes", "best_epoch"):
        if name in card:
            whole(name, card[name], least=0)


def _kind(card: Mapping[str, Any], name: str, kind: type) -> None:
    if name in card and not isinstance(card[name], kind):
        wanted = {str: "text", dict: "an object"}[kind]
        raise TypeError(f"{name} must be {wanted}, got {card[name]!r}")
