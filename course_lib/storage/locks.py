"""The operating system's lock on an open file: it goes with its process, so none is ever left behind.

POSIX has ``flock``; Windows locks a byte of the file and cannot wait for it; some network drives have neither. Whoever
takes a lock learns which of the three it is, and decides what to do without one.
"""

from __future__ import annotations

import contextlib
import errno
import os
import time
from collections.abc import Iterator
from pathlib import Path

_NO_LOCKS = {errno.ENOLCK, errno.ENOSYS, errno.ENOTSUP, errno.EINVAL}

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None


@contextlib.contextmanager
def held(path: str | Path, patience_s: float, busy: str) -> Iterator[None]:
    """Hold the lock on the file ``path``, which is made if need be, while the block runs.

    Raises: TimeoutError: another process kept it for ``patience_s``; its message is ``busy``. OSError: no such folder.
    """
    with open(path, "a+b") as stream:
        deadline = time.monotonic() + patience_s
        while not try_to_take(stream.fileno()):
            if time.monotonic() > deadline:
                raise TimeoutError(busy)
            time.sleep(0.02)
        try:
            yield
        finally:
            release(stream.fileno())


def take_waiting(handle: int) -> bool:
    """Wait for the lock on an open file; False where the system has none to wait for.

    Args:
        handle: a file descriptor that may be written.
    Raises: OSError: the lock failed for another reason.
    """
    if fcntl is None:
        return False
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
    except OSError as error:
        if error.errno in _NO_LOCKS:
            return False
        raise
    return True


def try_to_take(handle: int) -> bool:
    """Take the lock on an open file if nobody holds it; also True where the system has no locks.

    Args:
        handle: a file descriptor that may be written.
    """
    try:
        if fcntl is not None:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        else:
            _windows(handle, "LK_NBLCK")
    except OSError as error:
        return fcntl is not None and error.errno in _NO_LOCKS
    return True


def release(handle: int) -> None:
    """Give the lock on an open file back."""
    if fcntl is not None:
        fcntl.flock(handle, fcntl.LOCK_UN)
    else:
        _windows(handle, "LK_UNLCK")


def _windows(handle: int, mode: str) -> None:
    """Lock or unlock the file's first byte."""
    import msvcrt

    os.lseek(handle, 0, os.SEEK_SET)
    getattr(msvcrt, "locking")(handle, getattr(msvcrt, mode), 1)  # noqa: B009  known to type checkers on Windows only
