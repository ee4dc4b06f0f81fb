"""PyTorch's own files, written so that a full disk says so.

``torch.save`` hands a path to compiled code, whose failure comes back without the system's reason ("unexpected pos
64 vs 0"). Serialized in memory first and written through Python, the same bytes meet a full disk as OSError, and the
course can name the mend. A state of the course has some megabytes.
"""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import torch

from course_lib.storage.files import atomic_path


def save_state(path: str | Path, state: dict[str, Any]) -> None:
    """Write what ``torch.save`` would, atomically. Raises: CourseError: the disk is full, failing or not writable."""
    buffer = io.BytesIO()
    torch.save(state, buffer)
    with atomic_path(path) as part:
        part.write_bytes(buffer.getbuffer())
