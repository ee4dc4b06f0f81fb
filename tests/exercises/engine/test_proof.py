"""The proof finds an exercise that does not keep its contract: each claim fails where it should."""

from __future__ import annotations

import torch

from course_lib.exercises import Mistake
from course_lib.exercises.engine import proof
from course_lib.exercises.engine.display import Verdict


def test_a_whole_exercise_keeps_every_claim(example):
    assert [(claim, text) for claim, text in proof.prove(example()) if text] == []


def test_a_reference_that_its_own_rule_rejects_is_found(example):
    def never(fn, x, factor):
        return "no answer is good enough"

    assert "no answer is good enough" in proof.reference_passes(example(rules=[never]))


def test_an_alternative_that_is_wrong_is_found(example):
    wrong = example(alternatives=[*example().alternatives, lambda x, factor: factor * x.max()])
    assert "wrong" in proof.alternatives_pass(wrong)


def test_a_stub_that_earns_points_or_another_text_is_found(example, monkeypatch):
    verdict = Verdict("99.1", "Scaled sum", "right", 2, "2 of 2 points.")
    monkeypatch.setattr(proof, "judge", lambda exercise, stub: verdict)
    assert "2 of 2 points" in proof.stub_earns_nothing(example())
    texts = iter("abcde")
    monkeypatch.setattr(proof, "judge", lambda *a: Verdict("99.1", "Sum", "not attempted", 0, next(texts)))
    assert proof.stub_earns_nothing(example()).startswith("texts differ")


def test_too_little_that_is_planted_is_found(example):
    whole = example()
    assert whole.problems() == []
    assert example(mistakes=whole.mistakes[:5]).problems() == ["exercise '99.1': mistakes must be at least 6"]
    assert example(alternatives=whole.alternatives[:2]).problems() == [
        "exercise '99.1': alternatives must be at least 3"
    ]
    assert example(examples=()).problems() == ["exercise '99.1': a function needs a fixed case"]


def test_a_mistake_that_gets_another_ones_message_is_found(example):
    twin = Mistake(lambda x, factor: sum(x), "The same slip in other words.")
    found = proof.mistakes_get_their_message(example(mistakes=[*example().mistakes, twin]))
    assert found.startswith("mistake_7: ")
    assert "You forgot the factor." in found


def test_a_loss_whose_reference_cannot_train_is_found(example):
    def cut(x, factor):
        return factor * x.detach().sum()

    assert "right" in proof.losses_must_train(example(reference=cut, gradient_of=("x",)))
    assert proof.losses_must_train(example(gradient_of=("x",))) == ""


def test_an_exercise_that_a_constant_passes_is_found(example):
    assert "right" in proof.constant_fails(example(reference=lambda x, factor: torch.tensor(1.0)))


def test_a_verdict_that_changes_is_found(example, monkeypatch):
    states = iter([("wrong", "one"), ("wrong", "other")])
    monkeypatch.setattr(proof, "judge", lambda *a: Verdict("99.1", "Sum", *(lambda s, m: (s, 0, m))(*next(states))))
    assert "then" in proof.verdicts_repeat(example())
