"""What can be read in a file that is no notebook any more: a save cut short, NUL bytes, git's conflict markers.

Two ways, and the file itself is kept besides. Where a notebook's text still stands, each list ``"source": […]`` is read
string by string, with the kind and id that stand before it; of a conflict both sides are read, one after the other.
Where none does, the exercises' functions are found by their names.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from typing import Any

from course_lib.workbook.cells import text
from course_lib.workbook.notebook import KINDS

_SOURCE = re.compile(r'"source"\s*:\s*(\[|(?="))')
_KIND = re.compile(r'"cell_type"\s*:\s*"(\w+)"')
_ID = re.compile(r'"id"\s*:\s*"([\w-]{1,64})"')
_BETWEEN = re.compile(r"[\s,]*")
_CONFLICT = re.compile(  # one side, what git may show of the common ancestor, the other side
    r"^<{7} .*\n((?:.*\n)*?)(?:\|{7}.*\n(?:.*\n)*?)?={7}\n((?:.*\n)*?)>{7} .*\n", re.MULTILINE
)
_STRING = re.compile(r'"((?:[^"\\\n]|\\.)*)("?)')


def salvage(content: bytes) -> list[dict[str, Any]]:
    """The cells whose sources can still be read, in order; [] if none can."""
    written = content.replace(b"\0", b"").decode("utf-8", "replace").replace("\r\n", "\n")
    found = _cells(_CONFLICT.sub(r"\1", written))
    if not _CONFLICT.search(written):
        return found
    place = len(found)
    for cell in reversed(_cells(_CONFLICT.sub(r"\2", written))):
        if cell in found:
            place = found.index(cell)
        else:
            found.insert(place, cell)
    return found


def _cells(written: str) -> list[dict[str, Any]]:
    found, end = [], 0
    for opening in _SOURCE.finditer(written):
        if opening.start() < end:
            continue
        kinds, start = list(_KIND.finditer(written, end, opening.start())), end
        if kinds:
            start = kinds[-1].end()
        name = _ID.search(written, start, opening.start())
        source, end = _strings(written, opening.end(), many=opening[1] == "[")
        if not source.strip():
            continue
        kind = kinds[-1][1] if kinds and kinds[-1][1] in KINDS else "code"
        found.append({"cell_type": kind, "id": name[1] if name else "", "metadata": {}, "source": source})
    return found


def without_cut(saved: list[dict[str, Any]], chapter: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The saved cells without those that hold only the beginning of the chapter's cell: the file ended there."""
    whole = {str(cell.get("id")): text(cell["source"]) for cell in chapter}
    return [cell for cell in saved if not _is_beginning(cell["source"], whole.get(cell["id"], ""))]


def _is_beginning(source: str, whole: str) -> bool:
    return len(source) < len(whole) and whole.startswith(source)


def _strings(written: str, start: int, *, many: bool) -> tuple[str, int]:
    """The strings of a list from ``start`` on, joined, and where they end; of a string cut short what is there."""
    parts, place = [], start
    while True:
        place = _BETWEEN.match(written, place).end()  # type: ignore[union-attr]  # matches the empty string too
        string = _STRING.match(written, place)
        if string is None:
            return "".join(parts), place
        parts.append(_unescaped(string[1]))
        place = string.end()
        if not many or not string[2]:
            return "".join(parts), place


def _unescaped(inner: str) -> str:
    for cut in (inner, inner[: inner.rfind("\\")]):  # an escape may be cut short as well
        try:
            return json.loads(f'"{cut}"', strict=False)
        except ValueError:
            continue
    return inner


def functions(content: bytes, names: Iterable[str]) -> list[str]:
    """The source of each top-level function or class of these names in a text, also in one with written-out \\n."""
    written = content.replace(b"\0", b"").decode("utf-8", "replace").replace("\r\n", "\n")
    if "\\n" in written and "\ndef " not in written:
        written = written.replace('\\"', '"').replace("\\n", "\n")
    found = []
    for name in dict.fromkeys(names):
        body = rf"^(?:def|class) +{re.escape(name)}\b.*\n(?:[ \t]+.*\n?|[ \t]*\n)*"
        found += [match.group().rstrip() for match in re.finditer(body, written + "\n", re.MULTILINE)]
    return found
