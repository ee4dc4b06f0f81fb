"""What an error that ends a command means: one line with the mend, and the exit status.

Errors come from five sides, and each is recognized in one place:

* **the course**: CourseError, and ValueError or FloatingPointError raised by its own modules; they name their mend;
* **the system**: OSError by its number, memory by its type or the words that PyTorch and ONNX Runtime have for it;
* **text**: a name or a file that is not in the encoding it was written or read in;
* **packages**: an error while a package is being imported, or a module without what it should have, is a broken
  installation, whatever its type; the package is named;
* **anything else** is a fault of the course. The traceback is kept in a file, for the run may have taken hours.
"""

from __future__ import annotations

import errno
import os
import traceback
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

from course_lib.commands.statuses import MENDED_BY_LEARNER, OWN_FAULT, STOPPED

LIBRARY = Path(__file__).resolve().parents[1]
DOCTOR = "make doctor, or: python -m course_lib.cli doctor"
MEMORY = "close other programs, or run it where more memory is free"
NETWORK = "check the network, then run the same command again"
_OUTPUT = "free some space, or write the output elsewhere"
_LIMIT = "close some programs, or allow more (ulimit -a shows the limits)"

# The system's number -> the mend; others are only told.
_MENDS = {
    errno.ENOSPC: "free some space on this disk",
    errno.EDQUOT: "free some space, your quota on this disk is used up",
    errno.EIO: "check this disk",
    errno.EFBIG: "check this disk and its limits (ulimit -f)",
    errno.EACCES: "use a place that you may read and write",
    errno.EPERM: "use a place that you may read and write",
    errno.EROFS: "use a place that you may read and write",
    errno.ENOENT: "check the path",
    errno.ENOTDIR: "check the path",
    errno.EISDIR: "check the path",
    errno.ELOOP: "check the path",
    errno.ENAMETOOLONG: "choose a shorter name",
    errno.EMFILE: "allow more open files: ulimit -n 1024",
    errno.ENFILE: _LIMIT,
    errno.EAGAIN: _LIMIT,
}
_NETWORK = {errno.ENETUNREACH, errno.EHOSTUNREACH, errno.ECONNREFUSED, errno.ECONNRESET, errno.ETIMEDOUT}
# What compiled libraries say where Python would raise MemoryError.
_NO_MEMORY = ("can't allocate memory", "not enough memory", "out of memory", "bad_alloc", "bad allocation")
_NO_MEMORY += ("failed to allocate memory", "cannot allocate memory")
_NO_THREAD = ("can't start new thread", "resource temporarily unavailable")
# The top-level module of an exception's class -> the library's name.
_LIBRARIES = {"onnxruntime": "ONNX Runtime", "onnx": "onnx", "google": "onnx", "torch": "PyTorch"}
_LIBRARIES |= {"safetensors_rust": "safetensors", "safetensors": "safetensors"}


@dataclass(frozen=True)
class Failure:
    """How a command ends.

    Args:
        line: what is said on stderr.
        status: the exit status.
    """

    line: str
    status: int = MENDED_BY_LEARNER


def explain(error: BaseException, output: OSError | None = None) -> Failure:
    """What ``error`` means.

    Args: output: why the command's output could not be written; that is then what ended the command.
    """
    from course_lib.errors import CourseError

    if isinstance(error, CourseError):
        return Failure(str(error))
    if stop := _interrupt(error):
        return Failure(f"stopped. {stop}".strip(), STOPPED)
    if output is not None:
        return Failure(f"the output cannot be written ({output.strerror or output}). Mend: {_OUTPUT}")
    for look in (_memory, _package, _text, _system, _argument):
        if failure := look(error):
            return failure
    # A library says in words of its own what it lacks: "Module onnx is not installed!", from the error of the import.
    missing = next((cause for cause in _causes(error) if isinstance(cause, ImportError)), None)
    return (_package(missing) if missing else None) or _own_fault(error)


def first_line(error: BaseException) -> str:
    """The first line of an error's message, at most 300 characters; its type where it has none."""
    lines = str(error).strip().splitlines()
    return lines[0][:300] if lines else type(error).__name__


def _interrupt(error: BaseException) -> KeyboardInterrupt | None:
    """Ctrl-C, also where a compiled module turned it into an error of its own."""
    return next((one for one in _chain(error) if isinstance(one, KeyboardInterrupt)), None)


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        yield error
        error = error.__cause__ or (None if error.__suppress_context__ else error.__context__)


def _causes(error: BaseException) -> Iterator[BaseException]:
    cause = error.__cause__
    while cause is not None:
        yield cause
        cause = cause.__cause__


