"""The real German Traffic Sign Recognition Benchmark, kept by the same contract as the rendered signs.

Two ways in. ``load_gtsrb`` reads torchvision's layout (and lets torchvision download it, with its MD5 sums): its
training part is split by *track* into train and validation, its official test part is the test set. ``load_npz``
reads one file with arrays ``x`` (N, H, W, 3) uint8, ``y`` (N,) and ``track`` (N,), for measuring offline: images of the
official *training* part, split by track into all three parts; or, with ``all_tracks``, into the train and validation
parts that torchvision's layout gets, for a network that the official test part will judge elsewhere.

A track is one physical sign filmed as the car drove by: about 30 frames that differ little. Frames of one track in
both train and test would measure memory, not skill (chapter 02 measures by how much).

Source: Stallkamp et al. 2012, "Man vs. computer", Neural Networks 32; files at benchmark.ini.rub.de.
"""

from __future__ import annotations

import csv
import hashlib
import logging
import os
import urllib.error
import zipfile
from pathlib import Path

import numpy as np

from course_lib.data.dataset import SignDataset, Splits, split_by_group
from course_lib.errors import CourseError
from course_lib.storage.arrays import write_npy
from course_lib.storage.cache import cached, reading
from course_lib.storage.files import cache_place, require_space, user_path

_LOG = logging.getLogger(__name__)
NUM_CLASSES = 43
# Stallkamp et al. 2012, section 2. The training part exists in two sizes: the benchmark's, and the first stage's of its
# competition, which some mirrors serve; less than the smaller one is a part of it.
OFFICIAL_TEST_IMAGES, OFFICIAL_TRAINING_IMAGES, SMALLEST_TRAINING_IMAGES = 12_630, 39_209, 26_640
OFFICIAL_TEST = "official test"  # the split's name of GTSRB's own test part: no network trained on the rest has seen it
_DECODER = 1  # raise it when the same files give other pixels
_DOWNLOAD_BYTES = 10**9  # about: the archives and what is unpacked from them
_OFFLINE = (
    "check the network and try again; or let a machine with a network run it, copy its folder, "
    "and set COURSE_GTSRB_ROOT to where it lies"
)
_NPZ_CONTRACT = "x uint8 (N, H, W, 3), y integers (N,) in 0..42, track (N,)"


def load_npz(path: str | Path, *, size: int = 32, seed: int = 0, all_tracks: bool = False) -> Splits:
    """Splits by track of the arrays ``x``, ``y``, ``track`` in one .npz file.

    Args:
        size: side of the returned images in pixels; other sizes than the file's are resampled (bilinear).
        seed: of the split; the same seed always gives the same tracks.
        all_tracks: train on every track but validation's, the same ones as ``load_gtsrb``; the test part is empty,
            because the official one is not in the file.
    Raises: CourseError if the file is missing, broken or breaks the contract above.
    """
    path = user_path(path)
    images, labels, tracks = _read_npz(path)
    images, groups = _resize(images, size), _group_numbers(labels, tracks, in_order=all_tracks)
    dataset = SignDataset(
        images,
        labels,
        groups=groups,
        attributes=pixel_attributes(images),
        name="gtsrb",
        num_classes=NUM_CLASSES,
    )
    try:
        if all_tracks:
            return Splits(*_train_and_validation(dataset, seed), dataset.subset(np.arange(0), split=OFFICIAL_TEST))
        return split_by_group(dataset, seed=seed)
    except ValueError as error:
        raise CourseError(str(error), path=path, mend="give at least three tracks of every class") from error


