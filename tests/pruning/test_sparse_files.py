"""Every format gives back every bit, weighs what its formula says, and refuses a damaged file."""

from __future__ import annotations

import math

import numpy as np
import pytest
import scipy.sparse
import torch
from torch import nn

from course_lib.models import SignStudent
from course_lib.pruning import (
    Masks,
    csr_break_even,
    csr_bytes,
    decode,
    deployed_weights,
    encode,
    file_bytes,
    from_csr,
    to_csr,
)

FORMATS = ("dense", "csr", "bitmask", "zlib", "lzma")


def sparse(rows, columns, nonzeros, seed=0):
    """``nonzeros`` values other than 0 at random places."""
    rng = np.random.default_rng(seed)
    flat = np.zeros(rows * columns, np.float32)
    flat[rng.permutation(flat.size)[:nonzeros]] = rng.uniform(0.5, 1, nonzeros).astype(np.float32)
    return flat.reshape(rows, columns)


def odd_values():
    bits = np.array([0x80000000, 0x7FC00001, 0x7F800000, 0xFF800000, 1, 0, 0x3F800000, 0], np.uint32)  # −0, NaN, ±∞, …
    return bits.view(np.float32).reshape(2, 4)


CASES = {
    "odd values": odd_values(),
    "all zeros": np.zeros((3, 5), np.float32),
    "no zeros": np.ones((3, 5), np.float32),
    "an empty row and column": np.array([[0, 1, 0], [0, 0, 0], [0, 2, 3]], np.float32),
    "one weight": np.ones((1, 1), np.float32),
    "kernel": sparse(8, 27, 40).reshape(8, 3, 3, 3),
    "256 columns": sparse(2, 256, 300),
    "257 columns": sparse(2, 257, 300),
    "65,537 columns": sparse(2, 65_537, 100),
    "70,000 values": sparse(100, 1000, 70_000),
    "no rows": np.zeros((0, 4), np.float32),
    "no columns": np.zeros((4, 0), np.float32),
    "bias": np.array([0, 1, 0, 2], np.float32),
    "scalar": np.array(3, np.float32),
    "strided": sparse(6, 8, 20)[::2, ::-1],
    "big-endian": sparse(6, 8, 20).astype(">f4"),
}


def same_bits(a, b):
    return a.shape == b.shape and a.dtype == b.dtype == np.float32 and a.tobytes() == b.tobytes()


@pytest.mark.parametrize("form", FORMATS)
@pytest.mark.parametrize("case", CASES)
def test_what_is_decoded_is_what_was_encoded_bit_for_bit(case, form):
    values = CASES[case].astype("<f4", copy=False)
    found = decode(encode({case: CASES[case], "also": np.ones(2, np.float32)}, form))
    assert list(found) == [case, "also"]
    assert same_bits(found[case], values)
    assert found[case].flags.writeable


@pytest.mark.parametrize("form", FORMATS)
def test_a_network_without_tensors_is_a_file_too(form):
    assert decode(encode({}, form)) == {}


@pytest.mark.parametrize("case", ["all zeros", "no zeros", "an empty row and column", "kernel", "257 columns"])
def test_csr_equals_scipy_s(case):
    values = CASES[case]
    ours, theirs = to_csr(values), scipy.sparse.csr_matrix(values.reshape(len(values), -1))
    assert np.array_equal(ours.values, theirs.data)
    assert np.array_equal(ours.columns, theirs.indices)
    assert np.array_equal(ours.pointers, theirs.indptr)
    assert np.array_equal(from_csr(ours, values.shape), theirs.toarray().reshape(values.shape))


@pytest.mark.parametrize(
    ("shape", "nonzeros", "index", "pointer"),
    [
        ((4, 256), 255, "u1", "u1"),
        ((4, 256), 256, "u1", "u2"),
        ((4, 257), 255, "u2", "u1"),
        ((1, 65_536), 65_535, "u2", "u2"),
        ((2, 65_536), 65_536, "u2", "u4"),
        ((1, 65_537), 3, "u4", "u1"),
    ],
)
def test_indices_and_pointers_have_the_smallest_type_that_fits(shape, nonzeros, index, pointer):
    csr = to_csr(sparse(*shape, nonzeros))
    assert (csr.columns.dtype, csr.pointers.dtype) == (np.dtype(index), np.dtype(pointer))
    assert csr.nbytes == csr_bytes(*shape, nonzeros)
    assert same_bits(from_csr(csr, shape), sparse(*shape, nonzeros))


