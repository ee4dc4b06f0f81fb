"""A shipped network is exactly the one that was saved, or an error that says what to do."""

from __future__ import annotations

import json
import pickle

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from course_lib.data import SignDataset, Splits
from course_lib.errors import CourseError
from course_lib.models import SignStudent, SignTeacher, checkpoints
from course_lib.storage.files import sha256

NETWORKS = {
    "student": lambda: SignStudent(num_classes=4, channels=(4, 5, 6, 7, 8)),
    "teacher": lambda: SignTeacher(4, channels=(4, 6, 8, 8), blocks=(1, 2, 1, 1)),
}


@pytest.fixture
def saved(tmp_path):
    """(folder, weights, card) of a small student named student_rendered."""
    torch.manual_seed(0)
    path = checkpoints.save(NETWORKS["student"](), "student_rendered", {"seed": 0}, folder=tmp_path)
    return tmp_path, path, path.with_suffix(".json")


def refusal(folder, *words):
    """Loading fails with one line that holds the words and the command that mends it."""
    with pytest.raises(CourseError) as caught:
        checkpoints.load("student_rendered", folder=folder)
    message = str(caught.value)
    assert "\n" not in message
    assert "Mend: git checkout -- datasets/checkpoints, or: course train student --data rendered" in message
    for word in words:
        assert word in message


@pytest.mark.parametrize("build", NETWORKS.values(), ids=NETWORKS.keys())
def test_a_network_comes_back_bit_for_bit_in_eval_mode(tmp_path, build):
    model = build().train()
    model(torch.rand(4, 3, 16, 16))  # moves BatchNorm's statistics away from 0 and 1
    model.to(memory_format=torch.channels_last)
    checkpoints.save(model, "x", {"seed": 5, "command": "course train"}, folder=tmp_path)
    loaded, card = checkpoints.load("x", folder=tmp_path)
    assert type(loaded) is type(model)
    assert not loaded.training
    for (key, value), (other_key, other) in zip(model.state_dict().items(), loaded.state_dict().items(), strict=True):
        assert key == other_key
        assert torch.equal(value, other)
    assert (card["seed"], card["command"]) == (5, "course train")


def test_the_card_states_sum_and_size_of_the_weights_and_nothing_else_is_written(saved):
    folder, weights, card_path = saved
    card = json.loads(card_path.read_text())
    assert (card["file"], card["bytes"], card["sha256"]) == (weights.name, weights.stat().st_size, sha256(weights))
    assert sorted(folder.iterdir()) == sorted([weights, card_path])


def test_exists_asks_for_the_card(saved):
    assert checkpoints.exists("student_rendered", folder=saved[0])
    assert not checkpoints.exists("student_gtsrb", folder=saved[0])


