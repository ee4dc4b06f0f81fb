"""Every image set keeps one contract, no sign straddles a split, and broken files are named, never guessed at."""

from __future__ import annotations

import pickle
import sys
import types
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch.nn import functional as F

from course_lib import data
from course_lib.data import (
    Augmentation,
    SignDataset,
    Splits,
    load,
    load_gtsrb,
    load_npz,
    split_by_group,
    split_by_image,
)
from course_lib.errors import CourseError


@pytest.fixture(autouse=True)
def _one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def signs(classes=3, tracks=4, frames=2, size=16, seed=0):
    """x uint8 (N, 3, size, size), labels and groups: ``tracks`` signs of each class, ``frames`` images of each."""
    groups = np.repeat(np.arange(classes * tracks), frames)
    images = np.random.default_rng(seed).integers(0, 256, (len(groups), 3, size, size)).astype(np.uint8)
    return images, groups // tracks, groups


def dataset(**options):
    images, labels, groups = signs(**options)
    return SignDataset(images, labels, groups=groups, attributes={"row": np.arange(len(labels))})


# The contract.


def test_an_item_is_a_float_image_in_0_to_1_and_an_int_label():
    ds = dataset()
    image, label = ds[5]
    assert image.shape == (3, 16, 16)
    assert image.dtype == torch.float32
    assert type(label) is int
    assert torch.equal(image * 255, torch.from_numpy(ds.images[5]).float())
    assert label == ds.labels[5]
    image.zero_()  # an item is a copy: the set cannot be damaged through it
    assert ds.images[5].any()
    with pytest.raises(IndexError):
        ds[len(ds)]


@pytest.mark.parametrize("kind", [np.array, torch.tensor, list], ids=["numpy", "tensor", "list"])
def test_a_batch_equals_its_items(kind):
    ds = dataset()
    images, labels = ds.batch(kind([7, 0, 7, 3]))
    assert labels.dtype == torch.int64
    assert torch.equal(images, torch.stack([ds[i][0] for i in (7, 0, 7, 3)]))
    assert labels.tolist() == [ds[i][1] for i in (7, 0, 7, 3)]


def test_a_memory_mapped_set_gives_the_same_and_stays_unwritten(tmp_path):
    images, labels, _ = signs()
    np.save(tmp_path / "x.npy", images)
    mapped = SignDataset(np.load(tmp_path / "x.npy", mmap_mode="r"), labels)
    plain = SignDataset(images, labels)
    assert torch.equal(mapped[3][0], plain[3][0])
    assert torch.equal(mapped.batch(np.arange(5))[0], plain.batch(np.arange(5))[0])
    copied, _ = mapped.tensors()
    copied.zero_()
    assert np.array_equal(np.load(tmp_path / "x.npy"), images)


def test_torch_s_own_loader_reads_it():
    ds = dataset()
    images, labels = next(iter(torch.utils.data.DataLoader(ds, batch_size=len(ds))))
    assert torch.equal(images, ds.batch(np.arange(len(ds)))[0])
    assert torch.equal(labels, ds.tensors()[1])


@pytest.mark.parametrize("indices", [np.array([4, 1]), np.arange(24) % 5 == 1], ids=["positions", "mask"])
def test_a_subset_keeps_everything_known_about_its_images(indices):
    ds = dataset()
    part = ds.subset(indices, split="part")
    rows = part.attributes["row"]
    assert rows.tolist() == np.arange(24)[indices].tolist()
    for mine, whole in ((part.images, ds.images), (part.labels, ds.labels), (part.groups, ds.groups)):
        assert np.array_equal(mine, whole[rows])
    assert (part.split, part.name, part.num_classes) == ("part", ds.name, ds.num_classes)


def test_the_digest_follows_labels_signs_and_pixels():
    images, labels, groups = signs()
    digests = [
        SignDataset(*arrays, groups=signs).digest()
        for arrays, signs in (
            ((images, labels), groups),
            ((images.copy(), labels.astype(np.int32)), groups),
            ((255 - images, labels), groups),
            ((images, labels[::-1].copy()), groups),
            ((images, labels), groups[::-1]),
        )
    ]
    assert digests[0] == digests[1]
    assert len(set(digests)) == 4


