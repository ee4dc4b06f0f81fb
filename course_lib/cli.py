"""The command ``course``: the main job, the doctor, data, training, recorded figures and C files, from the terminal.

It parses the arguments, then imports the one module of ``course_lib.commands`` that is asked for, inside the boundary
that turns whatever happens into one line and an exit status (``commands.boundary``). ``--traceback`` shows where an
error came from.

Ctrl-C while packages are being imported ends the process at once: nothing has begun, and an import that is broken off
in the middle leaves modules behind that fail in ways of their own.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

NEEDS_PYTHON = (3, 11)  # a test compares it with pyproject.toml; what reads that file may not be readable here


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit status, see ``commands.boundary``.

    Args: arguments: as they are typed; None: those of this process, whose signals and streams are then the command's.
    """
    import signal

    own_process = arguments is None
    # In the background of a script Ctrl-C is somebody else's, and stays ignored.
    answers = own_process and signal.getsignal(signal.SIGINT) is signal.default_int_handler
    if answers:
        signal.signal(signal.SIGINT, _leave)
    from course_lib.commands.boundary import guard, keep_standard_descriptors

    if own_process:
        keep_standard_descriptors()
    typed = sys.argv[1:] if arguments is None else list(arguments)
    try:
        status = guard(lambda: _run(typed, answers), traceback="--traceback" in typed)
    except KeyboardInterrupt:  # a second one, while the first was being told
        status = 130
    if answers:
        signal.signal(signal.SIGINT, signal.SIG_DFL)  # Python would answer it with a traceback while it shuts down
    return status


def _run(typed: Sequence[str], answers: bool) -> int | None:
    import importlib
    import signal

    from course_lib.commands.arguments import parser

    known = parser()
    options, more = known.parse_known_args(typed)
    if more and not getattr(options, "passes_on", False):
        known.error(f"unrecognized arguments: {' '.join(more)}")
    options.more = more
    module, _, function = options.run.partition(":")
    if sys.version_info < NEEDS_PYTHON and module != "health":
        from course_lib.errors import CourseError

        found, needed = (".".join(map(str, version[:2])) for version in (sys.version_info, NEEDS_PYTHON))
        raise CourseError(f"this is Python {found} and the course needs {needed} or newer", mend="make setup")
    command = getattr(importlib.import_module(f"course_lib.commands.{module}"), function)
    if answers:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    return command(options)


def _leave(number: int, frame: object) -> None:
    """Say that it stopped, and end the process here and now."""
    import os

    try:
        os.write(2, b"\ncourse: stopped.\n")
    finally:
        os._exit(128 + number)


if __name__ == "__main__":
    sys.exit(main())
