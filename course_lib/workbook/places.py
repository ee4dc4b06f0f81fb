"""Where the workbook lies, and how its files are read, written and put aside.

Every file is written whole beside its final name and renamed; a copy only if nobody has saved it since it was read.
What is put aside gets a name that no other file has. Commands take turns by a lock, which goes with its process.
"""

from __future__ import annotations

import contextlib
import datetime
import os
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from course_lib.errors import CourseError
from course_lib.storage import locks
from course_lib.storage.files import ROOT, atomic_path, require_writable, sync, user_path
from course_lib.workbook.notebook import NotANotebook, dump, parse

NOTEBOOKS = ROOT / "notebooks"
PATIENCE_S = 60.0
"""How long one command waits for another."""
_CHAPTER = re.compile(r"\d\d_\w+")  # JupyterLab's own duplicates have a hyphen
_OTHER_FOLDER = "another folder: export COURSE_WORKBOOK=/path/to/folder"


def place() -> Path:
    """The workbook's folder: ``COURSE_WORKBOOK``, or ``workbook`` in the checkout. Touches no disk."""
    return user_path(os.environ.get("COURSE_WORKBOOK") or ROOT / "workbook").absolute()


@dataclass(frozen=True)
class Workbook:
    """The two folders and where things lie in them.

    Args:
        folder: of the copies.
        notebooks: of the chapters.
    """

    folder: Path
    notebooks: Path = NOTEBOOKS

    @property
    def kept(self) -> Path:
        """Where whole files of the learner's are put aside."""
        return self.folder / "kept"

    @property
    def bases(self) -> Path:
        """Where the bases lie."""
        return self.folder / ".course" / "base"

    def copy(self, name: str) -> Path:
        """The learner's copy of a chapter; a link stays one, what it points to is meant."""
        return (self.folder / f"{name}.ipynb").resolve()

    def remove(self, name: str) -> None:
        """Remove a copy that was kept; of a link the link, not what it points to."""
        (self.folder / f"{name}.ipynb").unlink()

    def before(self, name: str) -> Path:
        """The copy as it was before the last update."""
        return self.folder / ".course" / "before" / f"{name}.ipynb"

    def names(self, only: Sequence[str] = ()) -> list[str]:
        """The chapters, in order: those whose names begin with one of ``only``, all for none.

        Raises: ValueError: there is no such chapter.
        """
        found = _chapters_in(self.notebooks)
        wanted = tuple(start.zfill(2) if start.isdigit() else start for start in only)
        chosen = [name for name in found if not only or name.startswith(wanted)]
        if not chosen:
            raise ValueError(f"chapter must be one of {', '.join(found) or 'none'}, got {' '.join(only)!r}")
        return chosen

    def orphans(self) -> list[str]:
        """Copies to which no chapter of their name belongs any more."""
        return sorted(set(_chapters_in(self.folder)) - set(_chapters_in(self.notebooks)))

    def same_number(self, name: str) -> list[str]:
        """The copies without a chapter that have this chapter's number: it may have had their name."""
        return [orphan for orphan in self.orphans() if orphan[:2] == name[:2]]

    def chapter(self, name: str) -> dict[str, Any]:
        """The chapter as it is now. Raises: CourseError: it cannot be read."""
        path = self.notebooks / f"{name}.ipynb"
        mend = f"git checkout -- {shown(path)}, or download the course again"
        try:
            return parse(path.read_bytes())
        except NotANotebook as error:
            raise CourseError(f"the chapter is {error}", path=path, mend=mend) from error
        except OSError as error:
            problem = f"the chapter cannot be read ({error.strerror or error})"
            raise CourseError(problem, path=path, mend=mend) from error

    def keep(self, name: str, why: str, content: bytes) -> Path:
        """Put a file's bytes aside under a name that no other file has; once, however often it is tried."""
        names = (f"{name}.{why}-{datetime.date.today()}{f'-{n}' if n > 1 else ''}.ipynb" for n in range(1, 10_000))
        for path in (self.kept / file for file in names):
            if not path.exists():
                with atomic_path(path) as part:
                    part.write_bytes(content)
                return path
            if path.read_bytes() == content:
                return path
        raise CourseError("no name is left for today", path=self.kept, mend="move its files elsewhere")

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """Only one command at a time changes the workbook.

        Raises: CourseError: it cannot be written, or another command keeps it for ``PATIENCE_S``.
        """
        lock, busy = self.folder / ".course" / "lock", "another command has been changing the workbook for a minute"
        try:
            require_writable(lock.parent)
            with locks.held(lock, PATIENCE_S, busy):
                yield
        except TimeoutError as error:
            raise CourseError(str(error), path=self.folder, mend="run the command again when it has ended") from error
        except CourseError as error:
            if error.path is None or not Path(error.path).absolute().is_relative_to(self.folder):
                raise
            raise CourseError(error.problem, path=error.path, mend=f"{error.mend}; or {_OTHER_FOLDER}") from error


@contextlib.contextmanager
def failing_disk(folder: Path) -> Iterator[None]:
    """Within the block an error of the system's is a CourseError about its file, or about ``folder``."""
    try:
        yield
    except OSError as error:
        problem = f"cannot be read or written ({error.strerror or error})"
        raise CourseError(problem, path=error.filename or folder, mend=f"try again, or {_OTHER_FOLDER}") from error


def _chapters_in(folder: Path) -> list[str]:
    return [path.stem for path in sorted(folder.glob("*.ipynb")) if _CHAPTER.fullmatch(path.stem)]


class SavedMeanwhileError(Exception):
    """The copy is not the one that was read any more."""


def read(path: Path) -> tuple[bytes, Callable[[], None]]:
    """A file's bytes, and a check that raises SavedMeanwhileError if the file has been saved or removed since.

    Raises: OSError: it cannot be read.
    """
    seen = _stamp(path)

    def require_unchanged() -> None:
        if _stamp(path) != seen:
            raise SavedMeanwhileError

    return path.read_bytes(), require_unchanged


def _stamp(path: Path) -> tuple[int, ...] | None:
    try:
        state = path.stat()
    except FileNotFoundError:
        return None
    return state.st_mtime_ns, state.st_size, state.st_ino


def write(path: Path, notebook: dict[str, Any], ready: Callable[[], None] | None = None) -> None:
    """Write a notebook atomically; ``ready`` is called right before the rename, and may raise to prevent it.

    Raises: CourseError: the folder cannot be written, or the disk is full or failing.
    """
    content = dump(notebook)
    with atomic_path(path) as part:
        part.write_bytes(content)
        sync(part)  # so that next to nothing lies between the last look and the rename
        if ready is not None:
            ready()


def shown(path: Path) -> str:
    """A path as a learner types it: from the checkout on, where it lies there."""
    absolute = path.absolute()
    return absolute.relative_to(ROOT).as_posix() if absolute.is_relative_to(ROOT) else str(absolute)