def _memory(error: BaseException) -> Failure | None:
    said = str(error).lower()
    full = isinstance(error, MemoryError) or (isinstance(error, OSError) and error.errno == errno.ENOMEM)
    if full or (isinstance(error, RuntimeError) and any(words in said for words in _NO_MEMORY)):
        return Failure(f"there is not enough memory ({first_line(error)}). Mend: {MEMORY}")
    if isinstance(error, RuntimeError) and any(words in said for words in _NO_THREAD):
        return Failure(f"no more threads or processes may be started ({first_line(error)}). Mend: {_LIMIT}")
    return None


def _package(error: BaseException) -> Failure | None:
    """A package that is missing, broken, or not the version that the course was written for."""
    from course_lib.environment.finding import broken_package

    owner = getattr(error, "obj", None) if isinstance(error, AttributeError) else None
    lacking = owner.__name__.partition(".")[0] if isinstance(owner, ModuleType) else None
    if not (isinstance(error, ImportError) or lacking or _while_importing(error)):
        return None
    name = lacking or getattr(error, "name", None) or ""
    if name.partition(".")[0] == LIBRARY.name:
        problem = f"the course's own files are not complete here ({first_line(error)})"
        return Failure(f"{problem}. Mend: git status shows what is missing; git checkout, or download the course again")
    package = (lacking or broken_package(error)) or name or _imported_package(error) or "a package"
    return Failure(f"{package} is missing or broken here ({first_line(error)}). Mend: {DOCTOR}")


def _while_importing(error: BaseException) -> bool:
    """Whether the error came while the top level of an installed module was running, or a module could not be read."""
    return _imported_package(error) is not None


def _imported_package(error: BaseException) -> str | None:
    """The installed package whose top level the error came from, the innermost one."""
    frames = traceback.extract_tb(error.__traceback__)
    files = [Path(frame.filename) for frame in frames if frame.name == "<module>"]
    if isinstance(error, SyntaxError) and error.filename:
        files.append(Path(error.filename))
    for file in reversed([file for file in files if LIBRARY not in file.parents]):
        for folder in {"site-packages", "dist-packages"} & set(file.parts):
            return file.parts[file.parts.index(folder) + 1].removesuffix(".py")
    return None


def _text(error: BaseException) -> Failure | None:
    if isinstance(error, UnicodeEncodeError):
        problem = f"{error.object[error.start : error.end]!a} cannot be written as {error.encoding}"
        return Failure(f"{problem}. Mend: give files and folders names of plain letters")
    if isinstance(error, UnicodeDecodeError):
        return Failure(f"a file is not {error.encoding} text ({error.reason}). Mend: check the files that you gave")
    return None


def _system(error: BaseException) -> Failure | None:
    if not isinstance(error, OSError):
        return None
    where = f"{os.fsdecode(error.filename)}: " if isinstance(error.filename, (str, bytes)) else ""
    number = getattr(getattr(error, "reason", None), "errno", None) or error.errno
    network = number in _NETWORK or isinstance(error, (ConnectionError, TimeoutError)) or hasattr(error, "reason")
    mend = NETWORK if network else _MENDS.get(number or 0, "")
    return Failure(f"{where}{error.strerror or first_line(error)}" + (f". Mend: {mend}" if mend else ""))


def _argument(error: BaseException) -> Failure | None:
    """What a module of the course refused in words of its own; a ValueError from inside NumPy is not that."""
    frames = traceback.extract_tb(error.__traceback__)
    if not frames or LIBRARY not in (parents := Path(frames[-1].filename).resolve().parents):
        return None
    # TypeErrors are mostly faults of the course; those of its own checks are not.
    wrong = isinstance(error, TypeError) and LIBRARY / "arguments" in parents
    return Failure(str(error)) if wrong or isinstance(error, (ValueError, FloatingPointError)) else None


def _own_fault(error: BaseException) -> Failure:
    kind = type(error)
    library = _LIBRARIES.get(kind.__module__.partition(".")[0])
    what = f"{library} failed: " if library else f"{kind.__name__}: "
    kept = keep_traceback(error)
    where = f"its traceback lies in {kept}; " if kept else ""
    line = f"this is a fault of the course, not yours ({what}{first_line(error)}). Mend: {DOCTOR}"
    return Failure(f"{line}; if all is in order there, {where}the same command with --traceback shows it", OWN_FAULT)


def keep_traceback(error: BaseException) -> Path | None:
    """The file that holds the traceback now; None where none can be written, for then there are other worries."""
    from course_lib.errors import CourseError
    from course_lib.storage.files import atomic_path, cache_place

    try:
        path = cache_place() / "last_traceback.txt"
        with atomic_path(path) as part:
            text = "".join(traceback.format_exception(type(error), error, error.__traceback__))
            part.write_text(text, encoding="utf-8", errors="backslashreplace")
        return path
    except (CourseError, OSError):
        return None
