"""Trained networks that the course ships: weights in safetensors, beside a card that says where they come from.

A card (``datasets/checkpoints/<name>.json``) names the architecture, the data and its fingerprint, the command, recipe
and seed that made the weights, the scores on validation, the versions and the machine, and the SHA-256 of the weights.
It is sealed by a checksum of its own, and saved together with the weights (``course_lib.storage.cards``).

``load`` trusts nothing. It checks both sums, reads the header of the weights, and compares each tensor's name, type and
shape with the network that the card describes, built without memory (PyTorch's "meta" device): so a card that asks
for 20,000 channels is refused before they are allocated. Values that are not finite are refused, too. safetensors
holds plain arrays; nothing is unpickled.
"""

from __future__ import annotations

import hashlib
import json
import re
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from course_lib.data import Splits
from course_lib.data.gtsrb import OFFICIAL_TEST
from course_lib.errors import CourseError
from course_lib.models.card_schema import require_card
from course_lib.models.signs import STUDENT_STRIDES, SignStudent, SignTeacher
from course_lib.storage.cards import described_files, locate, read_card, replace_pair, restore_command
from course_lib.storage.files import CHECKPOINTS, ROOT

# Fingerprints of splits of GTSRB's official training part: all 39,209 images by track, seed 0, as the course ships it.
OFFICIAL_TRAINING_SPLITS = frozenset(
    {
        "365511b247b4ccedb4994fd4d4b4d98d310658d9301d58f7e617461e2569ebc2",  # by track, in three parts
        "51f4dc411698062fad179ff9869bd646172740ef2860596ea59451f335eba6b3",  # every track but validation's
    }
)
_SHIPPED = re.compile("(teacher|student|final|alone|small)_(rendered|gtsrb|gtsrb_official)")
_NAMES = {torch.float32: "F32", torch.int64: "I64"}  # what the course's networks hold, by safetensors' names
_LARGEST_HEADER_BYTES = 10_000_000  # a network of the course has some 10,000


def save(model: nn.Module, name: str, provenance: dict[str, Any], *, folder: str | Path = CHECKPOINTS) -> Path:
    """Write ``<name>.safetensors`` and its card ``<name>.json``: a kill leaves the old pair or the new one.

    Args:
        provenance: what the card says besides file, sum and architecture: command, data, recipe, seed, scores, …
    Returns: the path of the weights.
    Raises:
        TypeError: a network that a card cannot describe.
        ValueError: weights that ``load`` would refuse (other types than float32, or values that are not finite).
        CourseError: the folder cannot be written.
    """
    from safetensors.torch import save as serialized

    architecture = _describe(model)  # refuses before anything is written
    state = {key: value.detach().cpu().contiguous() for key, value in model.state_dict().items()}
    with torch.device("meta"):
        expected = _build(architecture).state_dict()
    content = serialized(state)
    if reason := _tensor_problem(_header(content), expected) or _value_problem(state):
        raise ValueError(f"model cannot be saved as a checkpoint: {reason}")
    path = Path(folder) / f"{name}.safetensors"
    card = {
        "file": path.name,
        "sha256": hashlib.sha256(content).hexdigest(),
        "bytes": len(content),
        "architecture": architecture,
        "date": date.today().isoformat(),
        **provenance,
    }
    replace_pair(path, content, path.with_suffix(".json"), card)
    return path


