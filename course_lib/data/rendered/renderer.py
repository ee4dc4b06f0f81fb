"""RenderedSigns: traffic signs drawn by the course itself, offline, in seconds, from a seed.

43 classes with GTSRB's numbers and names. Like GTSRB the set consists of *tracks*: one physical sign, filmed in
several frames while the car approaches. ``scene.py`` makes the sign and its surroundings, ``camera.py`` photographs
them, ``difficulty.py`` holds every constant that decides how hard that is.

Each image comes with what is known about it (``ATTRIBUTES``), so that accuracy can be sliced by cause.

**What is exact.** All random parameters come from counters keyed by (seed, split, track): bit for bit the same on every
machine, whatever the chunk size, the order or the number of processes. The pixels pass through float32 arithmetic
whose last bit may differ between processors, and are then rounded to bytes: between two machines single pixels may
differ by one grey level. On one machine they are equal, whatever the number of threads.

**What it is not.** A network trained on rendered signs alone recognizes only about 60 % of real ones: accuracy on this
set says how networks compare, never how they would do on the road.

The images are rendered once into the course's cache (``course_lib.storage.cache``), as an array that is mapped into
memory; an altered, unfinished or mistaken entry is rendered again.
"""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

import numpy as np
import torch
from torch.nn import functional as F

from course_lib.data.classes import CLASS_NAMES
from course_lib.data.dataset import SignDataset, Splits
from course_lib.data.rendered.camera import frame_parameters, photograph
from course_lib.data.rendered.difficulty import DEFAULT, Difficulty
from course_lib.data.rendered.scene import SIGN, backgrounds, draw_tracks, sign_planes
from course_lib.data.rendered.templates import load_templates, templates_digest
from course_lib.storage.arrays import write_npy, write_npz
from course_lib.storage.cache import cached, reading

VERSION = 2  # of the renderer: a change of any pixel is a new version, and a new cache
SPLITS = {"train": 4816, "validation": 602, "test": 1204}  # tracks: 112, 14 and 28 of each class
FRAMES = 6
GROUP_OFFSET = 1_000_000  # groups are unique over the splits: split number · offset + track
ATTRIBUTES = {
    "native_size": "side of the crop on the sensor, px, 15 to 64",
    "blur": "standard deviation of the defocus, native px",
    "motion_blur": "length of the motion, native px, 0 if none",
    "gain": "light on the sign; 1 is right, above 1.5 whites clip",
    "shadow": "share of the light that a shadow takes, 0 if none",
    "occlusion": "share of the sign's area that is covered",
    "rotation": "roll, degrees",
    "weather": "0 clear, 1 rain, 2 fog, 3 night",
    "frame": "0 is the farthest",
}
FILES = ("images.npy", "table.npz")  # of a cached part
_CHUNK = 192  # tracks rendered together


def render_split(
    split: str,
    *,
    size: int = 32,
    seed: int = 0,
    tracks: int | None = None,
    frames: int = FRAMES,
    difficulty: Difficulty = DEFAULT,
    chunk: int = _CHUNK,
    progress: bool = False,
) -> SignDataset:
    """Render one part into memory, without the cache.

    Args:
        split: "train", "validation" or "test"; they share no random numbers.
        size: side of the images, 16 ≤ size ≤ 96 px.
        seed: 0 ≤ seed < 2⁶³; another seed is another set.
        tracks: number of physical signs (default: the split's own); class = track mod 43.
        frames: images of each sign, ≥ 1.
        chunk: tracks computed together; changes memory and speed, never a pixel.
    Raises: ValueError for an argument out of range; CourseError for broken templates.

    >>> signs = render_split("train", tracks=2, frames=1, size=16)
    >>> signs.images.shape, signs.images.dtype.name, signs.labels.tolist()
    ((2, 3, 16, 16), 'uint8', [0, 1])
    """
    count = _check(split, size, seed, tracks, frames)
    number = list(SPLITS).index(split)
    owner = np.repeat(np.arange(count), frames)
    chunks = [np.arange(start, min(start + chunk, count)) for start in range(0, count, chunk)]
    images, attributes = _render((seed, number), chunks, frames, difficulty, size, progress)
    return SignDataset(
        images,
        owner % len(CLASS_NAMES),
        groups=number * GROUP_OFFSET + owner,
        attributes=attributes,
        name="rendered",
        split=split,
        num_classes=len(CLASS_NAMES),
    )


