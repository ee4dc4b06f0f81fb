"""Values in words."""

from __future__ import annotations

import ast
from functools import partial

import numpy as np
import pytest
import torch
from torch import nn

from course_lib.exercises.engine.describe import bulky, describe, describe_two, size, written_out


class Mute:
    def __repr__(self):
        raise RuntimeError("no text")


@pytest.mark.parametrize(
    "value",
    [
        Mute(),
        [Mute()],
        torch.empty(2, device="meta"),
        torch.eye(2).to_sparse(),
        torch.quantize_per_tensor(torch.ones(2), 0.5, 0, torch.quint8),
        np.array([Mute()], dtype=object),
        torch.ones(0),
        np.datetime64("2026-01-01"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_everything_has_a_text(value):
    assert describe(value)


def test_a_list_that_holds_itself_has_a_text():
    endless: list = [1]
    endless.append(endless)
    assert describe(endless) == "[1, [1, [1, [1, …]]]]"


@pytest.mark.parametrize("value", [("conv",), (("conv",), ("view",)), (), (1,), [(2,)], ("a", "b")], ids=str)
def test_a_tuple_can_be_typed_in_as_it_is_shown(value):
    assert ast.literal_eval(describe(value)) == value


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (1.0, 1.0000001),
        (torch.tensor([1.0]), torch.tensor([1.0000001])),
        (np.float32(0.1), 0.1),
        (1 / 3, 1 / 3 + 1e-15),
        (np.arange(100.0), np.arange(100.0)[::-1]),
        ("1", "1 "),
        ([1], (1,)),
    ],
)
def test_two_values_that_differ_never_look_the_same(one, other):
    first, second = describe_two(one, other)
    assert first != second or type(one) is type(other)
    assert describe_two(1.0, 1.0000001) == ("1", "1.0000001")


def test_a_half_float_shows_the_number_it_is():
    one, other = describe_two(np.array([0.5 + 1.8]), np.array([2.3], np.float16))
    assert (one, other) == ("array([2.3])", "array([2.30078])")


def test_two_values_with_the_same_text_show_their_kinds():
    assert describe_two(np.float64(2.5), 2.5) == ("2.5 (float64 of float64)", "2.5 (float)")


def test_arguments_up_to_36_numbers_are_written_out():
    assert written_out((torch.zeros(6, 6), [1, 2], "a", None))
    assert not written_out((torch.zeros(37),))
    assert not written_out(nn.Linear(1, 1))
    assert not written_out(object())
    assert len(describe(np.arange(36), elements=36).split(",")) == 36


def test_a_size_counts_what_there_is_to_read():
    assert size((torch.zeros(2, 3), {"a": [1, 2]}, nn.Linear(2, 1))) == 6 + 2 + 4


@pytest.mark.parametrize("value", [lambda x: x, object(), partial(len, 3), [print, Mute]])
def test_no_text_holds_an_address(value):
    assert " at 0x" not in describe(value)
    assert " at 0x" not in "".join(describe_two(value, lambda x: x))


def test_64_megabytes_of_numbers_or_a_million_items_are_much():
    assert bulky(torch.zeros(1).expand(2**24))
    assert not bulky(torch.zeros(1).expand(2**24 - 1))
    assert bulky(np.broadcast_to(np.zeros(1), (2**23,)))
    assert bulky("x" * 10**6)
    assert not bulky(["x" * 10**6])
