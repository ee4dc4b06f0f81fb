"""Images with labels, split so that a number measured on them means something: see ``load``."""

from __future__ import annotations

import os

from course_lib.data.augment import Augmentation
from course_lib.data.dataset import SignDataset, Splits, split_by_group, split_by_image
from course_lib.data.gtsrb import load_gtsrb, load_npz, pixel_attributes

__all__ = [
    "Augmentation",
    "SignDataset",
    "Splits",
    "chosen",
    "load",
    "load_gtsrb",
    "load_npz",
    "pixel_attributes",
    "split_by_group",
    "split_by_image",
]


def chosen(name: str | os.PathLike[str] | None = None) -> str:
    """The name of a set: the one given, else ``COURSE_DATA``, else "rendered"."""
    return os.fspath(name or os.environ.get("COURSE_DATA") or "rendered")


def load(
    name: str | os.PathLike[str] | None = None,
    *,
    size: int = 32,
    seed: int = 0,
    all_tracks: bool = False,
    download: bool = False,
) -> Splits:
    """Train, validation and test parts of a named set.

    Args:
        name: "rendered", "gtsrb" (torchvision's layout), or the path of an .npz with arrays x, y, track.
            By default ``COURSE_DATA``, and "rendered" where that is not set.
        size: side of the images in pixels, 16 ≤ size ≤ 96.
        seed: of the rendering and of the split by track.
        all_tracks: of an .npz: no test part, see ``load_npz``; torchvision's layout is split so in any case.
        download: of "gtsrb": let torchvision download what is missing.
    Raises:
        ValueError: unknown name (lists the known ones), a size out of range, all tracks of rendered signs, or a set
            that cannot be downloaded.
        CourseError: files are missing or broken.
    """
    name = chosen(name)
    if not 16 <= size <= 96:
        raise ValueError(f"size must be in 16..96 pixels, got {size}")
    if all_tracks and name == "rendered":
        raise ValueError("all_tracks is for real signs: rendered ones have a test part of their own")
    if download and name != "gtsrb":
        raise ValueError(f"only gtsrb can be downloaded (course data gtsrb --download), got {name!r}")
    if name == "rendered":
        from course_lib.data.rendered import load_rendered

        return load_rendered(size=size, seed=seed)
    if name == "gtsrb":
        return load_gtsrb(size=size, seed=seed, download=download)
    if name.endswith(".npz"):
        return load_npz(name, size=size, seed=seed, all_tracks=all_tracks)
    raise ValueError(f"unknown data {name!r}: expected 'rendered', 'gtsrb' or the path of an .npz file")
