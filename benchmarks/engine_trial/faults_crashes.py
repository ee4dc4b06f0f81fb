"""Crashes of all kinds, exits, and errors that are odd themselves."""

# ruff: noqa: SIM105 these handlers are the faults

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable
from typing import Any

import numpy as np
import torch

from engine_trial.fault import add, fault


def raising(error: Callable[[], BaseException] | type[BaseException]) -> Callable:
    """An answer that raises what ``error()`` makes."""

    def answer(student_logits, teacher_logits, temperature):
        raise error()

    return answer


class NoText(Exception):
    def __str__(self):
        raise RuntimeError("no text")


class NoName(Exception):
    def __repr__(self):
        raise RuntimeError("no text")


class TalksForEver(Exception):
    def __str__(self):
        while True:
            pass


class TextIsNoText(Exception):
    def __str__(self):
        return 3


class ExitsWhileTalking(Exception):
    def __str__(self):
        sys.exit("bye")


class NeedsArguments(Exception):
    def __init__(self, one, two):
        super().__init__(one)


class Own(BaseException):
    pass


def chained_in_a_ring() -> Exception:
    one, other = ValueError("one"), ValueError("other")
    one.__cause__, other.__cause__ = other, one
    one.__context__ = other
    return one


ERRORS: dict[str, Callable[[], BaseException] | type[BaseException]] = {
    "ZeroDivisionError": ZeroDivisionError,
    "KeyError": lambda: KeyError("no such key"),
    "IndexError": IndexError,
    "AssertionError": AssertionError,
    "NameError": lambda: NameError("name"),
    "ImportError": lambda: ImportError("none"),
    "OSError": lambda: OSError(28, "No space left on device"),
    "UnicodeDecodeError": lambda: UnicodeDecodeError("utf-8", b"\xff", 0, 1, "bad"),
    "MemoryError": MemoryError,
    "OverflowError": OverflowError,
    "FloatingPointError": FloatingPointError,
    "RecursionError": RecursionError,
    "StopIteration": StopIteration,
    "StopAsyncIteration": StopAsyncIteration,
    "GeneratorExit": GeneratorExit,
    "SyntaxError": lambda: SyntaxError("bad", ("file.py", 3, 1, "x = = 1")),
    "BufferError": BufferError,
    "EOFError": EOFError,
    "UserWarning raised": UserWarning,
    "CancelledError": asyncio.CancelledError,
    "BaseException": BaseException,
    "BaseException of one's own": Own,
    "group of errors": lambda: ExceptionGroup("some", [ValueError("a"), TypeError("b")]),
    "group of base exceptions": lambda: BaseExceptionGroup("some", [Own("a"), SystemExit(1)]),
    "SystemExit with a text": lambda: SystemExit("good bye"),
    "SystemExit with an object": lambda: SystemExit(object()),
    "error without a text": NoText,
    "error without a name": NoName,
    "error whose text never ends": TalksForEver,
    "error whose text is a number": TextIsNoText,
    "error that exits while it says what it is": ExitsWhileTalking,
    "error that needs arguments": lambda: NeedsArguments(1, 2),
    "errors that cause each other": chained_in_a_ring,
    "error with a text of ten megabytes": lambda: ValueError("x" * 10**7),
    "error with a text that no file can hold": lambda: ValueError("\ud800 broken"),
    "error of the engine's own name": lambda: type("BrokenExercise", (RuntimeError,), {})("not ours"),
}
for name, made in ERRORS.items():
    add(f"raises {name}", "crashes", raising(made))


@fault()
def plain_exit(student_logits, teacher_logits, temperature):
    exit()


@fault()
def plain_quit(student_logits, teacher_logits, temperature):
    quit()


@fault()
def exit_of_sys(student_logits, teacher_logits, temperature):
    sys.exit(0)


@fault()
def exit_in_a_finally(student_logits, teacher_logits, temperature):
    try:
        return student_logits
    finally:
        sys.exit(3)


@fault()
def exit_swallowed_and_repeated(student_logits, teacher_logits, temperature):
    for _ in range(3):
        try:
            exit(1)
        except SystemExit:
            pass
    quit(2)


@fault()
def unknown_name(student_logits, teacher_logits, temperature):
    return student_logitz  # noqa: F821


@fault()
def name_used_before_it_is_given(student_logits, teacher_logits, temperature):
    total = total + 1  # noqa: F821
    return total


@fault()
def missing_module(student_logits, teacher_logits, temperature):
    import a_module_that_nobody_wrote  # noqa: F401


@fault()
def wrong_shapes(student_logits, teacher_logits, temperature):
    return student_logits @ torch.zeros(99, 99, dtype=student_logits.dtype)


@fault()
def index_out_of_range(student_logits, teacher_logits, temperature):
    return student_logits[:, 1000]


@fault()
def more_memory_than_there_is(student_logits, teacher_logits, temperature):
    return torch.zeros(10**15)


@fault()
def more_memory_than_there_is_in_numpy(student_logits, teacher_logits, temperature):
    return np.zeros(10**16)


@fault()
def singular_matrix(student_logits, teacher_logits, temperature):
    return np.linalg.inv(np.zeros((3, 3)))


@fault()
def wrong_syntax_in_eval(student_logits, teacher_logits, temperature):
    return eval("1 +")


@fault()
def brackets_without_an_end(student_logits, teacher_logits, temperature):
    return eval("(" * 10_000)


@fault()
def error_in_a_finally(student_logits, teacher_logits, temperature):
    try:
        raise KeyError
    finally:
        raise ValueError


@fault()
def error_in_a_generator_that_is_dropped(student_logits, teacher_logits, temperature):
    def generator():
        try:
            yield 1
        finally:
            raise ValueError

    next(generator())
    return student_logits


@fault()
def gives_up_in_one_branch(student_logits, teacher_logits, temperature):
    if len(student_logits) > 1:
        raise NotImplementedError("later")
    return student_logits


@fault()
def takes_no_argument():
    return 0


@fault()
def takes_too_many(student_logits, teacher_logits, temperature, alpha, beta):
    return 0


@fault()
def its_default_is_no_number(student_logits, teacher_logits, temperature: Any = "warm"):
    return student_logits + "3"


@fault()
def division_of_numpy_with_errors(student_logits, teacher_logits, temperature):
    with np.errstate(all="raise"):
        return np.ones(3) / np.zeros(3)
