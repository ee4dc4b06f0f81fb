"""Images from a folder of one's own, with their labels; nothing is shipped and nothing is downloaded.

Three layouts, told apart by what is there:

* ``labels.csv`` (lines "file,label", no head) beside the images;
* one sub-folder a class, its name the label's number ("017/cat.jpg");
* files whose names end in the label ("photo_03_281.jpg").

Each image is scaled so that its shorter side has ``size`` · 256 / 224 pixels and cut to the ``size`` × ``size`` ones in
its middle, as networks trained on ImageNet were scored.
"""

from __future__ import annotations

import csv
import re
from pathlib import Path

import numpy as np
from PIL import Image, UnidentifiedImageError

from course_lib.errors import CourseError

SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".webp", ".ppm")
LABELS = "labels.csv"
_MEND = f"name a folder of images with {LABELS}, sub-folders named by label, or labels at the end of the files' names"


def image_folder(path: str | Path, size: int = 224) -> tuple[np.ndarray, np.ndarray]:
    """All images of a folder, in the order of their names, and their labels.

    Args: path: of the folder, in one of the three layouts. size: pixels of the result, each way, ≥ 1.
    Returns: images (N, 3, size, size), float32 in [0, 1], and labels (N,), int64 ≥ 0.
    Raises: ValueError: size < 1. CourseError: no folder, no image, an image without a label, or one that is no image.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     Image.new("RGB", (40, 30), (255, 0, 0)).save(Path(folder, "stop_14.png"))
    ...     images, labels = image_folder(folder, size=8)
    >>> images.shape, images[0, :, 4, 4].tolist(), labels.tolist()
    ((1, 3, 8, 8), [1.0, 0.0, 0.0], [14])
    """
    if size < 1:
        raise ValueError(f"size must be at least 1, got {size}")
    folder = Path(path)
    if not folder.is_dir():
        raise CourseError("no such folder of images", path=folder, mend=_MEND)
    labels = _labels(folder)
    if not labels:
        raise CourseError("the folder holds no image", path=folder, mend=_MEND)
    images = np.stack([_read(file, size) for file in labels])
    return images, np.fromiter(labels.values(), np.int64)


def _labels(folder: Path) -> dict[Path, int]:
    """File -> label, in the order of the names."""
    if (folder / LABELS).is_file():
        with (folder / LABELS).open(encoding="utf-8", newline="") as lines:
            rows = [row for row in csv.reader(lines) if row]
        told = {folder / row[0].strip(): row[1].strip() if len(row) > 1 else "" for row in rows}
        return {file: _number(told[file], file) for file in sorted(told)}
    files = sorted(file for file in folder.rglob("*") if file.suffix.lower() in SUFFIXES and file.is_file())
    return {file: _number(_name_label(file, folder), file) for file in files}


def _name_label(file: Path, folder: Path) -> str:
    if file.parent != folder:
        return file.relative_to(folder).parts[0]
    match = re.search(r"(?:^|[_\-])(\d+)$", file.stem)
    return match[1] if match else ""


def _number(text: str, file: Path) -> int:
    if not re.fullmatch(r"\d+", text, flags=re.ASCII):
        raise CourseError(f"no label is known for this image ({text!r} is not a class number)", path=file, mend=_MEND)
    return int(text)


def _read(file: Path, size: int) -> np.ndarray:
    """(3, size, size), float32 in [0, 1]."""
    try:
        with Image.open(file) as opened:
            image = opened.convert("RGB")
    except (UnidentifiedImageError, OSError, Image.DecompressionBombError) as error:
        raise CourseError(f"not a readable image ({error})", path=file, mend="replace it or take it away") from error
    short = round(size * 256 / 224)
    wide, high = (short * side // min(image.size) for side in image.size)
    left, top = round((wide - size) / 2), round((high - size) / 2)
    scaled = image.resize((wide, high), Image.Resampling.BILINEAR).crop((left, top, left + size, top + size))
    return (np.asarray(scaled, np.float32) / np.float32(255)).transpose(2, 0, 1)
