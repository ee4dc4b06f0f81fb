"""17.5: which files must be sent over a link that broke, and from which byte on."""

from __future__ import annotations

import copy
import hashlib
from collections.abc import Mapping
from functools import partial

import numpy as np

from course_lib.exercises.chapter_17.sendings import CASES, Question, part_of, sha256_of
from course_lib.exercises.engine.exercise import Exercise

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
    names = [name for name in sorted(files, key=_last) if there.get(name) != sha256_of(files[name])]
    return [(name, _offset(files[name], parts.get(name))) for name in names]


def _last(name: str) -> tuple[bool, str]:
    return name == "manifest.json", name


def _offset(content: bytes, part: tuple[int, str] | None) -> int:
    if part is None or part[0] >= len(content) or sha256_of(content[: part[0]]) != part[1]:
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


for _asks, _question in CASES.items():
    ex.case(_asks)(partial(copy.deepcopy, _question))


@ex.inputs
def random_kit(rng: np.random.Generator) -> Question:
    names = [
        *rng.permutation(["a.onnx", "m.onnx", "n.u8", "z.sh"])[: int(rng.integers(2, 5))].tolist(),
        "manifest.json",
    ]
    files = {name: bytes(rng.integers(97, 123, int(rng.integers(2, 7))).astype(np.uint8)) for name in names}
    there = {
        n: sha256_of(files[n] if rng.random() < 0.6 else files[n][::-1] + b"!") for n in names if rng.random() < 0.5
    }
    parts = {}
    for name in names:
        if rng.random() < 0.5:
            content = files[name][: int(rng.integers(1, len(files[name])))]
            parts[name] = part_of(content if rng.random() < 0.6 else content[:-1] + b"?")
    return files, there, parts


@ex.mistake("You send everything. What the board has with the same sum stays there.")
def everything(files, there, parts):
    return [(name, _offset(files[name], parts.get(name))) for name in sorted(files, key=_last)]


@ex.mistake("You send what is missing by name. A file that was altered there has the right name, and another sum.")
def by_name(files, there, parts):
    return [(name, offset) for name, offset in to_send(files, {}, parts) if name not in there]


@ex.mistake("You look for the sum under any name. The script opens files by their names: this one is missing.")
def any_name(files, there, parts):
    return [
        (name, offset) for name, offset in to_send(files, {}, parts) if sha256_of(files[name]) not in there.values()
    ]


@ex.mistake("The manifest does not come last. A board that has it should have all the rest.")
def plain_order(files, there, parts):
    return sorted(to_send(files, there, parts))


@ex.mistake("You sorted without regard to capital letters. By name is asked for: Python puts README.md before a.onnx.")
def small_letters(files, there, parts):
    return sorted(to_send(files, there, parts), key=lambda pair: (pair[0] == "manifest.json", pair[0].lower()))


@ex.mistake('Only "manifest.json" itself comes last. A file of that name in a folder stands where its name puts it.')
def any_manifest_last(files, there, parts):
    return sorted(to_send(files, there, parts), key=lambda pair: (pair[0].endswith("manifest.json"), pair[0]))


@ex.mistake("The manifest is sent although the board has it with the same sum. The rule for it is that of any file.")
def manifest_always(files, there, parts):
    return to_send(files, {name: digest for name, digest in there.items() if name != "manifest.json"}, parts)


@ex.mistake(
    "You compared the sum's bytes, digest(), with its hexadecimal text: nothing is ever equal. Use hexdigest()."
)
def bytes_of_the_sum(files, there, parts):
    return [(name, 0) for name in sorted(files, key=_last)]


@ex.mistake("An empty file is missing from your list. It travels like any other, unless the board has it.")
def empty_left_out(files, there, parts):
    return [(name, offset) for name, offset in to_send(files, there, parts) if files[name]]


@ex.mistake("A part as long as the file goes on behind its end. The part must be shorter: else begin at 0.")
def behind_the_end(files, there, parts):
    whole = {name for name, content in files.items() if parts.get(name) == part_of(content)}
    return [(name, len(files[name]) if name in whole else offset) for name, offset in to_send(files, there, parts)]


@ex.mistake("A part that holds all bytes made you leave the file out. The board has it as a part, not as the file.")
def whole_part_left_out(files, there, parts):
    whole = {name for name, content in files.items() if parts.get(name) == part_of(content)}
    return [(name, offset) for name, offset in to_send(files, there, parts) if name not in whole]


@ex.mistake("The files stand in the order of ``files``. By name is asked for, the manifest last.")
def as_given(files, there, parts):
    found = dict(to_send(files, there, parts))
    return [(name, found[name]) for name in files if name in found]


@ex.mistake("The manifest is last, and the others stand in the order of ``files``. By name is asked for.")
def as_given_manifest_last(files, there, parts):
    found = dict(to_send(files, there, parts))
    return [(name, found[name]) for name in sorted(files, key=lambda name: name == "manifest.json") if name in found]


@ex.mistake(
    "Not every file has a part: parts[name] fails for the others. Ask with parts.get(name), or ``name in parts``."
)
def part_of_each(files, there, parts):
    return [(name, _offset(files[name], parts[name])) for name, _ in to_send(files, there, {})]


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
