"""Has the learner written anything yet?

A stub is a body of docstring, ``...``, ``pass``, ``return None`` or ``raise NotImplementedError``. The question is put
to the compiled function, not to its source, because source is not always at hand (plain prompt, ``exec``) and may
belong to another version of the cell. Byte code changes from one Python release to the next, so nothing is assumed
about it: the stubs are compiled here, by the same interpreter, and compared instruction by instruction.

A stub with given lines in it, or a class, ends its open part with ``raise NotImplementedError``: the engine takes that
for "not attempted" when it is reached.
"""

from __future__ import annotations

import dis
import types
from functools import cache
from typing import Any

_BODIES = (
    "...",
    "pass",
    "return",
    "return ...",
    "raise NotImplementedError",
    "raise NotImplementedError()",
    'raise NotImplementedError("")',
)


def untouched(answer: Any) -> bool:
    """True for None, Ellipsis, and a function whose body does nothing."""
    if answer is None or answer is Ellipsis:
        return True
    # By the type alone: an object's own __getattr__ may fail, or never end.
    while type(answer) is types.FunctionType and "__wrapped__" in vars(answer):
        answer = vars(answer)["__wrapped__"]
    return type(answer) is types.FunctionType and _instructions(answer.__code__) in _stubs()


@cache
def _stubs() -> frozenset[tuple]:
    sources = [f"def stub(x):\n    {body}" for body in _BODIES]
    sources += [f'def stub(x):\n    """Your turn."""\n    {body}' for body in _BODIES]
    found = []
    for source in [*sources, "stub = lambda x: ...", "stub = lambda x: None"]:
        namespace: dict[str, Any] = {}
        exec(source, namespace)
        found.append(_instructions(namespace["stub"].__code__))
    return frozenset(found)


def _instructions(code: types.CodeType) -> tuple:
    """(operation, argument) pairs, without positions, no-ops, and the text of strings."""
    return tuple(
        (step.opname, "text" if isinstance(step.argval, str) and step.opname == "LOAD_CONST" else step.argval)
        for step in dis.get_instructions(code)
        if step.opname not in {"NOP", "CACHE"}
    )
