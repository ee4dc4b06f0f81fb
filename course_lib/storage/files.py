"""Where the course keeps its files, and how it writes them so that nothing half-written stays.

Every file is written beside its final name, flushed to disk, then renamed over it: a reader sees the old file or
the new one, never a part. Everything the course ships or caches is checked by its SHA-256 before it is trusted.

What goes wrong on a disk is answered by ``CourseError``: which folder, what the system said, and the mend that fits the
place. ``COURSE_CACHE`` moves the cache and nothing else, so it is named for the cache alone.

A process that is killed cannot tidy up: its temporary file (``.<name>.<8 letters>.part``) stays. The next write of the
same name removes those that nobody has touched for a day. A lock would tell sooner, but some libraries replace the
file that they are given, and a lock does not move along.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import os
import re
import shutil
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from course_lib.errors import CourseError

ROOT = Path(__file__).resolve().parents[2]
DATASETS = ROOT / "datasets"
CHECKPOINTS = DATASETS / "checkpoints"
RESULTS = ROOT / "benchmarks" / "results"
TRAINED = ROOT / "trained"  # the learner's own networks: nothing that ships lies there, and no mend touches it

STALE_S = 24 * 3600  # seconds; no write of the course takes a day
_FULL = {errno.ENOSPC, errno.EDQUOT}
_OF_THE_DISK = {*_FULL, errno.EIO, errno.EROFS, errno.EFBIG}
_NO_FOLDER_SYNC = {errno.EINVAL, errno.ENOTSUP, errno.EACCES, errno.EBADF}
_MOVE_CACHE = "export COURSE_CACHE=/path/to/folder"


def cache_place() -> Path:
    """Where the cache is or would be: ``COURSE_CACHE``, or ``.course_cache`` in the checkout. Touches no disk."""
    return user_path(os.environ.get("COURSE_CACHE") or ROOT / ".course_cache")


def cache_dir() -> Path:
    """The folder for what can be made again (rendered images, logits, exported models); created on first use.

    Whoever only reads asks ``cache_place``: a complete cache may lie where nobody may write.
    Raises: CourseError if the folder cannot be created or written.
    """
    return require_writable(cache_place())


def require_writable(folder: str | Path) -> Path:
    """The folder, created if need be: ask before hours of work, not after.

    Raises: CourseError if it cannot be created or written.
    """
    folder = Path(folder)
    with disk_errors(folder, every=True):
        folder.mkdir(parents=True, exist_ok=True)
    if not os.access(folder, os.W_OK):
        raise write_error(folder, PermissionError(errno.EACCES, "not writable"))
    return folder


def require_space(folder: str | Path, needed_bytes: int) -> None:
    """Raise CourseError unless the disk of ``folder`` (which need not exist yet) has that many bytes free."""
    folder = Path(folder).absolute()
    existing = next(place for place in (folder, *folder.parents) if place.exists())
    with disk_errors(folder, every=True):
        free = shutil.disk_usage(existing).free
    if free < needed_bytes:
        problem = f"{needed_bytes / 1e6:,.1f} MB are to be written here and {free / 1e6:,.1f} MB are free"
        raise CourseError(problem, path=folder, mend=_mend(folder, errno.ENOSPC))


def user_path(path: str | Path) -> Path:
    """``path`` with ``~`` and ``~user`` written out.

    Raises: CourseError for a user whose home folder is not known.
    """
    try:
        return Path(path).expanduser()
    except RuntimeError as error:
        user = Path(path).parts[0].removeprefix("~")
        problem = f"the home folder of {user or 'this user'} is not known"
        raise CourseError(problem, path=path, mend="write the path out, beginning with the root folder") from error


def sha256(path: str | Path) -> str:
    """SHA-256 of a file's bytes, as 64 hexadecimal digits.

    >>> with tempfile.TemporaryDirectory() as folder:
    ...     Path(folder, "empty").touch()
    ...     print(sha256(Path(folder, "empty"))[:16])
    e3b0c44298fc1c14
    """
    with open(path, "rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


@contextlib.contextmanager
def atomic_path(path: str | Path) -> Iterator[Path]:
    """Give a temporary path beside ``path``; rename it to ``path`` if the block succeeds, remove it if not.

    Also after Ctrl-C or an exception, no partial file keeps the final name, and the temporary one is gone.
    Raises: CourseError if the folder cannot be created or written, or the disk is full or failing; any other error of
        the block passes through.
    """
    path = Path(path)
    with disk_errors(path.parent, every=True):
        path.parent.mkdir(parents=True, exist_ok=True)
        remove_stale_parts(path)
        handle, name = tempfile.mkstemp(prefix=f".{path.name}.", suffix=".part", dir=path.parent)
        os.close(handle)
    part = Path(name)
    try:
        with disk_errors(path.parent):
            yield part
        with disk_errors(path, every=True):
            part.chmod(0o644)
            sync(part)
            os.replace(part, path)
            sync(path.parent)
    finally:
        # On a failing disk the removal may fail too; the first error is the one to tell, and a later write tidies up.
        with contextlib.suppress(OSError):
            part.unlink()


@contextlib.contextmanager
def disk_errors(folder: str | Path, *, every: bool = False) -> Iterator[None]:
    """Within the block a full or failing disk is a CourseError about ``folder``; other errors pass through.

    Args: every: the block does nothing but write to ``folder``, so every OSError is about it.
    """
    try:
        yield
    except OSError as error:
        if every or error.errno in _OF_THE_DISK:
            raise write_error(folder, error) from error
        raise
    except RuntimeError as error:
        # torch.save and other compiled writers fail without the system's reason; a full disk is seen by looking at it.
        if isinstance(error, CourseError) or not _is_full(Path(folder)):
            raise
        raise write_error(folder, OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))) from error


def _is_full(folder: Path) -> bool:
    try:
        return shutil.disk_usage(folder).free < 64 * 1024
    except OSError:
        return False


def write_error(path: str | Path, error: OSError) -> CourseError:
    """What a failed write means in words, with the mend for this place."""
    problem = f"cannot write here ({error.strerror or error})"
    return CourseError(problem, path=path, mend=_mend(Path(path), error.errno))


def _mend(path: Path, number: int | None) -> str:
    cached = path.absolute().is_relative_to(cache_place().absolute())
    if number in _FULL:
        return "free some space on this disk" + (f", or move the cache: {_MOVE_CACHE}" if cached else "")
    if number in (errno.EIO, errno.EFBIG):
        return f"check the disk and its limits (ulimit -f){f', or move the cache: {_MOVE_CACHE}' if cached else ''}"
    if cached:
        return f"choose a folder you may write: {_MOVE_CACHE}"
    if path.absolute().is_relative_to(ROOT):
        return "copy the course into a folder that you may write, and work there"
    return "give a folder that you may write"


def sync(path: str | Path) -> None:
    """Wait until a file's bytes, or a folder's names, are on the disk (a folder's only where the system can)."""
    path = Path(path)
    is_folder = path.is_dir()
    if is_folder and os.name == "nt":
        return
    handle = os.open(path, os.O_RDONLY if is_folder else os.O_RDWR)
    try:
        os.fsync(handle)
    except OSError as error:
        # Some network file systems sync no folders: the rename is then as durable as they make it.
        if not (is_folder and error.errno in _NO_FOLDER_SYNC):
            raise
    finally:
        os.close(handle)


def remove_stale_parts(path: Path, *, older_than_s: float = STALE_S) -> None:
    """Remove temporary files and folders of ``path`` that killed processes left at least that many seconds ago."""
    name = re.compile(rf"\.{re.escape(path.name)}\.[a-z0-9_]{{8}}\.part")
    for part in [part for part in path.parent.iterdir() if name.fullmatch(part.name)]:
        with contextlib.suppress(FileNotFoundError):  # another process removed it first
            if time.time() - part.lstat().st_mtime >= older_than_s:
                if part.is_dir():
                    shutil.rmtree(part)
                else:
                    part.unlink()


def write_json(path: str | Path, value: Any) -> None:
    """Write ``value`` as indented JSON, atomically, with a final newline. NaN and infinities are refused."""
    text = json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False)
    with atomic_path(path) as part:
        part.write_text(text + "\n", encoding="utf-8")


def read_json(path: str | Path, *, mend: str) -> Any:
    """Read a JSON file; a missing or broken one is a CourseError that names ``mend``."""
    try:
        return json.loads(Path(path).read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise CourseError("the file is missing", path=path, mend=mend) from error
    except OSError as error:
        raise CourseError(f"cannot be read ({error.strerror or error})", path=path, mend=mend) from error
    except (ValueError, RecursionError) as error:  # not UTF-8, not JSON, a number of 5,000 digits, 100,000 brackets
        raise CourseError(f"not a JSON file ({error})", path=path, mend=mend) from error
