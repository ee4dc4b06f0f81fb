"""A small exercise for the tests of the engine, and a progress file of each test's own."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch

from course_lib.exercises import Exercise, Mistake
from course_lib.exercises.engine.compare import clone


@pytest.fixture(autouse=True)
def record(monkeypatch, tmp_path):
    path = tmp_path / "progress.json"
    monkeypatch.setenv("COURSE_PROGRESS", str(path))
    return path


def scaled_sum(x, factor):
    """factor · Σ x."""
    return factor * x.sum()


FUNCTION: dict[str, Any] = {
    "reference": scaled_sum,
    "examples": [(torch.tensor([1.0, 2.0]), 3.0)],
    "inputs": lambda rng: (torch.randn(4), float(rng.uniform(2, 3))),
    "mistakes": [
        Mistake(lambda x, factor: x.sum(), "You forgot the factor."),
        Mistake(lambda x, factor: factor * x.mean(), "That is the mean."),
        Mistake(lambda x, factor: x.no_such_method(), "Tensors have no such method."),
        Mistake(lambda x, factor: factor * x.abs().sum(), "These are the sizes."),
        Mistake(lambda x, factor: factor + x.sum(), "You added the factor."),
        Mistake(lambda x, factor: -factor * x.sum(), "The sign is turned round."),
    ],
    "alternatives": [
        lambda x, factor: sum(float(v) for v in x) * factor,
        lambda x, factor: (x * factor).sum(),
        lambda x, factor: x.numpy().sum() * factor,
    ],
}
VALUE: dict[str, Any] = {
    "reference": lambda: 0.25,
    "inputs": None,
    "examples": (),
    "mistakes": [
        Mistake(4.0, "Upside down."),
        Mistake(0.5, "INT8 has 8 of 32 bits, not 16."),
        Mistake(25, "A fraction, not percent."),
        Mistake(0.125, "Eight bits are one byte of four."),
        Mistake(0.75, "That is what is saved."),
        Mistake(8, "That is the number of bits."),
    ],
    "alternatives": [torch.tensor(0.25), 1 / 4, [0.25][0]],
}


def build(parts: dict[str, Any]) -> Exercise:
    """An exercise from its parts; mistakes and alternatives of a value exercise are values."""
    settings = {
        "id": "99.1",
        "title": "Scaled sum",
        "points": 2,
        "hints": ["Sum first.", "Then multiply."],
        "trials": 6,
    }
    given = ("reference", "inputs", "outcome", "examples", "mistakes", "alternatives", "rules")
    settings.update({name: value for name, value in parts.items() if name not in given})
    exercise = Exercise(settings.pop("id"), settings.pop("title"), **settings)
    exercise.reference(parts["reference"])
    if parts.get("inputs"):
        exercise.inputs(parts["inputs"])
    if parts.get("outcome"):
        exercise.outcome(parts["outcome"])
    for number, arguments in enumerate(parts["examples"], start=1):
        exercise.case(f"example {number}")(lambda arguments=arguments: clone(arguments))
    for number, mistake in enumerate(parts["mistakes"], start=1):
        exercise.mistakes.append(Mistake(mistake.wrong, mistake.message, f"mistake_{number}"))
    for answer in parts["alternatives"]:
        exercise.alternative(answer)
    for rule in parts.get("rules", ()):
        exercise.rule(rule)
    return exercise


@pytest.fixture
def example() -> Callable[..., Exercise]:
    """Makes a function exercise, with some parts changed."""
    return lambda **changes: build({**FUNCTION, **changes})


@pytest.fixture
def value_example() -> Callable[..., Exercise]:
    """Makes a value exercise, with some parts changed."""
    return lambda **changes: build({**VALUE, **changes})
