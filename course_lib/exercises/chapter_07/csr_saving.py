"""07.4: the bytes that compressed sparse rows save, or cost."""

from __future__ import annotations

import numpy as np

from course_lib.exercises.engine.exercise import Exercise

Question = tuple[int, int, int]

ex = Exercise(
    "07.4",
    "What compressed sparse rows save",
    points=2,
    hints=[
        "Dense: 4 bytes for each of rows · columns weights. CSR: for each weight that is not 0 its 4 bytes and its "
        "column; then where each row begins, and where the last one ends.",
        "An unsigned integer of 1 byte holds numbers up to 255, one of 2 bytes up to 65,535. The largest column is "
        "columns − 1; the largest pointer is nonzeros.",
        "dense − (nonzeros · (4 + column bytes) + (rows + 1) · pointer bytes); it may be negative.",
    ],
    explanation="""
        Where the saving is 0 lies the break-even. With indices of one byte and long rows it is a fifth of zeros, with
        two bytes a third, with the four bytes that many libraries use a half: the size of the index decides, and the
        pointers of short rows move it. The library has both as `csr_bytes` and `csr_break_even`.
    """,
)


@ex.reference
def bytes_saved_by_csr(rows: int, columns: int, nonzeros: int) -> int:
    """Bytes of the dense float32 matrix minus bytes of CSR with the smallest integers (1, 2 or 4 bytes)."""
    column_bytes = _bytes_for(columns - 1)
    pointer_bytes = _bytes_for(nonzeros)
    csr = nonzeros * (4 + column_bytes) + (rows + 1) * pointer_bytes
    return 4 * rows * columns - csr


def _bytes_for(largest: int) -> int:
    """Bytes of the smallest unsigned integer that holds ``largest``."""
    return 1 if largest <= 255 else 2 if largest <= 65_535 else 4


@ex.solution
def written_out(rows: int, columns: int, nonzeros: int) -> int:
    """Bytes of the dense float32 matrix minus bytes of CSR with the smallest integers (1, 2 or 4 bytes)."""
    size = {}
    for name, largest in (("column", columns - 1), ("pointer", nonzeros)):
        size[name] = 1 if largest <= 255 else 2 if largest <= 65_535 else 4
    csr = nonzeros * (4 + size["column"]) + (rows + 1) * size["pointer"]
    return 4 * rows * columns - csr


@ex.case("three rows, three columns, three weights: 36 − (3 · 5 + 4 · 1)")
def by_hand() -> Question:
    return 3, 3, 3


@ex.case("256 columns: the largest index is 255, one byte")
def columns_256() -> Question:
    return 4, 256, 100


@ex.case("257 columns: the largest index is 256, two bytes")
def columns_257() -> Question:
    return 4, 257, 100


@ex.case("255 weights: the last pointer is 255, one byte")
def nonzeros_255() -> Question:
    return 10, 40, 255


@ex.case("256 weights: the last pointer is 256, two bytes")
def nonzeros_256() -> Question:
    return 10, 40, 256


@ex.case("65,535 weights: the last pointer is 65,535, two bytes")
def nonzeros_65535() -> Question:
    return 300, 300, 65_535


@ex.case("65,536 weights: the last pointer is 65,536, four bytes")
def nonzeros_65536() -> Question:
    return 300, 300, 65_536


@ex.case("65,536 columns: the largest index is 65,535, two bytes")
def columns_65536() -> Question:
    return 2, 65_536, 100


@ex.case("65,537 columns: the largest index is 65,536, four bytes")
def columns_65537() -> Question:
    return 2, 65_537, 100


@ex.case("a layer of a student: 64 filters of 288 weights, a tenth left")
def layer() -> Question:
    return 64, 288, 1843


@ex.case("a matrix without zeros: CSR costs bytes")
def full() -> Question:
    return 5, 300, 1500


@ex.case("large: 70,000 columns and 100,000 weights need integers of 4 bytes")
def large() -> Question:
    return 20, 70_000, 100_000


@ex.case("an empty matrix still has its pointers")
def empty() -> Question:
    return 6, 9, 0


@ex.inputs
def random_matrix(rng: np.random.Generator) -> Question:
    rows, columns = int(rng.integers(3, 60)), int(rng.integers(3, 600))
    return rows, columns, int(rng.integers(1, rows * columns))


def _saved(rows: int, columns: int, stored: int) -> int:
    return 4 * rows * columns - stored


@ex.mistake("The sign is turned: what CSR saves is dense − CSR, positive where CSR is smaller.")
def turned_round(rows: int, columns: int, nonzeros: int) -> int:
    return -bytes_saved_by_csr(rows, columns, nonzeros)