def test_saving_another_class_is_refused_and_writes_no_card(tmp_path):
    with pytest.raises(TypeError, match="SignTeacher or a SignStudent, got Linear"):
        checkpoints.save(torch.nn.Linear(2, 2), "x", {}, folder=tmp_path)
    assert not checkpoints.exists("x", folder=tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_missing_card_and_missing_weights_are_named(saved):
    folder, weights, card = saved
    weights.unlink()
    refusal(folder, weights.name, "the weights are missing")
    card.unlink()
    refusal(folder, card.name, "missing")


@pytest.mark.parametrize("damage", ["truncated", "one bit", "empty"])
def test_damaged_weights_fail_the_checksum(saved, damage):
    folder, weights, _ = saved
    content = bytearray(weights.read_bytes())
    if damage == "one bit":
        content[-5] ^= 1
    weights.write_bytes({"truncated": content[: len(content) // 2], "one bit": content, "empty": b""}[damage])
    refusal(folder, weights.name, "checksum differs")


def with_card(card_path, **changes):
    card_path.write_text(json.dumps({**json.loads(card_path.read_text()), **changes}))


STUDENT = {"kind": "SignStudent", "num_classes": 4, "channels": [4, 5, 6, 7, 8]}
ALTERED = {
    "sum": ({"sha256": "0" * 64}, "checksum differs"),
    "other channels": ({"architecture": {**STUDENT, "channels": [4, 5, 6, 7, 9]}}, "do not fit"),
    "other classes": ({"architecture": {**STUDENT, "num_classes": 5}}, "do not fit"),
    "another kind": ({"architecture": {"kind": "SignTeacher", "num_classes": 4}}, "do not fit"),
    "unknown kind": ({"architecture": {**STUDENT, "kind": "os.system"}}, "not a checkpoint's card"),
    "four layers": ({"architecture": {**STUDENT, "channels": [4, 5, 6, 7]}}, "not a checkpoint's card"),
    "channels that are words": ({"architecture": {**STUDENT, "channels": list("abcde")}}, "not a checkpoint's card"),
    "more channels than memory": ({"architecture": {**STUDENT, "channels": [10**9] * 5}}, "not a checkpoint's card"),
    "unknown option": ({"architecture": {**STUDENT, "depth": 3}}, "not a checkpoint's card"),
    "architecture is a list": ({"architecture": [1, 2]}, "not a checkpoint's card"),
    "architecture is null": ({"architecture": None}, "not a checkpoint's card"),
    "file is a number": ({"file": 3}, "not a checkpoint's card"),
    "file elsewhere": ({"file": "gone.safetensors"}, "the weights are missing"),
}


@pytest.mark.parametrize(("changes", "word"), ALTERED.values(), ids=ALTERED.keys())
def test_an_altered_card_is_refused(saved, changes, word):
    with_card(saved[2], **changes)
    refusal(saved[0], word)


@pytest.mark.parametrize("text", ["{", "[]", "null", '"card"', "{}"])
def test_what_is_no_card_is_refused(saved, text):
    saved[2].write_text(text)
    refusal(saved[0], saved[2].name)


def test_weights_with_a_missing_tensor_are_refused_though_the_sum_is_right(saved):
    folder, weights, card = saved
    state = NETWORKS["student"]().state_dict()
    state.pop("classifier.bias")
    save_file(state, weights)
    with_card(card, sha256=sha256(weights))
    refusal(folder, "do not fit the card's architecture")


class Bomb:
    def __init__(self, marker):
        self.marker = marker

    def __reduce__(self):
        return open, (str(self.marker), "w")


def test_a_pickle_in_the_weights_place_is_never_run(saved):
    folder, weights, card = saved
    weights.write_bytes(pickle.dumps(Bomb(folder / "exploded")))
    with_card(card, sha256=sha256(weights))
    refusal(folder, weights.name)
    torch.save({"x": Bomb(folder / "exploded")}, weights)
    with_card(card, sha256=sha256(weights))
    refusal(folder, weights.name)
    assert not (folder / "exploded").exists()


def splits(seed=0, moved=False):
    rng = np.random.default_rng(seed)
    parts = []
    for offset, split in zip((0, 10, 20), Splits._fields, strict=True):
        images = rng.integers(0, 256, (6, 3, 16, 16)).astype(np.uint8)
        groups = offset + np.arange(6) // 2
        if moved and split == "train":
            groups = groups[::-1]
        parts.append(SignDataset(images, np.arange(6) // 2, groups=groups, split=split))
    return Splits(*parts)


def test_the_fingerprint_follows_labels_signs_and_parts_but_not_pixels():
    assert checkpoints.fingerprint(splits(0)) == checkpoints.fingerprint(splits(1))
    assert checkpoints.fingerprint(splits(0)) != checkpoints.fingerprint(splits(0, moved=True))
    train, validation, test = splits(0)
    assert checkpoints.fingerprint(Splits(train, test, validation)) != checkpoints.fingerprint(splits(0))


def test_a_checkpoint_of_another_split_is_refused_and_one_of_this_split_is_not():
    card = {"data_fingerprint": checkpoints.fingerprint(splits())}
    checkpoints.require_same_split(card, splits(), name="teacher_rendered")
    for other in ({}, {"data_fingerprint": None}, card):
        with pytest.raises(CourseError, match=r"teacher_rendered.*another split.*course train teacher --data rendered"):
            checkpoints.require_same_split(other, splits(moved=True), name="teacher_rendered")


def test_gtsrbs_official_test_part_is_new_to_every_network_trained_on_real_signs():
    official = splits(moved=True)
    official.test.split = "official test"
    checkpoints.require_same_split({"data": "gtsrb", "data_fingerprint": "another"}, official, name="teacher_gtsrb")
    with pytest.raises(CourseError, match="another split"):
        checkpoints.require_same_split({"data": "rendered"}, official, name="teacher_rendered")
