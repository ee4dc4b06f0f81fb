"""Faults on the disk, at any event in a folder.

An *event* is a call that touches the folder (open, rename, remove, mkdir, chmod, …, from Python's audit events, and
fsync, which has none: a test that patches ``os.fsync`` tells it to ``FAULT.event``).
"""

from __future__ import annotations

import contextlib
import os
import sys
import traceback
from collections.abc import Callable
from pathlib import Path


class Fault:
    """What happens at event number ``at`` inside ``folder``; without a fault it counts the events."""

    def __init__(self) -> None:
        self.folder, self.at, self.seen, self.action, self.tidying = None, None, 0, None, False

    def event(self, *paths) -> None:
        """Count a call with these paths, and act if it is the planned one."""
        if self.folder is None or not any(isinstance(p, (str, Path)) and str(p).startswith(self.folder) for p in paths):
            return
        self.seen += 1
        if self.seen - 1 == self.at:
            callers = {frame.name for frame in traceback.extract_stack()}
            self.tidying = bool(callers & {"rmtree", "unlink"})
            self.action()

    @contextlib.contextmanager
    def planned(self, folder, at=None, action=None):
        """Within the block: ``action`` at event ``at`` inside ``folder``."""
        self.folder, self.at, self.seen, self.action, self.tidying = str(folder), at, 0, action, False
        try:
            yield self
        finally:
            self.folder = None


FAULT = Fault()


def hook(name, arguments):
    """Python's audit hook."""
    # "shutil.rmtree" and the like announce a Python function; the system's calls come one by one after it.
    if FAULT.folder is not None and (name == "open" or name.startswith("os.")):
        FAULT.event(*arguments)


sys.addaudithook(hook)


def in_child(work: Callable[[], None]) -> int:
    """Run ``work`` in a forked process; its exit status."""
    child = os.fork()
    if child == 0:
        status = 1
        if torch := sys.modules.get("torch"):
            torch.set_num_threads(1)  # the threads of the parent's pool are not forked: one that is asked never answers
        try:
            work()
            status = 0
        finally:
            os._exit(status)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
