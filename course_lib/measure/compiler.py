"""The system's C compiler and its tools: found, run under a limit, and what they say when they fail."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

from course_lib.errors import CourseError

TIMEOUT_S = 300
"""Seconds for a compilation or for one run of a program."""


def find_compiler() -> str | None:
    """The path of cc, gcc or clang, the first one that is there."""
    return next((found for name in ("cc", "gcc", "clang") if (found := shutil.which(name))), None)


def require_compiler(compiler: str | None = None) -> str:
    """A compiler by name or path; default: ``find_compiler``. Raises: CourseError: there is none."""
    command = compiler or find_compiler()
    if command is None or shutil.which(command) is None:
        raise CourseError(f"no C compiler here ({command or 'cc, gcc, clang'})", mend="install one (apt install gcc)")
    return command


def run_tool(command: Sequence[str], path: Path, given: bytes = b"") -> bytes:
    """Standard output of a compiler, of one of its tools, or of a compiled program.

    Args: path: that a message is about. given: standard input.
    Raises: CourseError: it failed, or took too long; its first line with an error is told.
    """
    try:
        done = subprocess.run(command, input=given, capture_output=True, check=False, timeout=TIMEOUT_S)
    except subprocess.TimeoutExpired as error:
        raise CourseError(
            f"{command[0]} was stopped after {TIMEOUT_S} s", path=path, mend="try a faster machine"
        ) from error
    except OSError as error:
        raise CourseError(
            f"cannot be run ({error.strerror})", path=command[0], mend="check that it fits this machine"
        ) from error
    if done.returncode:
        words = [line for line in done.stderr.decode(errors="replace").splitlines() if "error" in line.lower()]
        said = words[0] if words else "no words"
        raise CourseError(
            f"{command[0]} failed with {done.returncode}: {said}", path=path, mend="check compiler and flags"
        )
    return done.stdout
