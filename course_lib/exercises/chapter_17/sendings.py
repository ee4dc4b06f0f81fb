"""The boards that exercise 17.5 asks about: each case asks for one sentence of the task."""

from __future__ import annotations

import hashlib

Files = dict[str, bytes]
Question = tuple[Files, dict[str, str], dict[str, tuple[int, str]]]


def sha256_of(content: bytes) -> str:
    """SHA-256, hexadecimal."""
    return hashlib.sha256(content).hexdigest()


def part_of(content: bytes) -> tuple[int, str]:
    """What the board tells of a part with this content."""
    return len(content), sha256_of(content)


ALL_THERE: Files = {"a.onnx": b"aaaa", "manifest.json": b"{}"}
CASES: dict[str, Question] = {
    "an empty board: everything, the manifest last": (
        {"setup.sh": b"sh", "manifest.json": b"{}", "a.onnx": b"aaaa"},
        {},
        {},
    ),
    "all is there": (ALL_THERE, {name: sha256_of(content) for name, content in ALL_THERE.items()}, {}),
    "one file is missing, one was altered, one is right": (
        {"a.onnx": b"aaaa", "b.onnx": b"bbbb", "c.onnx": b"cccc"},
        {"a.onnx": sha256_of(b"aaaa"), "b.onnx": sha256_of(b"bbbx")},
        {},
    ),
    "the right bytes under another name: this file is missing": (
        {"a.onnx": b"aaaa"},
        {"old.onnx": sha256_of(b"aaaa")},
        {},
    ),
    "the board has files that the kit lacks: they stay, and nothing of them travels": (
        {"a.onnx": b"aaaa"},
        {"a.onnx": sha256_of(b"aaaa"), "result.json": sha256_of(b"r")},
        {"old.onnx": part_of(b"o")},
    ),
    "a part that is the file's beginning": (
        {"a.onnx": b"abcdef", "b.onnx": b"bb"},
        {},
        {"a.onnx": part_of(b"abcd")},
    ),
    "a part of another file of this name: begun anew": ({"a.onnx": b"abcdef"}, {}, {"a.onnx": part_of(b"abxd")}),
    "a part as long as the file, but other bytes": ({"a.onnx": b"abcdef"}, {}, {"a.onnx": part_of(b"abcdeX")}),
    "a part as long as the file, with its bytes: it is not shorter": (
        {"a.onnx": b"abcdef"},
        {},
        {"a.onnx": part_of(b"abcdef")},
    ),
    "a part longer than the file, which begins like it": ({"a.onnx": b"abcd"}, {}, {"a.onnx": part_of(b"abcdef")}),
    "complete with the right sum, and an old part beside it": (
        {"a.onnx": b"abcdef"},
        {"a.onnx": sha256_of(b"abcdef")},
        {"a.onnx": part_of(b"abc")},
    ),
    "an altered file, and a part of the right one": (
        {"a.onnx": b"abcdef", "manifest.json": b"{}"},
        {"a.onnx": sha256_of(b"zzz")},
        {"a.onnx": part_of(b"abc")},
    ),
    "the manifest is there already, two other files are not": (
        {"zeta.u8": b"zz", "alpha.u8": b"aa", "manifest.json": b"{}"},
        {"manifest.json": sha256_of(b"{}")},
        {},
    ),
    "a manifest that was broken off": (
        {"zeta.u8": b"zz", "manifest.json": b"{1,2}", "alpha.u8": b"aa"},
        {"alpha.u8": sha256_of(b"aa")},
        {"manifest.json": part_of(b"{1")},
    ),
    "an empty file": ({"empty.txt": b"", "a.onnx": b"aaaa"}, {"a.onnx": sha256_of(b"aaaa")}, {}),
    "capital letters: by name, as Python sorts": ({"c.c": b"c", "README.md": b"r", "a.onnx": b"a"}, {}, {}),
    "a manifest.json in a folder is a file like any other": (
        {"work/b.u8": b"b", "old/manifest.json": b"[]", "manifest.json": b"{}"},
        {},
        {},
    ),
}
"""What a case asks -> the kit here, the sums there, the parts there."""
