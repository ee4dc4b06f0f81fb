"""A module of the course run in a fresh process: its memory lies elsewhere, and nothing is in the caches."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from course_lib.errors import CourseError


def run_fresh(
    module: str,
    arguments: Sequence[str],
    what: str,
    *,
    path: str | Path | None = None,
    environment: Mapping[str, str] | None = None,
) -> str:
    """What ``python -m module arguments`` prints.

    Args:
        what: to call it in a message, such as "session 2".
        path: that a message names.
        environment: default: this process's own.
    Raises: CourseError: it failed; its last words are told.

    >>> run_fresh("this", [], "the Zen").splitlines()[0]
    'The Zen of Python, by Tim Peters'
    """
    command = [sys.executable, "-m", module, *arguments]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        words = done.stderr.strip().splitlines()[-1:] or ["no words"]
        raise CourseError(f"{what} failed: {words[0]}", path=path, mend="run the command again")
    return done.stdout