def load(name: str, *, folder: str | Path = CHECKPOINTS) -> tuple[nn.Module, dict[str, Any]]:
    """The network of a checkpoint, in eval mode, and its card.

    Raises: CourseError if the card or the weights are missing, cut short, altered or do not fit each other.
    """
    from safetensors import SafetensorError

    card_path, mend = Path(folder) / f"{name}.json", mend_command(name, folder=folder)
    card = read_card(card_path, mend=mend)
    try:
        path, architecture = _described(card, card_path)
    except (KeyError, TypeError, ValueError) as error:
        reason = f"it lacks {error}" if isinstance(error, KeyError) else error
        raise CourseError(f"not a checkpoint's card ({reason})", path=card_path, mend=mend) from error
    place = locate(path, card["sha256"])
    if place is None:
        altered = "the checksum differs from the card's: cut short or altered"
        raise CourseError(altered if path.is_file() else "the weights are missing", path=path, mend=mend)
    try:
        model = _read(place, architecture)
    except (SafetensorError, RuntimeError, ValueError, TypeError, KeyError, AttributeError, OSError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise CourseError(f"the weights do not fit the card's architecture ({reason})", path=path, mend=mend) from error
    return model.eval(), card


def load_named(model: str | Path) -> tuple[nn.Module, dict[str, Any]]:
    """``load`` for what a user types: a network's name, or the path of a checkpoint's card or weights.

    Raises: CourseError: as ``load``; a name that no checkpoint has is answered with those that are there.
    """
    place = Path(model)
    is_path = place.suffix in (".json", ".safetensors")
    name, folder = (place.stem, place.parent) if is_path else (str(model), CHECKPOINTS)
    shipped = mend_command(name, folder=folder) != train_command(name)
    if not shipped and not exists(name, folder=folder):
        known = ", ".join(sorted(card.stem for card in CHECKPOINTS.glob("*.json")))
        raise CourseError(
            f"no network {model} is here", mend=f"name one of {known}, or the path of a checkpoint's card"
        )
    return load(name, folder=folder)


def exists(name: str, *, folder: str | Path = CHECKPOINTS) -> bool:
    """Whether a card of that name is there; ``load`` says whether it is right."""
    return (Path(folder) / f"{name}.json").is_file()


def train_command(name: str) -> str:
    """The command that trains the checkpoint of that name."""
    role, _, data = name.partition("_")
    source = "rendered" if data == "rendered" else f"<path or name of {data or 'the data'}>"
    return f"course train {'teacher' if role == 'teacher' else 'student'} --data {source}"


def mend_command(name: str, *, folder: str | Path = CHECKPOINTS) -> str:
    """The commands that bring a checkpoint back: from what the course ships, or by training it again.

    Only this checkpoint's two files are named. Nothing of the learner's is lost by it: their networks lie elsewhere
    (``models.trained``).
    """
    if Path(folder).resolve() != CHECKPOINTS or not _SHIPPED.fullmatch(name):
        return train_command(name)
    card, weights = (CHECKPOINTS / f"{name}{suffix}" for suffix in (".json", ".safetensors"))
    restore = restore_command(card)
    if restore.startswith("git"):
        restore = f"{restore} {weights.relative_to(ROOT).as_posix()}"
    else:
        restore = restore.replace(card.name, f"{name}.*")
    return f"{restore}, or train it again: {train_command(name)} --shipped"


def fingerprint(splits: Splits) -> str:
    """SHA-256 over names, labels and groups of the three parts: which image is in which part.

    A network may only be scored on a test part whose signs it was not trained on; equal fingerprints prove the same
    split. Pixels are left out: rendering may differ by one grey level between two CPUs.

    >>> from course_lib.data import SignDataset
    >>> dark, bright = (SignDataset(np.full((2, 3, 1, 1), grey, np.uint8), np.arange(2)) for grey in (0, 255))
    >>> fingerprint(Splits(dark, dark, dark)) == fingerprint(Splits(bright, bright, bright))
    True
    """
    digest = hashlib.sha256()
    for part in splits:
        digest.update(f"{part.name}/{part.split}/{len(part)}".encode())
        for values in (part.labels, part.groups):
            digest.update(np.ascontiguousarray(values, dtype="<i8").tobytes())
    return digest.hexdigest()


def load_for_split(name: str, splits: Splits, *, folder: str | Path = CHECKPOINTS) -> tuple[nn.Module, dict[str, Any]]:
    """``load``, and ``require_same_split`` of what was loaded.

    Raises: CourseError: as ``load``, or the network may have seen the test part.
    """
    model, card = load(name, folder=folder)
    require_same_split(card, splits, name=name)
    return model, card


def require_same_split(card: dict[str, Any], splits: Splits, *, name: str) -> None:
    """Raise CourseError unless the network cannot have seen the test part.

    Either it was trained on this very split, or the test part is GTSRB's official one and the network was trained on a
    split of the official training part that is known as such. That the data were called "gtsrb" proves nothing: an
    .npz may hold the official test images.
    """
    found = card.get("data_fingerprint")
    if found == fingerprint(splits):
        return
    if splits.test.split == OFFICIAL_TEST and isinstance(found, str) and found in OFFICIAL_TRAINING_SPLITS:
        return
    raise CourseError(
        f"the checkpoint {name} was trained on another split of the data: it may have seen these test images",
        mend=f"train it on this split: {train_command(name)}",
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
        student = {
            "kind": "SignStudent",
            "num_classes": model.classifier.out_features,
            "channels": list(model.channels),
        }
        return student if model.strides == STUDENT_STRIDES else {**student, "strides": list(model.strides)}
    raise TypeError(f"model must be a SignTeacher or a SignStudent, got {type(model).__name__}")


def _build(architecture: dict[str, Any]) -> nn.Module:
    options = dict(architecture)
    kinds = {"SignTeacher": SignTeacher, "SignStudent": SignStudent}
    return kinds[options.pop("kind")](**options)


def _read(path: Path, architecture: dict[str, Any]) -> nn.Module:
    """The network with its weights, compared with the file's header before anything is allocated."""
    from safetensors.torch import load as deserialized

    content = path.read_bytes()
    with torch.device("meta"):
        expected = _build(architecture).state_dict()
    reason = _tensor_problem(_header(content), expected)
    if reason is not None:
        raise ValueError(reason)
    state = deserialized(content)
    if reason := _value_problem(state):
        raise ValueError(reason)
    model = _build(architecture)
    model.load_state_dict(state)
    return model


def _described(card: dict[str, Any], card_path: Path) -> tuple[Path, dict[str, Any]]:
    """The path of the weights and the architecture, each field of the right type.

    Raises: KeyError, TypeError or ValueError saying what is not.
    """
    require_card(card)
    architecture = card["architecture"]
    ((file, _),) = described_files({"file": card["file"], "sha256": card["sha256"]}).items()
    fields = {
        "SignTeacher": {"channels", "blocks"},
        "SignStudent": {"channels", "strides"},
    }  # beside kind and num_classes
    optional = fields.get(str(architecture.get("kind")))
    given = architecture.keys() - {"kind", "num_classes"}
    if optional is None or "num_classes" not in architecture or not given <= optional:
        raise ValueError(f"architecture must be one of {sorted(fields)} with its fields, got {architecture}")
    for name in ("num_classes", *sorted(given)):
        values = [architecture[name]] if name == "num_classes" else architecture[name]
        # 100 stages or blocks: far more than any network of the course has, few enough to be built as objects.
        largest = 100 if name == "blocks" else 1_000_000
        if not isinstance(values, list) or not all(type(v) is int and 1 <= v <= largest for v in values[:101]):
            raise ValueError(f"{name} must be counts from 1 to {largest:,}, got {architecture[name]!r}")
        if len(values) > 100:
            raise ValueError(f"{name} must have at most 100 entries, got {len(values)}")
    return card_path.parent / file, architecture


def _header(content: bytes) -> dict[str, tuple[str, tuple[int, ...]]]:
    """Each tensor's type and shape as a safetensors file states them; nothing is allocated for the tensors.

    Raises: ValueError, TypeError or KeyError for what is no such file.
    Source: the safetensors format: 8 bytes n, little-endian, then n bytes of JSON.
    """
    size = int.from_bytes(content[:8], "little")
    if not 0 < size <= min(len(content) - 8, _LARGEST_HEADER_BYTES):
        raise ValueError("not a safetensors file")
    header: dict[str, dict[str, Any]] = json.loads(content[8 : 8 + size])
    header.pop("__metadata__", None)
    return {name: (str(entry["dtype"]), tuple(entry["shape"])) for name, entry in header.items()}


def _tensor_problem(found: dict[str, tuple[str, tuple[int, ...]]], expected: dict[str, torch.Tensor]) -> str | None:
    """The first tensor that is missing, too many, or of another type or shape, in words."""
    for name in sorted(found.keys() ^ expected.keys()):
        return f"the tensor {name} is {'not part of it' if name in found else 'missing'}"
    for name, (dtype, shape) in found.items():
        wanted = _NAMES[expected[name].dtype], tuple(expected[name].shape)
        if (dtype, shape) != wanted:
            return f"{name} is {dtype} {list(shape)} instead of {wanted[0]} {list(wanted[1])}"
    return None


def _value_problem(state: dict[str, torch.Tensor]) -> str | None:
    for name, value in state.items():
        if value.is_floating_point() and not torch.isfinite(value).all():
            return f"{name} holds values that are not finite"
    return None
