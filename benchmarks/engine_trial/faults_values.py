"""Results of strange kinds: wrong in a way that a comparison may miss, or right in a way that it may refuse."""

from __future__ import annotations

import collections
import dataclasses
import decimal
import io
import types
import weakref
from collections.abc import Callable
from fractions import Fraction
from typing import Any
from unittest import mock

import numpy as np
import torch
from torch import nn

from engine_trial.fault import LOSS, ROWS, TAP, TRAINED, add, right_gradient, right_loss, right_rows, right_tap


def constant(make: Callable[[], Any]) -> Callable:
    """An answer that returns this, whatever it is asked."""
    return lambda *arguments, **options: make()


def itself(depth: int) -> list:
    """A list in a list in a list …"""
    found: list = [1.0]
    for _ in range(depth):
        found = [found]
    return found


def ring() -> list:
    found: list = [1.0]
    found.append(found)
    return found


def ring_of_dicts() -> dict:
    found: dict = {"output": 1}
    found["output"] = found
    return found


@dataclasses.dataclass
class Holds:
    """Holds itself."""

    value: Any = None

    def __post_init__(self) -> None:
        self.value = self


STRANGE: dict[str, Callable[[], Any]] = {
    "tensor without values": lambda: torch.empty(1, 4, device="meta"),
    "sparse tensor": lambda: torch.zeros(1, 4).to_sparse(),
    "compressed sparse tensor": lambda: torch.ones(1, 4).to_sparse_csr(),
    "quantized tensor": lambda: torch.quantize_per_tensor(torch.ones(1, 4), 0.1, 0, torch.qint8),
    "nested tensor": lambda: torch.nested.nested_tensor([torch.ones(1), torch.ones(2)]),
    "complex tensor": lambda: torch.ones(1, 4, dtype=torch.complex64),
    "conjugate tensor": lambda: torch.ones(1, 4, dtype=torch.complex64).conj(),
    "bfloat16 tensor": lambda: torch.ones(1, 4, dtype=torch.bfloat16),
    "float8 tensor": lambda: torch.ones(1, 4).to(torch.float8_e4m3fn),
    "Boolean tensor": lambda: torch.ones(1, 4, dtype=torch.bool),
    "tensor of NaN": lambda: torch.full((1, 4), torch.nan),
    "tensor of infinities": lambda: torch.full((1, 4), torch.inf),
    "tensor of no element": lambda: torch.empty(0, 4),
    "tensor of twelve axes": lambda: torch.zeros((1,) * 12),
    "tensor that repeats one number a billion times": lambda: torch.zeros(1).expand(10**9),
    "parameter": lambda: nn.Parameter(torch.ones(1, 4)),
    "array of objects": lambda: np.array([[1, "a", None, []]], dtype=object),
    "array of texts": lambda: np.array([["a", "b", "c", "d"]]),
    "array of dates": lambda: np.array(["2020-01-01"], dtype="datetime64[D]"),
    "array of records": lambda: np.zeros(4, dtype=[("a", "f4"), ("b", "i4")]),
    "array of bytes": lambda: np.array([b"a"]),
    "masked array": lambda: np.ma.masked_all((1, 4)),
    "array in an array": lambda: np.array([np.array([1.0, 2.0]), None], dtype=object),
    "array that repeats one number a billion times": lambda: np.broadcast_to(np.zeros(1), (10**9,)),
    "matrix of NumPy": lambda: np.matrix([[1.0, 2, 3, 4]]),
    "huge list": lambda: [0.0] * 3_000_000,
    "huge text": lambda: "x" * 30_000_000,
    "huge whole number": lambda: 10**100_000,
    "huge dict": lambda: dict.fromkeys(range(1_000_000)),
    "huge set": lambda: set(range(1_000_000)),
    "list of lists of uneven length": lambda: [[1.0], [1.0, 2.0]],
    "list that contains itself": ring,
    "dict that contains itself": ring_of_dicts,
    "object that contains itself": Holds,
    "list ten thousand lists deep": lambda: itself(10_000),
    "mock.ANY": lambda: mock.ANY,
    "list of mock.ANY": lambda: [[mock.ANY] * 4],
    "mock": mock.MagicMock,
    "Ellipsis in a list": lambda: [...],
    "NotImplemented": lambda: NotImplemented,
    "generator": lambda: (i for i in range(4)),
    "lambda": lambda: lambda: 0,
    "class": lambda: dict,
    "module": lambda: types,
    "exception": lambda: ValueError("returned, not raised"),
    "open file": lambda: io.StringIO("0 0 0 0"),
    "bytes": lambda: b"\x00" * 16,
    "memory view": lambda: memoryview(b"1234"),
    "range": lambda: range(4),
    "deque": lambda: collections.deque([1.0]),
    "user's dict": lambda: collections.UserDict(a=1),
    "default dict": lambda: collections.defaultdict(lambda: 1 / 0),
    "dict with keys that do not sort": lambda: {1: 0, "a": 1, None: 2},
    "weak reference to what is gone": lambda: weakref.proxy(types.SimpleNamespace()),
    "decimal NaN": lambda: decimal.Decimal("sNaN"),
    "not a number": lambda: float("nan"),
    "complex number": lambda: 1j,
    "network": lambda: nn.Linear(2, 2),
    "network without weights yet": lambda: nn.LazyLinear(2),
    "lone surrogate": lambda: "\ud800",
}


