"""A shipped network is exactly the one that was saved, or an error that says what to do."""

from __future__ import annotations

import json
import pickle

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from course_lib.data import SignDataset, Splits
from course_lib.data.rendered import renderer
from course_lib.errors import CourseError
from course_lib.experiments.plans import ROLES
from course_lib.models import SignStudent, SignTeacher, checkpoints
from course_lib.storage.cards import sealed
from course_lib.storage.files import CHECKPOINTS, sha256

NETWORKS = {
    "student": lambda: SignStudent(num_classes=4, channels=(4, 5, 6, 7, 8)),
    "student of other strides": lambda: SignStudent(num_classes=4, channels=(4, 5, 6), strides=(1, 2, 1)),
    "teacher": lambda: SignTeacher(4, channels=(4, 6, 8, 8), blocks=(1, 2, 1, 1)),
    "teacher with dropout": lambda: SignTeacher(4, channels=(4, 6), blocks=(1, 1), dropout=0.5),
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
    assert "Mend: course train student --data rendered" in message
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
    with torch.inference_mode():
        images = torch.rand(2, 3, 16, 16)
        torch.testing.assert_close(loaded(images), model.eval()(images), rtol=1e-4, atol=1e-5)


def test_strides_stand_in_the_card_only_where_they_are_not_the_usual_ones(tmp_path):
    usual, other = (2, 2, 1, 2, 1), (1, 2, 1, 2, 2)
    for strides in (usual, other):
        model = SignStudent(num_classes=4, channels=(4, 5, 6, 7, 8), strides=strides)
        card = json.loads(checkpoints.save(model, "x", {}, folder=tmp_path).with_suffix(".json").read_text())
        assert card["architecture"].get("strides", list(usual)) == list(strides)
        loaded, _ = checkpoints.load("x", folder=tmp_path)
        assert loaded.strides == strides
        assert ("strides" in card["architecture"]) == (strides == other)


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


def with_card(card_path, *, drop=(), **changes):
    """Another card under a right checksum of its own: what is tested is the rest."""
    card = {**json.loads(card_path.read_text()), **changes}
    card_path.write_text(json.dumps(sealed({key: value for key, value in card.items() if key not in drop})))


STUDENT = {"kind": "SignStudent", "num_classes": 4, "channels": [4, 5, 6, 7, 8]}
TEACHER = {"kind": "SignTeacher", "num_classes": 4, "channels": [4, 4], "blocks": [1, 1]}
ALTERED = {
    "sum": ({"sha256": "0" * 64}, "checksum differs"),
    "sum is a number": ({"sha256": 7}, "must be 64 hexadecimal digits, got 7"),
    "other channels": ({"architecture": {**STUDENT, "channels": [4, 5, 6, 7, 9]}}, "do not fit"),
    "other classes": ({"architecture": {**STUDENT, "num_classes": 5}}, "do not fit"),
    "no classes": ({"architecture": {"kind": "SignStudent"}}, "not a checkpoint's card"),
    "one class": ({"architecture": {**STUDENT, "num_classes": 1}}, "do not fit"),
    "classes are true": ({"architecture": {**STUDENT, "num_classes": True}}, "not a checkpoint's card"),
    "another kind": ({"architecture": {"kind": "SignTeacher", "num_classes": 4}}, "do not fit"),
    "unknown kind": ({"architecture": {**STUDENT, "kind": "os.system"}}, "not a checkpoint's card"),
    "kind is a list": ({"architecture": {**STUDENT, "kind": ["SignStudent"]}}, "not a checkpoint's card"),
    "four layers": ({"architecture": {**STUDENT, "channels": [4, 5, 6, 7]}}, "do not fit"),
    "half a channel": ({"architecture": {**STUDENT, "channels": [4, 5, 6, 7, 8.5]}}, "not a checkpoint's card"),
    "channels that are words": ({"architecture": {**STUDENT, "channels": list("abcde")}}, "not a checkpoint's card"),
    "more channels than memory": ({"architecture": {**STUDENT, "channels": [10**9] * 5}}, "not a checkpoint's card"),
    "more channels than the file": ({"architecture": {**STUDENT, "channels": [20_000] * 5}}, "do not fit"),
    "more blocks than time": ({"architecture": {**TEACHER, "blocks": [10**9, 1]}}, "not a checkpoint's card"),
    "more stages than time": ({"architecture": {**TEACHER, "channels": [4] * 10**5}}, "at most 100 entries"),
    "strides of four layers": ({"architecture": {**STUDENT, "strides": [2, 2, 1, 2]}}, "do not fit"),
    "a stride of 3": ({"architecture": {**STUDENT, "strides": [2, 2, 1, 2, 3]}}, "do not fit"),
    "a stride that is a word": ({"architecture": {**STUDENT, "strides": list("12122")}}, "not a checkpoint's card"),
    "a teacher's strides": ({"architecture": {**TEACHER, "strides": [1, 2]}}, "not a checkpoint's card"),
    "unknown option": ({"architecture": {**STUDENT, "depth": 3}}, "not a checkpoint's card"),
    "architecture is a list": ({"architecture": [1, 2]}, "not a checkpoint's card"),
    "architecture is null": ({"architecture": None}, "not a checkpoint's card"),
    "file is a number": ({"file": 3}, "not a checkpoint's card"),
    "file in another folder": ({"file": "../student_rendered.safetensors"}, "a file's name must be plain"),
    "file is a list": ({"file": ["a"]}, "not a checkpoint's card"),
    "file is the folder above": ({"file": ".."}, "a file's name must be plain"),
    "file elsewhere": ({"file": "gone.safetensors"}, "the weights are missing"),
}


@pytest.mark.parametrize(("changes", "word"), ALTERED.values(), ids=ALTERED.keys())
def test_a_card_that_describes_another_network_is_refused_though_its_sum_is_right(saved, changes, word):
    with_card(saved[2], **changes)
    refusal(saved[0], word)


@pytest.mark.parametrize("field", ["file", "sha256", "architecture"])
def test_a_field_that_is_missing_is_named(saved, field):
    with_card(saved[2], drop=[field])
    refusal(saved[0], f"not a checkpoint's card (it lacks '{field}')")


def test_a_card_of_20000_channels_is_refused_before_they_are_allocated(saved, monkeypatch):
    with_card(saved[2], architecture={**STUDENT, "channels": [20_000] * 5})
    devices = []
    real = checkpoints._build

    def build(architecture):
        devices.append(torch.empty(0).device.type)
        return real(architecture)

    monkeypatch.setattr(checkpoints, "_build", build)
    refusal(saved[0], "do not fit", "20000]")
    assert devices == ["meta"]


@pytest.mark.parametrize("field", ["seed", "date", "bytes", "card_sha256"])
def test_every_field_is_under_the_cards_own_checksum(saved, field):
    card = json.loads(saved[2].read_text())
    saved[2].write_text(json.dumps({**card, field: 1}))
    refusal(saved[0], saved[2].name, "the card was altered")
    del card[field]
    saved[2].write_text(json.dumps(card))
    refusal(saved[0], saved[2].name, "it lacks card_sha256" if field == "card_sha256" else "the card was altered")


@pytest.mark.parametrize("text", ["{", "[]", "null", '"card"', "{}", '{"card_sha256": NaN}', '{"card_sha256": null}'])
def test_what_is_no_card_is_refused(saved, text):
    saved[2].write_text(text)
    refusal(saved[0], saved[2].name)


def state_of_student():
    return NETWORKS["student"]().state_dict()


def changed(name, change):
    state = state_of_student()
    state[name] = change(state[name])
    return state


FORGED = {
    "a tensor is missing": ({k: v for k, v in state_of_student().items() if k != "classifier.bias"}, "is missing"),
    "a tensor too many": ({**state_of_student(), "extra": torch.zeros(1)}, "extra is not part of it"),
    "another shape": (changed("classifier.bias", lambda v: v[:2].clone()), "[2] instead of"),
    "8-bit integers": (changed("classifier.weight", lambda v: v.to(torch.int8)), "I8"),
    "complex numbers": (changed("classifier.weight", lambda v: v.to(torch.complex64)), "C64"),
    "double precision": (changed("classifier.weight", lambda v: v.double()), "F64"),
    "NaN": (
        changed("classifier.weight", lambda v: v * float("nan")),
        "classifier.weight holds values that are not finite",
    ),
    "infinity": (changed("features.0.1.running_var", lambda v: v / 0), "not finite"),
}


@pytest.mark.parametrize(("state", "word"), FORGED.values(), ids=FORGED.keys())
def test_weights_that_the_network_cannot_hold_are_refused_though_all_sums_are_right(saved, state, word):
    folder, weights, card = saved
    save_file(state, weights)
    with_card(card, sha256=sha256(weights))
    refusal(folder, weights.name, "do not fit the card's architecture", word)


HEADERS = {
    "no bytes": b"",
    "a length beyond the file": (10**6).to_bytes(8, "little") + b"{}",
    "no JSON": (2).to_bytes(8, "little") + b"{{",
    "a list": (2).to_bytes(8, "little") + b"[]",
    "a tensor without a shape": (18).to_bytes(8, "little") + b'{"a":{"dtype":"a"}}'[:18],
}


@pytest.mark.parametrize("content", HEADERS.values(), ids=HEADERS.keys())
def test_a_file_that_is_no_safetensors_is_refused_though_all_sums_are_right(saved, content):
    folder, weights, card = saved
    weights.write_bytes(content)
    with_card(card, sha256=sha256(weights))
    refusal(folder, weights.name, "do not fit")


def test_weights_that_load_would_refuse_are_not_saved(tmp_path):
    model = NETWORKS["student"]()
    with torch.no_grad():
        model.classifier.bias[1] = float("nan")
    with pytest.raises(ValueError, match=r"classifier\.bias holds values that are not finite"):
        checkpoints.save(model, "x", {}, folder=tmp_path)
    with pytest.raises(ValueError, match="F64"):
        checkpoints.save(NETWORKS["student"]().double(), "x", {}, folder=tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_loading_draws_as_many_random_numbers_as_building_the_network_does(saved):
    torch.manual_seed(3)
    NETWORKS["student"]()
    expected = torch.get_rng_state()
    torch.manual_seed(3)
    checkpoints.load("student_rendered", folder=saved[0])
    assert torch.equal(torch.get_rng_state(), expected)


def test_the_mend_of_a_shipped_network_names_its_two_files_alone_and_how_they_are_made_again():
    mend = checkpoints.mend_command("teacher_rendered")
    assert "datasets/checkpoints/teacher_rendered.json" in mend or "datasets/checkpoints/teacher_rendered.*" in mend
    assert "course train teacher --data rendered --shipped" in mend
    assert mend.endswith("or train it again: course train teacher --data rendered --shipped")
    assert "datasets/checkpoints " not in mend
    assert checkpoints.mend_command("student_mine") == "course train student --data <path or name of mine>"


def test_the_mend_of_a_network_in_another_folder_never_names_git(tmp_path):
    assert checkpoints.mend_command("teacher_rendered", folder=tmp_path) == "course train teacher --data rendered"


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


def test_the_fingerprint_is_what_the_shipped_cards_were_trained_with():
    """Names, labels and signs of the rendered set, without its pixels: the committed cards must keep fitting it."""
    parts = []
    for number, (split, tracks) in enumerate(renderer.SPLITS.items()):
        owner = np.repeat(np.arange(tracks), renderer.FRAMES)
        images = np.zeros((len(owner), 3, 1, 1), np.uint8)
        groups = number * renderer.GROUP_OFFSET + owner
        parts.append(SignDataset(images, owner % 43, groups=groups, name="rendered", split=split))
    found = checkpoints.fingerprint(Splits(*parts))
    for name in ("teacher", "student", "final", "alone"):
        card = json.loads((CHECKPOINTS / f"{name}_rendered.json").read_text(encoding="utf-8"))
        assert card["data_fingerprint"] == found


def test_all_shipped_networks_load():
    names = sorted(path.stem for path in CHECKPOINTS.glob("*.json"))
    assert names == sorted(f"{role}_{key}" for key, roles in ROLES.items() for role in ("teacher", *roles))
    for name in names:
        model, card = checkpoints.load(name)
        assert not model.training
        assert card["file"] == f"{name}.safetensors"


def test_a_checkpoint_of_another_split_is_refused_and_one_of_this_split_is_not():
    card = {"data_fingerprint": checkpoints.fingerprint(splits())}
    checkpoints.require_same_split(card, splits(), name="teacher_rendered")
    for other in ({}, {"data_fingerprint": None}, card):
        with pytest.raises(CourseError, match=r"teacher_rendered.*another split.*course train teacher --data rendered"):
            checkpoints.require_same_split(other, splits(moved=True), name="teacher_rendered")


def official_splits():
    official = splits(moved=True)
    official.test.split = "official test"
    return official


@pytest.mark.parametrize("name", [f"{role}_{key}" for key, roles in ROLES.items() for role in ("teacher", *roles)])
def test_gtsrbs_official_test_part_is_new_to_the_shipped_networks_of_real_signs_and_to_no_others(name):
    card = json.loads((CHECKPOINTS / f"{name}.json").read_text(encoding="utf-8"))
    with pytest.raises(CourseError, match="another split"):
        checkpoints.require_same_split(card, splits(moved=True), name=name)
    if "gtsrb" in name:
        checkpoints.require_same_split(card, official_splits(), name=name)
        return
    with pytest.raises(CourseError, match="another split"):
        checkpoints.require_same_split(card, official_splits(), name=name)


@pytest.mark.parametrize("found", ["another", None, ["x"]])
def test_a_network_of_unknown_real_images_may_have_seen_the_official_test_part(found):
    card = {"data": "gtsrb", "data_fingerprint": found}
    with pytest.raises(CourseError, match=r"may have seen these test images\. Mend: .*course train teacher"):
        checkpoints.require_same_split(card, official_splits(), name="teacher_gtsrb")


def test_a_network_trained_beside_the_official_test_part_may_be_scored_on_it():
    card = {"data_fingerprint": checkpoints.fingerprint(official_splits())}
    checkpoints.require_same_split(card, official_splits(), name="teacher_gtsrb")


def test_a_checkpoint_is_found_by_name_or_path_and_an_unknown_name_is_answered_with_those_that_are_there(saved):
    _, weights, card = saved
    by_card, by_weights = checkpoints.load_named(card), checkpoints.load_named(str(weights))
    for (name, tensor), (_, other) in zip(
        by_card[0].state_dict().items(), by_weights[0].state_dict().items(), strict=True
    ):
        assert torch.equal(tensor, other), name
    assert checkpoints.load_named("student_rendered")[1]["sha256"] == checkpoints.load("student_rendered")[1]["sha256"]
    with pytest.raises(CourseError, match=r"no network nobody is here\. Mend: name one of alone_gtsrb, .*card"):
        checkpoints.load_named("nobody")
