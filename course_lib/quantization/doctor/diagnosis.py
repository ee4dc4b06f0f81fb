"""Two models in; out comes what broke first, which answers flipped, and why it is not faster here.

The doctor lays two files of one network side by side, part by part, and feeds each part of the suspect with what the
reference's part reads. A part that is wrong *then* is a cause; one that is wrong only in its own network shows damage
done before. For each cause it computes what that layer alone does to the logits, and sorts by it.

Answers are compared on all images, as the runtime computes them; layers on at most ``LOOKED_AT`` of them.
"""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike
from torch import Tensor

from course_lib.quantization.doctor.answers import Answers, compare_answers
from course_lib.quantization.doctor.causes import image_findings, layer_findings
from course_lib.quantization.doctor.files import Model, Opened, open_model
from course_lib.quantization.doctor.finding import Finding, finding, in_order
from course_lib.quantization.doctor.layers import BREAKS_DB, LARGEST_SHARE, LayerRow, decibels, layer_row
from course_lib.quantization.doctor.matching import Unmatched, aligned
from course_lib.quantization.doctor.parts import IMAGES, Part, Unreadable
from course_lib.quantization.doctor.report import Report
from course_lib.quantization.doctor.speed import speed_findings
from course_lib.quantization.doctor.walk import Walk

LOOKED_AT = 48
"""Images on which layers are compared."""


def diagnose(
    reference: Model,
    suspect: Model,
    images: np.ndarray | Tensor,
    labels: ArrayLike | None = None,
    attributes: Mapping[str, ArrayLike] | None = None,
    *,
    suspect_images: np.ndarray | Tensor | None = None,
    speed: bool = True,
) -> Report:
    """Compare a model with another one that is known to be right.

    Args:
        reference, suspect: modules, ``QuantizedNetwork``s or paths of ONNX files; with other layers, answers only.
        images: (N, C, H, W), float32, N ≥ 1, as the reference gets them.
        labels: (N,).
        attributes: name → (N,), something known about each image; flips are counted for each value.
        suspect_images: of the same shape, as the suspect's own pipeline prepares them; default: ``images``.
        speed: whether to look for what keeps the suspect from being fast.
    Raises:
        ValueError: no images, images that are not finite, models that cannot take them or give other logits.
        TypeError: no model.
        CourseError: a file that is missing or is no ONNX model.

    >>> from course_lib.models import sign_student
    >>> from course_lib.quantization.calibrated import quantize_network
    >>> import torch
    >>> model, images = sign_student(0.25).eval(), torch.rand(8, 3, 32, 32)
    >>> diagnose(model, quantize_network(model, images), images, speed=False).healthy
    True
    """
    shown = _checked(images, "images")
    fed = shown if suspect_images is None else _checked(suspect_images, "suspect_images")
    if fed.shape[0] != shown.shape[0]:
        raise ValueError(f"suspect_images must be the same {len(shown)} images, got {len(fed)}")
    with tempfile.TemporaryDirectory() as folder:
        one = open_model(reference, shown, Path(folder), "reference")
        other = open_model(suspect, fed, Path(folder), "suspect")
        logits = one.logits(shown), other.logits(fed)
        return _report((one, other), (shown, fed), logits, compare_answers(*logits, labels, attributes), speed)


def _report(
    models: tuple[Opened, Opened],
    images: tuple[np.ndarray, np.ndarray],
    logits: tuple[np.ndarray, np.ndarray],
    answers: Answers,
    speed: bool,
) -> Report:
    count = len(images[0])
    chosen = np.unique(np.linspace(0, count - 1, min(LOOKED_AT, count)).astype(int))
    walks = Walk(models[0].path), Walk(models[1].path)
    try:
        match_(walks)
        rows, found = _by_layer(walks, images[0][chosen], images[1][chosen], logits[1][chosen])
        problem = ""
        found += speed_findings(models[1].path, _named(walks), images[1][:1]) if speed else []
    except (Unmatched, Unreadable) as error:
        rows, problem = [], str(error)
        found = _outputs_only(logits, answers, problem)
    titles, counts = (models[0].title, models[1].title), (count, len(chosen))
    return Report(*titles, *counts, decibels(*logits), answers, tuple(rows), in_order(found), problem)


def _checked(images: np.ndarray | Tensor, name: str) -> np.ndarray:
    array = np.asarray(images)
    if array.ndim != 4 or len(array) == 0 or array.dtype != np.float32:
        raise ValueError(f"{name} must be float32 (N, C, H, W), N ≥ 1, got {array.dtype} {list(array.shape)}")
    if not np.isfinite(array).all():
        raise ValueError(f"{name} must be finite")
    return array


def match_(walks: tuple[Walk, Walk]) -> None:
    """Bring the suspect's parts into the reference's order. Raises: Unmatched, Unreadable: that is impossible."""
    walks[1].parts = aligned(walks[0].parts, walks[1].parts)
    if len(walks[0].parts) < 2:
        raise Unmatched("the files hold no layer that is known here")


def _named(walks: tuple[Walk, Walk]) -> list[Part]:
    """The suspect's parts with the reference's names."""
    return [replace(b, name=a.name) for a, b in zip(walks[0].parts, walks[1].parts, strict=True)]


def _by_layer(
    walks: tuple[Walk, Walk], images: np.ndarray, fed: np.ndarray, deployed: np.ndarray
) -> tuple[list[LayerRow], list[Finding]]:
    reference, suspect = walks
    right, wrong = reference.tensors(images), suspect.tensors(fed)
    rows: list[LayerRow] = []
    found: list[Finding] = []
    for place, part in enumerate(reference.parts):
        expected = right[place][1]
        alone = suspect.alone(place, _inputs(suspect.parts[place], right) or [images])
        if alone[1].shape != expected.shape:
            text = f"its tensor is {list(alone[1].shape[1:])}, not {list(expected.shape[1:])}"
            found.append(finding("operator differs", "wrong", part.name, text, LARGEST_SHARE))
            continue
        # What this layer alone does to the logits: the reference from here on, with the suspect's tensor.
        before = {i: right[i] for i in range(place)} | {place: alone}
        logits = right[-1][1], reference.tensors(images, given=before, first=place)[-1][1]
        row = layer_row(part, suspect.parts[place], expected, alone, wrong[place][1], logits)
        rows.append(row)
        if part.kind == IMAGES:
            found += image_findings(right[0][0], wrong[0][0])
        found += layer_findings(place, reference.parts, suspect.parts, row, expected, alone)
    return rows, found + _runtime_findings(wrong[-1][1], deployed)


def _inputs(part: Part, right: Sequence[tuple[np.ndarray, np.ndarray]]) -> list[np.ndarray]:
    return [right[source][1] for source in part.sources]


def _runtime_findings(simulated: np.ndarray, deployed: np.ndarray) -> list[Finding]:
    """Whether the runtime's kernels compute what the file says."""
    flips, db = int((simulated.argmax(1) != deployed.argmax(1)).sum()), decibels(simulated, deployed)
    if db >= BREAKS_DB:
        return []
    text = f"the kernels' logits are {db:.0f} dB from what the file says, {flips} of {len(simulated)} answers differ"
    return [finding("runtime differs", "wrong", "", text, 10 ** (-db / 10))]


def _outputs_only(logits: tuple[np.ndarray, np.ndarray], answers: Answers, problem: str) -> list[Finding]:
    text = f"{answers.all}; logits {decibels(*logits):.0f} dB. Layers were not compared: {problem}"
    return [finding("answers differ", "wrong" if answers.all.agreement < 0.99 else "note", "", text)]
