"""The 43 sign pictures that the renderer starts from, each checked before it is trusted.

They lie in ``datasets/sign_templates`` as 128 × 128 RGBA files named by class id (``00.png`` … ``42.png``) beside
``card.json``: source, licence, and the SHA-256 of each. The checksum is taken of the bytes on disk, before decoding:
a picture that still opens but shows another sign is worse than one that does not open.

How they were made, and which differences between the drawings were removed: ``scripts/make_sign_templates.py``.
"""

from __future__ import annotations

import hashlib
import io
from pathlib import Path

import numpy as np
from PIL import Image

from course_lib.data.classes import CLASS_NAMES
from course_lib.errors import CourseError
from course_lib.storage.cards import described_files, read_card, restore_command
from course_lib.storage.files import DATASETS

TEMPLATES = DATASETS / "sign_templates"
MEND = restore_command(TEMPLATES)


def load_templates(folder: str | Path = TEMPLATES) -> np.ndarray:
    """All templates in class order: uint8 (43, 128, 128, 4), RGBA with straight (not premultiplied) alpha.

    Raises: CourseError naming the file that is missing, truncated or altered, and the command that mends it.
    """
    pictures = []
    for name, digest in _checksums(folder).items():
        path = Path(folder) / name
        try:
            content = path.read_bytes()
        except OSError as error:
            raise CourseError(f"the template cannot be read ({error.strerror})", path=path, mend=MEND) from error
        if hashlib.sha256(content).hexdigest() != digest:
            raise CourseError("the template was altered or cut short (its checksum differs)", path=path, mend=MEND)
        pictures.append(np.asarray(Image.open(io.BytesIO(content)).convert("RGBA")))
    return np.stack(pictures)


def templates_digest(folder: str | Path = TEMPLATES) -> str:
    """One SHA-256 over all templates' checksums: it changes when any picture changes."""
    return hashlib.sha256("".join(_checksums(folder).values()).encode()).hexdigest()


def _checksums(folder: str | Path) -> dict[str, str]:
    """File name → SHA-256, in class order, from the card."""
    path = Path(folder) / "card.json"
    card = read_card(path, mend=MEND)
    try:
        checksums = dict(sorted(described_files(card).items()))
        ids = [card["files"][name]["class_id"] for name in checksums]
    except (KeyError, TypeError, ValueError) as error:
        raise CourseError("the card lists no files with class_id and sha256", path=path, mend=MEND) from error
    if ids != list(range(len(CLASS_NAMES))):
        raise CourseError(f"the card must list the {len(CLASS_NAMES)} classes in order", path=path, mend=MEND)
    return checksums
