"""Two results: the same in another container, or different, and where."""

from __future__ import annotations

import time
from decimal import Decimal
from fractions import Fraction
from unittest import mock

import numpy as np
import pytest
import torch
from torch import nn

from course_lib.exercises.engine.compare import clone, difference, exactly, relatively, same_bits

SAME = {
    "float and tensor": (1.5, torch.tensor(1.5)),
    "float32 rounding": (1 / 3, np.float32(1 / 3)),
    "small beside large": (np.array([1e3, 0.0]), np.array([1e3, 1e-3])),
    "rounding error around zero": (torch.zeros(3), torch.full((3,), 5e-8)),
    "tensor and list": (torch.tensor([1.0, 2.0]), [1.0, 2.0]),
    "list of tensors": (torch.tensor([1.0, 2.0]), [torch.tensor(1.0), 2]),
    "tuple and list": ((1, 2.0), [1, 2.0]),
    "tuple and array": ((1.0, 2.0), np.array([1.0, 2.0])),
    "nan and infinity": (np.array([np.nan, np.inf]), np.array([np.nan, np.inf])),
    "dict": ({"a": torch.ones(2), "b": 1}, {"b": 1, "a": np.ones(2)}),
    "text": ("Conv", " conv "),
    "None": (None, None),
    "integer as float": (7, 7.0),
    "bool": (True, torch.tensor(True)),
    "bfloat16": (torch.ones(2, dtype=torch.bfloat16), torch.ones(2)),
    "needs gradient": (torch.ones(2), torch.ones(2, requires_grad=True)),
    "empty": (torch.zeros(0), np.zeros(0)),
    "slice": (slice(1, 2), slice(1, 2)),
    "fraction": (31 / 61, Fraction(31, 61)),
    "decimal": (0.25, Decimal("0.25")),
    "fractions in a list": ([0.5, 0.25], [Fraction(1, 2), Fraction(1, 4)]),
    "array of objects that are numbers": (np.array([0.5]), np.array([Fraction(1, 2)], dtype=object)),
    "sparse": (torch.eye(2), torch.eye(2).to_sparse()),
    "quantized": (torch.ones(2), torch.quantize_per_tensor(torch.ones(2), 0.5, 0, torch.quint8)),
    "conjugate view": (np.array([1 - 2j]), torch.tensor([1 + 2j]).conj()),
    "negative view": (np.array([-2.0]), torch.tensor([1 + 2j]).conj().imag),
    "texts in arrays": (np.array(["a", "b"]), np.array(["a", "b"])),
    "matrix as lists of tensors": (torch.eye(2), [torch.tensor([1.0, 0.0]), [0, torch.tensor(1.0)]]),
}
ALWAYS_EQUAL = mock.ANY
DIFFERENT = {
    "float": (1.0, 1.001, "got 1.001"),
    "large integer, off by one": (1_000_000_000, 1_000_000_001, "expected 1000000000"),
    "shape": (torch.ones(2, 3), torch.ones(3, 2), "expected shape (2, 3), got shape (3, 2)"),
    "scalar and vector": (1.0, torch.ones(1), "shape"),
    "number of values": ((1, 2), (1, 2, 3), "expected 2 values, got 3 values"),
    "one value": ([("a", "b")], [], "expected 1 value, got 0 values"),
    "set": ([1, 2], {1, 2}, "expected 2 values in order, got a set: {1, 2}"),
    "frozenset": ([1], frozenset({1}), "expected 1 value in order, got a frozenset"),
    "dict for pairs": ([("a", 1)], {"a": 1}, "expected 1 value in order, got a dict: {'a': 1}"),
    "one value of a tuple": ((1.0, 2.0), (1.0, 3.0), "value 2 of 2"),
    "keys": ({"a": 1}, {"b": 1}, "keys ['a']"),
    "value of a key": ({"a": 1}, {"a": 2}, "'a': expected 1, got 2"),
    "nan": (np.array([1.0]), np.array([np.nan]), "nan"),
    "sign of infinity": (np.inf, -np.inf, "-inf"),
    "None": (torch.ones(2), None, "got None"),
    "text for a number": (1.0, "1.0", "expected"),
    "number for a text": ("a", 1, "expected 'a'"),
    "one of many": (torch.zeros(4, 4), torch.eye(4), "4 of 16 elements differ; at [0, 0]"),
    "small at zero": (torch.zeros(3), torch.full((3,), 1e-5), "e-05"),
    "ragged": (torch.ones(2), [[1.0], [1.0, 2.0]], "expected"),
    "extra key": ({"a": 1}, {"a": 1, "b": 2}, "got a dict with keys ['a', 'b']"),
    "second of two texts": (np.array(["a", "b"], dtype=object), np.array(["a", "c"], dtype=object), "got"),
    "equal to everything": (1.0, ALWAYS_EQUAL, "got <ANY>"),
    "equal to everything in an array": (torch.ones(2), np.array([ALWAYS_EQUAL] * 2), "expected"),
    "equal to everything in a list": (torch.ones(2), [ALWAYS_EQUAL, ALWAYS_EQUAL], "expected"),
    "equal to everything for an object": (np.array(["a"], dtype=object), [ALWAYS_EQUAL], "expected"),
    "equal to everything for a text": ("a", ALWAYS_EQUAL, "expected 'a'"),
    "masked": (np.ones(2), np.ma.masked_array(np.zeros(2), mask=True), "expected"),
    "nothing for a dict": ({"a": 1}, None, "got None"),
    "digits far behind": (1.0, 1.0003, "expected 1, got 1.0003"),
    "digits farther behind": (1234567.0, 1235567.0, "expected 1.23457e+06, got 1.23557e+06"),
    "complex objects": (slice(1, 2), slice(1, 3), "slice(1, 3, None)"),
}


