"""17.5: which files must be sent over a link that broke, and from which byte on."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping

import numpy as np

from course_lib.exercises.engine.exercise import Exercise

Files = dict[str, bytes]
Question = tuple[Files, dict[str, str], dict[str, tuple[int, str]]]

ex = Exercise(
    "17.5",
    "What is still to be sent",
    points=3,
    hints=[
        "A file need not travel if the board has one of that name with the same sum. Whatever else the board has does "
        "not matter.",
        "A part (length, sum) is this file's beginning if the sum of the file's own first ``length`` bytes is that sum "
        "and the file is longer than the part.",
        '``sorted(names, key=lambda name: (name == "manifest.json", name))`` puts the manifest behind all others.',
    ],
    explanation="""
        Sums decide, not names, sizes or dates: a file that was altered on the board has the right name and may have the
        right size. The manifest goes last, so a board that has it has all the rest. Nothing is trusted for having been
        sent: a part continues only where its own sum says that it is this file's beginning.
    """,
)


@ex.reference
def to_send(
    files: Mapping[str, bytes], there: Mapping[str, str], parts: Mapping[str, tuple[int, str]]
) -> list[tuple[str, int]]:
    """(name, offset) of each file that must still travel: by name, "manifest.json" last.

    files: name → bytes, here. there: name → SHA-256 (hexadecimal) of the complete files on the board. parts: name →
    (bytes, SHA-256 of these bytes) of files whose copying broke off there. A file travels unless the board has it
    complete with the same sum. The offset is the length of its part if the part is shorter than the file and is the
    file's beginning, else 0. The board may hold other files and parts as well: they stay.
    """
    names = [name for name in sorted(files, key=_last) if there.get(name) != _sum(files[name])]
    return [(name, _offset(files[name], parts.get(name))) for name in names]


def _last(name: str) -> tuple[bool, str]:
    return name == "manifest.json", name


def _sum(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def _offset(content: bytes, part: tuple[int, str] | None) -> int:
    if part is None or part[0] >= len(content) or _sum(content[: part[0]]) != part[1]:
        return 0
    return part[0]


@ex.solution
def in_full(
    files: Mapping[str, bytes], there: Mapping[str, str], parts: Mapping[str, tuple[int, str]]
) -> list[tuple[str, int]]:
    """(name, offset) of each file that must still travel: by name, "manifest.json" last."""
    found = []
    for name in sorted(files, key=lambda name: (name == "manifest.json", name)):
        content = files[name]
        if there.get(name) == hashlib.sha256(content).hexdigest():
            continue
        length, digest = parts.get(name, (0, ""))
        beginning = hashlib.sha256(content[:length]).hexdigest()
        found.append((name, length if length < len(content) and beginning == digest else 0))
    return found


def _part(content: bytes) -> tuple[int, str]:
    return len(content), _sum(content)


@ex.case("an empty board: everything, the manifest last")
def empty_board() -> Question:
    return {"setup.sh": b"sh", "manifest.json": b"{}", "a.onnx": b"aaaa"}, {}, {}


@ex.case("all is there")
def all_there() -> Question:
    files = {"a.onnx": b"aaaa", "manifest.json": b"{}"}
    return files, {name: _sum(content) for name, content in files.items()}, {}


@ex.case("one file is missing, one was altered, one is right")
def altered() -> Question:
    files = {"a.onnx": b"aaaa", "b.onnx": b"bbbb", "c.onnx": b"cccc"}
    return files, {"a.onnx": _sum(b"aaaa"), "b.onnx": _sum(b"bbbx")}, {}


@ex.case("the right bytes under another name: this file is missing")
def other_name() -> Question:
    return {"a.onnx": b"aaaa"}, {"old.onnx": _sum(b"aaaa")}, {}


@ex.case("the board has files that the kit lacks: they stay, and nothing of them travels")
def extra() -> Question:
    return {"a.onnx": b"aaaa"}, {"a.onnx": _sum(b"aaaa"), "result.json": _sum(b"r")}, {"old.onnx": _part(b"o")}


@ex.case("a part that is the file's beginning")
def continued() -> Question:
    return {"a.onnx": b"abcdef", "b.onnx": b"bb"}, {}, {"a.onnx": _part(b"abcd")}


@ex.case("a part of another file of this name: begun anew")
def other_beginning() -> Question:
    return {"a.onnx": b"abcdef"}, {}, {"a.onnx": _part(b"abxd")}


@ex.case("a part as long as the file, but other bytes")
def full_length() -> Question:
    return {"a.onnx": b"abcdef"}, {}, {"a.onnx": _part(b"abcdeX")}


@ex.case("a part longer than the file, which begins like it")
def too_long() -> Question:
    return {"a.onnx": b"abcd"}, {}, {"a.onnx": _part(b"abcdef")}


@ex.case("complete with the right sum, and an old part beside it")
def complete_and_part() -> Question:
    return {"a.onnx": b"abcdef"}, {"a.onnx": _sum(b"abcdef")}, {"a.onnx": _part(b"abc")}


@ex.case("an altered file, and a part of the right one")
def altered_and_part() -> Question:
    return {"a.onnx": b"abcdef", "manifest.json": b"{}"}, {"a.onnx": _sum(b"zzz")}, {"a.onnx": _part(b"abc")}


@ex.case("the manifest is there already, two other files are not")
def manifest_there() -> Question:
    files = {"zeta.u8": b"zz", "alpha.u8": b"aa", "manifest.json": b"{}"}
    return files, {"manifest.json": _sum(b"{}")}, {}


@ex.case("a manifest that was broken off")
def manifest_part() -> Question:
    files = {"zeta.u8": b"zz", "manifest.json": b"{1,2}", "alpha.u8": b"aa"}
    return files, {"alpha.u8": _sum(b"aa")}, {"manifest.json": _part(b"{1")}


@ex.inputs
def random_kit(rng: np.random.Generator) -> Question:
    names = [
        *rng.permutation(["a.onnx", "m.onnx", "n.u8", "z.sh"])[: int(rng.integers(2, 5))].tolist(),
        "manifest.json",
    ]
    files = {name: bytes(rng.integers(97, 123, int(rng.integers(2, 7))).astype(np.uint8)) for name in names}
    there = {n: _sum(files[n] if rng.random() < 0.6 else files[n][::-1] + b"!") for n in names if rng.random() < 0.5}
    parts = {}
    for name in names:
        if rng.random() < 0.5:
            content = files[name][: int(rng.integers(1, len(files[name])))]
            parts[name] = _part(content if rng.random() < 0.6 else content[:-1] + b"?")
    return files, there, parts


@ex.mistake("You send everything. What the board has with the same sum stays there.")
def everything(files, there, parts):
    return [(name, _offset(files[name], parts.get(name))) for name in sorted(files, key=_last)]


@ex.mistake("You send what is missing by name. A file that was altered there has the right name, and another sum.")
def by_name(files, there, parts):
    return [(name, offset) for name, offset in to_send(files, {}, parts) if name not in there]


@ex.mistake("You look for the sum under any name. The script opens files by their names: this one is missing.")
def any_name(files, there, parts):
    return [(name, offset) for name, offset in to_send(files, {}, parts) if _sum(files[name]) not in there.values()]


@ex.mistake("The manifest does not come last. A board that has it should have all the rest.")
def plain_order(files, there, parts):
    return sorted(to_send(files, there, parts))


@ex.mistake("The files stand in the order of ``files``. By name is asked for, the manifest last.")
def as_given(files, there, parts):
    found = dict(to_send(files, there, parts))
    return [(name, found[name]) for name in files if name in found]


@ex.mistake("The order is turned round: by name, the manifest last.")
def backwards(files, there, parts):
    return to_send(files, there, parts)[::-1]


@ex.mistake("You always begin at byte 0. A part that is the file's beginning can stay.")
def never_continued(files, there, parts):
    return to_send(files, there, {})


@ex.mistake("You trust a part for its length. Its sum tells whether it is this file's beginning.")
def trusted(files, there, parts):
    lengths = {name: length for name, (length, _) in parts.items() if length < len(files.get(name, b""))}
    return [(name, lengths.get(name, 0)) for name, _ in to_send(files, there, {})]


@ex.mistake("A file with a part is missing from your list: a part is not the file.")
def part_is_enough(files, there, parts):
    return [(name, offset) for name, offset in to_send(files, there, parts) if not offset]


@ex.mistake("A part that is not the file's beginning made you leave the file out. It is begun anew: offset 0.")
def wrong_part_left_out(files, there, parts):
    return [(name, offset) for name, offset in to_send(files, there, parts) if offset or name not in parts]


@ex.mistake("You return how many bytes are left. The offset is where to go on: the part's length.")
def bytes_left(files, there, parts):
    return [(name, len(files[name]) - offset) for name, offset in to_send(files, there, parts)]


@ex.mistake("The files of the board that the kit lacks are in your list. They stay, and nothing of them travels.")
def extras(files, there, parts):
    return [*to_send(files, there, parts), *((name, 0) for name in sorted({*there, *parts} - {*files}))]


@ex.mistake("An altered file is begun anew even where a part of the right one is there. The part can stay.")
def part_ignored_if_altered(files, there, parts):
    return to_send(files, there, {name: part for name, part in parts.items() if name not in there})


@ex.mistake("Names alone are no answer: say from which byte on, (name, offset).")
def names_alone(files, there, parts):
    return [name for name, _ in to_send(files, there, parts)]


@ex.mistake("You list the files that the board has already. Those that it lacks must travel.")
def turned_round(files, there, parts):
    lacking = {name for name, _ in to_send(files, there, parts)}
    return [(name, 0) for name in sorted(files, key=_last) if name not in lacking]


@ex.alternative
def manifest_apart(files, there, parts):
    def lacks(name):
        return name not in there or hashlib.sha256(files[name]).hexdigest() != there[name]

    names = sorted(name for name in files if name != "manifest.json" and lacks(name))
    if "manifest.json" in files and lacks("manifest.json"):
        names.append("manifest.json")
    result = []
    for name in names:
        offset = 0
        if name in parts:
            n, digest = parts[name]
            if n < len(files[name]) and hashlib.sha256(files[name][:n]).hexdigest() == digest:
                offset = n
        result.append([name, offset])
    return result


@ex.alternative
def by_growing_sums(files, there, parts):
    found = {}
    for name, content in files.items():
        sums = {}
        digest = hashlib.sha256()
        for n in range(len(content)):
            sums[n, digest.hexdigest()] = n
            digest.update(content[n : n + 1])
        if there.get(name, "") != digest.hexdigest():
            found[name] = sums.get(tuple(parts.get(name, ())), 0)
    manifest = found.pop("manifest.json", None)
    ordered = sorted(found.items())
    return ordered if manifest is None else [*ordered, ("manifest.json", manifest)]


@ex.alternative
def with_sets(files, there, parts):
    sums = {(name, hashlib.sha256(content).hexdigest()) for name, content in files.items()}
    lacking = {name for name, _ in sums - set(there.items())}
    told = []
    for name in sorted(lacking - {"manifest.json"}) + ["manifest.json"] * ("manifest.json" in lacking):
        n, digest = parts.get(name, (0, None))
        good = n < len(files[name]) and hashlib.sha256(files[name][:n]).hexdigest() == digest
        told.append((name, n * good))
    return told
