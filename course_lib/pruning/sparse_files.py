"""What zeros save in a file: four ways to write a pruned network, each with its decoder, byte for byte.

A float32 tensor with N weights, of which K are not 0, viewed as a matrix of R rows (filters) and C columns:

* **dense**: 4·N bytes. Zeros save nothing.
* **csr** (compressed sparse rows): the K values, a column index for each, and R + 1 pointers that say where each row
  begins: K·(4 + c) + (R + 1)·p bytes, with c and p the bytes of the smallest integers that hold C − 1 and K.
* **bitmask**: one bit a weight says whether it is there, then the values: ⌈N/8⌉ + 4·K bytes.
* **zlib**, **lzma**: the dense bytes, compressed. They find the zeros by themselves, and little else in weights.

**Break-even.** CSR is smaller than dense only if K·(4 + c) + (R + 1)·p < 4·R·C. Without the pointers that is
K/N < 4/(4 + c): at least 1/5 of the weights must go where c = 1 (C ≤ 256), 1/3 where c = 2. The pointers of short rows
move it: ``csr_break_even`` solves for K. A bitmask costs N/8 whatever K is: it pays as soon as 1/32 of the weights
are gone, and beats CSR as long as more than about 1/(8·c) of them are left.

A weight counts as 0 if its four bytes are: −0.0 is kept, and the decoder returns every bit, NaN included. The file is
little-endian and says which format it has; a checksum (CRC-32, against accidents, not against forgers) refuses what
was cut short or altered. Tensors with one dimension (biases, BatchNorm) are dense in all formats.

Industrial formats go further: 8-bit values, 4-bit relative indices and Huffman codes (Han et al. 2016,
arXiv:1510.00149). ``scipy.sparse.csr_matrix`` gives the same three arrays as ``to_csr`` (tested), with 32-bit indices.
"""

from __future__ import annotations

import lzma
import math
import struct
import zlib
from collections.abc import Mapping, Sequence
from typing import Literal, NamedTuple, get_args

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

Format = Literal["dense", "csr", "bitmask", "zlib", "lzma"]
"""How a network's tensors are written."""
Weights = NDArray[np.float32]
"""Of any shape."""

_MAGIC = b"CSPW"
_UNSIGNED = {1: np.dtype("<u1"), 2: np.dtype("<u2"), 4: np.dtype("<u4")}
_FLOAT = np.dtype("<f4")


class Csr(NamedTuple):
    """A matrix as compressed sparse rows."""

    values: Weights  # (K,), row by row
    columns: NDArray[np.unsignedinteger]  # (K,), in the smallest type that holds C − 1
    pointers: NDArray[np.unsignedinteger]  # (R + 1,): row r is values[pointers[r]:pointers[r + 1]]

    @property
    def nbytes(self) -> int:
        """Bytes of the three arrays."""
        return self.values.nbytes + self.columns.nbytes + self.pointers.nbytes


def to_csr(weights: Weights) -> Csr:
    """The non-zeros of ``weights`` as compressed sparse rows.

    Args: weights: float32, (R, …) with at least two axes; all axes but the first are the columns.
    Raises: TypeError: not float32. ValueError: fewer than two axes.
    Matches: scipy.sparse.csr_matrix, apart from −0.0, which is kept here.

    >>> csr = to_csr(np.array([[0, 7, 0], [0, 0, 0], [5, 0, 6]], dtype=np.float32))
    >>> csr.values.tolist(), csr.columns.tolist(), csr.pointers.tolist(), csr.nbytes
    ([7.0, 5.0, 6.0], [1, 0, 2], [0, 1, 1, 3], 19)
    """
    matrix = _bits(weights).reshape(_matrix_shape(weights.shape))
    rows, columns = np.nonzero(matrix)
    counts = np.bincount(rows, minlength=len(matrix))
    pointers = np.concatenate([[0], np.cumsum(counts)])
    return Csr(
        matrix[rows, columns].view(_FLOAT),
        columns.astype(_unsigned(matrix.shape[1] - 1)),
        pointers.astype(_unsigned(len(rows))),
    )


