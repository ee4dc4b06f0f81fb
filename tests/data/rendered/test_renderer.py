"""Rendered signs are a function of their seed, mean what their attributes say, and a damaged cache mends itself."""

from __future__ import annotations

import hashlib
import json
import logging
import shutil

import numpy as np
import pytest
import torch

from course_lib.data import load
from course_lib.data.classes import CLASS_GROUPS, CLASS_NAMES, SPEED_LIMITS
from course_lib.data.rendered import ATTRIBUTES, load_rendered, render_split
from course_lib.data.rendered import renderer as renderer
from course_lib.data.rendered.difficulty import DEFAULT, quantile
from course_lib.data.rendered.scene import NIGHT
from course_lib.data.rendered.templates import TEMPLATES, load_templates
from course_lib.errors import CourseError
from course_lib.storage.cards import sealed
from course_lib.storage.files import sha256


@pytest.fixture(scope="module")
def signs():
    """129 tracks: every class three times, seen in four frames."""
    return render_split("train", tracks=129, frames=4)


def luma(images: np.ndarray) -> np.ndarray:
    return images.astype(np.float32).mean(axis=1) / 255


def test_the_same_seed_gives_the_same_bytes_whatever_the_chunk_and_the_threads(signs):
    before = torch.get_num_threads()
    torch.set_num_threads(1 if before > 1 else 2)
    try:
        again = render_split("train", tracks=129, frames=4, chunk=50)
    finally:
        torch.set_num_threads(before)
    assert np.array_equal(signs.images, again.images)
    assert all(np.array_equal(signs.attributes[name], again.attributes[name]) for name in ATTRIBUTES)


def test_fewer_tracks_are_the_first_ones(signs):
    few = render_split("train", tracks=5, frames=4)
    assert np.array_equal(few.images, signs.images[:20])


@pytest.mark.parametrize("other", [{"seed": 1}, {"split": "test"}], ids=["seed", "split"])
def test_another_seed_or_part_shows_other_signs(signs, other):
    images = render_split(**{"split": "train", **other}, tracks=10, frames=4).images
    different = (images != signs.images[:40]).any(axis=(1, 2, 3))
    assert different.all()


@pytest.mark.parametrize("size", [16, 33, 96])
def test_every_size_shows_the_same_scene(signs, size):
    other = render_split("train", size=size, tracks=10, frames=4)
    assert other.images.shape == (40, 3, size, size)
    # Mean colours agree up to rounding and the border's share.
    np.testing.assert_allclose(luma(other.images).mean((1, 2)), luma(signs.images[:40]).mean((1, 2)), atol=0.03)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"size": 15}, r"16\.\.96 pixels, got 15"),
        ({"size": 97}, r"16\.\.96 pixels, got 97"),
        ({"seed": -1}, "seed must be"),
        ({"tracks": 0}, "at least 1, got 0"),
        ({"frames": 0}, "at least 1"),
        ({"split": "dev"}, "got 'dev'"),
    ],
)
def test_arguments_out_of_range_are_refused(arguments, words):
    with pytest.raises(ValueError, match=words):
        render_split(**{"split": "train", "tracks": 1, **arguments})


def test_every_part_holds_every_class_equally_often_and_no_sign_twice():
    assert all(tracks % len(CLASS_NAMES) == 0 for tracks in renderer.SPLITS.values())
    groups = [render_split(split, tracks=43, frames=1).groups for split in renderer.SPLITS]
    assert len(np.unique(np.concatenate(groups))) == 3 * 43
    assert max(renderer.SPLITS.values()) < renderer.GROUP_OFFSET


def test_labels_count_the_classes_and_a_track_keeps_its_own(signs):
    assert np.bincount(signs.labels).tolist() == [12] * 43
    for group in np.unique(signs.groups):
        assert len(np.unique(signs.labels[signs.groups == group])) == 1


