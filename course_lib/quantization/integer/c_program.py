"""Compile a written C file with the system's compiler, load it, run it, and ask what it needs.

Two ways to run it: as a shared library in this process (fast; its memory is static, so one call at a time), or as a
program that reads images and writes logits (for sanitizers, and for processors that an emulator plays).
"""

from __future__ import annotations

import ctypes
import hashlib
import platform
import shutil
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from course_lib.errors import CourseError
from course_lib.measure.compiler import find_compiler, require_compiler, run_tool

FLAGS = ("-O3", "-mcpu=native" if (sys.platform, platform.machine()) == ("darwin", "arm64") else "-march=native")
"""For this very processor: the compiler then uses the widest vectors that it has."""
FOR_SIZE = ("-Os",)
"""For small programs, on whatever processor the compiler makes code for."""


def compile_c(
    source: str,
    folder: str | Path,
    *,
    flags: Sequence[str] = FLAGS,
    compiler: str | None = None,
    program: bool = False,
) -> Path:
    """A shared library, or a program, from the text of ``c_source``; the text itself is kept beside it.

    Args:
        folder: created if need be. Files there are named by what decides them, so that nothing loaded is overwritten.
        flags: of the compiler.
        compiler: a name or path; default: ``find_compiler``.
        program: make the program that reads images and writes logits, else a library.
    Returns: the path of the compiled file.
    Raises: CourseError: there is no compiler, or it failed; its first words are told.
    """
    command = require_compiler(compiler)
    shape = ("-DWITH_MAIN",) if program else ("-DWITH_FACTS", "-shared", "-fPIC")
    return _compiled(source, folder, [command, "-std=c99", *flags, *shape], "" if program else ".so")


def _compiled(source: str, folder: str | Path, command: list[str], suffix: str) -> Path:
    name = hashlib.sha256("\n".join([source, *command]).encode()).hexdigest()[:16]
    text, target = Path(folder) / f"network_{name}.c", Path(folder) / f"network_{name}{suffix or '.bin'}"
    text.parent.mkdir(parents=True, exist_ok=True)
    text.write_text(source, encoding="ascii")
    run_tool([*command, "-o", str(target), str(text)], text)
    return target


@dataclass(frozen=True)
class CNetwork:
    """A loaded library.

    Args:
        library: that holds it.
        shape: (C, H, W) of the images.
        classes: logits of an image.
        image_offset: 128 where the images' codes are signed, else 0.
        logit_offset: the same of the logits.
    """

    library: ctypes.PyDLL
    shape: tuple[int, int, int]
    classes: int
    image_offset: int
    logit_offset: int

    def __call__(self, codes: np.ndarray) -> np.ndarray:
        """Codes of the logits (N, classes), as ``IntegerNetwork.logit_codes`` gives them.

        Args: codes: (N, C, H, W), of the images: the camera's bytes, uint8.
        Raises: ValueError: another type or shape.
        """
        images = self._bytes(codes)
        logits = np.empty((len(images), self.classes), np.uint8)
        for image, row in zip(images, logits, strict=True):
            self.library.classify(_pointer(image), _pointer(row))
        return _from_bytes(logits, self.logit_offset)

    def one(self, codes: np.ndarray) -> Callable[[], None]:
        """A function that classifies one image (1, C, H, W), all preparations done: what a clock should see.

        Raises: ValueError: another type or shape.
        """
        image, logits = self._bytes(codes)[0], np.empty(self.classes, np.uint8)
        classify, arguments = self.library.classify, (_pointer(image), _pointer(logits))

        def call(_keep=(image, logits)) -> None:  # the arrays must live as long as their addresses
            classify(*arguments)

        return call

    def class_of(self, codes: np.ndarray) -> list[int]:
        """The predicted classes of images (N, C, H, W)."""
        return [self.library.class_of(_pointer(image)) for image in self._bytes(codes)]

    def _bytes(self, codes: np.ndarray) -> np.ndarray:
        """(N, H, W, C), uint8."""
        dtype = np.int8 if self.image_offset else np.uint8
        if codes.dtype != dtype or codes.shape[1:] != self.shape:
            wanted = f"{np.dtype(dtype)} (N, {', '.join(map(str, self.shape))})"
            raise ValueError(f"codes must be {wanted}, got {codes.dtype} {codes.shape}")
        return to_bytes(codes, self.image_offset)


