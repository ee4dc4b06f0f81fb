"""Cards: the JSON files beside what the course ships, which say what it is and hold its SHA-256.

A card describes one file, ``{"file": name, "sha256": digits}``, or several, ``{"files": {name: {"sha256": digits}}}``;
names are plain, relative to the card's folder, and further keys (source, licence, command, scores) are for readers.

A card is wholly under a checksum of its own: ``"card_sha256"`` is the SHA-256 of the canonical JSON of all other fields
(keys sorted, no spaces), so that a score or a recipe cannot be changed unnoticed. It finds accidents and careless
edits. It is no signature: whoever means to deceive computes it anew, and only the repository's history answers that.

After a deliberate edit of a card, seal it again::

    python -m course_lib.storage.cards datasets/checkpoints/*.json datasets/sign_templates/card.json

**A file and its card are replaced together.** Two renames are two moments, and a process can be killed between them. So
``replace_pair`` writes the new file as ``<name>.next``, then the card, then gives the file its name. The card's rename
is the decision: before it the old pair is complete, after it the new one, since readers (``locate``) take
``<name>.next`` where it is the file that the card describes.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from course_lib.errors import CourseError
from course_lib.storage.files import ROOT, atomic_path, read_json, sha256, sync, write_json

SEAL = "card_sha256"
_DIGITS = re.compile("[0-9a-f]{64}")


def card_sha256(card: dict[str, Any]) -> str:
    """SHA-256 of the canonical JSON of all fields but ``card_sha256`` itself; the order of keys means nothing.

    Raises: ValueError or TypeError for what JSON cannot hold, NaN included.

    >>> card_sha256({"file": "a", "seed": 1}) == card_sha256({"seed": 1, "file": "a", "card_sha256": "old"})
    True
    """
    fields = {key: value for key, value in card.items() if key != SEAL}
    text = json.dumps(fields, sort_keys=True, separators=(",", ":"), ensure_ascii=True, allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()


def sealed(card: dict[str, Any]) -> dict[str, Any]:
    """The card with ``card_sha256`` as its last field."""
    fields = {key: value for key, value in card.items() if key != SEAL}
    return {**fields, SEAL: card_sha256(fields)}


def read_card(path: str | Path, *, mend: str) -> dict[str, Any]:
    """A card whose own checksum is right.

    Raises: CourseError: missing, not a JSON object, without a checksum of its own, or altered.
    """
    card = read_json(path, mend=mend)
    if not isinstance(card, dict):
        raise CourseError(f"not a card (a JSON object was expected, got {type(card).__name__})", path=path, mend=mend)
    if SEAL not in card:
        raise CourseError(f"not a card (it lacks {SEAL}, its own checksum)", path=path, mend=mend)
    try:
        right = card[SEAL] == card_sha256(card)
    except (ValueError, RecursionError) as error:  # NaN, which JSON does not know and Python reads
        raise CourseError(f"not a card ({error})", path=path, mend=mend) from error
    if not right:
        raise CourseError("the card was altered (its own checksum differs)", path=path, mend=mend)
    return card


def described_files(card: Any) -> dict[str, str]:
    """{file name: SHA-256} of a parsed card; {} for a JSON file that describes none.

    Raises: ValueError for a name that is no plain file name, or a checksum that is none.
    """
    if not isinstance(card, dict):
        return {}
    described = {card["file"]: card["sha256"]} if {"file", "sha256"} <= card.keys() else {}
    files = card.get("files")
    for name, value in files.items() if isinstance(files, dict) else ():
        described[name] = value.get("sha256") if isinstance(value, dict) else value
    for name, digits in described.items():
        if not isinstance(name, str) or Path(name).name != name or name in ("", ".."):
            raise ValueError(f"a file's name must be plain, got {name!r}")
        if not isinstance(digits, str) or not _DIGITS.fullmatch(digits):
            raise ValueError(f"the checksum of {name} must be 64 hexadecimal digits, got {digits!r}")
    return described


def check_cards(cards: Iterable[Path]) -> tuple[int, list[str]]:
    """How many files the cards describe that are sound, and one clause for each that is not; reads every byte."""
    sound, problems = 0, []
    for card in cards:
        try:
            content = read_json(card, mend="")
            described = described_files(content)
            if described or (isinstance(content, dict) and SEAL in content):
                read_card(card, mend="")
        except CourseError as error:
            problems.append(f"{card.name}: {error.problem}")
            continue
        except (ValueError, TypeError) as error:  # TypeError: a name that cannot be a key
            problems.append(f"{card.name}: {error}")
            continue
        for name, expected in described.items():
            path = card.parent / name
            if locate(path, expected) is not None:
                sound += 1
            elif path.is_file():
                problems.append(f"{name} is altered or cut short ({path.stat().st_size} bytes, wrong checksum)")
            else:
                problems.append(f"{name} is missing")
    return sound, problems


def replace_pair(path: Path, content: bytes, card_path: Path, card: dict[str, Any]) -> None:
    """Write a file and its card, sealed, so that a kill at any moment leaves the old pair or the new one.

    Raises: CourseError if the folder cannot be written; the old pair is then what counts.
    """
    _finish(path, card_path)  # or the next line would overwrite what the old card describes
    with atomic_path(_next(path)) as part:
        part.write_bytes(content)
    write_json(card_path, sealed(card))  # the decision
    _finish(path, card_path)


def locate(path: Path, expected_sha256: str) -> Path | None:
    """Where the file with this SHA-256 lies: ``path``, or beside it where a kill left it; None if nowhere."""
    for place in (path, _next(path)):
        if place.is_file() and sha256(place) == expected_sha256:
            return place
    return None


def _finish(path: Path, card_path: Path) -> None:
    """Give ``<name>.next`` its name if it is the file that the card describes."""
    coming = _next(path)
    # Where the card cannot be read or the rename fails, the pair is as complete as before under the names it has.
    with contextlib.suppress(OSError, CourseError, ValueError):
        if coming.is_file() and described_files(read_json(card_path, mend="")).get(path.name) == sha256(coming):
            os.replace(coming, path)
            sync(path.parent)


def _next(path: Path) -> Path:
    return path.with_name(f"{path.name}.next")


def restore_command(path: Path) -> str:
    """The command that brings back files which the course ships."""
    where = path.relative_to(ROOT).as_posix() if path.is_relative_to(ROOT) else path
    if (ROOT / ".git").exists():
        return f"git checkout -- {where}"
    return f"copy {where} again from the course you downloaded"


def main(arguments: list[str]) -> int:
    """Seal the cards at these paths again, after a deliberate edit; refuses one whose files are not as it says."""
    for argument in arguments:
        card = read_json(argument, mend="give the path of a card")
        if not isinstance(card, dict):
            raise CourseError("not a card", path=argument, mend="give the path of a card")
        for name, expected in described_files(card).items():
            if locate(Path(argument).parent / name, expected) is None:
                raise CourseError(f"{name} is not the file that the card describes", path=argument)
        write_json(argument, sealed(card))
        print(f"{argument}: sealed")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