def test_attributes_keep_their_documented_ranges(signs):
    table = signs.attributes
    assert set(table) == set(ATTRIBUTES)
    for name, low, high in (
        ("native_size", 15, 64),
        ("blur", 0.1, 2.0),
        ("motion_blur", 0, 5),
        ("gain", 0.02, 2.2),
        ("shadow", 0, 1),
        ("occlusion", 0, 0.6),
        ("rotation", -20, 20),
        ("weather", 0, 3),
        ("frame", 0, 3),
    ):
        values = table[name]
        assert np.isfinite(values).all(), name
        assert low <= values.min() <= values.max() <= high, (name, values.min(), values.max())
    assert set(np.unique(table["weather"])) <= {0, 1, 2, 3}


def test_the_sign_grows_as_the_car_comes_nearer(signs):
    native = signs.attributes["native_size"].reshape(129, 4)
    assert (np.diff(native, axis=1) >= 0).all()
    assert native[:, -1].mean() > 1.3 * native[:, 0].mean()


def test_more_light_gives_brighter_pictures(signs):
    order = np.argsort(signs.attributes["gain"])
    brightness = luma(signs.images).mean((1, 2))
    third = len(order) // 3
    assert brightness[order[-third:]].mean() > 1.5 * brightness[order[:third]].mean()


def test_nights_are_darker(signs):
    night = signs.attributes["weather"] == NIGHT
    assert 0.02 < night.mean() < 0.25
    assert luma(signs.images[night]).mean() < 0.7 * luma(signs.images[~night]).mean()


def test_few_native_pixels_and_blur_leave_less_detail(signs):
    pictures = luma(signs.images)
    detail = np.abs(np.diff(pictures, axis=2)).mean((1, 2)) / (pictures.std((1, 2)) + 0.02)
    size, blur = signs.attributes["native_size"], signs.attributes["blur"]
    assert np.corrcoef(detail, size)[0, 1] > 0.2
    assert np.corrcoef(detail, blur / size)[0, 1] < -0.3


def test_occlusion_is_the_difference_to_the_same_sign_uncovered():
    bare = render_split("train", tracks=129, frames=1, difficulty=DEFAULT.without("foliage", "sticker"))
    full = render_split("train", tracks=129, frames=1)
    assert not bare.attributes["occlusion"].any()
    covered = full.attributes["occlusion"] > 0.02
    assert 0.1 < covered.mean() < 0.5
    changed = (full.images != bare.images).any(axis=(1, 2, 3))
    assert changed[covered].all()
    assert not changed[full.attributes["occlusion"] == 0].any()


@pytest.mark.parametrize("effect", ["rain", "fog", "night"])
def test_switching_one_weather_off_leaves_all_other_tracks_as_they_were(signs, effect):
    kind = {"rain": 1, "fog": 2, "night": 3}[effect]
    other = render_split("train", tracks=129, frames=4, difficulty=DEFAULT.without(effect))
    before = signs.attributes["weather"]
    assert (before == kind).any()
    assert np.array_equal(other.attributes["weather"], np.where(before == kind, 0, before))
    assert np.array_equal(other.images[before != kind], signs.images[before != kind])


def test_an_effect_that_does_not_exist_is_refused():
    with pytest.raises(ValueError, match="got 'snow'"):
        DEFAULT.without("snow")


def test_quantiles_are_the_distribution_they_name():
    values = quantile(np.linspace(0, 1, 100_001)[:-1], (0.0, 1.0, 4.0, 5.0, 9.0))
    np.testing.assert_allclose(np.quantile(values, [0, 0.25, 0.5, 0.75]), [0, 1, 4, 5], atol=1e-3)
    assert values.max() < 9


def test_a_template_shows_through(signs):
    # A stop sign is red, a "keep right" blue: among the bright pictures the middle's colour must say so.
    bright = (
        (signs.attributes["gain"] > 0.8) & (signs.attributes["weather"] == 0) & (signs.attributes["occlusion"] == 0)
    )
    middle = signs.images[:, :, 8:24, 8:24].mean((2, 3))
    for label, channel in ((14, 0), (17, 0), (38, 2), (33, 2)):
        rows = bright & (signs.labels == label)
        if rows.any():
            assert (middle[rows].argmax(1) == channel).all(), CLASS_NAMES[label]