IMAGES, LABELS, GROUPS = signs()
REFUSED = {
    "float images": ((IMAGES / 255, LABELS), {}, "images must be uint8"),
    "channels last": ((IMAGES.transpose(0, 2, 3, 1), LABELS), {}, "images must be uint8"),
    "one image": ((IMAGES[0], LABELS), {}, "images must be uint8"),
    "too few labels": ((IMAGES, LABELS[:-1]), {}, "labels must be 24 integers"),
    "float labels": ((IMAGES, LABELS * 1.0), {}, "labels must be 24 integers"),
    "label 43": ((IMAGES, LABELS + 41), {}, r"labels must be in 0\.\.42"),
    "label −1": ((IMAGES, LABELS - 1), {}, r"labels must be in 0\.\.42"),
    "label 2 of two classes": ((IMAGES, LABELS), {"num_classes": 2}, r"labels must be in 0\.\.1"),
    "too few groups": ((IMAGES, LABELS), {"groups": GROUPS[1:]}, "groups must have one value"),
    "float groups": ((IMAGES, LABELS), {"groups": GROUPS + 0.5}, "groups must be 24 integers"),
    "a short attribute": ((IMAGES, LABELS), {"attributes": {"blur": GROUPS[1:]}}, "blur must have one value"),
}


@pytest.mark.parametrize(("arrays", "options", "message"), REFUSED.values(), ids=REFUSED.keys())
def test_arrays_that_break_the_contract_are_named(arrays, options, message):
    with pytest.raises(ValueError, match=message):
        SignDataset(*arrays, **options)


# Splits.


def random_set(seed):
    """Classes of 3 to 30 signs, signs of 1 to 9 images, in random order, with gaps in the signs' numbers."""
    rng = np.random.default_rng(seed)
    owner = np.repeat(np.arange(5), rng.integers(3, 31, 5))
    groups = np.repeat(rng.permutation(1000)[: len(owner)], rng.integers(1, 10, len(owner)))
    label_of = dict(zip(*np.unique(groups, return_index=True), strict=True))
    labels = owner[np.searchsorted(np.sort(list(label_of)), groups)]
    order = rng.permutation(len(groups))
    images = np.zeros((len(groups), 3, 1, 1), np.uint8)
    return SignDataset(images, labels[order], groups=groups[order], attributes={"row": np.arange(len(groups))})


@pytest.mark.parametrize("seed", range(20))
@pytest.mark.parametrize(("validation", "test"), [(0.15, 0.2), (0.45, 0.5), (0.01, 0.01), (0.9, 0.05)])
def test_no_sign_is_in_two_parts_and_every_class_is_in_each(seed, validation, test):
    ds = random_set(seed)
    parts = split_by_group(ds, validation=validation, test=test, seed=seed)
    groups = [set(part.groups) for part in parts]
    assert set.union(*groups) == set(ds.groups)
    assert sum(map(len, groups)) == len(set(ds.groups))
    assert [part.split for part in parts] == ["train", "validation", "test"]
    assert sorted(np.concatenate([part.attributes["row"] for part in parts])) == list(range(len(ds)))
    assert all(set(part.labels) == set(ds.labels) for part in parts)


def test_the_fractions_are_met_within_one_sign_of_each_class():
    ds = dataset(classes=4, tracks=40, frames=1, size=1)
    parts = split_by_group(ds, validation=0.15, test=0.2)
    assert [np.bincount(part.labels).tolist() for part in parts] == [[26] * 4, [6] * 4, [8] * 4]


def test_the_seed_decides_the_split():
    ds = random_set(0)
    rows = [split_by_group(ds, seed=seed).test.attributes["row"].tolist() for seed in (1, 1, 2)]
    assert rows[0] == rows[1] != rows[2]
    images = [split_by_image(ds, seed=seed).test.attributes["row"].tolist() for seed in (1, 1, 2)]
    assert images[0] == images[1] != images[2]


def test_the_wrong_split_covers_every_image_once_and_shares_signs():
    ds = dataset(classes=4, tracks=5, frames=20, size=1)
    parts = split_by_image(ds, validation=0.15, test=0.2)
    assert [len(part) for part in parts] == [260, 60, 80]
    assert sorted(np.concatenate([part.attributes["row"] for part in parts])) == list(range(400))
    assert len(set(parts.train.groups) & set(parts.test.groups)) >= 15


@pytest.mark.parametrize("cut", [split_by_group, split_by_image])
@pytest.mark.parametrize(("validation", "test"), [(0, 0.2), (0.2, 0), (0.5, 0.5), (-0.1, 0.5), (float("nan"), 0.2)])
def test_fractions_that_leave_a_part_empty_are_refused(cut, validation, test):
    with pytest.raises(ValueError, match="positive and sum to less than 1"):
        cut(dataset(), validation=validation, test=test)