@ex.mistake("You returned the bytes of CSR. Asked is what they save against the dense matrix.")
def csr_alone(rows: int, columns: int, nonzeros: int) -> int:
    return 4 * rows * columns - bytes_saved_by_csr(rows, columns, nonzeros)


@ex.mistake("You count the weights alone. The file must also say where they belong: columns and pointers.")
def values_alone(rows: int, columns: int, nonzeros: int) -> int:
    return _saved(rows, columns, 4 * nonzeros)


@ex.mistake("The pointers are missing: without them nobody knows where a row begins.")
def no_pointers(rows: int, columns: int, nonzeros: int) -> int:
    return _saved(rows, columns, nonzeros * (4 + _bytes_for(columns - 1)))


@ex.mistake("There are rows + 1 pointers: the last one says where the last row ends.")
def a_pointer_short(rows: int, columns: int, nonzeros: int) -> int:
    return bytes_saved_by_csr(rows, columns, nonzeros) + _bytes_for(nonzeros)


@ex.mistake("Your pointers are one for each column: that is CSC, compressed sparse columns.")
def compressed_columns(rows: int, columns: int, nonzeros: int) -> int:
    stored = nonzeros * (4 + _bytes_for(columns - 1)) + (columns + 1) * _bytes_for(nonzeros)
    return _saved(rows, columns, stored)


@ex.mistake("You take 4 bytes for every integer, as many libraries do. Asked are the smallest that hold the numbers.")
def four_bytes_each(rows: int, columns: int, nonzeros: int) -> int:
    return _saved(rows, columns, nonzeros * 8 + (rows + 1) * 4)


@ex.mistake("Your columns are small, but the pointers take 4 bytes each. They, too, take the smallest that hold them.")
def wide_pointers(rows: int, columns: int, nonzeros: int) -> int:
    return _saved(rows, columns, nonzeros * (4 + _bytes_for(columns - 1)) + (rows + 1) * 4)


@ex.mistake("Columns count from 0: with 256 of them the largest index is 255, and one byte holds it.")
def columns_from_one(rows: int, columns: int, nonzeros: int) -> int:
    return _saved(rows, columns, nonzeros * (4 + _bytes_for(columns)) + (rows + 1) * _bytes_for(nonzeros))


@ex.mistake(
    "A pointer is no index: the last one equals the number of weights, so 256 weights need pointers of two bytes."
)
def pointers_one_short(rows: int, columns: int, nonzeros: int) -> int:
    stored = nonzeros * (4 + _bytes_for(columns - 1)) + (rows + 1) * _bytes_for(nonzeros - 1)
    return _saved(rows, columns, stored)


@ex.mistake("You sized the pointers by the columns. A pointer counts weights: its largest is nonzeros.")
def pointers_by_columns(rows: int, columns: int, nonzeros: int) -> int:
    small = _bytes_for(columns - 1)
    return _saved(rows, columns, nonzeros * (4 + small) + (rows + 1) * small)


@ex.mistake("You stored a row for each weight beside its column: that is COO. CSR stores where each row begins.")
def coordinates(rows: int, columns: int, nonzeros: int) -> int:
    return _saved(rows, columns, nonzeros * (4 + _bytes_for(columns - 1) + _bytes_for(rows - 1)))


@ex.mistake("You returned a fraction. Asked are bytes.")
def fraction(rows: int, columns: int, nonzeros: int) -> float:
    return bytes_saved_by_csr(rows, columns, nonzeros) / (4 * rows * columns)


@ex.alternative
def with_numpy(rows: int, columns: int, nonzeros: int) -> np.int64:
    column, pointer = np.min_scalar_type(columns - 1).itemsize, np.min_scalar_type(nonzeros).itemsize
    return np.int64(rows * columns * 4 - nonzeros * 4 - nonzeros * column - (rows + 1) * pointer)


@ex.alternative
def with_a_loop(rows: int, columns: int, nonzeros: int) -> int:
    sizes = []
    for largest in (columns - 1, nonzeros):
        size = 1
        while largest >= 256**size:
            size *= 2
        sizes.append(size)
    return 4 * (rows * columns - nonzeros) - nonzeros * sizes[0] - (rows + 1) * sizes[1]


@ex.alternative
def with_real_arrays(rows: int, columns: int, nonzeros: int) -> int:
    column = np.zeros(nonzeros, np.min_scalar_type(columns - 1))
    pointers = np.full(rows + 1, nonzeros, np.min_scalar_type(nonzeros))
    return 4 * rows * columns - (np.zeros(nonzeros, np.float32).nbytes + column.nbytes + pointers.nbytes)
