"""torchvision's layout of the real set is read as it is, or what is missing is named; decoded images are kept."""

from __future__ import annotations

import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from course_lib import data
from course_lib.data import load, load_gtsrb
from course_lib.errors import CourseError


def write_ppm(path, pixels):
    path.parent.mkdir(parents=True, exist_ok=True)
    height, width = pixels.shape[:2]
    path.write_bytes(f"P6\n{width} {height}\n255\n".encode() + pixels.tobytes())


@pytest.fixture
def tree(tmp_path, isolated_cache, monkeypatch):
    """GTSRB in small: 43 classes of three tracks with one frame (class 5: two), five test images."""
    monkeypatch.setattr(data.gtsrb, "OFFICIAL_TEST_IMAGES", 5)
    monkeypatch.setattr(data.gtsrb, "OFFICIAL_TRAINING_IMAGES", 132)
    monkeypatch.setattr(data.gtsrb, "SMALLEST_TRAINING_IMAGES", 129)
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
    kept = [path.name for path in (isolated_cache / "gtsrb").rglob("*")]
    assert not any(name.startswith("test") for name in kept)
    assert any(name.startswith("train") for name in kept) == (part == "Final_Test")
    assert not any(name.startswith(".") for name in kept)


def edit_rows(path: Path, change):
    path.write_text("\n".join(change(path.read_text().splitlines())) + "\n")


CSV = "gtsrb/GT-final_test.csv"
TREE_DAMAGE = {
    "no csv": lambda root: (root / CSV).unlink(),
    "csv without its columns": lambda root: (root / CSV).write_text("a;b\n1;2\n"),
    "csv cut within a row": lambda root: (root / CSV).write_text((root / CSV).read_text()[:-16]),
    "csv of bytes": lambda root: (root / CSV).write_bytes(b"\xff\x00" * 50),
    "csv of nothing": lambda root: (root / CSV).write_text(""),
    "csv with class 43": lambda root: (root / CSV).write_text((root / CSV).read_text().replace(";42", ";43")),
    "csv cut between two rows": lambda root: edit_rows(root / CSV, lambda rows: rows[:-1]),
    "csv with a row twice": lambda root: edit_rows(root / CSV, lambda rows: [*rows[:-1], rows[-2]]),
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
    kept = sorted(path.name.rpartition("_")[0] for path in (isolated_cache / "gtsrb").iterdir())
    assert kept == ["test_16px", "train_16px"]
    monkeypatch.setattr(data.gtsrb, "_decode", lambda *_: pytest.fail("the cache was not used"))
    after = load_gtsrb(tree, size=16)
    assert all(np.array_equal(a.images, b.images) for a, b in zip(before, after, strict=True))


@pytest.mark.parametrize("damage", ["truncated", "one byte", "other shape"])
def test_a_damaged_cache_is_made_again(tree, isolated_cache, damage):
    before = [part.images.copy() for part in load_gtsrb(tree, size=16)]
    cached = sorted((isolated_cache / "gtsrb").rglob("images.npy"))
    assert len(cached) == 2
    for path in cached:
        content = bytearray(path.read_bytes())
        content[len(content) // 2] ^= 0xFF
        if damage == "other shape":
            np.save(path, np.zeros((len(np.load(path)), 3, 8, 8), np.uint8))
        else:
            path.write_bytes({"truncated": content[:500], "one byte": content}[damage])
    after = load_gtsrb(tree, size=16)
    assert all(np.array_equal(a, b.images) for a, b in zip(before, after, strict=True))


def test_another_size_and_changed_files_do_not_read_the_old_cache(tree):
    assert load_gtsrb(tree, size=16).test.images.shape[2:] == (16, 16)
    assert load_gtsrb(tree, size=24).test.images.shape[2:] == (24, 24)
    write_ppm(first(tree / "gtsrb" / "GTSRB" / "Final_Test"), np.full((31, 30, 3), 77, np.uint8))
    test = load_gtsrb(tree, size=16).test
    assert (int(test.images[0].mean()), test.attributes["native_size"][0]) == (77, 31)


def test_a_training_part_of_which_most_is_gone_is_named(tree):
    for name in sorted((tree / "gtsrb" / "GTSRB" / "Training" / "00005").iterdir())[:2]:
        name.unlink()
    for label in (7, 8):
        first(tree / "gtsrb" / "GTSRB" / "Training" / f"{label:05d}").unlink()
    refused(tree, "training part holds 128 images of 132", "Training, then: course data gtsrb --download")


def test_a_training_part_of_an_unknown_size_is_told_in_the_log(tree, caplog):
    load_gtsrb(tree, size=16)
    assert not caplog.text
    (tree / "gtsrb" / "GTSRB" / "Training" / "00005" / "00001_00001.ppm").unlink()
    load_gtsrb(tree, size=16)
    assert "131 images; the benchmark's has 132" in caplog.text


def test_the_official_counts_are_the_papers():
    assert (data.gtsrb.OFFICIAL_TEST_IMAGES, data.gtsrb.OFFICIAL_TRAINING_IMAGES) == (12_630, 39_209)


def test_all_tracks_of_one_file_are_split_as_torchvisions_layout_is(tmp_path, isolated_cache, monkeypatch):
    """Twelve tracks: as text, track 10 comes before track 2."""
    counts = [12 if label in (7, 30) else 3 for label in range(43)]
    monkeypatch.setattr(data.gtsrb, "OFFICIAL_TEST_IMAGES", 1)
    monkeypatch.setattr(data.gtsrb, "OFFICIAL_TRAINING_IMAGES", sum(counts))
    monkeypatch.setattr(data.gtsrb, "SMALLEST_TRAINING_IMAGES", 1)
    frames = [(label, track) for label, count in enumerate(counts) for track in range(count)]
    pictures = {pair: np.full((16, 16, 3), 5 * (pair[1] + 1), np.uint8) for pair in frames}  # a track's grey is its own
    base = tmp_path / "root" / "gtsrb"
    for (label, track), pixels in pictures.items():
        write_ppm(base / "GTSRB" / "Training" / f"{label:05d}" / f"{track:05d}_00000.ppm", pixels)
    write_ppm(base / "GTSRB" / "Final_Test" / "Images" / "00000.ppm", np.zeros((16, 16, 3), np.uint8))
    rows = "Filename;Width;Height;Roi.X1;Roi.Y1;Roi.X2;Roi.Y2;ClassId\n00000.ppm;16;16;1;1;15;15;0\n"
    (base / "GT-final_test.csv").write_text(rows)
    shuffled = [frames[i] for i in np.random.default_rng(1).permutation(len(frames))]
    file = tmp_path / "signs.npz"
    labels, tracks = np.array(shuffled).T
    np.savez(file, x=np.stack([pictures[pair] for pair in shuffled]), y=labels, track=tracks)

    def signs(part):
        return sorted(zip(part.labels.tolist(), part.images[:, 0, 0, 0].tolist(), strict=True))

    layout, one_file = load_gtsrb(tmp_path / "root", size=16), data.load_npz(file, size=16, all_tracks=True)
    assert signs(one_file.train) == signs(layout.train)
    assert signs(one_file.validation) == signs(layout.validation)
    assert len(one_file.train) + len(one_file.validation) == len(frames)
    assert not set(one_file.train.groups) & set(one_file.validation.groups)
    assert (len(one_file.test), one_file.test.split) == (0, data.gtsrb.OFFICIAL_TEST)
    assert signs(data.load_npz(file, size=16).train) != signs(one_file.train)  # by track, the test part is cut off too
