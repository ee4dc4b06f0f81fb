"""Results whose own methods never end, call themselves, raise, exit or sleep, while the engine looks at them."""

# ruff: noqa: E722 these handlers are the faults

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import numpy as np
import torch

from engine_trial.fault import LOSS, ROWS, TAP, add, right_rows


def loops(self, *arguments, **options):
    while True:
        pass


def loops_catching_everything(self, *arguments, **options):
    while True:
        try:
            while True:
                pass
        except:
            pass


def calls_itself(self, *arguments, **options):
    return calls_itself(self, *arguments, **options)


def raises(self, *arguments, **options):
    raise RuntimeError("no answer")


def raises_base(self, *arguments, **options):
    raise BaseException("not even an Exception")


def exits(self, *arguments, **options):
    exit()


def sleeps(self, *arguments, **options):
    time.sleep(3600)


WAYS = (loops, loops_catching_everything, calls_itself, raises, raises_base, exits, sleeps)
MAIN = ("__eq__", "__repr__", "__str__", "__float__", "__getattr__", "__array__", "__del__", "__iter__", "__len__")
OTHERS = ("__bool__", "__getattribute__", "__hash__", "__format__", "__getitem__", "__call__", "__index__", "__dir__")


def returning(make: Callable[[], Any]) -> Callable:
    """An answer that returns such an object, whatever it is asked."""
    return lambda *arguments, **options: make()


def words(function: Callable) -> str:
    return function.__name__.replace("_", " ")


def add_methods() -> None:
    """Every main method in every way, the others in the two worst; on objects, lists, dicts, floats and arrays."""
    for method in MAIN:
        for way in WAYS[:4] if method != "__del__" else WAYS[:2]:
            kind = type("Odd", (), {method: way})
            add(f"{method} {words(way)}", "objects", returning(kind), right=False)
    for method in OTHERS:
        for way in (loops, raises):
            kind = type("Odd", (), {method: way})
            add(f"{method} {words(way)}", "objects", returning(kind))
    for base, method, start in (
        (list, "__iter__", lambda kind: kind([1.0, 2.0, 3.0])),
        (list, "__len__", lambda kind: kind([1.0, 2.0, 3.0])),
        (list, "__eq__", lambda kind: kind([1.0, 2.0, 3.0])),
        (tuple, "__iter__", lambda kind: kind([1.0, 2.0, 3.0])),
        (dict, "keys", lambda kind: kind(output=1)),
        (dict, "__getitem__", lambda kind: kind(output=1)),
        (dict, "__iter__", lambda kind: kind(output=1)),
        (float, "__eq__", lambda kind: kind(1.0)),
        (float, "__float__", lambda kind: kind(1.0)),
        (str, "__eq__", lambda kind: kind("a")),
    ):
        exercise = TAP if base is dict else ROWS
        for way in (loops, raises_base):
            kind = type("Odd", (base,), {method: way})
            name = f"{base.__name__} whose {method} {words(way)}"
            add(name, "objects", returning(lambda kind=kind, start=start: start(kind)), exercise=exercise)
    for method in ("__eq__", "__repr__", "__del__"):
        for way in (exits, sleeps):
            add(f"{method} {words(way)}", "objects", returning(type("Odd", (), {method: way})))


class OddTensor(torch.Tensor):
    @classmethod
    def __torch_function__(cls, function, kinds, arguments=(), options=None):
        while True:
            pass


class OddArray(np.ndarray):
    def __array_finalize__(self, other):
        while other is not None:
            pass


class OddUfunc(np.ndarray):
    def __array_ufunc__(self, *arguments, **options):
        while True:
            pass


class OddProtocol:
    @property
    def __array_interface__(self):
        while True:
            pass


class OddClass:
    @property
    def __class__(self):
        while True:
            pass


class OddDict:
    @property
    def __dict__(self):
        while True:
            pass


class Meta(type):
    def __instancecheck__(cls, other):
        while True:
            pass

    def __repr__(cls):
        while True:
            pass


class OddKind(metaclass=Meta):
    pass


class Iterates:
    def __iter__(self):
        return self

    def __next__(self):
        while True:
            pass


class Contained:
    """Equal to everything, and never done with it."""

    def __eq__(self, other):
        while True:
            pass

    __hash__ = None


class HidesInATuple(tuple):
    def __getitem__(self, index):
        while True:
            pass


def add_kinds() -> None:
    """Classes that reach the engine by other ways than a method of their own."""
    shape = (1, 4)
    add("tensor whose functions loop", "objects", returning(lambda: torch.zeros(shape).as_subclass(OddTensor)))
    add("array whose views loop", "objects", returning(lambda: np.ndarray.__new__(OddArray, shape)))
    add("array whose functions loop", "objects", returning(lambda: np.zeros(shape).view(OddUfunc)))
    add("array interface that loops", "objects", returning(OddProtocol))
    add("__class__ that loops", "objects", returning(OddClass))
    add("__dict__ that loops", "objects", returning(OddDict))
    add("class whose class loops", "objects", returning(lambda: OddKind))
    add("instance of a class whose class loops", "objects", returning(OddKind))
    add("iterator that loops", "objects", returning(Iterates))
    add("array of objects that loop", "objects", returning(lambda: np.array([[Contained()] * 4], dtype=object)))
    add("list of objects that loop", "objects", returning(lambda: [Contained()] * 3), exercise=ROWS)
    add("tuple whose items loop", "objects", returning(lambda: HidesInATuple([1, 2, 3])), exercise=ROWS)
    right = lambda first, other: HidesInATuple(right_rows(first, other))  # noqa: E731
    add("right, in a tuple whose items loop", "objects", right, exercise=ROWS, right=True)
    add("callable object that loops", "objects", type("Odd", (), {"__call__": loops})())
    add("callable whose signature loops", "objects", type("Odd", (), {"__call__": raises, "__getattr__": loops})())
    add("callable that equals for ever", "objects", type("Odd", (), {"__call__": loops, "__eq__": loops})())
    add("not callable and describes itself for ever", "objects", type("Odd", (), {"__repr__": loops})(), exercise=LOSS)


add_methods()
add_kinds()
