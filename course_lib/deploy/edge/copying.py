"""A kit's files on the board: only those that differ travel, and none has its name before its checksum is right.

The board tells the SHA-256 of what it has. A file that differs is sent into ``<name>.part`` and renamed there by the
agent when the sum is the manifest's. A part that an earlier, broken attempt left is continued if it is the beginning of
this very file (its own sum tells), else it is begun anew.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from course_lib.deploy.edge.board import Board, Progress
from course_lib.deploy.edge.link import LinkLost
from course_lib.errors import CourseError

BLOCK = 1 << 16  # bytes
SPARE_BYTES = 4 << 20
"""Left free beside the files: the log, the results and what the benchmark compiles."""
ATTEMPTS = 3


@dataclass(frozen=True)
class KitFile:
    """One file of a kit.

    Args:
        name: within the kit, with "/".
        path: here.
        bytes: its size.
        sha256: of its bytes.
    """

    name: str
    path: Path
    bytes: int
    sha256: str


def copy_files(files: list[KitFile], board: Board, here: dict[str, Any]) -> int:
    """Send the files that the board lacks or has otherwise; returns how many were sent.

    Args: files: the manifest last, so that a kit with a manifest is whole. here: the board's answer to "look".
    Raises: CourseError: too little space, files that arrive altered each time, a link that stays broken.

    >>> copy_files([], None, {"files": {}, "parts": {}, "free_bytes": 0})
    0
    """
    missing, altered = _missing(files, here), 0
    sent = len(missing)
    if missing:
        _require_space(missing, board, here)
    while missing:
        offsets = [_continued(file, here["parts"].get(file.name)) for file in missing]
        fields = [
            {"name": file.name, "bytes": file.bytes, "sha256": file.sha256, "offset": offset}
            for file, offset in zip(missing, offsets, strict=True)
        ]
        try:
            reply = board.ask_once("put", _blocks(missing, offsets, board), files=fields)
            if reply["whole"] and not reply["wrong"]:
                break
            altered += 1
        except LinkLost as error:
            board.reconnect(error)
        here = board.ask("look", names=[file.name for file in files])
        missing = _missing(files, here)
        if missing and altered == ATTEMPTS:
            raise CourseError(
                f"files arrived altered {ATTEMPTS} times ({', '.join(file.name for file in missing[:3])})",
                path=f"{board.link.host}:{board.folder}",
                mend="check the board's disk and its network",
            )
    return sent


def _missing(files: list[KitFile], here: dict[str, Any]) -> list[KitFile]:
    return [file for file in files if here["files"].get(file.name) != [file.bytes, file.sha256]]


def _require_space(missing: list[KitFile], board: Board, here: dict[str, Any]) -> None:
    needed = sum(file.bytes - _continued(file, here["parts"].get(file.name)) for file in missing) + SPARE_BYTES
    free = here["free_bytes"]
    if free < needed:
        raise CourseError(
            f"the kit needs {needed / 1e6:.1f} MB more on the board's disk, and {free / 1e6:.1f} MB are free",
            path=f"{board.link.host}:{board.folder}",
            mend=f"free some space on it, or choose another place with --folder; then {board.again}",
        )


def _blocks(files: list[KitFile], offsets: list[int], board: Board) -> Iterator[bytes]:
    """The files' bytes, each from its offset on; tells how far it has come."""
    sent, total = sum(offsets), sum(file.bytes for file in files)
    for file, offset in zip(files, offsets, strict=True):
        board.say(Progress("copy", file.name, sent, total))
        with open(file.path, "rb") as stream:
            stream.seek(offset)
            while block := stream.read(BLOCK):
                yield block
                sent += len(block)
                board.say(Progress("copy", file.name, sent, total))


def _continued(file: KitFile, part: list[Any] | None) -> int:
    """Bytes of the part that can stay: all if it is this file's beginning, else none."""
    if part is None or not 0 < part[0] < file.bytes:
        return 0
    with open(file.path, "rb") as stream:
        return part[0] if hashlib.sha256(stream.read(part[0])).hexdigest() == part[1] else 0
