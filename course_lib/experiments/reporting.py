"""What every benchmark does with its figures: print them and, if asked, record them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from course_lib.measure import Measurement, record


def command_for(script: str, key: str) -> str:
    """The command that records a set's figures anew; where the file of real signs lies is the user's affair.

    >>> command_for("quantization", "rendered"), command_for("quantization", "gtsrb")
    ('python benchmarks/quantization.py --record', 'python benchmarks/quantization.py --data PATH.npz --record')
    """
    return f"python benchmarks/{script}.py{'' if key == 'rendered' else ' --data PATH.npz'} --record"


def report(
    name: str,
    command: str,
    figures: Mapping[str, Measurement],
    *,
    recorded: bool,
    seeds: Sequence[int],
    threads: int,
    extra: Mapping[str, Any] | None = None,
) -> None:
    """Print every figure on a line of its own, and write the record if wanted.

    Args:
        name, command, figures, seeds, threads, extra: as of ``record``.
        recorded: whether to write.
    Raises: ValueError: as ``record``; the figures are printed before.

    >>> report("x", "python x.py", {"ratio": Measurement(2.0, "×", 3, "a / b")}, recorded=False, seeds=[], threads=1)
    ratio: 2.0 ×, n = 3
    """
    for label, figure in figures.items():
        print(f"{label}: {figure}")
    if recorded:
        print(f"Written: {record(name, command, figures, seeds=seeds, threads=threads, extra=extra)}")
