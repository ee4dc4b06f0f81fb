"""The boundary of the command line: whatever happens inside a command ends as one line and an exit status.

    0    well
    1    well, and something was found (the doctor, ``course diff``, an export that differs)
    2    an error that names its own mend: an argument, a file, the disk, memory, a broken package
    70   a fault of the course itself (EX_SOFTWARE); the line says where the traceback lies
    130  Ctrl-C
    141  nobody reads the output any more (128 + SIGPIPE), as other programs end, without a word

What an error means is ``failures``' to say. Here stand the streams: they write what their encoding lacks as
``\\xd7`` instead of failing, and an output that cannot be written (a full disk, a closed pipe) is an error like any
other, looked for before the command calls itself done.

Only the standard library is imported, and any Python 3 can read this module: the doctor speaks through it.
"""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Callable

from course_lib.commands.statuses import CLOSED_PIPE, OWN_FAULT


def guard(work: Callable[[], int | None], *, traceback: bool = False) -> int:
    """Run ``work`` and return its exit status (None: 0), or that of the error that ended it, which is told on stderr.

    Args: traceback: let an error through, with its traceback. Ctrl-C and a closed pipe never have one.
    Raises: SystemExit: as argparse raises it, after its help or its own line.
    """
    speak_any_encoding()
    stdout, sys.stdout = sys.stdout, _Watched(sys.stdout)
    output = sys.stdout
    try:
        try:
            return _flushed(work, output)
        except Exception as error:
            if isinstance(output.failure, BrokenPipeError):
                return CLOSED_PIPE
            if traceback:
                raise
            return tell(error, output.failure)
        except KeyboardInterrupt as stop:
            return tell(stop)
    finally:
        sys.stdout = stdout
        if output.failure:
            _to_nowhere(stdout)  # or Python would complain at the end about what is left in it


def _flushed(work: Callable[[], int | None], output: _Watched) -> int:
    """The status of ``work``, once all that it printed is written."""
    try:
        status = work() or 0
    except SystemExit:
        output.flush()
        if output.failure:  # argparse does not tell that its help could not be written
            raise output.failure from None
        raise
    output.flush()
    return status


class _Watched:
    """A stream that remembers why it could not be written: an error that comes out of a command does not say whose."""

    def __init__(self, stream):
        self._stream, self.failure = stream, None

    def write(self, text: str) -> int:
        """As the stream's."""
        return self._kept(self._stream.write, text) if self._stream is not None else len(text)

    def flush(self) -> None:
        """As the stream's; nothing for one that the command has closed."""
        if self._stream is not None and not self._stream.closed:
            self._kept(self._stream.flush)

    def _kept(self, call: Callable, *given):
        try:
            return call(*given)
        except OSError as error:
            self.failure = error
            raise

    def __getattr__(self, name: str):
        return getattr(self._stream, name)


def tell(error: BaseException, output: OSError | None = None) -> int:
    """Say on stderr what an error means, in one line, and return the exit status.

    Args: output: why the output could not be written, if it could not.
    """
    try:
        from course_lib.commands.failures import explain

        failure = explain(error, output)
    except Exception as another:  # no memory even for this, or files of the course that are missing
        say(f"{error!r}, and what that means could not be found out ({another!r}). Mend: make doctor")
        return OWN_FAULT
    say(failure.line)
    return failure.status


def say(line: str) -> None:
    """One line on stderr; where that cannot be written either, the exit status alone has to tell."""
    try:
        print(f"course: {' '.join(line.split())}", file=sys.stderr, flush=True)
    except (OSError, ValueError):
        _to_nowhere(sys.stderr)


def speak_any_encoding() -> None:
    """From now on a character that a stream's encoding lacks is written as its number."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def keep_standard_descriptors() -> None:
    """Open what was closed of the descriptors 0, 1 and 2: the next file opened would be written by every ``print``."""
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # takes the lowest free number, which is this one


def _to_nowhere(stream) -> None:
    """Let a stream's descriptor point to the null device."""
    try:
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, stream.fileno())
        os.close(nowhere)
    except (AttributeError, OSError, ValueError):  # no stream, or none with a descriptor: nothing is left to silence
        return
