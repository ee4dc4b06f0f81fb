"""``load`` takes what it is told to: a name, a path, ``COURSE_DATA``, or the rendered set."""

from __future__ import annotations

import sys
import types

import numpy as np
import pytest

from course_lib import data
from course_lib.data import Splits, load
from course_lib.errors import CourseError


@pytest.fixture
def npz(tmp_path):
    """Two classes of three tracks, one image each."""
    np.savez(tmp_path / "signs.npz", x=np.zeros((6, 16, 16, 3), np.uint8), y=np.arange(6) // 3, track=np.arange(6) % 3)
    return tmp_path / "signs.npz"


@pytest.fixture
def rendered(monkeypatch):
    """Calls of the renderer, which is not run: its tests are elsewhere."""
    calls = []
    module = types.ModuleType("course_lib.data.rendered")
    module.load_rendered = lambda **options: calls.append(options) or "splits"
    monkeypatch.setitem(sys.modules, "course_lib.data.rendered", module)
    monkeypatch.delenv("COURSE_DATA", raising=False)
    return calls


def test_load_takes_the_rendered_set_unless_told_otherwise(rendered, monkeypatch):
    assert load() == "splits"
    assert load("rendered", size=48, seed=3) == "splits"
    monkeypatch.setenv("COURSE_DATA", "")
    assert load() == "splits"
    assert rendered == [{"size": 32, "seed": 0}, {"size": 48, "seed": 3}, {"size": 32, "seed": 0}]


def test_course_data_names_the_default_and_an_argument_overrules_it(rendered, monkeypatch, npz):
    monkeypatch.setenv("COURSE_DATA", str(npz))
    assert isinstance(load(size=16), Splits)
    load("rendered")
    assert len(rendered) == 1
    monkeypatch.setattr(data, "load_gtsrb", lambda **options: options)
    monkeypatch.setenv("COURSE_DATA", "gtsrb")
    assert load(size=24, seed=2) == {"size": 24, "seed": 2, "download": False}


def test_an_unknown_name_or_size_is_refused_with_what_is_known(rendered):
    with pytest.raises(ValueError, match=r"unknown data 'cifar'.*'rendered', 'gtsrb'"):
        load("cifar")
    for size in (15, 97, 0, -1):
        with pytest.raises(ValueError, match=r"16\.\.96"):
            load("rendered", size=size)
    assert rendered == []


def test_the_home_of_an_unknown_user_is_one_line():
    with pytest.raises(CourseError, match=r"~nosuchuser/x\.npz: the home folder of nosuchuser is not known\. Mend: "):
        load("~nosuchuser/x.npz")