@pytest.mark.parametrize(
    "shape",
    [(1, 1), (1, 4), (3, 3), (16, 27), (40, 5), (7, 256), (7, 257), (43, 96), (64, 432), (300, 1), (1, 100_000)],
)
def test_break_even_is_where_the_arrays_measured_are_no_longer_smaller(shape):
    """The largest K with which the real arrays are smaller, by bisection: their size rises with K."""
    dense, low, high = 4 * math.prod(shape), -1, math.prod(shape) + 1
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if to_csr(sparse(*shape, middle)).nbytes < dense else (low, middle)
    assert csr_break_even(*shape) == low


def test_break_even_equals_a_search_over_every_count():
    for rows in (1, 2, 5, 17, 64):
        for columns in (1, 2, 9, 100, 255, 256, 257, 300):
            smaller = [k for k in range(rows * columns + 1) if csr_bytes(rows, columns, k) < 4 * rows * columns]
            assert csr_break_even(rows, columns) == max(smaller, default=-1), (rows, columns)


def test_a_third_must_go_before_csr_pays_and_a_thirty_second_before_a_bitmask_does():
    rows, columns = 64, 576
    assert 1 - csr_break_even(rows, columns) / (rows * columns) == pytest.approx(1 / 3, abs=0.002)
    nearly = {"w": sparse(rows, columns, math.ceil(rows * columns * 31 / 32) - 1)}
    more = {"w": sparse(rows, columns, math.ceil(rows * columns * 31 / 32))}
    assert len(encode(nearly, "bitmask")) < len(encode(nearly, "dense"))
    assert len(encode(more, "bitmask")) >= len(encode(more, "dense"))


def test_a_file_has_the_bytes_of_its_parts():
    """8 + 1 bytes, then for each tensor 2 + name + 1 + 4 a dimension, and CSR's one byte for the pointers' size."""
    values = sparse(10, 30, 50)
    head = 9 + 2 + 1 + 1 + 8
    expected = {"dense": 4 * 300, "csr": 1 + csr_bytes(10, 30, 50), "bitmask": math.ceil(300 / 8) + 4 * 50}
    for form, size in expected.items():
        assert len(encode({"w": values}, form)) == head + size


def test_zeros_make_every_format_but_the_dense_one_smaller():
    dense, pruned = file_bytes({"w": sparse(64, 288, 64 * 288)}), file_bytes({"w": sparse(64, 288, 1843)})
    assert list(dense) == list(FORMATS)
    assert pruned["dense"] == dense["dense"]
    assert all(pruned[form] < 0.25 * dense[form] for form in FORMATS[1:])


def test_a_network_comes_back_with_its_answers():
    model = SignStudent(num_classes=3, channels=(4, 4, 4, 4, 8)).eval()
    Masks.from_fraction(model, 0.9, scope="global").apply_(model)
    weights = deployed_weights(model)
    assert not any("mask" in name or "num_batches" in name for name in weights)
    images = torch.rand(2, 3, 32, 32)
    for form in FORMATS:
        again = SignStudent(num_classes=3, channels=(4, 4, 4, 4, 8)).eval()
        found = {name: torch.from_numpy(values) for name, values in decode(encode(weights, form)).items()}
        assert not again.load_state_dict(found, strict=False).unexpected_keys
        assert torch.equal(again(images), model(images))


def test_deployed_weights_are_copies_and_float32():
    model = nn.Linear(2, 2)
    weights = deployed_weights(model)
    weights["weight"][:] = 7
    assert not (model.weight == 7).any()
    with pytest.raises(TypeError, match=r"weight must be float32, got torch\.bfloat16"):
        deployed_weights(nn.Linear(2, 2).bfloat16())


@pytest.mark.parametrize("form", FORMATS)
def test_a_file_that_was_cut_short_or_altered_is_refused(form):
    content = encode({"w": sparse(5, 9, 12), "b": np.ones(3, np.float32)}, form)
    for length in range(len(content)):
        with pytest.raises(ValueError, match=r"not a file of weights|the checksum differs"):
            decode(content[:length])
    for position in range(len(content)):
        altered = bytearray(content)
        altered[position] ^= 0x10
        with pytest.raises(ValueError, match=r"not a file of weights|the checksum differs"):
            decode(bytes(altered))
    with pytest.raises(ValueError, match="the checksum differs"):
        decode(content + b"\0")


def test_other_types_and_formats_are_refused():
    with pytest.raises(TypeError, match="w must be float32, got float64"):
        encode({"w": np.ones((2, 2))}, "csr")
    with pytest.raises(ValueError, match=r"form must be one of .*, got 'coo'"):
        encode({}, "coo")
    with pytest.raises(ValueError, match=r"at least two axes .*, got shape \[3\]"):
        to_csr(np.ones(3, np.float32))
