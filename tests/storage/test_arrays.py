"""Arrays are written as NumPy writes them, but through Python's stream, which says why a write fails."""

from __future__ import annotations

import io

import numpy as np
import pytest

from course_lib.storage.arrays import write_npy, write_npz

ARRAYS = {
    "bytes": np.arange(24, dtype=np.uint8).reshape(2, 3, 4),
    "floats": np.linspace(0, 1, 7, dtype=np.float32),
    "columns first": np.asfortranarray(np.arange(6.0).reshape(2, 3)),
    "a view with gaps": np.arange(20)[::3],
    "nothing": np.zeros((0, 3), np.int64),
    "one number": np.array(5.0),
    "text": np.array(["a", "Überholverbot"]),
}


@pytest.mark.parametrize("array", ARRAYS.values(), ids=ARRAYS.keys())
def test_a_file_has_the_bytes_that_numpy_writes_for_the_array_in_c_order(tmp_path, array):
    write_npy(tmp_path / "x.npy", array)
    expected = io.BytesIO()
    np.save(expected, np.array(array, order="C"))
    assert (tmp_path / "x.npy").read_bytes() == expected.getvalue()


def test_an_archive_gives_back_what_it_was_given(tmp_path):
    write_npz(tmp_path / "x.npz", ARRAYS)
    with np.load(tmp_path / "x.npz", allow_pickle=False) as found:
        assert found.files == list(ARRAYS)
        assert all(np.array_equal(found[name], array) for name, array in ARRAYS.items())


def test_objects_are_refused(tmp_path):
    with pytest.raises(ValueError, match="plain numbers"):
        write_npy(tmp_path / "x.npy", np.array([None]))
    with pytest.raises(ValueError, match="Object arrays"):
        write_npz(tmp_path / "x.npz", {"a": np.array([None])})
