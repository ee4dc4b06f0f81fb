"""A checkpoint becomes one C file: load, calibrate, write, and where there is a compiler, compile and compare.

The library does each step (``checkpoints.load``, ``quantize_network``, ``integer_network``, ``c_source``); this is the
way through them that ``course export-c`` and the recorded figures share.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from course_lib.data import Splits, load
from course_lib.errors import CourseError
from course_lib.models import checkpoints
from course_lib.quantization import calibration_images
from course_lib.quantization.calibrated import QuantizedNetwork, quantize_network
from course_lib.quantization.integer import (
    Footprint,
    IntegerNetwork,
    MemoryPlan,
    c_source,
    code_lines,
    compile_c,
    find_compiler,
    footprint,
    integer_network,
    load_c,
    memory_plan,
)
from course_lib.quantization.integer.c_program import FLAGS, FOR_SIZE
from course_lib.quantization.integer.engine import Rounding
from course_lib.storage.files import atomic_path, require_writable, user_path

CALIBRATION = 512
"""Training images that the ranges are taken from."""


@dataclass(frozen=True)
class CExport:
    """A written C file and what is known of it.

    Args:
        path: of the file.
        lines: before its numbers.
        network: that it computes.
        plan: its static memory.
        needs: of objects compiled for speed and for size, none without compiler or ``size``.
        compared: images whose logits were compared with the engine's, 0 without compiler.
        differing: logits that differ among them.
        missing: why it was not compiled, "" if it was.
    """

    path: Path
    lines: int
    network: IntegerNetwork
    plan: MemoryPlan
    needs: tuple[Footprint, ...]
    compared: int
    differing: int
    missing: str

    def __str__(self) -> str:
        kinds = [type(layer).__name__.removeprefix("Integer") for layer in self.network.layers]
        counted = ", ".join(f"{kinds.count(kind)} {kind}" for kind in dict.fromkeys(kinds))
        lines = [
            f"{self.path}: {self.lines} lines, then the numbers; {self.network.rounding} rounding",
            f"layers: {counted}",
            f"RAM:    {self.plan.ram_bytes(2):,} bytes, or {self.plan.ram_bytes(1):,} where the processor multiplies "
            f"bytes (8-bit dot products), of them tensors {self.plan.arena.size:,}",
            *(f"flash:  {need.flash_bytes:,} bytes ({need.source})" for need in self.needs),
        ]
        if self.missing:
            return "\n".join([*lines, f"not compared with the engine: {self.missing}"])
        return "\n".join(
            [*lines, f"check:  {self.differing} logits differ from the engine's on {self.compared} images"]
        )


def quantized_checkpoint(model: str, data: str | None = None) -> tuple[QuantizedNetwork, Splits]:
    """A checkpoint, calibrated by min-max on ``CALIBRATION`` training images, and the data.

    Args:
        model: a shipped network's name, or the path of a checkpoint's card or weights.
        data: as ``data.load`` takes it; default: "rendered" if the card says so, else ``COURSE_DATA`` or "gtsrb".
    Raises: CourseError: the checkpoint or the data are missing or broken. ValueError: an unknown layer or data name.
    """
    network, card = checkpoints.load_named(model)
    own = "rendered" if card.get("data") == "rendered" else os.environ.get("COURSE_DATA") or "gtsrb"
    splits = load(data or own)
    images = calibration_images(splits.train, min(CALIBRATION, len(splits.train)))
    return quantize_network(network, torch.from_numpy(images)), splits


def export_c(
    model: str, out: str | Path, *, data: str | None = None, rounding: Rounding = "hardware", check: int = 200
) -> CExport:
    """Write a checkpoint as one C file; compile it and compare it with the NumPy engine where that is possible.

    Args:
        model: as in ``quantized_checkpoint``.
        out: the file to write.
        data: as in ``quantized_checkpoint``.
        rounding: "hardware" or "runtime", see ``integer_network``.
        check: test images to compare on, spread over the test part, ≥ 1.
    Raises: CourseError, ValueError: as ``quantized_checkpoint`` and ``c_source``; the file cannot be written, as its
        folder is missing, for example; it does not compile.
    """
    if check < 1:
        raise ValueError(f"check must be at least 1 image, got {check}")
    out = _writable(out)
    quantized, splits = quantized_checkpoint(model, data)
    images = splits.test.images
    channels, height, width = images.shape[1:]
    network = integer_network(quantized, rounding=rounding, input_shape=(channels, height, width))
    count = min(CALIBRATION, len(splits.train))
    source = c_source(network, title=f"{Path(model).stem}, calibrated on {count} training images")
    with atomic_path(out) as part:
        part.write_text(source, encoding="ascii")
    plan, lines = memory_plan(network), len(code_lines(source))
    if find_compiler() is None:
        return CExport(out, lines, network, plan, (), 0, 0, "no C compiler here (cc, gcc, clang)")
    with tempfile.TemporaryDirectory() as folder:
        some = images[np.linspace(0, len(images) - 1, min(check, len(images))).astype(int)]
        found = load_c(compile_c(source, folder))(some)
        sizes = (FLAGS, FOR_SIZE) if shutil.which("size") else ()
        needs = tuple(footprint(source, folder, flags=flags) for flags in sizes)
    differing = int(np.count_nonzero(found != network.logit_codes(some)))
    return CExport(out, lines, network, plan, needs, len(some), differing, "")


def _writable(out: str | Path) -> Path:
    """The path, asked before minutes of work. A folder that is not there is more likely a mistake than a wish."""
    path = user_path(out)
    if path.is_dir():
        raise CourseError("cannot write here (it is a folder)", path=path, mend="name a file, such as student.c")
    if not path.parent.exists():
        raise CourseError("cannot write here (no such folder)", path=path.parent, mend="make it, or name another one")
    require_writable(path.parent)
    return path
