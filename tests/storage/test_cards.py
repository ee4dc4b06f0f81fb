"""A card is wholly under its checksum, and is replaced together with the file that it describes."""

from __future__ import annotations

import hashlib
import json
import os

import pytest

from course_lib.errors import CourseError
from course_lib.storage import cards
from course_lib.storage.cards import (
    card_sha256,
    check_cards,
    described_files,
    locate,
    main,
    read_card,
    replace_pair,
    sealed,
)
from course_lib.storage.files import CHECKPOINTS, DATASETS

CARD = {"file": "w.bin", "score": 0.1, "note": "Überholverbot", "nested": {"b": [1, 2.5, None], "a": True}}


def digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


@pytest.fixture
def pair(tmp_path):
    """(file, card) written together."""
    path, card = tmp_path / "w.bin", tmp_path / "w.json"
    replace_pair(path, b"weights", card, {"file": path.name, "sha256": digest(b"weights"), "score": 1})
    return path, card


def test_the_checksum_is_that_of_the_canonical_json_written_by_hand():
    card = {"b": 0.1, "a": "ü", "card_sha256": "of an earlier version"}
    assert card_sha256(card) == digest(b'{"a":"\\u00fc","b":0.1}')


def test_sealing_adds_one_last_field_and_changes_no_other():
    card = sealed({**CARD, "card_sha256": "old"})
    assert list(card) == [*CARD, "card_sha256"]
    assert {key: card[key] for key in CARD} == CARD
    assert sealed(card) == card


def test_a_sealed_card_is_read_in_whatever_layout_it_was_written(tmp_path):
    card = sealed(CARD)
    for text in (json.dumps(card), json.dumps(dict(reversed(card.items())), indent=4, ensure_ascii=False)):
        (tmp_path / "c.json").write_text(text, encoding="utf-8")
        assert read_card(tmp_path / "c.json", mend="") == card


CHANGES = {
    "a number": {"score": 0.2},
    "an integer for a float": {"score": 0},
    "a word": {"note": "Überholverbot "},
    "deep inside": {"nested": {"b": [1, 2.5, 0], "a": True}},
    "a new field": {"new": None},
    "the checksum": {"card_sha256": "0" * 64},
    "the checksum is null": {"card_sha256": None},
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES.keys())
def test_any_change_of_a_card_is_noticed(tmp_path, change):
    (tmp_path / "c.json").write_text(json.dumps({**sealed(CARD), **change}))
    with pytest.raises(CourseError, match=r"c\.json: the card was altered .*Mend: do this"):
        read_card(tmp_path / "c.json", mend="do this")


def test_a_field_that_is_gone_is_noticed(tmp_path):
    for field in CARD:
        card = sealed(CARD)
        del card[field]
        (tmp_path / "c.json").write_text(json.dumps(card))
        with pytest.raises(CourseError, match="the card was altered"):
            read_card(tmp_path / "c.json", mend="")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[1]", "a JSON object was expected, got list"),
        ("{}", "it lacks card_sha256"),
        ('{"x": NaN, "card_sha256": "0"}', "not a card"),
        ("{", "not a JSON file"),
    ],
)
def test_what_is_no_card_is_one_line(tmp_path, text, words):
    (tmp_path / "c.json").write_text(text)
    with pytest.raises(CourseError, match=words) as caught:
        read_card(tmp_path / "c.json", mend="")
    assert "\n" not in str(caught.value)


def test_both_forms_of_cards_name_their_files():
    assert described_files({"file": "a", "sha256": "0" * 64}) == {"a": "0" * 64}
    several = {"files": {"a": {"sha256": "0" * 64, "class_id": 1}, "b": "1" * 64}}
    assert described_files(several) == {"a": "0" * 64, "b": "1" * 64}
    for none in ({}, [], None, 5, {"files": []}, {"file": "a"}):
        assert described_files(none) == {}


@pytest.mark.parametrize(
    "card",
    [
        {"file": 3, "sha256": "0" * 64},
        {"file": "../a", "sha256": "0" * 64},
        {"file": "", "sha256": "0" * 64},
        {"file": "..", "sha256": "0" * 64},
        {"file": "a", "sha256": "0" * 63},
        {"file": "a", "sha256": None},
        {"files": {"a": {}}},
        {"files": {"a": [1]}},
        {"files": {"a/b": {"sha256": "0" * 64}}},
    ],
)
def test_fields_of_the_wrong_type_are_refused_and_the_doctor_s_check_names_the_card(tmp_path, card):
    with pytest.raises(ValueError, match="must be"):
        described_files(card)
    (tmp_path / "c.json").write_text(json.dumps(sealed(card)))
    sound, (problem,) = check_cards([tmp_path / "c.json"])
    assert sound == 0
    assert problem.startswith("c.json: ")