def test_classes_have_gtsrbs_numbers():
    assert len(CLASS_NAMES) == 43
    assert (CLASS_NAMES[14], CLASS_NAMES[38]) == ("Stop", "Keep right")
    assert [CLASS_NAMES[c] for c in SPEED_LIMITS] == [
        f"Speed limit ({v}km/h)" for v in (20, 30, 50, 60, 70, 80, 100, 120)
    ]
    assert sorted(CLASS_GROUPS) == list(range(43))


# --- cache ----------------------------------------------------------------------------------------------------------


@pytest.fixture
def small(isolated_cache, monkeypatch):
    """A small set under the real functions."""
    monkeypatch.setattr(renderer, "SPLITS", {"train": 43, "validation": 43, "test": 43})
    monkeypatch.setattr(renderer, "FRAMES", 1)
    monkeypatch.setattr(render_split, "__kwdefaults__", {**render_split.__kwdefaults__, "frames": 1})
    return isolated_cache


def folder_of(cache, split: str = "test"):
    (folder,) = (cache / "rendered").glob(f"{split}_*")
    return folder


def test_the_cache_gives_what_rendering_gives_and_is_read_only(small):
    first, second = load_rendered(progress=False), load_rendered(progress=False)
    fresh = render_split("test")
    for parts in (first, second):
        assert np.array_equal(parts.test.images, fresh.images)
        assert np.array_equal(parts.test.groups, fresh.groups)
        assert np.array_equal(parts.test.attributes["gain"], fresh.attributes["gain"])
    assert isinstance(second.test.images, np.memmap)
    with pytest.raises(ValueError, match="read-only"):
        second.test.images[0] = 0


def test_a_second_load_renders_nothing(small, monkeypatch):
    load_rendered(progress=False)
    monkeypatch.setattr(renderer, "render_split", None)
    load_rendered(progress=False)


def flip_a_byte(path):
    content = bytearray(path.read_bytes())
    content[-100] ^= 1
    path.write_bytes(content)


DAMAGES = {
    "altered image": lambda folder: flip_a_byte(folder / "images.npy"),
    "altered label": lambda folder: flip_a_byte(folder / "table.npz"),
    "truncated": lambda folder: (folder / "images.npy").write_bytes((folder / "images.npy").read_bytes()[:5000]),
    "missing": lambda folder: (folder / "table.npz").unlink(),
    "no manifest": lambda folder: (folder / "manifest.json").unlink(),
    "broken manifest": lambda folder: (folder / "manifest.json").write_text("{"),
    "strange manifest": lambda folder: (folder / "manifest.json").write_text("[1]"),
}


@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES.keys())
def test_a_damaged_cache_is_rendered_again_to_the_same_bytes(small, damage, caplog):
    before = load_rendered(progress=False).test.images.copy()
    damage(folder_of(small))
    with caplog.at_level(logging.WARNING):
        after = load_rendered(progress=False).test
    assert np.array_equal(after.images, before)
    assert "making test_32px_seed0" in caplog.text
    caplog.clear()
    load_rendered(progress=False)
    assert not caplog.text