def load_gtsrb(root: str | Path | None = None, *, size: int = 32, seed: int = 0, download: bool = False) -> Splits:
    """torchvision's GTSRB: training part split by track into train and validation, official test part as test.

    Args:
        root: torchvision's root folder; by default ``COURSE_GTSRB_ROOT`` or a folder in the course's cache.
        size: side of the images in pixels (PIL, bilinear).
        download: let torchvision download what is missing, checked by its MD5 sums (about 500 MB).
    Raises: CourseError if files are missing or unreadable.
    """
    root = user_path(root or os.environ.get("COURSE_GTSRB_ROOT") or cache_place() / "torchvision")
    train = _read_torchvision(root, "train", size, download)
    test = _read_torchvision(root, "test", size, download)
    try:
        kept, validation = _train_and_validation(train, seed)
    except ValueError as error:
        raise CourseError(str(error), path=root, mend=_mend(root, "train")) from error
    # Each part numbers its signs from 0: without the step, train's sign 5 and test's sign 5 would look like one.
    test.groups = test.groups + train.groups.max() + 1
    test.split = OFFICIAL_TEST
    return Splits(kept, validation, test)


def pixel_attributes(images: np.ndarray) -> dict[str, np.ndarray]:
    """What the pixels alone tell, for sets that come without metadata.

    Returns: ``brightness`` (mean of the luma, 0..1), ``contrast`` (its standard deviation, 0..0.5) and ``sharpness``
    (mean absolute difference of horizontal neighbours ÷ contrast), each (N,) float32.

    >>> half_white = np.zeros((1, 3, 2, 4), np.uint8)
    >>> half_white[..., 2:] = 255
    >>> {name: round(float(values[0]), 3) for name, values in pixel_attributes(half_white).items()}
    {'brightness': 0.5, 'contrast': 0.5, 'sharpness': 0.667}
    """
    weights = np.array([0.299, 0.587, 0.114], dtype=np.float32)  # ITU-R BT.601
    brightness, contrast, sharpness = (np.empty(len(images), np.float32) for _ in range(3))
    for start in range(0, len(images), 4096):
        part = slice(start, start + 4096)
        luma = np.einsum("nchw,c->nhw", images[part].astype(np.float32) / 255, weights)
        brightness[part], contrast[part] = luma.mean((1, 2)), luma.std((1, 2))
        edges = np.abs(np.diff(luma, axis=2)).mean((1, 2))
        sharpness[part] = edges / np.maximum(contrast[part], 1e-3)
    return {"brightness": brightness, "contrast": contrast, "sharpness": sharpness}


def _train_and_validation(whole: SignDataset, seed: int) -> tuple[SignDataset, SignDataset]:
    """Two parts by track, where the test part comes from elsewhere: only validation is cut from the training part."""
    rest = split_by_group(whole, validation=0.15, test=0.01, seed=seed)
    kept = ~np.isin(whole.groups, rest.validation.groups)
    return whole.subset(kept, split="train"), rest.validation


def _group_numbers(labels: np.ndarray, tracks: np.ndarray, *, in_order: bool) -> np.ndarray:
    """(N,) one number for each (label, track): in the order of the tracks' numbers, as files are named, or as text."""
    if in_order and np.issubdtype(tracks.dtype, np.integer):
        pairs = np.stack([labels, tracks.astype(np.int64)], 1)
    else:
        # As wide as its longest name: cut to a fixed width, tracks with a common beginning would become one sign.
        pairs = np.stack([labels.astype("U"), tracks.astype("U")], 1)
    return np.unique(pairs, axis=0, return_inverse=True)[1].ravel()


def _read_npz(path: Path) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    mend = f"give a file with arrays {_NPZ_CONTRACT}"
    if not path.is_file():
        raise CourseError("no such file", path=path, mend=f"check the path, or {mend}")
    try:
        if not zipfile.is_zipfile(path):
            raise zipfile.BadZipFile("it is no zip archive, or was cut short")
        with np.load(path, allow_pickle=False) as archive:
            missing = {"x", "y", "track"} - set(archive.files)
            if missing:
                raise CourseError(f"lacks {sorted(missing)}; it has {sorted(archive.files)}", path=path, mend=mend)
            images, labels, tracks = (archive[key] for key in ("x", "y", "track"))
    except CourseError:
        raise
    except Exception as error:  # numpy, zipfile and zlib raise many types for a broken file
        # NumPy's ValueError advises to unpickle what it cannot read, which would run whatever the file asks for.
        reason = "an array is broken, or holds Python objects" if isinstance(error, ValueError) else error
        raise CourseError(f"not a readable .npz ({reason})", path=path, mend=f"copy it again, or {mend}") from error
    problem = _contract_problem(images, labels, tracks)
    if problem:
        raise CourseError(problem, path=path, mend=mend)
    return np.ascontiguousarray(images.transpose(0, 3, 1, 2)), labels.astype(np.int64), tracks