def test_a_name_that_cannot_be_a_key_is_one_clause(tmp_path):
    (tmp_path / "c.json").write_text(json.dumps(sealed({"file": ["a"], "sha256": "0" * 64})))
    assert check_cards([tmp_path / "c.json"])[0] == 0


def test_the_check_of_all_cards_counts_the_sound_and_names_the_others(pair):
    path, card = pair
    (path.parent / "settings.json").write_text("[1, 2]")  # JSON, and no card
    every = sorted(path.parent.glob("*.json"))
    assert check_cards(every) == (1, [])
    path.write_bytes(b"weight")
    assert check_cards(every) == (0, ["w.bin is altered or cut short (6 bytes, wrong checksum)"])
    path.unlink()
    assert check_cards(every) == (0, ["w.bin is missing"])
    card.write_text(card.read_text().replace('"score": 1', '"score": 2'))
    assert check_cards(every) == (0, ["w.json: the card was altered (its own checksum differs)"])


def test_a_pair_is_two_files_and_nothing_else(pair):
    path, card = pair
    assert sorted(path.parent.iterdir()) == [path, card]
    assert read_card(card, mend="")["score"] == 1
    assert path.read_bytes() == b"weights"


def interrupted(path, card, content, monkeypatch, before):
    """Write a pair whose process is stopped before the rename number ``before`` (0: the file's, 1: the card's, …)."""
    real, calls = os.replace, []

    def replace(*arguments):
        calls.append(arguments)
        if len(calls) > before:
            raise KeyboardInterrupt
        real(*arguments)

    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", replace)
        with pytest.raises(KeyboardInterrupt):
            replace_pair(path, content, card, {"file": path.name, "sha256": digest(content), "score": 2})


@pytest.mark.parametrize("before", [0, 1, 2])
def test_between_any_two_renames_the_card_s_own_file_is_found_and_the_next_save_tidies_up(pair, monkeypatch, before):
    path, card = pair
    interrupted(path, card, b"new", monkeypatch, before)
    found = read_card(card, mend="")
    place = locate(path, found["sha256"])
    assert (found["score"], place.read_bytes()) == ((2, b"new") if before == 2 else (1, b"weights"))
    assert check_cards([card]) == (1, [])
    replace_pair(path, b"newest", card, {"file": path.name, "sha256": digest(b"newest"), "score": 3})
    assert sorted(path.parent.iterdir()) == [path, card]
    assert path.read_bytes() == b"newest"


def test_two_interruptions_in_a_row_lose_nothing(pair, monkeypatch):
    path, card = pair
    interrupted(path, card, b"second", monkeypatch, 2)  # the card counts, the file still has the other name
    interrupted(path, card, b"third", monkeypatch, 1)  # its first rename now finishes the pair before
    found = read_card(card, mend="")
    assert locate(path, found["sha256"]).read_bytes() == b"second"


def test_sealing_again_is_a_command_that_refuses_a_card_of_other_files(pair, capsys):
    path, card = pair
    card.write_text(json.dumps({**json.loads(card.read_text()), "licence": "MIT"}))
    assert main([str(card)]) == 0
    assert "sealed" in capsys.readouterr().out
    assert read_card(card, mend="")["licence"] == "MIT"
    path.write_bytes(b"other")
    with pytest.raises(CourseError, match=r"w\.bin is not the file that the card describes"):
        main([str(card)])


def test_all_shipped_cards_are_sealed_and_right():
    shipped = [*sorted(CHECKPOINTS.glob("*.json")), DATASETS / "sign_templates" / "card.json"]
    assert len(shipped) == 13 + 1
    assert all("card_sha256" in read_card(path, mend="") for path in shipped)
    assert check_cards(shipped) == (13 + 43, [])


def test_in_a_download_without_git_the_mend_is_to_copy_again(tmp_path, monkeypatch):
    monkeypatch.setattr(cards, "ROOT", tmp_path)
    assert cards.restore_command(tmp_path / "a").startswith("copy a again")
    (tmp_path / ".git").mkdir()
    assert cards.restore_command(tmp_path / "a") == "git checkout -- a"