def test_an_interrupted_rendering_leaves_nothing_that_counts(small, monkeypatch):
    def interrupted(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr(renderer, "write_npz", interrupted)
    with pytest.raises(KeyboardInterrupt):
        load_rendered(progress=False)
    assert not list((small / "rendered").iterdir())


def test_the_test_part_copied_over_validation_is_not_taken_for_it(small, caplog):
    before = load_rendered(progress=False).validation
    images, groups = before.images.copy(), before.groups.copy()
    victim = folder_of(small, "validation")
    shutil.rmtree(victim)
    shutil.copytree(folder_of(small, "test"), victim)
    after = load_rendered(progress=False).validation
    assert np.array_equal(after.groups, groups)
    assert np.array_equal(after.images, images)
    assert "it was made with another split" in caplog.text


def test_a_cache_that_an_earlier_version_of_the_course_wrote_is_read(small, monkeypatch):
    """Nobody renders again for a change of the cache's code: names, files and manifest are as they were."""
    load_rendered(progress=False)
    folder, fresh = folder_of(small), render_split("test")
    identity = json.loads((folder / "manifest.json").read_text())["identity"]
    digest = hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()
    assert folder.name == f"test_32px_seed0_{digest[:12]}"
    shutil.rmtree(folder)
    folder.mkdir()
    np.save(folder / "images.npy", fresh.images)
    np.savez(folder / "table.npz", labels=fresh.labels, groups=fresh.groups, **fresh.attributes)
    sums = {name: sha256(folder / name) for name in ("images.npy", "table.npz")}
    (folder / "manifest.json").write_text(json.dumps({"identity": identity, "sha256": sums}, indent=2) + "\n")
    monkeypatch.setattr(renderer, "render_split", None)
    assert np.array_equal(load_rendered(progress=False).test.images, fresh.images)


def test_another_size_or_seed_has_its_own_cache(small):
    load_rendered(progress=False)
    load_rendered(size=16, progress=False)
    load_rendered(seed=1, progress=False)
    assert len(list((small / "rendered").iterdir())) == 9


def test_a_cache_that_cannot_be_written_is_one_line(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv("COURSE_CACHE", str(tmp_path / "file" / "cache"))
    with pytest.raises(CourseError, match=r"cannot write here .*Mend: .*COURSE_CACHE"):
        load("rendered")


# --- templates ------------------------------------------------------------------------------------------------------


@pytest.fixture
def copied(tmp_path):
    return shutil.copytree(TEMPLATES, tmp_path / "sign_templates")


def test_templates_are_43_pictures_that_differ():
    pictures = load_templates()
    assert pictures.shape == (43, 128, 128, 4)
    assert len({picture.tobytes() for picture in pictures}) == 43


@pytest.mark.parametrize("damage", ["missing", "truncated", "altered"])
def test_a_damaged_template_is_named_with_its_mend(copied, damage):
    path = copied / "07.png"
    if damage == "missing":
        path.unlink()
    elif damage == "truncated":
        path.write_bytes(path.read_bytes()[:200])
    else:
        flip_a_byte(path)
    with pytest.raises(CourseError, match=r"07\.png: .*Mend: git checkout -- datasets/sign_templates"):
        load_templates(copied)


def resealed(**fields):
    return json.dumps(sealed(fields))


@pytest.mark.parametrize(
    "content",
    [
        "",
        "{",
        "[]",
        "{}",
        '{"files": {"00.png": {}}}',
        resealed(),
        resealed(files={"00.png": {}}),
        resealed(files={"00.png": {"class_id": 0, "sha256": 5}}),
        resealed(files={"../00.png": {"class_id": 0, "sha256": "0" * 64}}),
        resealed(files={"00.png": {"class_id": 0, "sha256": "0" * 64}}),
    ],
)
def test_a_broken_card_is_named_with_its_mend(copied, content):
    (copied / "card.json").write_text(content)
    with pytest.raises(CourseError, match=r"card\.json: .*Mend: git checkout"):
        load_templates(copied)


def test_a_word_changed_in_the_card_is_noticed(copied):
    text = (copied / "card.json").read_text(encoding="utf-8")
    (copied / "card.json").write_text(text.replace("MIT (see", "GPL (see"), encoding="utf-8")
    with pytest.raises(CourseError, match=r"card\.json: the card was altered .*Mend: git checkout"):
        load_templates(copied)


def test_the_card_names_source_and_licence_and_the_notice_is_shipped():
    card = json.loads((TEMPLATES / "card.json").read_text(encoding="utf-8"))
    assert "MIT" in json.dumps(card)
    assert "MIT License" in (TEMPLATES / "LICENSE").read_text(encoding="utf-8")
