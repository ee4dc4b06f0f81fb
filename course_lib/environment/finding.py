"""What a check of the doctor found, and which package or folder a failed import is really about.

``import torch`` can fail because NumPy is broken, and ``import matplotlib`` because its folder may not be read. A mend
that reinstalls what was asked for helps in neither case. So the mend follows the error: the module that Python could
not find, else the package whose file raised it; and for a file that may not be read or written, its permissions.
"""

from __future__ import annotations

import errno
import importlib.metadata
import sys
import traceback
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from course_lib.environment.packages import reinstall_command

NOT_ALLOWED = (errno.EACCES, errno.EPERM, errno.EROFS)
# Where the name that is imported is not the package's.
PACKAGES = {"PIL": "pillow", "yaml": "pyyaml"}


@dataclass(frozen=True)
class Finding:
    """One thing looked at.

    Args:
        name: what was looked at, a word or two.
        ok: whether the course can work with it.
        detail: what was found, as a clause.
        mend: the command or action that puts it right; "" if it is ok.
    """

    name: str
    ok: bool
    detail: str
    mend: str = ""


def one_line(error: BaseException) -> str:
    """The error's type and the first line of its message.

    >>> one_line(ImportError("libgomp.so.1 was not found"))
    'ImportError: libgomp.so.1 was not found'
    """
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0]}" if lines else type(error).__name__


def failed_import(name: str, error: Exception, *asked: str) -> Finding:
    """The finding for a package that does not import.

    Args:
        name: of the finding.
        asked: packages to reinstall where the error does not point at another one.
    """
    if isinstance(error, OSError) and error.errno in NOT_ALLOWED and error.filename:
        return Finding(name, False, f"does not import: {one_line(error)}", permission_mend(str(error.filename)))
    culprit = broken_package(error)
    broken = asked if culprit in (None, *asked) else (culprit,)
    return Finding(name, False, f"does not import: {one_line(error)}", reinstall_command(*broken))


def permission_mend(path: str) -> str:
    """How a file or folder that may not be used becomes usable."""
    if sys.platform == "win32":
        return f'icacls "{path}" /grant "%USERNAME%:F"'
    return f'chmod -R u+rwX "{path}", or run as the user who owns it'


def broken_package(error: BaseException) -> str | None:
    """The installed or required package that an error of an import is about; None if it does not say."""
    installed = importlib.metadata.packages_distributions()
    for module in _suspects(error):
        if module in installed:
            return installed[module][0].lower()
        if module in PACKAGES or (isinstance(error, ModuleNotFoundError) and not _is_of_python(module)):
            return PACKAGES.get(module, module)
    return None


def _suspects(error: BaseException) -> Iterator[str]:
    """Top-level modules, the likeliest first: the one that is missing, then that of the file which raised the error."""
    if isinstance(error, ImportError) and error.name:
        yield error.name.partition(".")[0]
    files = [frame.filename for frame in traceback.extract_tb(error.__traceback__)]
    if isinstance(error, SyntaxError) and error.filename:
        files.append(error.filename)
    for file in reversed(files):
        parts = Path(file).parts
        for folder in {"site-packages", "dist-packages"} & set(parts):
            yield parts[parts.index(folder) + 1].removesuffix(".py")


def _is_of_python(module: str) -> bool:
    return module in sys.stdlib_module_names or module == "course_lib"