def add_strange() -> None:
    for name, make in STRANGE.items():
        add(f"returns: {name}", "values", constant(make))
    for name in ("mock.ANY", "dict that contains itself", "huge dict", "default dict", "user's dict", "network"):
        add(f"returns for a network's layer: {name}", "values", constant(STRANGE[name]), exercise=TAP)
    for name in ("mock.ANY", "list that contains itself", "generator", "huge list", "tensor without values"):
        add(f"returns for three numbers: {name}", "values", constant(STRANGE[name]), exercise=ROWS)
    for name in ("mock.ANY", "complex number", "tensor of NaN", "tensor without values", "mock"):
        add(f"returns for a loss: {name}", "values", constant(STRANGE[name]), exercise=TRAINED)
    add("an answer that is a class", "values", Holds)
    add("an answer that is a mock", "values", mock.MagicMock())
    add("an answer that is a number", "values", 3.0)
    add("an answer that is a tensor", "values", torch.ones(3))
    add("an answer that is a generator", "values", (i for i in range(3)))


def negative_view(gradient: torch.Tensor) -> torch.Tensor:
    """The same numbers as a view with the negative bit."""
    return torch._neg_view(-gradient)


def imaginary_part(gradient: torch.Tensor) -> torch.Tensor:
    """The same numbers as the imaginary part of a conjugate: a negative view again, made by public functions."""
    return torch.complex(torch.zeros_like(gradient), -gradient).conj().imag


RIGHT_IN_ANOTHER_FORM: dict[str, Callable[[torch.Tensor], Any]] = {
    "tensor with the negative bit": negative_view,
    "imaginary part of a conjugate": imaginary_part,
    "sparse": lambda gradient: gradient.to_sparse(),
    "array": lambda gradient: gradient.numpy(),
    "array of objects that are numbers": lambda gradient: gradient.numpy().astype(object),
    "lists": lambda gradient: gradient.tolist(),
    "fractions": lambda gradient: [[Fraction(number) for number in row] for row in gradient.tolist()],
    "decimals": lambda gradient: [[decimal.Decimal(number) for number in row] for row in gradient.tolist()],
    "NumPy scalars": lambda gradient: [[np.float64(number) for number in row] for row in gradient.tolist()],
    "tuple of tensors": lambda gradient: tuple(gradient.unbind()),
    "transposed twice": lambda gradient: gradient.T.contiguous().T,
    "matrix": lambda gradient: np.matrix(gradient.numpy()),
    "read-only array": lambda gradient: np.frombuffer(gradient.numpy().tobytes(), gradient.numpy().dtype).reshape(
        gradient.shape
    ),
    "parameter": lambda gradient: nn.Parameter(gradient),
    "float64": lambda gradient: gradient.double(),
}


def in_another_form(form: Callable[[torch.Tensor], Any]) -> Callable:
    return lambda student_logits, teacher_logits, temperature: form(
        right_gradient(student_logits, teacher_logits, temperature)
    )


def add_right() -> None:
    for name, form in RIGHT_IN_ANOTHER_FORM.items():
        add(f"right, as {name}", "values", in_another_form(form), right=True, exercise=LOSS)
    fractions = [Fraction, decimal.Decimal, np.float64, torch.tensor]
    for form in fractions:
        name = f"right, three numbers as {form.__name__}"
        add(name, "values", lambda f, o, form=form: [form(x) for x in right_rows(f, o)], exercise=ROWS, right=True)
    add("right loss in a list", "values", lambda s, z, t: [right_loss(s, z, t)], exercise=TRAINED, right=None)
    add("right layer, as a copy", "values", lambda m, n, x: right_tap(m, n, x).clone(), exercise=TAP, right=None)


add_strange()
add_right()
