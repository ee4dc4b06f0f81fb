"""Arrays as files that a full disk cannot cut short unnoticed.

``np.save`` hands a real file to C's ``fwrite``, whose failure comes back without the system's reason ("1000 requested
and 200 written"). Written through Python's own stream a full disk says so, and the course can name the mend.
"""

from __future__ import annotations

import zipfile
from collections.abc import Mapping
from pathlib import Path

import numpy as np


def write_npy(path: str | Path, array: np.ndarray) -> None:
    """The same bytes as ``np.save`` writes; arrays of Python objects are refused with ValueError."""
    if array.dtype.hasobject:
        raise ValueError(f"array must hold plain numbers or text, got {array.dtype}")
    array = np.asarray(array, order="C")
    with open(path, "wb") as stream:
        np.lib.format.write_array_header_1_0(stream, np.lib.format.header_data_from_array_1_0(array))
        stream.write(array.reshape(-1).view(np.uint8).data)


def write_npz(path: str | Path, arrays: Mapping[str, np.ndarray]) -> None:
    """An uncompressed .npz, as ``np.savez`` writes it; arrays of Python objects are refused with ValueError."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as archive:
        for name, array in arrays.items():
            with archive.open(f"{name}.npy", "w", force_zip64=True) as member:
                np.lib.format.write_array(member, np.asarray(array), allow_pickle=False)
