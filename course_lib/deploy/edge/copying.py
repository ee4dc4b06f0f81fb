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
    Raises: CourseError: too little space, a file that arrives altered each time, a link that stays broken.

    >>> copy_files([], None, {"files": {}, "parts": {}, "free_bytes": 0})
    0
    """
    missing = [file for file in files if here["files"].get(file.name) != [file.bytes, file.sha256]]
    needed = sum(file.bytes - _continued(file, here["parts"].get(file.name)) for file in missing)
    if missing and here["free_bytes"] < needed + SPARE_BYTES:
        raise CourseError(
            f"the kit needs {(needed + SPARE_BYTES) / 1e6:.1f} MB more on the board's disk, and "
            f"{here['free_bytes'] / 1e6:.1f} MB are free",
            path=f"{board.link.host}:{board.folder}",
            mend=f"free some space on it, or choose another place with --folder; then {board.again}",
        )
    done, total = 0, sum(file.bytes for file in missing)
    for file in missing:
        _send(file, board, here["parts"].get(file.name), done, total)
        done += file.bytes
    return len(missing)


def _send(file: KitFile, board: Board, part: list[Any] | None, done: int, total: int) -> None:
    """One file; ``part`` is [bytes, sha256] of what lies there of it already."""
    altered = 0
    while altered < ATTEMPTS:
        offset = _continued(file, part)
        feed = _blocks(file, offset, board, done, total)
        fields = {"name": file.name, "sha256": file.sha256, "bytes": file.bytes, "offset": offset}
        try:
            if board.ask_once("put", feed, **fields)["whole"]:
                return
            altered += 1
        except LinkLost as error:
            board.reconnect(error)
        found = board.ask("look", names=[file.name])
        if found["files"].get(file.name) == [file.bytes, file.sha256]:  # only the reply was lost
            return
        part = found["parts"].get(file.name)
    raise CourseError(
        f"{file.name} arrived altered {ATTEMPTS} times", path=file.path, mend="check the board's disk and its network"
    )


def _blocks(file: KitFile, offset: int, board: Board, done: int, total: int) -> Iterator[bytes]:
    with open(file.path, "rb") as stream:
        stream.seek(offset)
        sent = offset
        board.say(Progress("copy", file.name, done + sent, total))
        while block := stream.read(BLOCK):
            yield block
            sent += len(block)
            board.say(Progress("copy", file.name, done + sent, total))


def _continued(file: KitFile, part: list[Any] | None) -> int:
    """Bytes of the part that can stay: all if it is this file's beginning, else none."""
    if part is None or not 0 < part[0] < file.bytes:
        return 0
    with open(file.path, "rb") as stream:
        return part[0] if hashlib.sha256(stream.read(part[0])).hexdigest() == part[1] else 0
