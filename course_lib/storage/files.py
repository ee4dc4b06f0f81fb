"""Where the course keeps its files, and how it writes them so that nothing half-written stays.

Every file is written beside its final name, flushed to disk, then renamed over it: a reader sees the old file or
the new one, never a part. Everything the course ships or caches is checked by its SHA-256 before it is trusted.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from course_lib.errors import CourseError

ROOT = Path(__file__).resolve().parents[2]
DATASETS = ROOT / "datasets"
CHECKPOINTS = DATASETS / "checkpoints"
RESULTS = ROOT / "benchmarks" / "results"


def cache_dir() -> Path:
    """The folder for what can be made again (rendered images, logits, exported models); created on first use.

    ``COURSE_CACHE`` overrides the default, ``.course_cache`` in the checkout.
    Raises: CourseError if the folder cannot be created or written.
    """
    folder = Path(os.environ.get("COURSE_CACHE") or ROOT / ".course_cache").expanduser()
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise _no_write_access(folder, error) from error
    if not os.access(folder, os.W_OK):
        raise _no_write_access(folder, PermissionError("not writable"))
    return folder


def sha256(path: str | Path) -> str:
    """SHA-256 of a file's bytes, as 64 hexadecimal digits."""
    with open(path, "rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


@contextlib.contextmanager
def atomic_path(path: str | Path) -> Iterator[Path]:
    """Give a temporary path beside ``path``; rename it to ``path`` if the block succeeds, remove it if not.

    Also after Ctrl-C or an exception, no partial file keeps the final name, and the temporary one is gone.
    Raises: CourseError if the folder cannot be created or written.
    """
    path = Path(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(prefix=f".{path.name}.", suffix=".part", dir=path.parent)
    except OSError as error:
        raise _no_write_access(path.parent, error) from error
    os.close(handle)
    part = Path(name)
    try:
        yield part
        try:
            with open(part, "rb+") as stream:
                os.fsync(stream.fileno())
            part.chmod(0o644)
            os.replace(part, path)
        except OSError as error:
            raise _no_write_access(path, error) from error
    finally:
        part.unlink(missing_ok=True)


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


def _no_write_access(folder: Path, error: OSError) -> CourseError:
    return CourseError(
        f"cannot write here ({error.strerror or error})",
        path=folder,
        mend="choose a folder you may write: export COURSE_CACHE=/path/to/folder",
    )
