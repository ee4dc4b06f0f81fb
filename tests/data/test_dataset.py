"""Every image set keeps one contract, and no sign straddles a split."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from course_lib.data import SignDataset, split_by_group, split_by_image


def signs(classes=3, tracks=4, frames=2, size=16, seed=0):
    """x uint8 (N, 3, size, size), labels and groups: ``tracks`` signs of each class, ``frames`` images of each."""
    groups = np.repeat(np.arange(classes * tracks), frames)
    images = np.random.default_rng(seed).integers(0, 256, (len(groups), 3, size, size)).astype(np.uint8)
    return images, groups // tracks, groups


def dataset(**options):
    images, labels, groups = signs(**options)
    return SignDataset(images, labels, groups=groups, attributes={"row": np.arange(len(labels))})


# ---- the contract ----


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


# ---- splits ----


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
