"""Build the kit: one folder that is copied to a board, where a person with three commands gets a result.

The folder holds everything but the runtimes: networks, the integer network in C, images with reference outputs, the
script that measures (``edge_bench.py``, Python 3.6), ``setup.sh``, ``README.md``, and ``manifest.json`` with every
file's sum.

The same networks give the same bytes, so two kits are equal if their manifests are. Reference outputs are computed
where the kit is built; the same runtime on another processor rounds the last digits otherwise, hence ``Tolerance``.
"""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

import course_lib
from course_lib.deploy.edge.guard import require_portable
from course_lib.deploy.edge.manifest import (
    NAME,
    KitModel,
    Manifest,
    Precision,
    Runtime,
    Scores,
    Tolerance,
    list_files,
    read_manifest,
    write_manifest,
)
from course_lib.deploy.onnx import onnx_counts, open_session, run_session
from course_lib.errors import CourseError
from course_lib.storage.files import disk_errors, require_space

DEVICE = Path(__file__).with_name("device")
NPZ, BYTES = "inputs/inputs.npz", "inputs/images.u8"
LARGEST_MB = 15
"""Copied over a slow link, a kit must not be larger."""
_ALLOWED = {"fp32": (2e-4, 1.0), "int8": (0.15, 0.9)}  # error as a fraction of the largest logit, agreement
_FP16 = (0.02, 0.95)
_NAME, _TAKEN = re.compile("[a-z][a-z0-9_]*"), {"images", "file", "allow_pickle"}
_EXECUTABLE = ("setup.sh", "edge_bench.py")


@dataclass(frozen=True)
class OnnxNetwork:
    """An ONNX file that goes into the kit.

    Args:
        name: in the kit.
        title: what it is, in words.
        path: of the file.
        precision: of its arithmetic.
        runtimes: that it is made for.
        scores: see ``KitModel``.
    """

    name: str
    title: str
    path: Path
    precision: Precision
    runtimes: tuple[Runtime, ...]
    scores: Scores | None = None


@dataclass(frozen=True, eq=False)
class CNetworkFile:
    """An integer network that goes into the kit as C.

    Args:
        name: in the kit.
        title: what it is, in words.
        source: as ``course_lib.quantization.integer.c_source`` writes it.
        logits: codes (N, classes), uint8, that it must give for the kit's images.
        counts: parameters, those that are not 0, and MACs.
        scores: see ``KitModel``.
    """

    name: str
    title: str
    source: str
    logits: np.ndarray
    counts: tuple[int, int, int | None]
    scores: Scores | None = None


def build_kit(
    out: str | Path, networks: Sequence[OnnxNetwork], c_network: CNetworkFile | None, images: np.ndarray, *, data: str
) -> Manifest:
    """Write the kit's folder; an earlier kit of that name is replaced as a whole.

    Args:
        out: the folder.
        networks: the first is the one that others are compared with.
        c_network: as C, if there is one.
        images: (N, 3, H, W), uint8, N ≥ 1.
        data: whose signs, in one word.
    Raises:
        ValueError: no network, two of one name, or images of another type.
        CourseError: a network that a target cannot read (see ``require_portable``), a folder that holds other things,
            a disk that is full, or a kit larger than ``LARGEST_MB``.
    """
    out = Path(out)
    with disk_errors(out.parent):
        _check(out, networks, c_network, images)
        return _built(out, networks, c_network, images, data)


def _built(
    out: Path, networks: Sequence[OnnxNetwork], c_network: CNetworkFile | None, images: np.ndarray, data: str
) -> Manifest:
    """Fill a folder beside ``out``, and give it that name when it is whole."""
    part = out.with_name(f".{out.name}.part")
    try:
        with disk_errors(out.parent, every=True):
            shutil.rmtree(part, ignore_errors=True)
            for folder in ("models", "inputs", "c"):
                (part / folder).mkdir(parents=True)
            for name in ("edge_bench.py", "setup.sh", "README.md"):
                _copy_text(DEVICE / name, part / name)
        manifest = _fill(part, networks, c_network, images, data)
        size = sum(path.stat().st_size for path in part.rglob("*") if path.is_file())
        if size > LARGEST_MB * 1e6:
            problem = f"the kit would have {size / 1e6:.1f} MB, more than {LARGEST_MB}"
            raise CourseError(problem, path=out, mend="leave a network out")
        with disk_errors(out.parent, every=True):
            _replace(part, out)
    finally:
        shutil.rmtree(part, ignore_errors=True)
    return manifest


def _replace(part: Path, out: Path) -> None:
    """Give a finished folder its name; the earlier one goes when the new one stands there."""
    old = out.with_name(f".{out.name}.old")
    shutil.rmtree(old, ignore_errors=True)
    if out.exists():
        os.rename(out, old)
    try:
        os.rename(part, out)
    except BaseException:  # Ctrl-C, too
        if old.exists():
            os.rename(old, out)
        raise
    shutil.rmtree(old, ignore_errors=True)  # what cannot be removed now, the next kit removes


