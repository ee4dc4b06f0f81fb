"""Relations do not see turning and scaling; the explorer shows it."""

from __future__ import annotations

from course_lib import widgets


def picture(box) -> str:
    return box.children[0].value


def words(box) -> str:
    return box.children[1].value


def controls(box) -> dict:
    return {child.description: child for child in box.children if getattr(child, "description", "")}


def test_turning_and_scaling_cost_nothing_and_moving_a_point_does():
    box = widgets.relations_explorer()
    for name, value in (("turn, °", 40.0), ("scale ×", 3.0)):
        before = picture(box)
        controls(box)[name].value = value
        assert picture(box) != before, name
    assert "distance loss 0.0000, angle loss 0.0000" in words(box)
    before = picture(box)
    controls(box)["point 3: x"].value = 2.0
    assert "distance loss 0.0000" not in words(box)
    assert picture(box) != before