@pytest.mark.parametrize(("expected", "got"), SAME.values(), ids=SAME.keys())
def test_equal_results_in_other_containers_are_accepted(expected, got):
    assert difference(expected, got) is None


@pytest.mark.parametrize(("expected", "got", "text"), DIFFERENT.values(), ids=DIFFERENT.keys())
def test_a_difference_is_described(expected, got, text):
    assert text in difference(expected, got)


def test_exactly_demands_dtype_and_bits():
    codes = torch.tensor([1, 2], dtype=torch.uint8)
    assert exactly(codes, codes.clone()) is None
    assert "dtype torch.uint8, got torch.int64" in exactly(codes, codes.long())
    assert "dtype" in exactly((codes, 1), ([1, 2], 1))
    assert exactly(torch.ones(2), torch.ones(2) + 1e-6)


def test_modules_are_compared_by_structure_and_weights():
    one = nn.Linear(2, 2)
    other = nn.Linear(2, 2)
    other.load_state_dict(one.state_dict())
    assert difference(one, other) is None
    other.weight.data[0, 0] += 1
    assert "'weight'" in difference(one, other)
    assert "'layers'" in difference(nn.Sequential(nn.ReLU()), nn.Sequential(nn.ELU()))


def test_relatively_sees_a_value_that_is_small_beside_all_others():
    rates = np.array([1e-2, 1e-7])
    assert difference(rates, np.array([1e-2, 2e-7])) is None
    assert "expected" in relatively(rates, np.array([1e-2, 2e-7]))
    assert relatively(rates, rates * 1.00001) is None
    assert relatively(0.0, 1e-9)


def test_a_million_values_too_many_are_not_looked_at():
    huge = [[0.0] * 10] * 3_000_000
    start = time.process_time()
    assert "expected" in difference(torch.zeros(3), huge)
    assert "got 3000000 values" in difference((1, 2), huge)
    assert time.process_time() - start < 1


def test_a_list_that_holds_itself_is_different():
    endless: list = [1.0]
    endless.append(endless)
    assert difference(torch.ones(2), endless)


def test_every_element_of_an_array_of_objects_counts():
    assert difference(np.array(["a", "b"], dtype=object), np.array(["a", "c"], dtype=object))
    assert difference(np.array([1, "b"], dtype=object), np.array([True, "b"], dtype=object))


def test_what_cannot_be_copied_is_passed_on():
    generator = (i for i in range(3))
    assert clone(generator) is generator
    assert same_bits(clone([1, 2]), [1, 2])
    assert not same_bits(torch.ones(2), torch.ones(2, dtype=torch.float64))