def _render(
    key: tuple[int, int], chunks: list[np.ndarray], frames: int, difficulty: Difficulty, size: int, progress: bool
) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """Images and attributes of all tracks, chunk by chunk; ``key`` is (seed, split)."""
    from tqdm.auto import tqdm

    templates = _premultiplied(load_templates())
    total = frames * sum(map(len, chunks))
    images = np.empty((total, 3, size, size), np.uint8)
    attributes = {name: np.empty(total, np.float32) for name in ATTRIBUTES}
    with torch.inference_mode(), tqdm(total=total, unit="image", disable=not progress, leave=False) as bar:
        for tracks in chunks:
            pictures, known = _film(templates, (*key, tracks), frames, difficulty, size)
            rows = slice(int(tracks[0]) * frames, int(tracks[0]) * frames + len(pictures))
            images[rows] = pictures
            for name, values in attributes.items():
                values[rows] = known[name].ravel()
            bar.update(len(pictures))
    return images, attributes


def _film(
    templates: torch.Tensor, key: tuple[int, int, np.ndarray], frames: int, difficulty: Difficulty, size: int
) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """Images (tracks · frames, 3, size, size), uint8, of the tracks that ``key`` (seed, split, track numbers) names."""
    seed, number, indices = key
    drawn = draw_tracks(seed, number, indices, indices % len(CLASS_NAMES), frames, difficulty)
    planes, facts = sign_planes(templates, drawn, difficulty)
    known = frame_parameters(drawn, difficulty, facts["shadow"])
    known["occlusion"] = np.broadcast_to(facts["occlusion"][:, None], known["frame"].shape)
    return photograph(planes, backgrounds(drawn), drawn, known, key, difficulty, size).numpy(), known


def load_rendered(*, size: int = 32, seed: int = 0, progress: bool = True) -> Splits:
    """Train (28,896 images), validation (3,612) and test (7,224), from the cache or rendered into it.

    Raises: ValueError for an argument out of range; CourseError for broken templates or a cache that cannot be written.
    """
    return Splits(*(_load_split(split, size, seed, progress) for split in SPLITS))


def _load_split(split: str, size: int, seed: int, progress: bool) -> SignDataset:
    _check(split, size, seed, None, FRAMES)
    identity = {
        "version": VERSION,
        "templates": templates_digest(),
        "difficulty": asdict(DEFAULT),
        "split": split,
        "size": size,
        "seed": seed,
        "tracks": SPLITS[split],
        "frames": FRAMES,
    }

    def build(folder: Path) -> None:
        dataset = render_split(split, size=size, seed=seed, progress=progress)
        write_npy(folder / "images.npy", dataset.images)
        table = {"labels": dataset.labels, "groups": dataset.groups, **dataset.attributes}
        write_npz(folder / "table.npz", table)

    images = SPLITS[split] * FRAMES
    row_bytes = 3 * size**2 + 8 + 8 + 4 * len(ATTRIBUTES)
    label = f"{split}_{size}px_seed{seed}"
    folder = cached("rendered", label, identity, FILES, build, needed_bytes=images * row_bytes)
    return _open(folder, split)


def _open(folder: Path, split: str) -> SignDataset:
    with reading(folder):
        images = np.load(folder / "images.npy", mmap_mode="r", allow_pickle=False)
        with np.load(folder / "table.npz", allow_pickle=False) as table:
            columns = dict(table.items())
    return SignDataset(
        images,
        columns.pop("labels"),
        groups=columns.pop("groups"),
        attributes=columns,
        name="rendered",
        split=split,
        num_classes=len(CLASS_NAMES),
    )


def _premultiplied(templates: np.ndarray) -> torch.Tensor:
    """uint8 RGBA (43, 128, 128, 4) with straight alpha → float32 (43, 4, SIGN, SIGN), premultiplied, [0, 1]."""
    straight = torch.from_numpy(templates.transpose(0, 3, 1, 2).astype(np.float32) / 255)
    alpha = straight[:, 3:]
    full = torch.cat((straight[:, :3] * alpha, alpha), dim=1)
    return F.interpolate(full, size=(SIGN, SIGN), mode="area")


def _check(split: str, size: int, seed: int, tracks: int | None, frames: int) -> int:
    if split not in SPLITS:
        raise ValueError(f"split must be one of {tuple(SPLITS)}, got {split!r}")
    if not 16 <= size <= 96:
        raise ValueError(f"size must be in 16..96 pixels, got {size}")
    if not 0 <= seed < 2**63:
        raise ValueError(f"seed must be in 0..2⁶³ − 1, got {seed}")
    count = SPLITS[split] if tracks is None else tracks
    if count < 1 or frames < 1:
        raise ValueError(f"tracks and frames must be at least 1, got {count} and {frames}")
    return count
