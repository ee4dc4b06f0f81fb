"""The kit's list of contents: every file with its sum, every network with what it is and what its outputs must be.

``manifest.json`` is read on the board by ``edge_bench.py``, with the standard library alone, and here by whoever copies
the kit or imports its results. A result names the manifest by its SHA-256: so it is known of which kit it is.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

from course_lib.errors import CourseError
from course_lib.evaluation import Estimate
from course_lib.storage.files import read_json, sha256

FORMAT = 1
"""Of the manifest and of the results; ``edge_bench.py`` carries the same number."""
NAME = "manifest.json"
MEND = "build the kit again: course kit build OUT"
Runtime = Literal["onnxruntime", "tensorrt", "c"]
Precision = Literal["fp32", "fp16", "int8"]


@dataclass(frozen=True)
class Tolerance:
    """When outputs still count as the reference's.

    Args:
        max_abs_error: largest difference of a logit, in its unit.
        top1_agreement: least fraction of images with the same largest class.
    """

    max_abs_error: float
    top1_agreement: float


@dataclass(frozen=True)
class Scores:
    """What the network is worth, measured where the kit was built.

    Args:
        accuracy: fraction right on test images.
        agreement: fraction of them with the class that the kit's first network gives.
        accuracy_change: accuracy minus the first network's, in points, paired; None of the first.
    """

    accuracy: Estimate
    agreement: float
    accuracy_change: Estimate | None


@dataclass(frozen=True)
class KitModel:
    """A network of the kit.

    Args:
        name: of its rows.
        title: what it is, in words.
        file: in the kit's folder, such as "models/fp32.onnx".
        precision: of its arithmetic.
        runtimes: that it is made for.
        reference: of ONNX: the array's name in the ``.npz``; of C: the file of its logits' codes.
        tolerance: against the reference.
        parameters: as ``onnx_counts``.
        nonzeros: of these.
        macs: of one image.
        fp16: tolerance where TensorRT computes in FP16; None where it does not.
        scores: None where they were not measured.
        main: of C: the program's file.
        images: of C: the file that holds the images.
    """

    name: str
    title: str
    file: str
    precision: Precision
    runtimes: tuple[Runtime, ...]
    reference: str
    tolerance: Tolerance
    parameters: int | None
    nonzeros: int | None
    macs: int | None
    fp16: Tolerance | None = None
    scores: Scores | None = None
    main: str | None = None
    images: str | None = None


@dataclass(frozen=True)
class Manifest:
    """A kit's contents.

    Args:
        course: version of the course.
        data: whose signs: "rendered" or "gtsrb".
        models: the first is the one that others are compared with.
        shape: (C, H, W) of an image.
        images: how many there are, with their reference outputs.
        npz: the file that holds them for ONNX.
        files: path in the kit -> {"sha256", "bytes"}, all but the manifest itself.
        sha256: of the manifest file; "" before it is written.
    """

    course: str
    data: str
    models: tuple[KitModel, ...]
    shape: tuple[int, int, int]
    images: int
    npz: str
    files: Mapping[str, Mapping[str, Any]]
    sha256: str = field(default="", compare=False)

    @property
    def total_bytes(self) -> int:
        """Of all files."""
        return sum(entry["bytes"] for entry in self.files.values())

    def model(self, name: str) -> KitModel:
        """The network of that name. Raises: CourseError: there is none."""
        for model in self.models:
            if model.name == name:
                return model
        known = ", ".join(model.name for model in self.models)
        raise CourseError(f"the kit has no network {name}", mend=f"name one of {known}")


def list_files(folder: Path) -> dict[str, dict[str, Any]]:
    """Path -> {"sha256", "bytes"} of every file below a folder but the manifest, by name."""
    paths = sorted(path for path in folder.rglob("*") if path.is_file() and path != folder / NAME)
    return {p.relative_to(folder).as_posix(): {"sha256": sha256(p), "bytes": p.stat().st_size} for p in paths}


def write_manifest(manifest: Manifest, folder: Path) -> None:
    """Write ``manifest.json`` into the kit's folder."""
    content = {
        "format": FORMAT,
        "course": manifest.course,
        "data": manifest.data,
        "inputs": {"npz": manifest.npz, "count": manifest.images, "shape": list(manifest.shape)},
        "models": [
            {key: value for key, value in asdict(model).items() if value is not None} for model in manifest.models
        ],
        "files": manifest.files,
    }
    text = json.dumps(content, indent=1, sort_keys=True, allow_nan=False)
    (folder / NAME).write_text(text + "\n", encoding="ascii", newline="\n")


def read_manifest(folder: str | Path) -> Manifest:
    """The manifest of a kit's folder, as it stands; ``read_kit`` also verifies the files that it lists.

    Raises: CourseError: it is missing, of another format or broken.
    """
    folder = Path(folder)
    content = read_json(folder / NAME, mend=MEND)
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        found = content.get("format") if isinstance(content, dict) else None
        raise CourseError(f"the kit has format {found}, this course reads {FORMAT}", path=folder / NAME, mend=MEND)
    try:
        inputs = content["inputs"]
        return Manifest(
            content["course"],
            content["data"],
            tuple(_model(entry) for entry in content["models"]),
            tuple(inputs["shape"]),
            inputs["count"],
            inputs["npz"],
            content["files"],
            sha256(folder / NAME),
        )
    except (KeyError, TypeError, AttributeError) as error:
        raise CourseError(f"not a kit's manifest ({error})", path=folder / NAME, mend=MEND) from error


def _model(entry: dict[str, Any]) -> KitModel:
    told = {
        **entry,
        "runtimes": tuple(entry["runtimes"]),
        "tolerance": Tolerance(**entry["tolerance"]),
        "fp16": Tolerance(**entry["fp16"]) if entry.get("fp16") else None,
        "scores": _scores(entry["scores"]) if entry.get("scores") else None,
    }
    counts: dict[str, Any] = {"parameters": None, "nonzeros": None, "macs": None}
    return KitModel(**{**counts, **told})


def _scores(entry: dict[str, Any]) -> Scores:
    change = entry["accuracy_change"]
    return Scores(Estimate(**entry["accuracy"]), entry["agreement"], Estimate(**change) if change else None)