def _contract_problem(images: np.ndarray, labels: np.ndarray, tracks: np.ndarray) -> str | None:
    if images.dtype != np.uint8 or images.ndim != 4 or images.shape[3] != 3 or 0 in images.shape:
        return f"x is {images.dtype} {images.shape}"
    if labels.shape != images.shape[:1] or not np.issubdtype(labels.dtype, np.integer):
        return f"y is {labels.dtype} {labels.shape} for {len(images)} images"
    if tracks.shape != images.shape[:1] or tracks.dtype.kind not in "biufSU":
        return f"track is {tracks.dtype} {tracks.shape} for {len(images)} images"
    if labels.min() < 0 or labels.max() >= NUM_CLASSES:
        return f"y has labels {labels.min()}..{labels.max()}"
    return None


def _resize(images: np.ndarray, size: int) -> np.ndarray:
    if images.shape[2:] == (size, size):
        return images
    import torch
    from torch.nn import functional as F

    parts = [
        F.interpolate(torch.from_numpy(images[i : i + 2048]).float(), (size, size), mode="bilinear", antialias=True)
        for i in range(0, len(images), 2048)
    ]
    return torch.cat(parts).round_().clamp_(0, 255).to(torch.uint8).numpy()


def _read_torchvision(root: Path, split: str, size: int, download: bool) -> SignDataset:
    import course_lib.data.torchvision_compat  # noqa: F401, I001  # before torchvision: lets it import beside a CPU torch
    from torchvision import datasets

    try:
        if download and not _folder(root, split).exists():
            require_space(root, _DOWNLOAD_BYTES)
        samples = datasets.GTSRB(str(root), split=split, download=download)._samples
        problem = _layout_problem(root, samples, split)
        key = "" if problem else _digest(samples)
    except (OSError, RuntimeError, KeyError, ValueError, TypeError, csv.Error) as error:
        if isinstance(error, CourseError):
            raise
        problem = f"GTSRB's {split} part is not complete here ({error})"
        offline = download and isinstance(error, urllib.error.URLError)
        raise CourseError(problem, path=root, mend=_OFFLINE if offline else _mend(root, split)) from error
    if problem:
        raise CourseError(problem, path=root, mend=_mend(root, split))
    images, native = _decoded(samples, split, size, key, _mend(root, split))
    labels = np.array([label for _, label in samples])
    # "00017/00003_00012.ppm" is frame 12 of track 3 of class 17; the test part has no tracks.
    keys = [f"{label}/{Path(name).name.split('_')[0] if split == 'train' else name}" for name, label in samples]
    groups = np.unique(keys, return_inverse=True)[1]
    attributes = {"native_size": native, **pixel_attributes(images)}
    return SignDataset(images, labels, groups=groups, attributes=attributes, name="gtsrb", split=split)


def _mend(root: Path, split: str) -> str:
    command = "course data gtsrb --download (about 500 MB), or set COURSE_GTSRB_ROOT to where it lies"
    folder = _folder(root, split)
    # torchvision takes a folder that is there for a complete one and would download nothing.
    return f"delete {folder}, then: {command}" if folder.exists() else command


def _folder(root: Path, split: str) -> Path:
    return root / "gtsrb" / "GTSRB" / ("Training" if split == "train" else "Final_Test")


