"""``course diff A B``: the quantization doctor on two models by name, with images of the validation part.

A diagnosis is looked at again and again while something is being mended, so it must not be made on the test part.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
from torch import nn

from course_lib.data import SignDataset, load
from course_lib.errors import CourseError
from course_lib.evaluation import quartile_names
from course_lib.models import checkpoints
from course_lib.quantization.doctor import Report, diagnose

IMAGES = 512
"""Validation images on which answers are compared."""
FEW_VALUES = 8
"""An attribute with more values is cut into quarters."""


def diff(reference: str, suspect: str, *, data: str | None = None, images: int = IMAGES) -> Report:
    """Diagnose two models on validation images.

    Args:
        reference, suspect: each a shipped network's name, the path of a checkpoint's card or weights, or of an ONNX
            file.
        data: as ``data.load`` takes it; default: "rendered" if a checkpoint's card says so, else ``COURSE_DATA`` or
            "rendered".
        images: how many, spread over the validation part, ≥ 1.
    Raises: CourseError, ValueError: as ``diagnose``; a checkpoint or the data are missing or broken.
    """
    if images < 1:
        raise ValueError(f"images must be at least 1, got {images}")
    models = [_opened(name) for name in (reference, suspect)]
    cards = [card["data"] for _, card in models if "data" in card]
    own = "gtsrb" if cards and "rendered" not in cards else "rendered"
    part = load(data or os.environ.get("COURSE_DATA") or own).validation
    chosen = np.unique(np.linspace(0, len(part) - 1, min(images, len(part))).astype(int))
    shown = part.batch(chosen)[0]
    return diagnose(models[0][0], models[1][0], shown, part.labels[chosen], slices(part.subset(chosen)))


def _opened(name: str) -> tuple[nn.Module | Path, dict[str, Any]]:
    """A model and, of a checkpoint, its card."""
    place = Path(name)
    if place.suffix == ".onnx":
        if not place.is_file():
            raise CourseError("no such ONNX file", path=place, mend="export it first, or give a shipped network's name")
        return place, {}
    return checkpoints.load_named(name)


def slices(part: SignDataset) -> dict[str, np.ndarray]:
    """What is known about each image, numbers cut into quarters.

    >>> part = SignDataset(np.zeros((9, 3, 8, 8), np.uint8), np.zeros(9, int), attributes={"px": np.arange(9.0)})
    >>> sorted(set(slices(part)["px"].tolist()))
    ['0.00–2.00', '2.00–4.00', '4.00–6.00', '6.00–8.00']
    """
    found = {}
    for name, values in part.attributes.items():
        numbers = np.issubdtype(values.dtype, np.number) and len(np.unique(values)) > FEW_VALUES
        if values.ndim == 1 and (not numbers or np.isfinite(values).all()):
            found[name] = quartile_names(values) if numbers else values.astype(str)
    return found
