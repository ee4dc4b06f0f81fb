"""One fault: an answer, as a learner may write it by mistake or in mischief, that could hurt the notebook's process.

A table module declares its faults as functions, each under its own name:

    @fault()
    def loop_in_a_handler(student_logits, teacher_logits, temperature): ...

    @fault(right=True)            # the value is right, and the verdict must say so
    def leaves_a_setting(...): ...
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

LOSS, ROWS, TAP, TRAINED = "04.4", "00.1", "06.1", "04.3"
"""Exercises that faults answer: tensors, two dicts, a network, and a loss that must carry a gradient."""


@dataclass(frozen=True)
class Fault:
    """One answer and what becomes of it.

    Args:
        name: a few words, unique.
        group: the table that it stands in.
        answer: the learner's function.
        exercise: which exercise it answers.
        right: the verdict must be "right" (True), must not (False), or may be either (None).
        before: called with the path of the progress file before the check.
        after: called with that path after it; a complaint, or "".
        alone: it ends, blocks or fills the process by its nature, so that only a process of its own would help.
    """

    name: str
    group: str
    answer: Callable[..., Any]
    exercise: str = LOSS
    right: bool | None = False
    before: Callable[[Path], Any] | None = None
    after: Callable[[Path], str] | None = None
    alone: bool = False


FAULTS: dict[str, Fault] = {}


def add(name: str, group: str, answer: Callable[..., Any], **options: Any) -> None:
    """Put a fault into the table. Raises: ValueError: the name is taken."""
    if name in FAULTS:
        raise ValueError(f"two faults are called {name!r}")
    FAULTS[name] = Fault(name, group, answer, **options)


def fault(**options: Any) -> Callable[[Callable], Callable]:
    """Decorator: the function is a fault under its own name, in the group of its module."""

    def register(answer: Callable) -> Callable:
        add(answer.__name__.replace("_", " "), answer.__module__.rpartition("faults_")[2], answer, **options)
        return answer

    return register


def right_gradient(student_logits, teacher_logits, temperature):
    """The right answer to 04.4, as a learner writes it."""
    q, p = (student_logits / temperature).softmax(-1), (teacher_logits / temperature).softmax(-1)
    return temperature * (q - p) / len(student_logits)


def right_loss(student_logits, teacher_logits, temperature):
    """The right answer to 04.3."""
    log_p, log_q = (teacher_logits / temperature).log_softmax(-1), (student_logits / temperature).log_softmax(-1)
    return temperature**2 * (log_p.exp() * (log_p - log_q)).sum(-1).mean()


def right_rows(first, other):
    """The right answer to 00.1."""
    ratios = [first[column] / other[column] for column in ("bytes", "p50_ms")]
    return *ratios, 100 * (first["accuracy"] - other["accuracy"])


def right_tap(model, name, images):
    """The right answer to 06.1."""
    caught = []
    handle = model.get_submodule(name).register_forward_hook(lambda module, inputs, output: caught.append(output))
    try:
        model(images)
    finally:
        handle.remove()
    return caught[-1]


RIGHT: dict[str, Callable[..., Any]] = {LOSS: right_gradient, ROWS: right_rows, TAP: right_tap, TRAINED: right_loss}
WRONG: dict[str, Callable[..., Any]] = {
    LOSS: lambda student_logits, teacher_logits, temperature: (
        -right_gradient(student_logits, teacher_logits, temperature)
    ),
    ROWS: lambda first, other: tuple(np.round(right_rows(first, other), 1)),
    TAP: lambda model, name, images: model(images),
    TRAINED: lambda student_logits, teacher_logits, temperature: right_loss(
        student_logits, teacher_logits, temperature
    ).item(),
}
"""A known wrong answer to each, whose verdict is compared with that of a clean process."""
