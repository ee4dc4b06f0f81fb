"""Cards: the JSON files beside what the course ships, which say what it is and hold its SHA-256.

A card describes one file, ``{"file": name, "sha256": digits}``, or several, ``{"files": {name: {"sha256": digits}}}``;
names are relative to the card's folder, and further keys (source, licence, command, scores) are for readers.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from course_lib.errors import CourseError
from course_lib.storage.files import ROOT, read_json, sha256


def described_files(card: Any) -> dict[str, str]:
    """{file name: SHA-256} of a parsed card; {} for a JSON file that describes none."""
    if not isinstance(card, dict):
        return {}
    described = {card["file"]: card["sha256"]} if {"file", "sha256"} <= card.keys() else {}
    files = card.get("files")
    for name, value in files.items() if isinstance(files, dict) else ():
        described[name] = value["sha256"] if isinstance(value, dict) else value
    return described


def check_cards(cards: Iterable[Path]) -> tuple[int, list[str]]:
    """How many files the cards describe that are sound, and one clause for each that is not; reads every byte."""
    sound, problems = 0, []
    for card in cards:
        try:
            described = described_files(read_json(card, mend=restore_command(card)))
        except CourseError as error:
            problems.append(f"{card.name}: {error.problem}")
            continue
        for name, expected in described.items():
            path = card.parent / name
            if not path.is_file():
                problems.append(f"{name} is missing")
            elif sha256(path) != expected:
                problems.append(f"{name} is altered or cut short ({path.stat().st_size} bytes, wrong checksum)")
            else:
                sound += 1
    return sound, problems


def restore_command(path: Path) -> str:
    """The command that brings back files which the course ships."""
    where = path.relative_to(ROOT).as_posix() if path.is_relative_to(ROOT) else path
    if (ROOT / ".git").exists():
        return f"git checkout -- {where}"
    return f"copy {where} again from the course you downloaded"