def _check(out: Path, networks: Sequence[OnnxNetwork], c_network: CNetworkFile | None, images: np.ndarray) -> None:
    names = [network.name for network in networks] + ([c_network.name] if c_network else [])
    if not networks or len(set(names)) < len(names):
        raise ValueError(f"networks must hold at least one, and all names must differ, got {names}")
    if bad := [name for name in names if not _NAME.fullmatch(name) or name in _TAKEN]:
        raise ValueError(
            f"a name must be of lower case letters, digits and _, none of {sorted(_TAKEN)}, got {bad[0]!r}"
        )
    if images.dtype != np.uint8 or images.ndim != 4 or len(images) == 0:
        raise ValueError(f"images must be (N, C, H, W), uint8, N ≥ 1, got {images.dtype} {images.shape}")
    for network in networks:
        require_portable(network.path, tensorrt="tensorrt" in network.runtimes)
    require_place(out)


def require_place(out: str | Path) -> None:
    """Raise unless a kit may be written to this folder: ask before a minute of work.

    Raises: CourseError: it holds other things, a file is in the way, or the disk is full or may not be written.
    """
    out = Path(out)
    with disk_errors(out, every=True):
        filled = out.is_dir() and any(out.iterdir())
    if filled:
        _require_nothing_else(out)
    elif out.exists() and not out.is_dir():
        raise CourseError("a file is in the way", path=out, mend="give another folder")
    with disk_errors(out.parent, every=True):
        out.parent.mkdir(parents=True, exist_ok=True)
    require_space(out.parent, int(LARGEST_MB * 1e6))


def _require_nothing_else(out: Path) -> None:
    """A folder is replaced only if all that it holds came from an earlier kit."""
    mend = "give another folder, or move what is yours"
    if not (out / NAME).is_file():
        raise CourseError("the folder holds other things than a kit", path=out, mend=mend)
    known = {*read_manifest(out).files, NAME}
    others = [p.relative_to(out).as_posix() for p in sorted(out.rglob("*")) if p.is_file()]
    # In work lies what the script compiles anew at each run.
    if extra := [name for name in others if name not in known and not name.startswith("work/")]:
        raise CourseError(f"the kit's folder holds {extra[0]}, which would be lost", path=out, mend=mend)


def _copy_text(source: Path, target: Path) -> None:
    """With the line ends that a board wants, whatever git made of them here."""
    target.write_text(source.read_text(encoding="utf-8"), encoding="utf-8", newline="\n")
    target.chmod(0o755 if target.name in _EXECUTABLE else 0o644)


def _fill(
    folder: Path, networks: Sequence[OnnxNetwork], c_network: CNetworkFile | None, images: np.ndarray, data: str
) -> Manifest:
    given = images.astype(np.float32) / np.float32(255)
    arrays, models = {"images": images}, []
    for network in networks:
        file = f"models/{network.name}.onnx"
        shutil.copyfile(network.path, folder / file)
        logits = run_session(open_session(folder / file), given)
        arrays[network.name] = logits.astype(np.float32)
        models.append(_onnx_model(network, file, folder / file, float(np.abs(logits).max())))
    np.savez(folder / NPZ, **arrays)  # pyright: ignore[reportArgumentType]  # names are checked: no argument's
    if c_network is not None:
        models.append(_c_files(folder, c_network, images))
    channels, height, width = images.shape[1:]
    files = list_files(folder)
    manifest = Manifest(course_lib.__version__, data, tuple(models), (channels, height, width), len(images), NPZ, files)
    write_manifest(manifest, folder)
    return read_manifest(folder)


def _onnx_model(network: OnnxNetwork, file: str, path: Path, largest: float) -> KitModel:
    counts = onnx_counts(path)
    halved = "tensorrt" in network.runtimes and network.precision == "fp32"
    return KitModel(
        network.name,
        network.title,
        file,
        network.precision,
        network.runtimes,
        network.name,
        _tolerance(largest, *_ALLOWED[network.precision]),
        counts.parameters,
        counts.nonzeros,
        counts.macs,
        fp16=_tolerance(largest, *_FP16) if halved else None,
        scores=network.scores,
    )


def _tolerance(largest: float, fraction: float, agreement: float) -> Tolerance:
    return Tolerance(float(f"{fraction * largest:.3g}"), agreement)


def _c_files(folder: Path, network: CNetworkFile, images: np.ndarray) -> KitModel:
    """The source, the program around it, the images as it takes them (H·W·C), and the codes it must give."""
    source, reference = f"c/{network.name}.c", f"c/{network.name}.logits.u8"
    (folder / source).write_text(network.source, encoding="ascii", newline="\n")
    _copy_text(DEVICE / "bench_main.c", folder / "c" / "bench_main.c")
    (folder / BYTES).write_bytes(np.ascontiguousarray(np.moveaxis(images, 1, -1)).tobytes())
    (folder / reference).write_bytes(network.logits.astype(np.uint8).tobytes())
    return KitModel(
        network.name,
        network.title,
        source,
        "int8",
        ("c",),
        reference,
        Tolerance(0.0, 1.0),
        *network.counts,
        scores=network.scores,
        main="c/bench_main.c",
        images=BYTES,
    )