def _layout_problem(root: Path, samples: list[tuple[str, int]], split: str) -> str | None:
    if not samples:
        return f"GTSRB's {split} part holds no images"
    if split == "test":
        wrong = {label for _, label in samples if not 0 <= label < NUM_CLASSES}
        if wrong:
            return f"GT-final_test.csv names classes {sorted(wrong)}"
        # Accuracy on a part of them could not stand beside a published one.
        different = len({name for name, _ in samples})
        if different == len(samples) == OFFICIAL_TEST_IMAGES:
            return None
        return f"GT-final_test.csv names {different:,} different test images instead of {OFFICIAL_TEST_IMAGES:,}"
    # torchvision numbers the folders it finds: one folder less, and every later class has a wrong label.
    folders, expected = {Path(name).parent.name for name, _ in samples}, {f"{c:05d}" for c in range(NUM_CLASSES)}
    if folders != expected:
        return f"GTSRB's class folders differ from 00000 … 00042: {sorted(folders ^ expected)}"
    if len(samples) < SMALLEST_TRAINING_IMAGES:
        return f"GTSRB's training part holds {len(samples):,} images of {OFFICIAL_TRAINING_IMAGES:,}"
    if len(samples) not in (SMALLEST_TRAINING_IMAGES, OFFICIAL_TRAINING_IMAGES):
        _LOG.warning(
            "GTSRB's training part has %d images; the benchmark's has %d", len(samples), OFFICIAL_TRAINING_IMAGES
        )
    archive = root / "gtsrb" / "GTSRB-Training_fixed.zip"
    if zipfile.is_zipfile(archive):
        with zipfile.ZipFile(archive) as content:
            files = [entry for entry in content.infolist() if not entry.is_dir()]
        gone = [entry.filename for entry in files if not (root / "gtsrb" / entry.filename).is_file()]
        if gone:
            return f"{len(gone)} of {len(files)} training files were not unpacked, {gone[0]} for one"
    return None


def _digest(samples: list[tuple[str, int]]) -> str:
    """Of the files behind the decoded images: other files, or files written anew, are another digest."""
    digest = hashlib.sha256()
    for name, label in samples:
        state = os.stat(name)
        digest.update(f"{name}/{label}/{state.st_size}/{state.st_mtime_ns}\n".encode(errors="surrogateescape"))
    return digest.hexdigest()


def _decoded(
    samples: list[tuple[str, int]], split: str, size: int, files: str, mend: str
) -> tuple[np.ndarray, np.ndarray]:
    """Images (N, 3, size, size), uint8, and native sizes (N,), from the cache; ``files`` is the digest of all files."""

    def build(folder: Path) -> None:
        images, native = _decode(samples, size, mend)
        write_npy(folder / "images.npy", images)
        write_npy(folder / "native_size.npy", native)

    identity = {"version": _DECODER, "split": split, "size": size, "files": files}
    names = ("images.npy", "native_size.npy")
    needed = len(samples) * (3 * size**2 + 4)
    folder = cached("gtsrb", f"{split}_{size}px", identity, names, build, needed_bytes=needed)
    with reading(folder):
        images = np.load(folder / "images.npy", mmap_mode="r", allow_pickle=False)
        return images, np.load(folder / "native_size.npy", allow_pickle=False)


def _decode(samples: list[tuple[str, int]], size: int, mend: str) -> tuple[np.ndarray, np.ndarray]:
    from PIL import Image

    images = np.empty((len(samples), 3, size, size), np.uint8)
    native = np.empty(len(samples), np.float32)
    for i, (name, _) in enumerate(samples):
        try:
            with Image.open(name) as picture:
                native[i] = max(picture.size)
                resized = picture.convert("RGB").resize((size, size), Image.Resampling.BILINEAR)
        except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
            raise CourseError(f"not a readable image ({error})", path=name, mend=mend) from error
        images[i] = np.asarray(resized).transpose(2, 0, 1)
    return images, native
