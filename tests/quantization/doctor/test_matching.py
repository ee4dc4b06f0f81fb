"""Branches in another order: the same name decides, else the weights' likeness, whatever their size."""

from __future__ import annotations

import numpy as np
import pytest

from course_lib.quantization.doctor.constants import Constant
from course_lib.quantization.doctor.matching import Unmatched, aligned
from course_lib.quantization.doctor.parts import Part


def part(name: str, kind: str = "convolution", sources=(0,), weight=None) -> Part:
    constant = None if weight is None else Constant(np.asarray(weight, np.float32))
    return Part(name, name, kind, tuple(sources), (), name, name, constant)


IMAGES = part("images", "images", ())
LEFT, RIGHT = [[1.0, 0.0]], [[0.0, 1.0]]


def test_branches_are_told_apart_by_their_weights_where_names_say_nothing():
    reference = [IMAGES, part("a", weight=LEFT), part("b", weight=RIGHT), part("sum", "sum", (1, 2))]
    suspect = [IMAGES, part("x", weight=[[2.0, 9.0]]), part("y", weight=[[0.5, 0.1]]), part("z", "sum", (1, 2))]
    assert [found.name for found in aligned(reference, suspect)] == ["images", "y", "x", "z"]
    assert aligned(reference, suspect)[3].sources == (2, 1)  # counted in the reference's order


def test_a_name_that_agrees_counts_more_than_likeness():
    reference = [IMAGES, part("a", weight=LEFT), part("b", weight=RIGHT)]
    suspect = [IMAGES, part("b", weight=LEFT), part("a", weight=RIGHT)]
    assert [found.name for found in aligned(reference, suspect)] == ["images", "a", "b"]


def test_of_equals_the_first_is_taken():
    reference = [IMAGES, part("a", weight=LEFT), part("b", weight=LEFT)]
    suspect = [IMAGES, part("x", weight=LEFT), part("y", weight=LEFT)]
    assert [found.name for found in aligned(reference, suspect)] == ["images", "x", "y"]


def test_another_shape_or_source_is_refused_by_name():
    reference = [IMAGES, part("a", weight=LEFT), part("b", sources=(1,), weight=RIGHT)]
    with pytest.raises(Unmatched, match=r"b \(1 × 2 convolution\) reads other layers"):
        aligned(reference, [IMAGES, part("a", weight=LEFT), part("b", sources=(0,), weight=RIGHT)])
    with pytest.raises(Unmatched, match="3 layers, the suspect 2"):
        aligned(reference, [IMAGES, part("a", weight=LEFT)])
