"""Trained networks that the course ships: weights in safetensors, beside a card that says where they come from.

A card (``datasets/checkpoints/<name>.json``) names the architecture, the data and its fingerprint, the command, recipe
and seed that made the weights, the scores on validation, the versions and the machine, and the SHA-256 of the weights.
``load`` trusts nothing: it checks the sum, builds the network that the card describes and demands that every tensor
fits. safetensors holds plain arrays; nothing is unpickled.
"""

from __future__ import annotations

import hashlib
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
from torch import nn

from course_lib.data import Splits
from course_lib.data.gtsrb import OFFICIAL_TEST
from course_lib.errors import CourseError
from course_lib.models.signs import SignStudent, SignTeacher
from course_lib.storage.files import CHECKPOINTS, atomic_path, read_json, sha256, write_json


def save(model: nn.Module, name: str, provenance: dict[str, Any], *, folder: str | Path = CHECKPOINTS) -> Path:
    """Write ``<name>.safetensors`` and its card ``<name>.json``.

    Args:
        provenance: what the card says besides file, sum and architecture: command, data, recipe, seed, scores, …
    Returns: the path of the weights.
    Raises: TypeError for a network that a card cannot describe.
    """
    from safetensors.torch import save_file

    architecture = _describe(model)  # refuses before anything is written
    path = Path(folder) / f"{name}.safetensors"
    with atomic_path(path) as part:
        save_file({key: value.contiguous() for key, value in model.state_dict().items()}, part)
    card = {
        "file": path.name,
        "sha256": sha256(path),
        "bytes": path.stat().st_size,
        "architecture": architecture,
        "date": date.today().isoformat(),
        **provenance,
    }
    write_json(path.with_suffix(".json"), card)
    return path


def load(name: str, *, folder: str | Path = CHECKPOINTS) -> tuple[nn.Module, dict[str, Any]]:
    """The network of a checkpoint, in eval mode, and its card.

    Raises: CourseError if the card or the weights are missing, cut short, altered or do not fit each other.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    card_path = Path(folder) / f"{name}.json"
    mend = mend_command(name)
    card = read_json(card_path, mend=mend)
    try:
        path, expected, architecture = card_path.parent / card["file"], card["sha256"], card["architecture"]
        model = _build(architecture)
    except (KeyError, TypeError, ValueError, RuntimeError) as error:  # RuntimeError: more channels than memory holds
        raise CourseError(f"not a checkpoint's card ({error})", path=card_path, mend=mend) from error
    if not path.is_file():
        raise CourseError("the weights are missing", path=path, mend=mend)
    if sha256(path) != expected:
        raise CourseError("the checksum differs from the card's: cut short or altered", path=path, mend=mend)
    try:
        model.load_state_dict(load_file(path))
    except (SafetensorError, RuntimeError) as error:
        reason = str(error).splitlines()[0]
        raise CourseError(f"the weights do not fit the card's architecture ({reason})", path=path, mend=mend) from error
    return model.eval(), card


def exists(name: str, *, folder: str | Path = CHECKPOINTS) -> bool:
    """Whether a card of that name is there; ``load`` says whether it is right."""
    return (Path(folder) / f"{name}.json").is_file()


def mend_command(name: str) -> str:
    """The commands that bring a checkpoint back: from git, or by training it again."""
    role, _, data = name.partition("_")
    target = "teacher" if role == "teacher" else "student"
    source = "rendered" if data == "rendered" else f"<path or name of {data or 'the data'}>"
    return f"git checkout -- datasets/checkpoints, or: course train {target} --data {source}"


def fingerprint(splits: Splits) -> str:
    """SHA-256 over names, labels and groups of the three parts: which image is in which part.

    A network may only be scored on a test part whose signs it was not trained on; equal fingerprints prove the same
    split. Pixels are left out: rendering may differ by one grey level between two CPUs.
    """
    digest = hashlib.sha256()
    for part in splits:
        digest.update(f"{part.name}/{part.split}/{len(part)}".encode())
        for values in (part.labels, part.groups):
            digest.update(np.ascontiguousarray(values, dtype="<i8").tobytes())
    return digest.hexdigest()


def require_same_split(card: dict[str, Any], splits: Splits, *, name: str) -> None:
    """Raise CourseError unless the network cannot have seen the test part: same split, or GTSRB's official test part.

    Networks of real signs are trained on (a part of) GTSRB's training part, so its official test part is new to them.
    """
    if splits.test.split == OFFICIAL_TEST and card.get("data") == "gtsrb":
        return
    if card.get("data_fingerprint") != fingerprint(splits):
        raise CourseError(
            f"the checkpoint {name} was trained on another split of the data: it may have seen these test images",
            mend=f"train it on this split: {mend_command(name).split('or: ')[1]}",
        )


def _describe(model: nn.Module) -> dict[str, Any]:
    if isinstance(model, SignTeacher):
        return {
            "kind": "SignTeacher",
            "num_classes": model.classifier.out_features,
            "channels": list(model.channels),
            "blocks": list(model.blocks),
        }
    if isinstance(model, SignStudent):
        return {
            "kind": "SignStudent",
            "num_classes": model.classifier.out_features,
            "channels": list(model.channels),
        }
    raise TypeError(f"model must be a SignTeacher or a SignStudent, got {type(model).__name__}")


def _build(architecture: dict[str, Any]) -> nn.Module:
    options = dict(architecture)
    kinds = {"SignTeacher": SignTeacher, "SignStudent": SignStudent}
    return kinds[options.pop("kind")](**options)
