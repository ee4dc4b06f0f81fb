"""The course's one cache: what takes long to make is made once, and never trusted unseen.

Rendered signs, decoded photographs, a teacher's logits and finished trainings are all the same case: they follow from a
few facts, take from seconds to hours, and may be thrown away at any time. The path is the same for all:

    identity → digest → manifest → verify, or build

* **Identity.** A JSON object of everything that decides the content: the maker's version, its settings, the
  fingerprints of what goes in. Whatever is left out of it is a stale result waiting to happen.
* **Digest.** An entry is a folder, ``<cache>/<kind>/<label>_<digest>``, named by the first 12 hexadecimal digits of
  the identity's SHA-256. Another identity is another folder; nothing is ever overwritten by something else.
* **Manifest.** ``manifest.json`` in the folder holds the identity itself and the SHA-256 of each file.
* **Verify.** Every use compares the identity in the manifest with the one asked for and reads every byte. A folder that
  was copied over another's, one altered pixel, a file cut short, a manifest that is none: all are noticed, told in
  the log, and made again. The name alone proves nothing, for a folder can be renamed.
* **Build.** The files are written into a temporary folder beside the entry and flushed; then one rename makes them the
  entry. So an entry is whole or not there, whenever a process is killed.

**Several processes.** One builds and the others wait for it (an advisory lock on ``.<entry>.lock``, which the system
releases however its owner ends), then read what it made. Whoever holds the lock knows that no temporary folder of this
entry has a living owner, and removes what killed processes left. Where there is no such lock (Windows, some network
drives) each process builds for itself, the first one publishes, and leftovers go after a day.

**Reading needs no right to write.** A complete cache may lie on a read-only disk: nothing is created until something
has to be built. **A full disk** is told before the work begins (``needed_bytes``) and, if it fills up meanwhile, by one
line with the folder and the mend. Builders write with ordinary writes, which report a full disk; a write through a
sparse memory map reports it by killing the process ("Bus error").

Build systems (Bazel, ccache, DVC) do the same for whole toolchains: they hash the bytes of the inputs instead of
naming facts about them, share entries between machines and evict the oldest. This cache is deleted as a whole.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import logging
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from course_lib.errors import CourseError
from course_lib.storage.files import (
    STALE_S,
    cache_place,
    disk_errors,
    read_json,
    remove_stale_parts,
    require_space,
    sha256,
    sync,
)
from course_lib.storage.locks import take_waiting

MANIFEST = "manifest.json"
_LOG = logging.getLogger(__name__)


def cached(
    kind: str,
    label: str,
    identity: Mapping[str, Any],
    files: Sequence[str],
    build: Callable[[Path], None],
    *,
    needed_bytes: int,
    root: str | Path | None = None,
    afresh: bool = False,
) -> Path:
    """The folder that holds ``files`` for this identity: found and verified, or built.

    Args:
        kind: "rendered", "logits", …: a folder of the cache.
        label: what a reader should see of the identity in the entry's name.
        identity: everything that decides the content; a JSON object.
        files: names of the entry's files.
        build: writes these files into the folder it is given, which nobody else sees before it is complete.
        needed_bytes: what ``build`` will write, about; looked for on the disk beforehand.
        root: the folder of all kinds; by default the course's cache.
        afresh: build even where a sound entry is there.
    Raises:
        CourseError: the entry must be built and cannot be written, or the disk is full or failing.
        TypeError: the identity is no JSON. Errors of ``build`` pass through, and leave nothing behind.
    """
    folder = entry_folder(kind, label, identity, root)
    if not afresh and problem(folder, identity, files) is None:
        return folder
    with _one_builder(folder) as alone:
        # Another process may have built it while this one waited.
        reason = "asked for afresh" if afresh else problem(folder, identity, files)
        if reason is not None:
            if os.path.lexists(folder):
                _LOG.warning("making %s again: %s", folder.name, reason)
            with disk_errors(folder.parent, every=True):
                remove_stale_parts(folder, older_than_s=0 if alone else STALE_S)
            require_space(folder.parent, needed_bytes)
            _build(folder, identity, files, build, afresh)
    return folder


def entry_folder(kind: str, label: str, identity: Mapping[str, Any], root: str | Path | None = None) -> Path:
    """Where the entry of this identity lies, whether it is there or not.

    >>> entry_folder("squares", "first_3", {"version": 1, "count": 3}, "cache").as_posix()
    'cache/squares/first_3_faef674371b9'
    """
    digest = hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()
    return Path(root if root is not None else cache_place()) / kind / f"{label}_{digest[:12]}"


def problem(folder: Path, identity: Mapping[str, Any], files: Sequence[str]) -> str | None:
    """Why the entry cannot be used, in words, or None; reads every byte, and writes nothing."""
    try:
        manifest = read_json(folder / MANIFEST, mend="")
    except CourseError as error:
        return f"incomplete ({MANIFEST}: {error.problem})"
    sums = manifest.get("sha256") if isinstance(manifest, dict) else None
    if not isinstance(sums, dict) or sums.keys() != set(files):
        return f"its manifest does not list {', '.join(files)}"
    wanted, made = json.loads(json.dumps(identity)), manifest.get("identity")
    if made != wanted:
        known = made if isinstance(made, dict) else {}
        same = [key for key in wanted if key in known and known[key] == wanted[key]]
        differing = [key for key in {**wanted, **known} if key not in same]
        return f"it was made with another {' and '.join(differing)}"
    for name in files:
        try:
            found = sha256(folder / name)
        except OSError as error:
            return f"{name} cannot be read ({error.strerror or error})"
        if found != sums[name]:
            return f"{name} was altered or cut short (its checksum differs)"
    return None


@contextlib.contextmanager
def reading(folder: Path) -> Iterator[None]:
    """Within the block, which reads an entry's files, an error of the system is a CourseError that names the entry."""
    try:
        yield
    except OSError as error:
        reason = f"cannot be read ({error.strerror or error})"
        raise CourseError(reason, path=folder, mend=f"delete {folder}: it is made again") from error