def to_bytes(codes: np.ndarray, offset: int = 0) -> np.ndarray:
    """What the C file reads: (N, H, W, C), uint8, from codes (N, C, H, W); offset: 128 for signed ones.

    >>> to_bytes(np.array([[[[1, 2]], [[3, 4]]]], np.uint8)).tolist()  # two channels, two pixels
    [[[[1, 3], [2, 4]]]]
    """
    return np.ascontiguousarray(np.moveaxis(codes.astype(np.int16) + offset, 1, -1).astype(np.uint8))


def _from_bytes(logits: np.ndarray, offset: int) -> np.ndarray:
    return (logits.astype(np.int16) - offset).astype(np.int8 if offset else np.uint8)


def _pointer(array: np.ndarray) -> ctypes.c_void_p:
    return ctypes.c_void_p(array.ctypes.data)


def load_c(path: str | Path) -> CNetwork:
    """A library that ``compile_c`` made, ready to be called.

    Raises: CourseError: it cannot be loaded, or is no network.
    """
    try:
        library = ctypes.PyDLL(str(Path(path).resolve()))  # holds the interpreter's lock: one call at a time
        height, width, channels, classes, image_offset, logit_offset = (ctypes.c_int * 6).in_dll(
            library, "network_facts"
        )
        library.classify.restype = None
    except (OSError, ValueError, AttributeError) as error:
        raise CourseError(f"not a compiled network ({error})", path=path, mend="compile it again: compile_c") from error
    return CNetwork(library, (channels, height, width), classes, image_offset, logit_offset)


def run_program(
    path: str | Path, codes: np.ndarray, *, runner: Sequence[str] = (), offsets: tuple[int, int] = (0, 0)
) -> np.ndarray:
    """Codes of the logits (N, classes) from a program that ``compile_c(…, program=True)`` made.

    Args:
        codes: (N, C, H, W), of the images, N ≥ 1.
        runner: what runs it, such as ("qemu-aarch64-static",).
        offsets: of images and logits, 128 where codes are signed.
    Raises: CourseError: it failed, or took too long.
    """
    given = to_bytes(codes, offsets[0]).tobytes()
    written = np.frombuffer(run_tool([*runner, str(Path(path).resolve())], Path(path), given), np.uint8)
    return _from_bytes(written.reshape(len(codes), -1), offsets[1])


@dataclass(frozen=True)
class Footprint:
    """What a compiled network needs.

    Args:
        flash_bytes: constants and code.
        ram_bytes: static memory that is written.
        source: where the two come from, in words.
    """

    flash_bytes: int
    ram_bytes: int
    source: str


def footprint(
    source: str, folder: str | Path, *, flags: Sequence[str] = FLAGS, compiler: str | None = None
) -> Footprint:
    """Flash and RAM from the sections of the compiled object, by binutils' ``size``.

    Raises: CourseError: no compiler, no ``size``, or one of them failed.
    """
    command, size = compiler or find_compiler(), shutil.which("size")
    if command is None or size is None:
        raise CourseError(f"no {'C compiler' if command is None else 'size'} here", mend="apt install gcc binutils")
    path = _compiled(source, folder, [command, "-std=c99", *flags, "-c"], ".o")
    rows = [line.split() for line in run_tool([size, "-A", "-d", str(path)], path).decode().splitlines()]
    sections = {row[0]: int(row[1]) for row in rows if len(row) == 3 and row[1].isdigit()}
    flash = sum(n for name, n in sections.items() if name.startswith((".text", ".rodata", ".data")))
    ram = sum(n for name, n in sections.items() if name.startswith((".bss", ".data")) and ".ro" not in name)
    return Footprint(flash, ram, f"sections of the object, {Path(command).name} {' '.join(flags)}, {sys.platform}")
