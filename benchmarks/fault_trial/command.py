"""One fault in front of the command line: how to bring it about, what must be said, and what must be left untouched.

Each case runs the real command as a process in a folder of its own. Whatever happens, no traceback may be seen; and
what ships (networks, recorded figures) must be as it was.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from course_lib.storage.files import CHECKPOINTS, RESULTS, ROOT
from fault_trial.result import ANSWERED, TRACEBACK, UNCLEAR, WRONG, Result

TIMEOUT_S = 300
COURSE = f"{sys.executable} -m course_lib.cli"


@dataclass(frozen=True)
class Case:
    """A fault in front of a command.

    Args:
        name: what is wrong, unique.
        command: for the shell; ``{course}`` is the command line, ``{here}`` the case's folder, where it runs.
        says: a regular expression that the command's output must match; "" if nothing is to be said.
        status: the exit status.
        prepare: called with the case's folder beforehand.
        variables: added to the environment; ``{here}`` as above.
        untouched: files of the folder that must be as ``prepare`` left them.
        quick: also run by ``make test``.
    """

    name: str
    command: str
    says: str
    status: int = 2
    prepare: Callable[[Path], object] | None = None
    variables: Mapping[str, str] = field(default_factory=dict)
    untouched: tuple[str, ...] = ()
    quick: bool = False


def tried(case: Case, base: Path) -> Result:
    """Run the case; what came of it."""
    here = base / re.sub(r"\W+", "_", case.name)
    here.mkdir()
    if case.prepare is not None:
        case.prepare(here)
    before = _state(here, case.untouched)
    done = run(case, here)
    said = done.stdout + done.stderr
    outcome, found = ANSWERED, ""
    if "Traceback" in said:
        outcome, found = TRACEBACK, said[-600:]
    elif before != _state(here, case.untouched):
        outcome, found = WRONG, "something that must be left alone is not as it was"
    elif done.returncode == 0 and case.status != 0:
        outcome, found = WRONG, f"status 0 instead of {case.status}: {said[-300:]}"
    elif done.returncode != case.status or not re.search(case.says, said, re.DOTALL):
        outcome, found = (
            UNCLEAR,
            f"status {done.returncode}, not {case.status}, or not {case.says!r}: {said[-300:]}",
        )
    elif (lines := done.stderr.count("course: ")) > 1:
        outcome, found = UNCLEAR, f"{lines} lines instead of one: {said[-300:]}"
    return Result("commands", case.name, outcome, found)


def run(case: Case, here: Path) -> subprocess.CompletedProcess[str]:
    """The case's command in its folder, with the checkout's library and a cache as the caller has it."""
    words = {"course": COURSE, "here": str(here), "python": sys.executable, "root": str(ROOT)}
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("COURSE_DATA", "WORLD_"))}
    environment |= {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "MPLBACKEND": "agg"}
    environment |= {name: value.format(**words) for name, value in case.variables.items()}
    command = ["bash", "-c", case.command.format(**words)]
    given = {"capture_output": True, "text": True, "errors": "replace", "timeout": TIMEOUT_S, "check": False}
    return subprocess.run(command, cwd=here, env=environment, **given)


def _state(here: Path, names: tuple[str, ...]) -> dict[str, object]:
    """Of the named files their bytes, of what ships sizes and times."""
    shipped = [path for folder in (CHECKPOINTS, RESULTS) for path in sorted(folder.iterdir()) if path.is_file()]
    state: dict[str, object] = {str(path): (path.stat().st_size, path.stat().st_mtime_ns) for path in shipped}
    return state | {name: (here / name).read_bytes() if (here / name).is_file() else None for name in names}
