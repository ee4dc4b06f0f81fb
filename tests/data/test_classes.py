"""The names of the classes."""

from __future__ import annotations

from course_lib.data.classes import CLASS_NAMES, SHORT_NAMES


def test_every_class_has_its_own_short_name():
    assert len(set(SHORT_NAMES)) == len(CLASS_NAMES)
    assert (SHORT_NAMES[14], SHORT_NAMES[38], SHORT_NAMES[42]) == ("stop", "keep right", "end truck ban")
    assert not any("\n" in name or len(name) > 18 for name in SHORT_NAMES)
