"""An operator that a runtime does not know, found in its error message.

Every tool says it in its own words, often below fifty lines of a traceback. What a user needs is the operator's name
and what to do about it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager

from course_lib.errors import CourseError

# One pattern a sentence, each as its tool writes it; the operator is the group.
_SENTENCES = tuple(
    re.compile(pattern)
    for pattern in (
        r"Exporting the operator '([\w:.]+)' to ONNX",  # torch.onnx, tracing
        r"ONNX export failed on an operator with unrecognized namespace ([\w:]+)",
        r"No Op registered for (\w+)",  # ONNX Runtime and onnx.checker
        r"([\w.]+:\w+)\(-?\d+\) is not a registered function/op",  # ONNX Runtime, another domain
        r"Could not find an implementation for (\w+)\(",  # ONNX Runtime
        r"does not support the following ONNX operations: ([\w.]+)",  # OpenVINO
        r"No conversion rule found for operations: ([\w.]+)",
        r"Lowering not found: ([\w.:]+)",  # LiteRT-Torch
        r"Missing out variants: \{'([\w:.]+)'",  # ExecuTorch
        r"Missing operator: \[?\d*\]?\s*([\w:.]+)",
        r"Operator ([\w:.]+) is not (?:in )?[Cc]ore ?A[Tt][Ee][Nn]",
    )
)


def unknown_operator(message: str) -> str | None:
    """The operator that an error message complains about, None if it complains about something else.

    >>> unknown_operator("Exporting the operator 'aten::linalg_svd' to ONNX opset version 13 is not supported.")
    'aten::linalg_svd'
    >>> unknown_operator("out of memory") is None
    True
    """
    found = (match for sentence in _SENTENCES if (match := sentence.search(message)))
    return next((match[1] for match in found), None)


@contextmanager
def named_operators(runtime: str) -> Iterator[None]:
    """Turn a converter's or a runtime's error in the block into one line with the operator's name and the mend.

    Raises: CourseError: in place of any error but CourseError and ValueErrors that name no operator.
    """
    try:
        yield
    except Exception as error:
        operator = unknown_operator(_with_causes(error))
        if operator is None and isinstance(error, CourseError | ValueError):
            raise
        mend = "load it with another runtime (course_lib.deploy.runtimes.runtimes() lists them)"
        if operator is None:
            raise CourseError(f"{runtime} cannot take this network ({_first_line(error)})", mend=mend) from error
        mend = f"replace {operator} in the network by operators that {runtime} knows, or {mend}"
        raise CourseError(f"{runtime} does not know the operator {operator}", mend=mend) from error


def _with_causes(error: BaseException | None) -> str:
    told = []
    while error is not None:
        told.append(str(error))
        error = error.__cause__ or error.__context__
    return "\n".join(told)


def _first_line(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return f"{type(error).__name__}: {lines[0][:200]}" if lines else type(error).__name__