def test_two_signs_are_too_few_for_three_parts():
    with pytest.raises(ValueError, match="class 0 has 2 groups"):
        split_by_group(dataset(tracks=2))


def test_a_sign_of_two_classes_is_refused():
    images, labels, _ = signs()
    with pytest.raises(ValueError, match="several classes"):
        split_by_group(SignDataset(images, labels, groups=np.tile(np.arange(8), 3)))


# load.


@pytest.fixture
def rendered(monkeypatch):
    """Calls of the renderer, which is not run: its tests are elsewhere."""
    calls = []
    module = types.ModuleType("course_lib.data.rendered")
    module.load_rendered = lambda **options: calls.append(options) or "splits"
    monkeypatch.setitem(sys.modules, "course_lib.data.rendered", module)
    monkeypatch.delenv("COURSE_DATA", raising=False)
    return calls


def test_load_takes_the_rendered_set_unless_told_otherwise(rendered, monkeypatch):
    assert load() == "splits"
    assert load("rendered", size=48, seed=3) == "splits"
    monkeypatch.setenv("COURSE_DATA", "")
    assert load() == "splits"
    assert rendered == [{"size": 32, "seed": 0}, {"size": 48, "seed": 3}, {"size": 32, "seed": 0}]


def test_course_data_names_the_default_and_an_argument_overrules_it(rendered, monkeypatch, npz):
    monkeypatch.setenv("COURSE_DATA", str(npz))
    assert isinstance(load(size=16), Splits)
    load("rendered")
    assert len(rendered) == 1
    monkeypatch.setattr(data, "load_gtsrb", lambda **options: options)
    monkeypatch.setenv("COURSE_DATA", "gtsrb")
    assert load(size=24, seed=2) == {"size": 24, "seed": 2}


def test_an_unknown_name_or_size_is_refused_with_what_is_known(rendered):
    with pytest.raises(ValueError, match=r"unknown data 'cifar'.*'rendered', 'gtsrb'"):
        load("cifar")
    for size in (15, 97, 0, -1):
        with pytest.raises(ValueError, match=r"16\.\.96"):
            load("rendered", size=size)
    assert rendered == []


# One .npz file.


def arrays(**options):
    """What an .npz holds; every class counts its tracks from 0, as GTSRB does."""
    images, labels, groups = signs(**options)
    return {"x": images.transpose(0, 2, 3, 1), "y": labels, "track": groups % 4}


@pytest.fixture
def npz(tmp_path):
    np.savez(tmp_path / "signs.npz", **arrays())
    return tmp_path / "signs.npz"


def test_an_npz_is_split_by_class_and_track_and_nothing_is_lost(npz):
    splits = load(npz, size=16)
    groups = [set(part.groups) for part in splits]
    assert len(set.union(*groups)) == sum(map(len, groups)) == 12
    rows = {image.tobytes(): label for part in splits for image, label in zip(part.images, part.labels, strict=True)}
    images, labels, _ = signs()
    assert rows == {image.tobytes(): label for image, label in zip(images, labels, strict=True)}
    assert splits.test.attributes["brightness"].shape == (len(splits.test),)
    assert [part.labels.tolist() for part in load(npz, size=16)] == [part.labels.tolist() for part in splits]


