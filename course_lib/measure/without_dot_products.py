"""What are 8-bit dot products worth? The same processor, with and without them.

INT8 buys time where one instruction multiplies and adds several bytes (AVX-512 VNNI, AVX-VNNI, AMX). Comparing a
processor that has it with one that has not compares everything else as well: clock, caches, memory. Runtimes ask the
processor what it can do and choose their kernels by the answer, so a controlled comparison is possible: a small
library, preloaded, gives the answer without the dot products. ONNX Runtime then takes the kernels that it takes on an
older processor, and nothing else changes.

    python -m course_lib.measure.without_dot_products course bench journey --data rendered

What runs under it says so: ``cpu_features`` leaves out what is hidden and adds "8-bit dot products hidden" to the
processor's name, so that records of the two are kept apart. It needs Linux, a processor that lets CPUID fault (Intel's
since Ivy Bridge) and a C compiler. oneDNN and MLAS have switches of their own for single operators or tests; hiding
the instruction works for every library alike.
"""

from __future__ import annotations

import os
import platform
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from course_lib.errors import CourseError
from course_lib.measure.compiler import require_compiler
from course_lib.storage.cache import cached

HIDDEN = "COURSE_HIDDEN_ISA"
HIDDEN_WORDS = "8-bit dot products hidden"
"""The variable in which the preloaded library names what it hides; it sets it, nobody else should."""
COMMAND = "python -m course_lib.measure.without_dot_products"
_SOURCE, _BINARY = Path(__file__).with_suffix(".c"), "library.so"


def environment_without(environment: Mapping[str, str] | None = None) -> dict[str, str]:
    """The environment for a process that shall not see the processor's 8-bit dot products.

    Args: environment: to start from; default: this process's own.
    Raises: CourseError: not Linux on x86-64, no C compiler, or a processor (or virtual machine) that cannot hide
        them.
    """
    if sys.platform != "linux" or platform.machine() != "x86_64":
        raise CourseError("8-bit dot products can be hidden on Linux with x86-64 only", mend="measure without this")
    start = dict(os.environ if environment is None else environment)
    preloaded = [str(_library()), *start.get("LD_PRELOAD", "").split()]
    hidden = start | {"LD_PRELOAD": " ".join(preloaded)}
    ask = [sys.executable, "-I", "-c", f"import os; print(os.environ.get({HIDDEN!r}, ''))"]
    if not subprocess.run(ask, env=hidden, capture_output=True, text=True, check=False).stdout.strip():
        raise CourseError("this processor does not let CPUID fault, so nothing can be hidden", mend="measure without")
    return hidden


def _library() -> Path:
    """The compiled library in the course's cache, made again when its source has changed. Raises: CourseError."""
    identity = {"source": _SOURCE.read_text(encoding="utf-8")}
    return cached("native", _SOURCE.stem, identity, [_BINARY], _compile, needed_bytes=100_000) / _BINARY


def _compile(folder: Path) -> None:
    command = [require_compiler(), "-O2", "-Wall", "-shared", "-fPIC", "-o", str(folder / _BINARY), str(_SOURCE)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        words = done.stderr.strip().splitlines()[-1:] or ["no words"]
        raise CourseError(f"the compiler failed: {words[0]}", path=_SOURCE, mend="check the compiler")


def main(command: Sequence[str]) -> None:
    """Become ``command`` in an environment without 8-bit dot products."""
    if not command:
        raise SystemExit(f"usage: {COMMAND} COMMAND …")
    try:
        environment = environment_without()
        os.execvpe(command[0], list(command), environment)
    except (CourseError, OSError) as error:
        raise SystemExit(f"error: {error}") from None


if __name__ == "__main__":
    main(sys.argv[1:])