def _build(
    folder: Path, identity: Mapping[str, Any], files: Sequence[str], build: Callable[[Path], None], afresh: bool
) -> None:
    """Write the files and the manifest into a temporary folder, flush all, and make it the entry."""
    with disk_errors(folder.parent, every=True):
        part = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", suffix=".part", dir=folder.parent))
    try:
        with disk_errors(folder.parent):
            build(part)
        with disk_errors(folder.parent, every=True):
            part.chmod(0o755)  # as private as the cache's folder, no more: a class may share it
            sums = {name: sha256(part / name) for name in files}
            text = json.dumps({"identity": identity, "sha256": sums}, indent=2, ensure_ascii=False)
            (part / MANIFEST).write_text(text + "\n", encoding="utf-8")
            for name in (*files, MANIFEST):
                sync(part / name)
            sync(part)
            # Without a lock another process may have published meanwhile: the first one counts, others may read it.
            while not _renamed(part, folder):
                if not afresh and problem(folder, identity, files) is None:
                    return
                _move_away(folder)
            sync(folder.parent)
    finally:
        # After the rename there is nothing left to remove; what cannot be removed now, the next build removes.
        shutil.rmtree(part, ignore_errors=True)


def _renamed(part: Path, folder: Path) -> bool:
    """Make the temporary folder the entry; False if something is there already."""
    try:
        os.rename(part, folder)
    except OSError as error:
        if error.errno in (errno.ENOTEMPTY, errno.EEXIST, errno.ENOTDIR):
            return False
        raise
    return True


def _move_away(folder: Path) -> None:
    """Remove what is no entry. A kill before the next one is there leaves none, and the next build removes the rest."""
    old = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", suffix=".part", dir=folder.parent))
    try:
        with contextlib.suppress(FileNotFoundError):  # a process without a lock was faster
            os.rename(folder, old / "replaced")
    finally:
        shutil.rmtree(old)


@contextlib.contextmanager
def _one_builder(folder: Path) -> Iterator[bool]:
    """Of all processes that want this entry, let one in at a time; yields False where the system has no such lock."""
    lock = folder.with_name(f".{folder.name}.lock")
    with disk_errors(folder.parent, every=True):
        folder.parent.mkdir(parents=True, exist_ok=True)
        handle, alone = _acquire(lock)
    try:
        yield alone
    finally:
        # Removed while it is still held: see _acquire. On Windows an open file cannot be removed, and it stays.
        try:
            with contextlib.suppress(OSError):
                os.unlink(lock)
        finally:  # Ctrl-C in between would leave the lock to a notebook that lives on
            os.close(handle)


def _acquire(lock: Path) -> tuple[int, bool]:
    """An open handle of the lock file, held alone (True), or open where locks do not work (False)."""
    while True:
        handle = os.open(lock, os.O_RDWR | os.O_CREAT, 0o644)
        try:
            alone = take_waiting(handle)
            # The holder before us removed the file; whoever comes next makes a new one and would not wait for us.
            if not alone or os.path.samestat(os.fstat(handle), os.stat(lock)):
                return handle, alone
        except FileNotFoundError:
            os.close(handle)
        except BaseException:  # Ctrl-C while waiting, too
            os.close(handle)
            raise
        else:
            os.close(handle)