@pytest.mark.parametrize("size", [16, 32, 48])
def test_resizing_keeps_order_dtype_and_mean(tmp_path, size):
    shades = np.linspace(0, 255, 24).astype(np.uint8)
    x = np.broadcast_to(shades[:, None, None, None], (24, 32, 32, 3))
    np.savez(tmp_path / "x.npz", **{**arrays(), "x": x})
    for part in load_npz(tmp_path / "x.npz", size=size):
        assert part.images.shape[1:] == (3, size, size)
        assert part.images.dtype == np.uint8
        # A constant image stays what it is; 24 shades: the shade tells the label.
        assert all(len(np.unique(image)) == 1 for image in part.images)
        assert [int(np.searchsorted(shades, image.flat[0])) // 8 for image in part.images] == part.labels.tolist()


class Bomb:
    def __init__(self, marker):
        self.marker = marker

    def __reduce__(self):
        return open, (str(self.marker), "w")


def damaged(content: bytes) -> bytes:
    """A byte in the middle of the largest, compressed member is another one."""
    middle = len(content) // 3
    return content[:middle] + bytes([content[middle] ^ 0xFF]) + content[middle + 1 :]


def write_archive(path, change):
    np.savez(path, **change(arrays()))


BROKEN = {
    "missing": (lambda p: None, "no such file"),
    "a folder": (lambda p: p.mkdir(), "no such file"),
    "empty": (lambda p: p.write_bytes(b""), "not a readable .npz"),
    "not a zip": (lambda p: p.write_bytes(b"x,y,track\n" * 100), "not a readable .npz"),
    "truncated": (
        lambda p: (np.savez(p, **arrays()), p.write_bytes(p.read_bytes()[: p.stat().st_size // 2])),
        "not a readable .npz",
    ),
    "one byte altered": (
        lambda p: (np.savez(p, **arrays()), p.write_bytes(damaged(p.read_bytes()))),
        "not a readable .npz",
    ),
    "one compressed byte altered": (
        lambda p: (np.savez_compressed(p, **arrays()), p.write_bytes(damaged(p.read_bytes()))),
        "not a readable .npz",
    ),
    "one array, not an archive": (
        lambda p: (np.save(p.with_suffix(".npy"), np.zeros(3)), p.with_suffix(".npy").rename(p)),
        "not a readable .npz",
    ),
    "a zip of something else": (
        lambda p: zipfile.ZipFile(p, "w").writestr("readme.txt", "hello"),
        "lacks ['track', 'x', 'y']",
    ),
    "without track": (lambda p: write_archive(p, lambda a: {"x": a["x"], "y": a["y"]}), "lacks ['track']"),
    "float x": (lambda p: write_archive(p, lambda a: {**a, "x": a["x"] / 255}), "x is float64"),
    "x channels first": (lambda p: write_archive(p, lambda a: {**a, "x": a["x"].transpose(0, 3, 1, 2)}), "x is uint8"),
    "no images": (lambda p: write_archive(p, lambda a: {k: v[:0] for k, v in a.items()}), "x is uint8 (0"),
    "float y": (lambda p: write_archive(p, lambda a: {**a, "y": a["y"] * 1.0}), "y is float64"),
    "short y": (lambda p: write_archive(p, lambda a: {**a, "y": a["y"][1:]}), "y is int64 (23,) for 24 images"),
    "short track": (lambda p: write_archive(p, lambda a: {**a, "track": a["track"][1:]}), "track has shape (23,)"),
    "label 43": (lambda p: write_archive(p, lambda a: {**a, "y": a["y"] + 41}), "y has labels 41..43"),
    "label −1": (lambda p: write_archive(p, lambda a: {**a, "y": a["y"] - 1}), "y has labels -1..1"),
    "two tracks": (lambda p: write_archive(p, lambda a: {**a, "track": a["track"] % 2}), "at least three tracks"),
}


@pytest.mark.parametrize(("spoil", "word"), BROKEN.values(), ids=BROKEN.keys())
def test_a_broken_npz_is_one_line_that_names_it_and_its_mend(tmp_path, spoil, word):
    path = tmp_path / "mine.npz"
    spoil(path)
    with pytest.raises(CourseError) as caught:
        load(path, size=16)
    message = str(caught.value)
    assert "\n" not in message
    assert str(path) in message
    assert word in message
    assert "Mend: " in message


def test_a_pickled_array_is_refused_and_never_run(tmp_path):
    bomb = np.empty(24, object)
    bomb[:] = Bomb(tmp_path / "exploded")
    for name in ("x", "y", "track"):
        np.savez(tmp_path / "bomb.npz", **{**arrays(), name: bomb})
        with pytest.raises(CourseError, match=r"bomb\.npz.*not a readable"):
            load_npz(tmp_path / "bomb.npz")
    (tmp_path / "raw.npz").write_bytes(pickle.dumps(Bomb(tmp_path / "exploded")))
    with pytest.raises(CourseError, match=r"raw\.npz"):
        load_npz(tmp_path / "raw.npz")
    assert not (tmp_path / "exploded").exists()


def test_pixel_attributes_equal_their_definitions():
    ramp = np.tile(np.arange(16, dtype=np.uint8) * 10, (1, 3, 16, 1))
    flat = np.full((1, 3, 16, 16), 51, np.uint8)
    found = data.pixel_attributes(np.concatenate([ramp, flat]))
    np.testing.assert_allclose(found["brightness"], [75 / 255, 0.2], rtol=1e-5)
    spread = np.std(np.arange(16) * 10) / 255
    np.testing.assert_allclose(found["contrast"], [spread, 0], atol=1e-6)
    np.testing.assert_allclose(found["sharpness"], [10 / 255 / spread, 0], atol=1e-4)


# torchvision's layout of the real set.


def write_ppm(path, pixels):
    path.parent.mkdir(parents=True, exist_ok=True)
    height, width = pixels.shape[:2]
    path.write_bytes(f"P6\n{width} {height}\n255\n".encode() + pixels.tobytes())


@pytest.fixture
def tree(tmp_path, isolated_cache):
    """GTSRB in small: 43 classes of three tracks with one frame (class 5: two), five test images."""
    rng, base = np.random.default_rng(0), tmp_path / "root" / "gtsrb"
    for label in range(43):
        for track in range(3):
            for frame in range(2 if label == 5 else 1):
                pixels = rng.integers(0, 256, (8 + track, 9, 3)).astype(np.uint8)
                write_ppm(base / "GTSRB" / "Training" / f"{label:05d}" / f"{track:05d}_{frame:05d}.ppm", pixels)
    rows = ["Filename;Width;Height;Roi.X1;Roi.Y1;Roi.X2;Roi.Y2;ClassId"]
    for i, label in enumerate((16, 1, 38, 33, 42)):
        write_ppm(base / "GTSRB" / "Final_Test" / "Images" / f"{i:05d}.ppm", np.full((20, 20 + i, 3), 50 * i, np.uint8))
        rows.append(f"{i:05d}.ppm;20;20;5;5;15;15;{label}")
    (base / "GT-final_test.csv").write_text("\n".join(rows) + "\n")
    return tmp_path / "root"


def test_the_real_layout_is_split_by_track_and_keeps_the_official_test_part(tree, monkeypatch):
    splits = load_gtsrb(tree, size=16)
    assert [len(part) for part in splits] == [132 - len(splits.validation), len(splits.validation), 5]
    assert splits.test.labels.tolist() == [16, 1, 38, 33, 42]
    assert splits.test.attributes["native_size"].tolist() == [20, 21, 22, 23, 24]
    assert [int(image.mean()) for image in splits.test.images] == [0, 50, 100, 150, 200]
    for part in splits[:2]:
        assert set(part.labels) == set(range(43))
        assert set(part.attributes["native_size"]) <= {9, 10}
    groups = [set(part.groups) for part in splits]
    assert [len(group) for group in groups] == [86, 43, 5]
    assert len(set.union(*groups)) == 86 + 43 + 5
    monkeypatch.setenv("COURSE_GTSRB_ROOT", str(tree))
    assert torch.equal(load("gtsrb", size=16).train.tensors()[0], splits.train.tensors()[0])


def test_images_equal_pil_s_own_resizing(tree):
    train = load_gtsrb(tree, size=24).train
    folder = tree / "gtsrb" / "GTSRB" / "Training" / "00007"
    expected = set()
    for name in folder.iterdir():
        with Image.open(name) as picture:
            expected.add(np.asarray(picture.resize((24, 24), Image.Resampling.BILINEAR)).transpose(2, 0, 1).tobytes())
    found = [image.tobytes() for image in train.images[train.labels == 7]]
    assert len(found) == 2
    assert set(found) < expected


def refused(root, *words):
    with pytest.raises(CourseError) as caught:
        load_gtsrb(root, size=16)
    message = str(caught.value)
    assert "\n" not in message
    assert str(root) in message
    for word in words:
        assert word in message


def first(folder: Path) -> Path:
    return sorted(folder.rglob("*.ppm"))[0]


def cut(path: Path, keep: int):
    path.write_bytes(path.read_bytes()[:keep])


def test_a_tree_that_is_not_there_names_the_command_that_fetches_it(tmp_path, isolated_cache):
    refused(tmp_path / "nowhere", "train part is not complete here", "Mend: course data gtsrb --download")


@pytest.mark.parametrize("keep", [0, 4, 9, 40], ids=["empty", "half a header", "header", "half the pixels"])
@pytest.mark.parametrize("part", ["Training", "Final_Test"])
def test_a_truncated_image_is_named_and_leaves_no_cache(tree, isolated_cache, part, keep):
    broken = first(tree / "gtsrb" / "GTSRB" / part)
    cut(broken, keep)
    refused(tree, str(broken), "not a readable image", f"Mend: delete {tree / 'gtsrb' / 'GTSRB' / part}, then: course")
    assert not list(isolated_cache.glob(f"gtsrb_{'train' if part == 'Training' else 'test'}*"))


CSV = "gtsrb/GT-final_test.csv"
TREE_DAMAGE = {
    "no csv": lambda root: (root / CSV).unlink(),
    "csv without its columns": lambda root: (root / CSV).write_text("a;b\n1;2\n"),
    "csv cut within a row": lambda root: (root / CSV).write_text((root / CSV).read_text()[:-16]),
    "csv of bytes": lambda root: (root / CSV).write_bytes(b"\xff\x00" * 50),
    "csv of nothing": lambda root: (root / CSV).write_text(""),
    "csv with class 43": lambda root: (root / CSV).write_text((root / CSV).read_text().replace(";42", ";43")),
    "a test image is gone": lambda root: first(root / "gtsrb/GTSRB/Final_Test").unlink(),
}


@pytest.mark.parametrize("damage", TREE_DAMAGE.values(), ids=TREE_DAMAGE.keys())
def test_a_broken_test_part_is_named_with_the_folder_to_delete(tree, damage):
    damage(tree)
    refused(tree, "Mend: delete", "Final_Test, then: course data gtsrb --download")


def test_a_missing_class_folder_is_an_error_and_does_not_shift_the_labels(tree):
    folder = tree / "gtsrb" / "GTSRB" / "Training" / "00003"
    for name in list(folder.iterdir()):
        name.unlink()
    refused(tree, "Mend: delete")
    folder.rmdir()
    refused(tree, "'00003'", "Training, then: course data gtsrb --download")


def test_a_class_of_two_tracks_is_named(tree):
    first(tree / "gtsrb" / "GTSRB" / "Training" / "00009").unlink()
    refused(tree, "class 9 has 2 groups")


def test_an_unpacking_that_was_interrupted_is_noticed(tree):
    training = tree / "gtsrb" / "GTSRB" / "Training"
    with zipfile.ZipFile(tree / "gtsrb" / "GTSRB-Training_fixed.zip", "w") as archive:
        for name in sorted(training.rglob("*.ppm")):
            archive.write(name, name.relative_to(tree / "gtsrb"))
    load_gtsrb(tree, size=16)
    (training / "00005" / "00001_00001.ppm").unlink()
    refused(tree, "1 of 132 training files were not unpacked, GTSRB/Training/00005/00001_00001.ppm")


def test_a_download_that_breaks_off_is_a_course_error_that_can_be_tried_again(tmp_path, isolated_cache, monkeypatch):
    from torchvision.datasets import gtsrb

    def no_network(url, download_root, filename=None, md5=None, **options):
        Path(download_root).mkdir(parents=True, exist_ok=True)
        (Path(download_root) / url.rpartition("/")[2]).write_bytes(b"PK\x03\x04 half a file")
        raise OSError("connection reset by peer")

    monkeypatch.setattr(gtsrb, "download_and_extract_archive", no_network)
    for download in (True, False):
        with pytest.raises(CourseError, match=r"train part is not complete here.*Mend: course data gtsrb --download"):
            load_gtsrb(tmp_path / "new", download=download)


def test_decoded_images_are_kept_and_read_again(tree, isolated_cache, monkeypatch):
    before = load_gtsrb(tree, size=16)
    kept = sorted(isolated_cache.glob("gtsrb_*.npz"))
    assert len(kept) == 2
    monkeypatch.setattr(data.gtsrb, "_decode", lambda *_: pytest.fail("the cache was not used"))
    after = load_gtsrb(tree, size=16)
    assert all(np.array_equal(a.images, b.images) for a, b in zip(before, after, strict=True))


@pytest.mark.parametrize("damage", ["truncated", "empty", "one byte", "other shape", "garbage"])
def test_a_damaged_cache_is_made_again(tree, isolated_cache, damage):
    before = load_gtsrb(tree, size=16)
    for cached in isolated_cache.glob("gtsrb_*.npz"):
        content = bytearray(cached.read_bytes())
        content[len(content) // 2] ^= 0xFF
        if damage == "other shape":
            count = 5 if "test" in cached.name else 132
            np.savez(cached, images=np.zeros((count, 3, 8, 8), np.uint8), native_size=np.zeros(count))
        else:
            cached.write_bytes(
                {"truncated": content[:500], "empty": b"", "one byte": content, "garbage": b"no zip"}[damage]
            )
    after = load_gtsrb(tree, size=16)
    assert all(np.array_equal(a.images, b.images) for a, b in zip(before, after, strict=True))


def test_another_size_and_changed_files_do_not_read_the_old_cache(tree):
    assert load_gtsrb(tree, size=16).test.images.shape[2:] == (16, 16)
    assert load_gtsrb(tree, size=24).test.images.shape[2:] == (24, 24)
    write_ppm(first(tree / "gtsrb" / "GTSRB" / "Final_Test"), np.full((31, 30, 3), 77, np.uint8))
    test = load_gtsrb(tree, size=16).test
    assert (int(test.images[0].mean()), test.attributes["native_size"][0]) == (77, 31)


# Augmented views.

NOTHING = dict.fromkeys(vars(Augmentation()), 0)


def only(**amounts):
    return Augmentation(**{**NOTHING, **amounts})


def smooth(count=1, side=32, seed=0):
    """Random images without detail: interpolation loses nothing that a tolerance would have to hide."""
    coarse = torch.rand(count, 3, 4, 4, generator=torch.Generator().manual_seed(seed))
    return F.interpolate(coarse, (side, side), mode="bicubic").clamp(0, 1)


def one(column, value=1.0, count=1):
    numbers = torch.zeros(count, 9)
    numbers[:, column] = value
    return numbers


def test_no_amount_is_no_change():
    images = torch.rand(4, 3, 32, 32)
    view = only()
    torch.testing.assert_close(view.apply(images, view.table(4, 3)), images, rtol=0, atol=1e-5)


def test_a_shift_by_a_quarter_moves_eight_of_32_pixels():
    image = torch.rand(1, 3, 32, 32)
    right = only(shift=0.25).apply(image, one(2))
    torch.testing.assert_close(right[..., :24], image[..., 8:], rtol=0, atol=1e-5)
    down = only(shift=0.25).apply(image, one(3, -1))
    torch.testing.assert_close(down[..., 8:, :], image[..., :24, :], rtol=0, atol=1e-5)


def test_a_quarter_turn_equals_rot90():
    image = torch.rand(1, 3, 16, 16)
    turned = only(rotation_deg=90).apply(image, one(0))
    torch.testing.assert_close(turned, torch.rot90(image, 1, (2, 3)), rtol=0, atol=1e-4)


@pytest.mark.parametrize("degrees", [-10, 25])
def test_a_turn_equals_pil_s_around_the_same_centre(degrees):
    image = smooth()
    turned = only(rotation_deg=abs(degrees)).apply(image, one(0, np.sign(degrees)))
    channels = [Image.fromarray(c.numpy()).rotate(degrees, Image.Resampling.BILINEAR) for c in image[0]]
    expected = torch.stack([torch.from_numpy(np.array(c)) for c in channels])
    # PIL fills the corners with black, we with the border: compare where both read the image.
    inner = (slice(None), slice(7, -7), slice(7, -7))
    torch.testing.assert_close(turned[0][inner], expected[inner], rtol=0, atol=1e-4)


@pytest.mark.parametrize(("field", "column", "x", "y"), [("zoom", 1, 1.5, 1.5), ("aspect", 5, 1.5, 1.0)])
def test_zoom_scales_both_axes_and_aspect_one(field, column, x, y):
    across = torch.linspace(-1 + 1 / 32, 1 - 1 / 32, 32).expand(1, 3, 32, 32) * 0.25 + 0.5
    inner = slice(8, 24)
    for image, scale in ((across, x), (across.mT, y)):
        out = only(**{field: 0.5}).apply(image, one(column))
        torch.testing.assert_close(
            out[..., inner, inner] - 0.5, (image[..., inner, inner] - 0.5) * scale, rtol=0, atol=1e-4
        )


def test_shear_moves_a_row_by_its_height():
    across = torch.linspace(-1 + 1 / 32, 1 - 1 / 32, 32).expand(1, 3, 32, 32) * 0.25 + 0.5
    out = only(shear=0.2).apply(across, one(4))
    expected = across + 0.2 * (across.mT - 0.5)
    torch.testing.assert_close(out[..., 8:24, 8:24], expected[..., 8:24, 8:24], rtol=0, atol=1e-4)


def test_brightness_contrast_and_saturation_equal_the_sums_by_hand():
    grey = torch.full((1, 3, 8, 8), 0.4)
    torch.testing.assert_close(only(brightness=0.5).apply(grey, one(6)), grey * np.exp(0.5), rtol=1e-5, atol=0)
    torch.testing.assert_close(only(brightness=0.5).apply(grey, one(6, -1)), grey * np.exp(-0.5), rtol=1e-5, atol=0)
    halves = grey.clone()
    halves[..., :4], halves[..., 4:] = 0.2, 0.6
    out = only(contrast=0.3).apply(halves, one(7))
    torch.testing.assert_close(out.unique(), torch.tensor([0.4 - 0.26, 0.4 + 0.26]), rtol=0, atol=1e-5)
    colour = torch.tensor([0.2, 0.4, 0.6]).view(1, 3, 1, 1).expand(1, 3, 8, 8).contiguous()
    faded = only(saturation=0.5).apply(colour, one(8, -1))
    torch.testing.assert_close(faded[0, :, 0, 0], torch.tensor([0.3, 0.4, 0.5]), rtol=0, atol=1e-5)


def test_views_stay_within_0_and_1_even_with_large_amounts():
    wild = Augmentation(180, 0.9, 0.9, 2.0, 0.9, 3.0, 1.0, 1.0)
    for view in range(5):
        out = wild.apply(torch.rand(16, 3, 16, 16), wild.table(16, view))
        assert out.isfinite().all()
        assert out.min() >= 0
        assert out.max() <= 1


def test_a_view_can_be_replayed_and_differs_from_the_next_and_from_another_seed():
    images = smooth(6)
    view = Augmentation(seed=3)
    out = [a.apply(images, a.table(6, v)) for a, v in ((view, 4), (Augmentation(seed=3), 4), (view, 5))]
    other = Augmentation(seed=4)
    assert torch.equal(out[0], out[1])
    assert not torch.equal(out[0], out[2])
    assert not torch.equal(out[0], other.apply(images, other.table(6, 4)))
    assert not torch.equal(view.table(6, 4)[0], view.table(6, 4)[1])


def test_drawing_a_view_leaves_torch_s_own_generator_alone():
    before = torch.get_rng_state()
    Augmentation().table(10, 0)
    assert torch.equal(torch.get_rng_state(), before)


def test_an_image_s_view_does_not_depend_on_the_batch_it_comes_in():
    images, view = smooth(12), Augmentation()
    table = view.table(12, 2)
    whole = view.apply(images, table)
    picked = torch.tensor([7, 2, 11])
    torch.testing.assert_close(view.apply(images[picked], table[picked]), whole[picked], rtol=0, atol=1e-6)
    assert torch.equal(view.table(5, 2), table[:5])


def test_the_numbers_are_uniform_between_minus_one_and_one():
    table = Augmentation().table(20_000, 0)
    assert table.shape == (20_000, 9)
    assert table.min() >= -1
    assert table.max() < 1
    # Standard error of a mean of 20,000 such numbers: 0.58 / √20,000 = 0.004.
    assert table.mean(0).abs().max() < 0.02
    assert (table.var(0) - 1 / 3).abs().max() < 0.02


def test_no_view_is_nearer_to_the_mirrored_sign_than_to_the_sign():
    arrow = torch.zeros(1, 3, 32, 32)
    arrow[..., 8:24, 6:12] = 1.0
    arrow[..., 8:13, 6:24] = 1.0
    centred = arrow - arrow.mean()
    view = Augmentation()
    for v in range(4):
        out = view.apply(arrow.expand(50, -1, -1, -1), view.table(50, v))
        out = out - out.mean((1, 2, 3), keepdim=True)
        assert ((out * centred).sum((1, 2, 3)) > (out * centred.flip(3)).sum((1, 2, 3))).all()


def test_the_images_given_are_not_changed():
    images = smooth(3)
    before = images.clone()
    view = Augmentation()
    view.apply(images, view.table(3, 0))
    assert torch.equal(images, before)


@pytest.mark.parametrize("field", [name for name in NOTHING if name != "seed"])
@pytest.mark.parametrize("amount", [-0.1, float("nan")])
def test_a_negative_amount_is_refused_by_name(field, amount):
    with pytest.raises(ValueError, match=f"{field} must be ≥ 0"):
        Augmentation(**{field: amount})


@pytest.mark.parametrize(("field", "amount"), [("zoom", 1.0), ("aspect", 1.5), ("contrast", 1.1), ("saturation", 2.0)])
def test_an_amount_that_would_turn_an_image_over_is_refused(field, amount):
    with pytest.raises(ValueError, match=f"{field} must be"):
        Augmentation(**{field: amount})


def test_a_negative_view_or_too_few_numbers_are_refused():
    view = Augmentation()
    with pytest.raises(ValueError, match="view must be ≥ 0, got -1"):
        view.table(3, -1)
    with pytest.raises(ValueError, match="3 images and 2 rows"):
        view.apply(smooth(3), view.table(2, 0))
