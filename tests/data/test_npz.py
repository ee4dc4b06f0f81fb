"""One .npz file of signs is split by track, and a broken one is named, never guessed at or unpickled."""

from __future__ import annotations

import pickle
import zipfile

import numpy as np
import pytest

from course_lib import data
from course_lib.data import load, load_npz
from course_lib.errors import CourseError


def signs():
    """x uint8 (24, 3, 16, 16), labels and groups: three classes of four signs, two images of each."""
    groups = np.repeat(np.arange(12), 2)
    images = np.random.default_rng(0).integers(0, 256, (len(groups), 3, 16, 16)).astype(np.uint8)
    return images, groups // 4, groups


def arrays():
    """What an .npz holds; every class counts its tracks from 0, as GTSRB does."""
    images, labels, groups = signs()
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
    "short track": (
        lambda p: write_archive(p, lambda a: {**a, "track": a["track"][1:]}),
        "track is int64 (23,) for 24 images",
    ),
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


def groups_of(path):
    """Images of one sign have one group: for each image the first image of its sign."""
    parts = load_npz(path, size=16)
    images = np.concatenate([part.images for part in parts])
    groups = np.concatenate([part.groups for part in parts])
    order = np.argsort([image.tobytes() for image in images], kind="stable")
    return np.unique(groups[order], return_index=True, return_inverse=True)[1:]


@pytest.mark.parametrize("kind", ["text", "bytes", "numbers"])
def test_tracks_with_long_names_stay_apart(tmp_path, kind):
    made = arrays()
    np.savez(tmp_path / "short.npz", **made)
    start = "a_long_folder_name_" * 5
    names = {
        "text": np.array([f"{start}{track}" for track in made["track"]]),
        "bytes": np.array([f"{start}{track}".encode() for track in made["track"]]),
        "numbers": made["track"] + 10**15,
    }
    np.savez(tmp_path / "long.npz", **{**made, "track": names[kind]})
    for short, long in zip(groups_of(tmp_path / "short.npz"), groups_of(tmp_path / "long.npz"), strict=True):
        assert np.array_equal(short, long)


def test_groups_are_numbered_as_the_shipped_networks_fingerprints_have_them(tmp_path):
    # Sorted as text, class first: 1, 10, 11, 2. Another numbering would be another split for the same seed.
    tracks = np.array([2, 10, 1, 11] * 2)
    arrays = {"x": np.zeros((8, 16, 16, 3), np.uint8), "y": np.repeat([2, 10], 4), "track": tracks}
    np.savez(tmp_path / "x.npz", **arrays)
    parts = load_npz(tmp_path / "x.npz", size=16)
    found = {(int(y), int(g)) for part in parts for y, g in zip(part.labels, part.groups, strict=True)}
    assert found == {(10, 0), (10, 1), (10, 2), (10, 3), (2, 4), (2, 5), (2, 6), (2, 7)}


@pytest.mark.parametrize("what", ["objects", "not an archive"])
def test_no_message_advises_to_unpickle(tmp_path, what):
    path = tmp_path / "x.npz"
    if what == "objects":
        np.savez(path, **{**arrays(), "y": np.array([None] * 24)})
    else:
        path.write_bytes(pickle.dumps(arrays()))
    with pytest.raises(CourseError) as caught:
        load_npz(path)
    assert "pickle" not in str(caught.value)
    assert "unsafe" not in str(caught.value)