def from_csr(csr: Csr, shape: Sequence[int]) -> Weights:
    """The dense tensor of ``shape`` (R, …), bit for bit.

    >>> weights = np.array([[0, 7], [-1, 0]], dtype=np.float32)
    >>> from_csr(to_csr(weights), (2, 2)).tolist()
    [[0.0, 7.0], [-1.0, 0.0]]
    """
    matrix = np.zeros(_matrix_shape(shape), _FLOAT)
    rows = np.repeat(np.arange(len(matrix)), np.diff(csr.pointers.astype(np.int64)))
    matrix[rows, csr.columns] = csr.values
    return matrix.reshape(shape)


def csr_bytes(rows: int, columns: int, nonzeros: int) -> int:
    """K·(4 + c) + (R + 1)·p bytes, c and p in {1, 2, 4}.

    Args:
        rows, columns: of the matrix, R and C.
        nonzeros: K, in 0..R·C.

    >>> csr_bytes(3, 3, nonzeros=3)
    19
    """
    return nonzeros * (4 + _unsigned(columns - 1).itemsize) + (rows + 1) * _unsigned(nonzeros).itemsize


def csr_break_even(rows: int, columns: int) -> int:
    """The largest number of non-zeros with which CSR is smaller than dense; −1 where no number is.

    K·(4 + c) < 4·R·C − (R + 1)·p is linear in K for each size p of the pointers; of its three solutions, cut off at
    what such pointers hold, the largest counts, since CSR's size only rises with K.

    Args: rows, columns: of the matrix, R ≥ 1 and C ≥ 1.

    >>> csr_break_even(64, 288), round(1 - csr_break_even(64, 288) / (64 * 288), 4)  # c = 2, p = 2: a third and a bit
    (12266, 0.3345)
    """
    value_bytes = 4 + _unsigned(columns - 1).itemsize
    found = [-1]
    for pointer_bytes in _UNSIGNED:
        room = 4 * rows * columns - (rows + 1) * pointer_bytes - 1  # strictly smaller
        found.append(min(room // value_bytes, 256**pointer_bytes - 1, rows * columns))
    return max(k for k in found if k < 0 or csr_bytes(rows, columns, k) < 4 * rows * columns)


def deployed_weights(model: nn.Module) -> dict[str, Weights]:
    """The float32 tensors of ``state_dict``: weights and BatchNorm's statistics, no masks and no counters.

    Raises: TypeError naming a tensor in another floating-point type.

    >>> {name: values.shape for name, values in deployed_weights(nn.Linear(2, 3)).items()}
    {'weight': (3, 2), 'bias': (3,)}
    """
    floats = {name: value for name, value in model.state_dict().items() if value.is_floating_point()}
    for name, value in floats.items():
        if value.dtype != torch.float32:
            raise TypeError(f"{name} must be float32, got {value.dtype}")
    return {name: value.detach().cpu().numpy().copy() for name, value in floats.items()}


def encode(weights: Mapping[str, Weights], form: Format) -> bytes:
    """A network's tensors as one file's content; ``decode`` gives back every bit.

    Args:
        weights: float32, by name.
        form: how; see the module.
    Raises: TypeError: a tensor is not float32. ValueError: another format.

    >>> weights = {"layer": np.eye(64, dtype=np.float32)}
    >>> [len(encode(weights, form)) for form in ("dense", "csr", "bitmask")]
    [16409, 411, 793]
    """
    if form not in get_args(Format):
        raise ValueError(f"form must be one of {get_args(Format)}, got {form!r}")
    content = b"".join(_record(name, _float32(values, name), form) for name, values in weights.items())
    if form == "zlib":
        content = zlib.compress(content, 9)
    elif form == "lzma":
        content = lzma.compress(content, preset=9)
    content = bytes([get_args(Format).index(form)]) + content
    return _MAGIC + struct.pack("<I", zlib.crc32(content)) + content


def decode(content: bytes) -> dict[str, Weights]:
    """The tensors that ``encode`` wrote, by name.

    Raises: ValueError: cut short, altered, or no such file.

    >>> decode(encode({"bias": np.array([1.5, 0.0], np.float32)}, "csr"))["bias"].tolist()
    [1.5, 0.0]
    """
    if content[:4] != _MAGIC or len(content) < 9 or content[8] >= len(get_args(Format)):
        raise ValueError("not a file of weights that this library wrote")
    if struct.unpack_from("<I", content, 4)[0] != zlib.crc32(content[8:]):
        raise ValueError("the checksum differs: the file was cut short or altered")
    form: Format = get_args(Format)[content[8]]
    body = content[9:]
    if form in ("zlib", "lzma"):
        body = zlib.decompress(body) if form == "zlib" else lzma.decompress(body)
    reader, found = _Reader(body), {}
    while reader.position < len(body):
        name = reader.take("<u1", reader.number("<u2")).tobytes().decode()
        shape = tuple(int(n) for n in reader.take("<u4", reader.number("<u1")))
        found[name] = _read(reader, shape, form)
    return found


def file_bytes(weights: Mapping[str, Weights]) -> dict[Format, int]:
    """The size of the file in each format, names, shapes and checksum included.

    >>> sizes = file_bytes({"layer": np.eye(64, dtype=np.float32)})
    >>> min(sizes, key=sizes.get), sizes["dense"] > 4 * 64 * 64
    ('zlib', True)
    """
    return {form: len(encode(weights, form)) for form in get_args(Format)}


class _Reader:
    """Reads arrays one after the other."""

    def __init__(self, content: bytes):
        self.content, self.position = content, 0

    def take(self, dtype: str | np.dtype, count: int) -> NDArray:
        values = np.frombuffer(self.content, dtype, count, self.position)
        self.position += values.nbytes
        return values

    def number(self, dtype: str) -> int:
        return int(self.take(dtype, 1)[0])


def _record(name: str, values: Weights, form: Format) -> bytes:
    """Name, shape, then the tensor."""
    text = name.encode()
    header = struct.pack(f"<H{len(text)}sB{values.ndim}I", len(text), text, values.ndim, *values.shape)
    if values.ndim < 2 or form not in ("csr", "bitmask"):
        return header + values.tobytes()
    if form == "bitmask":
        kept = _bits(values).reshape(-1) != 0
        return header + np.packbits(kept).tobytes() + values.reshape(-1)[kept].tobytes()
    csr = to_csr(values)
    size = bytes([csr.pointers.itemsize])
    return header + size + csr.pointers.tobytes() + csr.columns.tobytes() + csr.values.tobytes()


def _read(reader: _Reader, shape: tuple[int, ...], form: Format) -> Weights:
    size = math.prod(shape)
    if len(shape) < 2 or form not in ("csr", "bitmask"):
        return reader.take(_FLOAT, size).reshape(shape).copy()
    if form == "bitmask":
        kept = np.unpackbits(reader.take("<u1", -(-size // 8)), count=size).astype(bool)
        values = np.zeros(size, _FLOAT)
        values[kept] = reader.take(_FLOAT, int(kept.sum()))
        return values.reshape(shape)
    rows, columns = _matrix_shape(shape)
    pointers = reader.take(_UNSIGNED[reader.number("<u1")], rows + 1)
    count = int(pointers[-1])
    indices = reader.take(_unsigned(columns - 1), count)
    return from_csr(Csr(reader.take(_FLOAT, count), indices, pointers), shape)


def _bits(weights: Weights) -> NDArray[np.uint32]:
    """The weights' bytes as integers: 0 only for +0.0."""
    return np.ascontiguousarray(_float32(weights, "weights")).view(np.dtype("<u4"))


def _float32(values: NDArray, name: str) -> Weights:
    if values.dtype.newbyteorder("=") != np.float32:
        raise TypeError(f"{name} must be float32, got {values.dtype}")
    return values.astype(_FLOAT, copy=False)


def _matrix_shape(shape: Sequence[int]) -> tuple[int, int]:
    if len(shape) < 2:
        raise ValueError(f"weights must have at least two axes (out, in, …), got shape {list(shape)}")
    return shape[0], math.prod(shape[1:])


def _unsigned(largest: int) -> np.dtype:
    """The smallest unsigned type that holds ``largest``."""
    return next(dtype for size, dtype in _UNSIGNED.items() if largest < 256**size)
