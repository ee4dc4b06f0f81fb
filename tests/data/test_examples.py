"""The examples in the docstrings of the three lowest rooms are right; they run offline, in milliseconds."""

from __future__ import annotations

import doctest
import importlib
import pkgutil

import pytest

import course_lib.data
import course_lib.models
import course_lib.storage

MODULES = [
    module.name
    for room in (course_lib.storage, course_lib.data, course_lib.models)
    for module in pkgutil.walk_packages(room.__path__, f"{room.__name__}.")
]


@pytest.mark.parametrize("name", MODULES)
def test_the_examples_of_a_module_are_right(name):
    assert doctest.testmod(importlib.import_module(name)).failed == 0


def test_there_are_examples():
    finder = doctest.DocTestFinder(exclude_empty=True)
    found = [test for name in MODULES for test in finder.find(importlib.import_module(name)) if test.examples]
    assert len(found) >= 15
