"""The one kind of error a learner can mend with a command.

A wrong *argument* raises ValueError or TypeError, as anywhere in Python. A broken *thing on disk* (a file that is
missing, cut short or altered, a folder that cannot be written) raises CourseError: one line that names the file
and the command that mends it. The command line prints that line alone, without a traceback.
"""

from __future__ import annotations

from pathlib import Path


class CourseError(RuntimeError):
    """What is wrong, with which file, and what mends it, in one line.

    Args:
        problem: what was found, as a clause without a full stop ("the checksum differs").
        path: the file or folder concerned, if there is one.
        mend: the command or action that puts it right.
    """

    def __init__(self, problem: str, *, path: str | Path | None = None, mend: str | None = None):
        self.problem, self.path, self.mend = problem, path, mend
        where = f"{path}: " if path is not None else ""
        action = f". Mend: {mend}" if mend else ""
        super().__init__(" ".join(f"{where}{problem}{action}".split()))
